import json

import numpy as np
import pytest
import torch

from cloudseed.errors import FitError, InputError
from cloudseed.surrogate import gp
from cloudseed.surrogate.gp import optimising, process


def data(n=40, d=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((n, d))
    return x, np.sin(3 * x[:, 0]) + x[:, 1] ** 2 + 0.01 * rng.normal(size=n)


def test_posterior_agrees_with_botorch():
    x, y = data()
    found = gp.fit(x, y, seed=0)
    model = gp.botorch_model(x, found.targets, found.hyper.covariance)
    model.likelihood.noise = found.hyper.noise
    model.mean_module.constant.data.fill_(found.hyper.mean)
    new = np.random.default_rng(1).random((9, 3))
    model.eval()
    with torch.no_grad():
        posterior = model.posterior(torch.as_tensor(new))
        joint = posterior.distribution.covariance_matrix.numpy()
    mean, sd = found.posterior_moments(new)
    np.testing.assert_allclose(
        (mean - found.centre) / found.scale, posterior.mean.squeeze(-1).numpy(), atol=1e-8
    )
    np.testing.assert_allclose(sd / found.scale, np.sqrt(np.diag(joint)), atol=1e-8)
    joint_mean, covariance = found.standardised_joint(new)
    np.testing.assert_allclose(covariance, joint, atol=1e-8)
    np.testing.assert_allclose(joint_mean * found.scale + found.centre, mean, atol=1e-10)


def test_fit_learns_a_smooth_function():
    x, y = data(n=60)
    new, truth = data(n=200, seed=5)
    mean, sd = gp.fit(x, y, seed=0).posterior_moments(new)
    assert np.corrcoef(mean, truth)[0, 1] > 0.99
    assert 0 < sd.max() < y.std()


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e9])
@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_scale_and_shift_carry_through(scale, shift):
    x, y = data()
    new, _ = data(n=10, seed=3)
    mean, sd = gp.fit(x, y, seed=0).posterior_moments(new)
    scaled_mean, scaled_sd = gp.fit(x, (y + shift) * scale, seed=0).posterior_moments(new)
    np.testing.assert_allclose(scaled_mean / scale - shift, mean, atol=1e-4)
    np.testing.assert_allclose(scaled_sd / scale, sd, atol=1e-4)


def test_chunks_change_nothing(monkeypatch):
    x, y = data()
    found = gp.fit(x, y, seed=0)
    whole = found.posterior_moments(x)
    monkeypatch.setattr(process, "_CHUNK_ENTRIES", 100)
    np.testing.assert_allclose(found.posterior_moments(x), whole, atol=1e-12)


def test_leave_one_out_is_what_leaving_out_gives():
    x, y = data(n=15)
    found = gp.fit(x, y, seed=0)
    mean, sd = found.leave_one_out()
    for i in (0, 7):
        rest = np.delete(np.arange(15), i)
        factor = process._factor(found.hyper, x[rest], "y")
        cross = found.hyper.kernel(x[rest], x[i : i + 1])[:, 0]
        half = np.linalg.solve(factor, cross)
        residual = np.linalg.solve(factor, found.targets[rest] - found.hyper.mean)
        expected = found.hyper.mean + half @ residual
        variance = found.hyper.outputscale + found.hyper.noise - half @ half
        assert mean[i] == pytest.approx(found.centre + found.scale * expected)
        assert sd[i] == pytest.approx(found.scale * np.sqrt(variance))


@pytest.mark.parametrize("values", [[2.0], [2.0, 2.0], [0.0] * 9, [1e-9] * 4, [-5e8] * 3])
def test_equal_values_keep_an_open_mind(values):
    x = np.random.default_rng(0).random((len(values), 4))
    found = gp.fit(x, np.array(values), seed=0)
    assert any("priors'" in note for note in found.notes)
    mean, sd = found.posterior_moments(np.vstack([x, x + 100]))
    np.testing.assert_allclose(mean, values[0])
    assert (sd[len(x) :] >= 0.9 * (abs(values[0]) or 1)).all()
    assert (sd[: len(x)] < sd[len(x) :]).all()


def test_spread_sets_the_scale_of_equal_values():
    found = gp.fit(np.zeros((3, 1)), np.zeros(3), seed=0, spread=1e-6)
    assert found.posterior_moments(np.full((1, 1), 1e3))[1] == pytest.approx(1e-6, rel=1e-3)


def test_replicates_average():
    x = np.zeros((50, 2))
    y = np.random.default_rng(0).normal(size=50)
    mean, sd = gp.fit(x, y, seed=0).posterior_moments(x[:1])
    assert mean[0] == pytest.approx(y.mean(), abs=0.2)
    assert sd[0] < 0.5


def test_outlier_is_drawn_in_with_a_note():
    x, y = data(n=60)
    new, truth = data(n=100, seed=7)
    y[11] = 1e7
    found = gp.fit(x, y, seed=0)
    assert any("1 of 60" in note for note in found.notes)
    mean, _ = found.posterior_moments(new)
    assert np.abs(np.median(mean) - np.median(truth)) < 1
    assert np.corrcoef(mean, truth)[0, 1] > 0.5


def test_large_data_fits_on_some_and_conditions_on_all(monkeypatch):
    monkeypatch.setattr(optimising, "MAX_FIT_ROWS", 30)
    x, y = data(n=90)
    found = gp.fit(x, y, seed=0)
    assert len(found.targets) == 90
    assert any("30 of 90" in note for note in found.notes)
    assert gp.fit(x, y, seed=0).hyper == found.hyper
    assert gp.fit(x, y, seed=1).hyper != found.hyper


def test_failed_fit_falls_back_to_the_priors_with_a_note(monkeypatch):
    def fail(*_, **__):
        raise FitError("nothing converged")

    monkeypatch.setattr(optimising, "_optimise", fail)
    x, y = data()
    found = gp.fit(x, y, seed=0)
    assert any("nothing converged" in note for note in found.notes)
    mean, _ = found.posterior_moments(x)
    assert np.corrcoef(mean, y)[0, 1] > 0.9


def test_a_fit_that_takes_too_long_is_stopped_with_a_note(monkeypatch):
    monkeypatch.setattr(optimising, "_FIT_SECONDS", 1e-9)
    x, y = data(n=20)
    found = gp.fit(x, y, seed=0)
    assert any("was stopped after" in note for note in found.notes)
    assert np.isfinite(found.posterior_moments(x)[0]).all()


@pytest.mark.parametrize("kind", ["collinear", "duplicates", "contradictions", "one point"])
def test_hard_features_still_make_a_model(kind):
    x, y = data(n=24)
    if kind == "collinear":
        x = np.column_stack([x[:, 0], 2 * x[:, 0], -x[:, 0]])
    elif kind == "one point":
        x = np.full_like(x, 0.5)
    else:
        x = np.repeat(x[:12], 2, axis=0)
        y = np.repeat(y[:12], 2) + (np.tile([0.0, 5.0], 12) if kind == "contradictions" else 0.0)
    found = gp.fit(x, y, seed=0)
    mean, sd = found.posterior_moments(x)
    assert np.isfinite([mean, sd, *found.leave_one_out()]).all()
    assert y.min() - 1 <= mean.min() <= mean.max() <= y.max() + 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_must_be_finite(bad):
    x, y = data(n=5)
    y[2] = bad
    with pytest.raises(InputError, match="not a finite number"):
        gp.fit(x, y, seed=0)


def test_no_values_are_refused():
    with pytest.raises(InputError):
        gp.fit(np.empty((0, 2)), np.empty(0), seed=0)


def test_fit_leaves_the_global_generator_alone():
    x, y = data()
    before = torch.random.get_rng_state()
    gp.fit(x, y, seed=0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_summary_is_json():
    x, y = data(n=10)
    summary = gp.fit(x, y, seed=0).summary
    assert json.loads(json.dumps(dict(summary)))["n"] == 10
