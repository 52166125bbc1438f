import numpy as np
import pytest

from cloudseed.errors import ObjectiveError
from cloudseed.surrogate import gp
from cloudseed.surrogate.calibration import Calibration, calibrate, recalibration
from cloudseed.surrogate.protocols import Observations


def test_good_features_are_well_calibrated_and_noise_is_not_explained():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(150, 3))
    signal = features[:, 0] + 0.1 * rng.normal(size=150)
    data = Observations(
        np.arange(150), np.column_stack([signal, rng.normal(size=150)]), ("signal", "noise")
    )
    good = calibrate(features, data, "signal", seed=0)
    bad = calibrate(features, data, "noise", seed=0)
    assert good.r2 > 0.95
    assert bad.r2 < 0.2
    assert good.mean_absolute_error < 0.15
    for found in (good, bad):
        assert 0.88 <= found.coverage95 <= 1
    assert good.nll < bad.nll


def test_figures_by_hand():
    found = Calibration(
        "x",
        rows=np.arange(2),
        measured=np.array([0.0, 2.0]),
        mean=np.array([0.0, 1.0]),
        sd=np.array([1.0, 0.4]),
    )
    assert found.r2 == pytest.approx(0.5)
    assert found.mean_absolute_error == pytest.approx(0.5)
    assert found.coverage95 == pytest.approx(0.5)
    assert np.isnan(Calibration("x", found.rows, np.ones(2), found.mean, found.sd).r2)


def test_missing_values_are_left_out_and_one_is_too_few():
    features = np.random.default_rng(0).normal(size=(4, 2))
    data = Observations(np.arange(4), np.array([[1.0], [np.nan], [2.0], [4.0]]), ("x",))
    np.testing.assert_array_equal(calibrate(features, data, "x", seed=0).rows, [0, 2, 3])
    lonely = Observations(np.arange(1), np.array([[1.0]]), ("x",))
    with pytest.raises(ObjectiveError, match="too few"):
        calibrate(features, lonely, "x", seed=0)


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
