import numpy as np
import pytest

from cloudseed.surrogate import gp
from cloudseed.surrogate.calibration import noise_sds, recalibration


def test_intervals_are_mended_only_where_chance_does_not_explain_them():
    rng = np.random.default_rng(1)
    right = rng.normal(size=(300, 40))
    factors = np.array([recalibration(z) for z in right])
    assert (factors == 1).mean() > 0.5
    assert abs(np.log(factors)).mean() < 0.1
    for wrong in (0.4, 2.0, 2.5):
        factors = np.array([recalibration(wrong * z) for z in right])
        assert abs(np.log(wrong / factors)).mean() < 0.6 * abs(np.log(wrong))
    assert recalibration(5 * right[0, :19]) == 1
    wild = np.concatenate([right[0, :38], [50.0, -80.0]])
    assert recalibration(wild) < 1.3
    assert recalibration(100 * right[0]) <= 3


def test_a_wider_model_predicts_the_same_means():
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(20, 3)), rng.normal(size=(5, 3))
    model = gp.fit(x, 5 + x[:, 0] + 0.1 * rng.normal(size=20), seed=0)
    wide = model.widened(2.0)
    (mean, sd, inside), (same, twice, less) = (m.evaluate(new, 4.0, 6.0) for m in (model, wide))
    np.testing.assert_allclose(same, mean)
    np.testing.assert_allclose(twice, 2 * sd)
    assert not np.allclose(inside, less)
    (mean, covariance), (same, wider) = (m.standardised_joint(new) for m in (model, wide))
    np.testing.assert_allclose(same, mean)
    np.testing.assert_allclose(wider, 4 * covariance, atol=1e-12)
    np.testing.assert_allclose(wide.leave_one_out()[0], model.leave_one_out()[0])
    np.testing.assert_allclose(wide.leave_one_out()[1], 2 * model.leave_one_out()[1])
    assert wide.noise_sd == pytest.approx(2 * model.noise_sd)


def test_what_only_heads_predicted_has_no_noise_of_a_model():
    model = {"surrogates": {"a": {"noise": 0.25, "scale": 2.0}, "gap": {"floor": 0.0}}}
    assert noise_sds(model, ("a", "gap", "energy")) == {"a": 1.0}
    assert noise_sds({}, ("energy",)) == {}
