"""Hurdle models and their classifier: chances, hints, one class, and the mixture's moments."""

import json
import math

import numpy as np
import pytest

from cloudseed.errors import FitError, InputError
from cloudseed.surrogate.classifier import HintPrior, fit_classifier
from cloudseed.surrogate.deciding import decide
from cloudseed.surrogate.hurdle import fit_hurdle, is_inflated
from cloudseed.surrogate.objectives import problem
from cloudseed.surrogate.protocols import Observations
from cloudseed.surrogate.selecting import Measured
from cloudseed.surrogate.space import Space

RNG = np.random.default_rng(3)
X = RNG.uniform(-1, 1, size=(300, 3))
X *= math.sqrt(3 / 12 / X.var(axis=0).sum())
GAPS = np.maximum(0.0, 4 * X[:, 0] - 1.0)
NONE = np.zeros(300)


def test_chances_follow_the_labels():
    labels = X[:, 0] > 0
    found = fit_classifier(X[:80], labels[:80], NONE[:80], HintPrior())
    chances = np.exp(found.log_probability(X[80:], NONE[80:]))
    right = (chances > 0.5) == labels[80:]
    assert right.mean() > 0.9
    assert chances.min() >= 0
    assert chances.max() <= 1


def test_hints_lead_until_labels_overrule_them():
    hints = np.where(X[:, 1] > 0, 1.0, -1.0)
    prior = HintPrior(0.0, 3.0, 1.0)
    few = fit_classifier(X[:2], np.array([True, False]), hints[:2], prior)
    agrees = (few.log_probability(X, hints) > math.log(0.5)) == (hints > 0)
    assert agrees.mean() > 0.9
    many = fit_classifier(X[:200], hints[:200] < 0, hints[:200], prior)
    agrees = (many.log_probability(X[200:], hints[200:]) > math.log(0.5)) == (hints[200:] < 0)
    assert agrees.mean() > 0.9


def test_one_class_alone_is_enough():
    found = fit_classifier(X[:30], np.zeros(30, dtype=bool), NONE[:30], HintPrior())
    assert (np.exp(found.log_probability(X, NONE)) < 0.5).all()


def test_bad_features_are_a_fit_error():
    with pytest.raises(FitError):
        fit_classifier(np.full((4, 2), np.nan), np.array([True, False] * 2), NONE[:4], HintPrior())


def test_moments_and_chances_are_those_of_the_mixture():
    model = fit_hurdle(Measured("band_gap", X[:120], GAPS[:120]), None, seed=0)
    mean, sd, inside = model.evaluate(X[120:], 0.5, 2.0)
    _, _, under = model.evaluate(X[120:], -math.inf, 0.5)
    _, _, over = model.evaluate(X[120:], 2.0, math.inf)
    total = np.exp(inside) + np.exp(under) + np.exp(over)
    assert total == pytest.approx(np.ones(180), abs=1e-6)
    truth = (GAPS[120:] >= 0.5) & (GAPS[120:] <= 2.0)
    assert np.exp(inside)[truth].mean() > 3 * np.exp(inside)[~truth].mean()
    assert np.corrcoef(mean, GAPS[120:])[0, 1] > 0.9
    assert (sd >= 0).all()
    json.dumps(model.summary)


def test_floors_are_told_from_ordinary_values():
    assert is_inflated(np.array([0.0, 0.0, 0.0, 1.0, 2.0]))
    assert not is_inflated(np.array([0.0, 0.5, 0.7, 1.0, 2.0]))
    assert not is_inflated(np.array([0.0, 0.0, 1.0]))
    assert is_inflated(np.zeros(6))


@pytest.mark.parametrize("goal", ["band_gap in [0.5, 2.0]", "max x"])
def test_decisions_use_hurdles_where_bounds_decide(goal):
    properties = ("band_gap", "x")
    rows = np.arange(60)
    values = np.column_stack([GAPS, X[:, 1]])[rows]
    choice = decide(
        X,
        Observations(rows, values, properties),
        available=np.arange(300),
        problem=problem(goal, ["band_gap >= 0.5"]),
        batch=5,
        seed=0,
        hints=-np.abs(X[:, 2]),
    )
    found = choice.model["surrogates"]["band_gap"]
    assert found["kernel"].startswith("hurdle")
    assert found["hinted"]
    assert choice.method == ("ExpectedHits" if "in" in goal else "LogNEI")
    picks = np.array(choice.picks)
    assert len(set(picks)) == 5
    assert (GAPS[picks] >= 0.5).sum() >= (4 if "in" in goal else 2)
    assert any("modelled first" in note for note in choice.notes)


def test_exploration_fills_space_with_its_share():
    values = X[:60, :1]
    asked = {"available": np.arange(300), "problem": problem("max x"), "batch": 10, "seed": 1}
    seen = Observations(np.arange(60), values, ("x",))
    plain = decide(X, seen, **asked)
    explored = decide(X, seen, **asked, exploration=0.5)
    assert explored.picks[:5] == plain.picks[:5]
    assert len(set(explored.picks)) == 10
    assert "5 of 10 picks explore" in explored.notes


def test_hints_must_go_with_the_rows():
    with pytest.raises(InputError, match="hints"):
        Space.of(X, np.zeros(3))
    hints = np.zeros(len(X))
    hints[5] = np.nan
    with pytest.raises(InputError, match="hints, that of row 5 is nan"):
        Space.of(X, hints)


def test_several_properties_at_floors_and_one_hint():
    rows = np.arange(60)
    values = np.column_stack([GAPS, np.maximum(0.0, X[:, 1])])[rows]
    choice = decide(
        X,
        Observations(rows, values, ("band_gap", "y")),
        available=np.arange(300),
        problem=problem("band_gap in [0.5, 2.0]", ["y <= 0.1"]),
        batch=4,
        seed=0,
        hints=-np.abs(X[:, 2]),
    )
    kinds = {n: m["kernel"][:6] for n, m in choice.model["surrogates"].items()}
    assert kinds == {"band_gap": "hurdle", "y": "hurdle"}
    assert len(choice.picks) == 4


def test_bounds_below_the_floor_are_improbable():
    values = np.array([5.0] * 27 + [7.0, 8.0, 9.0])[:, None]
    choice = decide(
        X,
        Observations(np.arange(30), values, ("x",)),
        available=np.arange(300),
        problem=problem("x in [0, 3]"),
        batch=3,
        seed=0,
    )
    assert not choice.model["surrogates"]["x"]["kernel"].startswith("hurdle")
    assert choice.scores.feasible.max() < 0.3


def test_few_values_above_the_floor_still_know_the_window():
    found = np.where(np.arange(30) < 2, 9.0, 0.0)
    model = fit_hurdle(Measured("gap", X[:30], found), None, seed=0)
    _, _, inside = model.evaluate(X, 1.5, 3.0)
    _, _, over = model.evaluate(X, 8.0, 10.0)
    assert (inside < over - 2).all()
