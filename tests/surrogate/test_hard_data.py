"""Data and fits that go wrong: there is always a decision, and its notes say what was done."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import LinAlgError
from scipy.optimize import OptimizeResult

from cloudseed.errors import InputError
from cloudseed.surrogate import batch, gp, robust, selecting, variational
from cloudseed.surrogate.batch import best_left
from cloudseed.surrogate.deciding import decide
from cloudseed.surrogate.fidelities import fit_fidelities
from cloudseed.surrogate.front_batch import _State
from cloudseed.surrogate.gp import optimising
from cloudseed.surrogate.objectives import problem
from cloudseed.surrogate.protocols import (
    Constraint,
    Guess,
    ModelSettings,
    Objective,
    Observations,
    Problem,
)
from cloudseed.surrogate.selecting import Measured, fit_property
from cloudseed.surrogate.variational import fit_variational


def data(n=40, d=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((n, d))
    return x, np.sin(3 * x[:, 0]) + x[:, 1] ** 2 + 0.01 * rng.normal(size=n)


@pytest.fixture
def no_optimum(monkeypatch):
    """L-BFGS-B reports a failure at every attempt."""

    def failing(fun, x0, *_, **__):
        return OptimizeResult(
            fun=fun(x0)[0], x=x0, nit=0, success=False, status=2, message="ABNORMAL: "
        )

    monkeypatch.setattr("botorch.optim.core.minimize_with_timeout", failing)


@pytest.mark.usefixtures("no_optimum")
def test_an_optimiser_that_fails_at_every_attempt_leaves_the_priors():
    x, y = data()
    for found in (gp.fit(x, y, seed=0), fit_variational(x, y, seed=0, name="a")):
        assert any("All attempts to fit the model have failed" in note for note in found.notes)
        assert found.hyper.noise == pytest.approx(np.exp(-5))
    found = fit_property(Measured("a", x, y), 0, "robust")
    assert found.summary["kind"] == "gp"
    assert any("the robust fit of a failed" in note for note in found.notes)


def test_a_variational_fit_that_fails_leaves_the_newest_values(monkeypatch):
    def failing(*_, **__):
        raise LinAlgError("not positive definite")

    monkeypatch.setattr(variational, "cholesky", failing)
    monkeypatch.setattr(selecting, "MANY", 30)
    x, y = data()
    found = fit_property(Measured("a", x, y), 0)
    assert found.summary["kind"] == "gp"
    assert found.summary["n"] == 30
    assert found.hyper == gp.fit(x[-30:], y[-30:], seed=0).hyper
    assert any("the default is used on the newest 30 values" in note for note in found.notes)


@pytest.mark.usefixtures("no_optimum")
def test_a_fit_of_several_sources_that_fails_leaves_the_dear_values():
    x, y = data()
    known = Observations(np.arange(24), y[:24, None], ("a",), source=np.repeat([0, 1], [8, 16]))
    asked = {"available": range(len(x)), "problem": problem("max a"), "batch": 3, "seed": 0}
    choice = decide(x, known, **asked)
    assert len(set(choice.picks)) == 3
    assert choice.model["surrogates"]["a"]["n"] == 8
    assert any("dear values alone are modelled" in note for note in choice.notes)
    cheap = replace(known, source=np.ones(24, dtype=int))
    assert len(decide(x, cheap, **asked).picks) == 3


@pytest.mark.parametrize("sigma", [1e200, 1e308])
def test_a_boundless_uncertainty_says_that_a_value_tells_nothing(sigma):
    x, y = data()
    y[3] += 5.0
    sigmas = np.full((len(y), 1), 0.02)
    sigmas[3] = sigma
    found = gp.fit(x, y, seed=0, sigma=sigmas[:, 0])
    without = gp.fit(np.delete(x, 3, 0), np.delete(y, 3), seed=0, sigma=np.delete(sigmas[:, 0], 3))
    far = np.abs(found.posterior_moments(x)[0] - without.posterior_moments(x)[0]).max()
    assert far < 0.2
    known = Observations(np.arange(len(x)), y[:, None], ("a",), sigma=sigmas)
    new = np.concatenate([x, x[:5] + 0.01])
    asked = {"available": range(len(new)), "problem": problem("max a"), "batch": 2, "seed": 0}
    assert len(decide(new, known, **asked).picks) == 2
    assert (
        len(decide(new, replace(known, sigma=np.full_like(y, sigma)[:, None]), **asked).picks) == 2
    )


def test_a_model_by_itself_takes_no_value_beyond_all_size():
    x, y = data()
    y[3] = -1e160
    with pytest.raises(InputError, match="above 1e\\+100 in size"):
        gp.fit(x, y, seed=0)


@pytest.mark.parametrize(
    "goal",
    [
        "max a",
        "min a",
        "a = 0.5",
        "find all",
        "find highest 10 % a",
        "find lowest 10 % a",
        "max a; min b",
        "max a; max b; min c",
    ],
)
@pytest.mark.parametrize("huge", [1e160, -1e308])
def test_huge_values_give_a_batch_of_different_candidates(goal, huge):
    x, y = data(80)
    values = np.column_stack([y, x[:, 2], x[:, 1]])[:20]
    values[:2, 0] = huge
    values[2:4, 1] = huge
    for table in (values, np.where(np.abs(values) > 1e9, values, 1.0)):
        known = Observations(np.arange(20), table, ("a", "b", "c"))
        bounds = ["a >= 0.5"] if goal == "find all" else []
        choice = decide(
            x,
            known,
            available=range(80),
            pending=[25],
            problem=problem(goal, bounds),
            batch=6,
            seed=0,
        )
        assert len(set(choice.picks)) == 6
        assert min(choice.picks) >= 20
        assert any("drawn in to that" in note for note in choice.notes)
        assert np.isfinite(choice.scores.mean).all()


@pytest.mark.parametrize("tiny", [1e-165, 1e-200, 1e-320])
@pytest.mark.parametrize(
    ("goal", "bounds"),
    [
        ("max a", []),
        ("min a", ["b >= 0.5"]),
        ("a = 1.4", ["b <= 1"]),
        ("a in [1, 3]", []),
        ("find all", ["a >= 1", "b <= 1"]),
        ("find highest 10 % a", []),
        ("find lowest 10 % a", ["b >= 0"]),
        ("max a; min b", []),
        ("max a; min b; max c", []),
        ("max a; min b; max c; min d", []),
    ],
)
def test_tiny_values_are_zero_and_give_a_batch(goal, bounds, tiny):
    x, y = data(30)
    table = tiny * np.column_stack([y, x[:, 2], x[:, 1], x[:, 0]])[:12]
    choice = decide(
        x,
        Observations(np.arange(12), table, ("a", "b", "c", "d")),
        available=range(30),
        problem=problem(goal, bounds),
        batch=4,
        seed=0,
    )
    assert len(set(choice.picks)) == 4
    assert "12 of 12 values of a are below 1e-100 in size" in " ".join(choice.notes)
    assert np.isfinite(choice.scores.mean).all()
    json.dumps(choice.model, allow_nan=False)


def test_a_model_by_itself_takes_tiny_values_for_equal():
    x, y = data()
    found = gp.fit(x, 1e-165 * y, seed=0)
    assert (found.centre, found.scale) == (0.0, 1.0)
    assert not found.targets.any()


@pytest.mark.parametrize("tiny", [1e-90, 1e-165, 1e-200])
def test_bounds_and_guesses_as_tiny_as_the_values_are_no_scale(tiny):
    x, y = data(30)
    guesses = {"a": Guess(tiny * y[::-1], np.full(30, 0.1 * tiny))}
    table = tiny * np.column_stack([y, x[:, 2]])[:12]
    for goal in (
        Problem(Objective("a", "max"), (Constraint("a", "<=", tiny), Constraint("b", ">=", tiny))),
        Problem(Objective("a", "target", target=tiny)),
        Problem(Objective("a", "find"), (Constraint("a", ">=", tiny),)),
    ):
        for given in (None, guesses):
            choice = decide(
                x,
                Observations(np.arange(12), table, ("a", "b")),
                available=range(30),
                problem=goal,
                batch=4,
                seed=0,
                guesses=given,
            )
            assert len(set(choice.picks)) == 4


def test_where_nothing_has_a_worth_the_first_that_is_left_is_taken():
    left = np.array([False, True, True, False])
    for worth in (np.full(4, np.nan), np.full(4, -np.inf)):
        assert best_left(worth, left) == 1
    assert best_left(np.array([9.0, np.nan, -1e9, 9.0]), left) == 2
    assert best_left(np.array([9.0, 1.0, np.inf, 9.0]), left) == 2


@pytest.mark.parametrize("goal", ["max a", "max a; min b"])
def test_no_candidate_is_picked_twice_where_none_has_a_worth(goal):
    x, y = data(30)
    known = Observations(np.arange(20), np.column_stack([y, x[:, 2]])[:20], ("a", "b"))
    with pytest.MonkeyPatch.context() as patch:
        if ";" in goal:
            patch.setattr(_State, "worth", lambda self: np.full(len(self.fixed), -np.inf))
        else:
            patch.setattr(batch, "_worth", lambda _, known, __: np.full(len(known[0].sd), -np.inf))
        choice = decide(x, known, available=range(30), problem=problem(goal), batch=10, seed=0)
    assert sorted(choice.picks) == list(range(20, 30))


def test_fits_that_the_limit_of_time_ends_are_noted(monkeypatch):
    monkeypatch.setattr(optimising, "_FIT_SECONDS", 1e-9)
    monkeypatch.setattr(robust, "_TIMEOUT", 1e-9)
    x, y = data()
    source = np.repeat([0, 1], 20)
    for found in (
        gp.fit(x, y, seed=0),
        robust.fit_robust(x, y, seed=0, name="a"),
        fit_fidelities(x, y, source, seed=0, name="a"),
    ):
        assert any("was stopped after" in note for note in found.notes)


@pytest.mark.parametrize("kind", ["gp", "robust", "variational"])
def test_a_kind_that_several_sources_rule_out_is_noted(kind):
    x, y = data()
    known = Observations(np.arange(24), y[:24, None], ("a",), source=np.repeat([0, 1], [8, 16]))
    asked = {"available": range(len(x)), "problem": problem("max a"), "batch": 1, "seed": 0}
    choice = decide(x, known, models=ModelSettings(kinds={"a": kind}), **asked)
    assert choice.model["surrogates"]["a"]["kind"] == "fidelities"
    assert any(f"'fidelities', not '{kind}'" in note for note in choice.notes)
    assert not any("'fidelities'" in note for note in decide(x, known, **asked).notes)
