"""Which model a property gets: outliers, heads that help or do not, known noise, many values."""

import json

import numpy as np
import pytest

from cloudseed.errors import FitError
from cloudseed.surrogate import gp, robust, selecting, variational
from cloudseed.surrogate.gp import optimising
from cloudseed.surrogate.robust import fit_robust
from cloudseed.surrogate.selecting import Measured, fit_property
from cloudseed.surrogate.variational import fit_variational


def data(n=40, seed=0, noise=0.02):
    rng = np.random.default_rng(seed)
    x = rng.random((n, 3))
    return x, np.sin(4 * x[:, 0]) + x[:, 1] ** 2 + noise * rng.normal(size=n)


NEW, TRUTH = data(200, seed=9, noise=0.0)
GUESSED = np.column_stack([NEW, TRUTH])


def error(model, x=NEW):
    return float(np.sqrt(((model.posterior_moments(x)[0] - TRUTH) ** 2).mean()))


def test_outliers_get_a_robust_model_by_their_density():
    x, y = data(24)
    y[[3, 11]] += [4.0, -4.0]
    found = fit_property(Measured("a", x, y), 0)
    assert found.summary["kind"] == "robust"
    told = found.summary["compared"]
    assert told["n"] == 24
    assert told["log_density"]["robust"] > told["log_density"]["gp"]
    assert error(found) < 0.5 * error(fit_property(Measured("a", x, y), 0, "gp"))
    assert any("2 of 24 values of a are taken for outliers" in note for note in found.notes)
    json.dumps(dict(found.summary))


def test_ordinary_values_keep_the_default_at_no_cost(monkeypatch):
    monkeypatch.setattr(robust, "fit_robust", None)
    x, y = data()
    found = fit_property(Measured("a", x, y), 0)
    assert found.summary["kind"] == "gp"
    assert found.hyper == gp.fit(x, y, seed=0).hyper


def test_a_robust_fit_that_fails_leaves_the_default(monkeypatch):
    def fail(*_, **__):
        raise FitError("it went wrong")

    monkeypatch.setattr(robust, "fit_robust", fail)
    x, y = data()
    found = fit_property(Measured("a", x, y), 0, "robust")
    assert found.hyper == gp.fit(x, y, seed=0).hyper
    assert any("it went wrong" in note for note in found.notes)


def test_too_many_values_for_a_robust_model_leave_the_default(monkeypatch):
    monkeypatch.setattr(robust, "MAX_ROWS", 20)
    x, y = data(24)
    found = fit_property(Measured("a", x, y), 0, "robust")
    assert found.summary["kind"] == "gp"
    assert found.hyper == gp.fit(x, y, seed=0).hyper
    assert any("24 values of a are more than the 20" in note for note in found.notes)


def test_a_robust_fit_leaves_later_fits_as_they_were():
    """BoTorch writes the tolerances of relevance pursuit into the options that it is given."""
    few = [data(n=n, seed=n) for n in (6, 11, 12, 14, 17, 20, 22)]
    before = [gp.fit(x, y, seed=0).hyper for x, y in few]
    fit_robust(*data(n=45), seed=0, name="a")
    assert [gp.fit(x, y, seed=0).hyper for x, y in few] == before


def test_without_outliers_the_robust_model_is_the_default():
    x, y = data(25)
    found, plain = fit_robust(x, y, seed=0, name="a"), gp.fit(x, y, seed=0)
    np.testing.assert_allclose(
        found.posterior_moments(NEW)[0], plain.posterior_moments(NEW)[0], atol=0.02
    )
    assert found.log_density == pytest.approx(plain.log_density, abs=0.05)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_good_guess_is_believed_from_the_first_value_on(count):
    x, y = data(count)
    exact = np.sin(4 * x[:, 0]) + x[:, 1] ** 2
    found = fit_property(Measured("a", x, y, prior=(3, exact)), 0)
    assert error(found, GUESSED) < 0.1
    if count > 1:
        assert error(found, GUESSED) < 0.5 * error(gp.fit(x, y, seed=0))


def test_a_guess_that_is_off_by_a_constant_is_as_good():
    x, y = data(8)
    exact = np.sin(4 * x[:, 0]) + x[:, 1] ** 2 + 50.0
    found = fit_property(Measured("a", x, y, prior=(3, exact)), 0)
    assert error(found, GUESSED + np.array([0, 0, 0, 50.0])) < 0.1


def test_a_useless_guess_is_left_out_and_told(monkeypatch):
    monkeypatch.setattr(selecting, "LEAST_FOR_HEADS", 40)
    x, y = data(40)
    noise = 3 * np.random.default_rng(5).normal(size=240)
    found = fit_property(Measured("a", x, y, prior=(3, noise[:40])), 0)
    assert found.trend is None
    assert any("head of a is left out" in note for note in found.notes)
    assert set(found.summary["compared"]["log_density"]) == {"gp", "gp with heads"}
    points = np.column_stack([NEW, noise[40:]])
    np.testing.assert_allclose(
        found.posterior_moments(points)[0], gp.fit(x, y, seed=0).posterior_moments(NEW)[0]
    )


def test_leaving_out_and_joint_posterior_know_the_trend():
    x, y = data(30)
    guess = y + 0.1 * np.cos(9 * x[:, 2])
    found = gp.fit(x, y, seed=0, prior=(3, guess))
    points = np.column_stack([x, guess])
    mean, _ = found.posterior_moments(points)
    joint, _ = found.standardised_joint(points)
    np.testing.assert_allclose(found.centre + found.scale * joint, mean, atol=1e-9)
    left, sd = found.leave_one_out()
    assert np.abs(left - y).mean() < 0.1
    z = (y - left) / sd
    expected = (-0.5 * z * z - np.log(sd) - 0.5 * np.log(2 * np.pi)).mean()
    assert found.log_density == pytest.approx(expected)


def test_comparisons_look_at_the_oldest_values_until_a_fifth_came():
    assert [selecting._counted(n) for n in (20, 23, 24, 29, 60)] == [20, 20, 24, 28, 59]


def test_known_noise_weighs_values():
    x = np.repeat(np.linspace(0, 1, 12)[:, None], 2, axis=0)
    truth = np.sin(5 * x[:, 0])
    sigma = np.tile([0.01, 1.0], 12)
    y = truth + sigma * np.random.default_rng(1).normal(size=24)
    known = fit_property(Measured("a", x, y, sigma=sigma), 0)
    blind = gp.fit(x, y, seed=0)
    wrong = [np.abs(m.posterior_moments(x)[0] - truth).mean() for m in (known, blind)]
    assert wrong[0] < 0.5 * wrong[1]
    partly = gp.fit(x, y, seed=0, sigma=np.where(sigma < 0.1, sigma, np.nan))
    assert np.isfinite(partly.posterior_moments(x)[0]).all()


def test_unknown_noise_is_as_if_nothing_was_told():
    x, y = data()
    for sigma in (np.full(40, np.nan), np.zeros(40)):
        assert gp.fit(x, y, seed=0, sigma=sigma).hyper == gp.fit(x, y, seed=0).hyper


def test_replicates_count_as_their_mean_does():
    x, y = data(10)
    hyper = gp.fit(x, y, seed=0).hyper
    often = gp.Standardised(np.append(y[:9], y[9] + np.array([0.3, -0.3, 0.6, -0.6])), 0.0, 1.0)
    once = gp.Standardised(y, 0.0, 1.0)
    extra = np.append(np.zeros(9), np.full(4, 1.0))
    alone = np.append(np.zeros(9), (hyper.noise + 1.0) / 4 - hyper.noise)
    raw = gp.condition(hyper, x[[*range(9), 9, 9, 9, 9]], often, name="a", notes=(), extra=extra)
    mean = gp.condition(hyper, x, once, name="a", notes=(), extra=alone)
    for ours, theirs in zip(raw.posterior_moments(NEW), mean.posterior_moments(NEW), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_a_variational_model_with_every_point_is_exact():
    x, y = data(60)
    exact, found = gp.fit(x, y, seed=0), fit_variational(x, y, seed=0, name="a")
    for ours, theirs in zip(
        found.posterior_moments(NEW), exact.posterior_moments(NEW), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for ours, theirs in zip(found.leave_one_out(), exact.leave_one_out(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert found.log_density == pytest.approx(exact.log_density, abs=1e-4)


def test_many_values_are_summed_up(monkeypatch):
    monkeypatch.setattr(selecting, "MANY", 200)
    monkeypatch.setattr(variational, "POINTS", 80)
    monkeypatch.setattr(optimising, "MAX_FIT_ROWS", 60)
    x, y = data(250)
    found = fit_property(Measured("a", x, y), 0)
    assert found.summary["kind"] == "variational"
    assert found.summary["n"] == 250
    assert len(found.features) <= 80
    assert error(found) < 0.05


@pytest.mark.parametrize("kind", ["robust", "variational"])
def test_a_model_says_that_it_does_not_use_known_uncertainties(kind):
    x, y = data(12)
    known = fit_property(Measured("a", x, y, sigma=np.full(12, 0.1)), 0, kind)
    assert any("known uncertainties of a are not used" in note for note in known.notes)
    unknown = fit_property(Measured("a", x, y, sigma=np.full(12, np.nan)), 0, kind)
    assert not any("known uncertainties" in note for note in unknown.notes)


def test_a_remembered_density_is_that_of_any_decision(monkeypatch):
    monkeypatch.setattr(selecting, "_densities", type(selecting._densities)())
    seeds = []
    monkeypatch.setattr(selecting, "_fit", lambda part, seed, kind: seeds.append(seed) or FAKE)
    x, y = data(24)
    part = Measured("a", x, y, prior=(2, y))
    for _ in range(2):
        selecting._compare({"gp": ("gp", part)})
    assert len(seeds) == 1
    selecting._compare({"gp": ("gp", Measured("a", x, y, prior=(1, y)))})
    assert len(set(seeds)) == 2


class FAKE:
    log_density = 0.0
