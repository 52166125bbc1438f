"""Rare good values lie far from the others: they are what is sought, not outliers."""

from __future__ import annotations

import numpy as np
import pytest

from cloudseed.surrogate import judging, parse_problem
from cloudseed.surrogate.deciding import decide
from cloudseed.surrogate.gp.standardising import NOTHING, standardise
from cloudseed.surrogate.outlook import expected_hits, knows_the_best, probability_of_best
from cloudseed.surrogate.protocols import ModelSettings, Observations
from cloudseed.surrogate.selecting import Measured, fit_property

INF = np.inf


def humps(noise=1e-2):
    """A third of 300 values far above the others, as magnetic moments are."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 3))
    high = 1.5 + np.abs(x[:, 1]) + 0.3 * x[:, 2]
    return x, np.where(x[:, 0] > 0.3, high, 0) + noise * np.abs(rng.normal(size=300))


def needles():
    """A tenth of 300 values far above a narrow bulk."""
    x = np.random.default_rng(1).normal(size=(300, 3))
    return x, np.where(x[:, 0] > 1.3, 2 + 0.3 * x[:, 1], 0.05 * x[:, 2])


def decided(x, y, goal, constraints=(), known=60, batch=20):
    observations = Observations(np.arange(known), y[:known, None], ("k",))
    return decide(
        x,
        observations,
        available=range(len(x)),
        problem=parse_problem(goal, list(constraints)),
        batch=batch,
        seed=0,
    )


@pytest.mark.parametrize("made", [lambda: humps(1e-4), humps, needles], ids=["sharp", "humps", "5"])
def test_far_hits_are_found_and_expected(made):
    x, y = made()
    choice = decided(x, y, "find all", ["k >= 1"])
    assert np.mean(y[list(choice.picks)] >= 1) >= 0.75
    assert expected_hits(choice.scores, 10) > 8


def test_a_far_target_is_come_near_to():
    x, y = humps()
    choice = decided(x, y, "k = 2.0", batch=5)
    best = choice.scores.mean[:, 0][np.argmin(np.abs(choice.scores.mean[:, 0] - 2))]
    assert best == pytest.approx(2, abs=0.2)


def test_that_nothing_is_better_is_not_certain_of_skewed_values():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(600, 3))
    y = 10 ** (1.5 * (x[:, 0] + 0.4 * np.sin(2 * x[:, 1])))
    goal = parse_problem("max k", [])
    choice = decided(x, y, "max k", known=80)
    assert (y[80:] > y[:80].max()).sum() == 2
    assert knows_the_best(choice.model, goal)
    assert probability_of_best(choice.scores, goal, y[:80].max(), 0.0) < 0.9


def test_a_wild_value_is_drawn_in_and_then_nothing_is_said_of_the_best():
    x, y = humps(0.5)
    y = y + x[:, 2]
    y[7] = 1e9
    assert not knows_the_best(decided(x, y, "max k").model, parse_problem("max k", []))
    # Where low values are sought it is none of the best.
    assert knows_the_best(decided(x, y, "min k").model, parse_problem("min k", []))


@pytest.mark.parametrize(
    ("wanted", "drawn"),
    [
        (NOTHING, [0.6, 0.6, -0.6]),
        ((0.0, INF), [0.6, 0.6, -0.6]),
        ((1.0, INF), [2.0, 2.0, -2.0]),
        ((-INF, 2.5), [5.0, 4.0, -3.0]),
    ],
)
def test_nothing_is_drawn_across_a_bound(wanted, drawn):
    y = np.concatenate([np.linspace(-0.08, 0.08, 57), [8.0, 4.0, -3.0]])
    found = standardise(np.zeros((60, 1)), y, name="k", spread=None, notes=[], wanted=wanted)
    values = found.centre + found.scale * found.targets
    np.testing.assert_allclose(values[-3:], drawn, atol=0.05)
    np.testing.assert_allclose(values[:57], y[:57], atol=1e-12)
    good = (y[-3:] >= wanted[0]) & (y[-3:] <= wanted[1])
    moved = ~np.isclose(values[-3:], y[-3:])
    assert found.lessened == (good & moved).sum()


def test_many_far_values_are_drawn_in_only_where_they_are_not_sought():
    y = np.concatenate([np.linspace(-0.08, 0.08, 50), np.full(10, 9.0)])
    for wanted, top in ((NOTHING, 0.6), ((-INF, 0.0), 0.6), ((0.0, INF), 9.0)):
        found = standardise(np.zeros((60, 1)), y, name="k", spread=None, notes=[], wanted=wanted)
        values = found.centre + found.scale * found.targets
        assert values.max() == pytest.approx(top, abs=0.2)
        assert found.lessened == 0


@pytest.mark.parametrize(
    ("goal", "constraints", "wanted"),
    [
        ("max k", [], (3.0, INF)),
        ("min k", [], (-INF, 3.0)),
        ("min k", ["k >= 1"], (1.0, 3.0)),
        ("k = 5", [], (3.0, 7.0)),
        ("find all", ["k in [1, 2]"], (1.0, 2.0)),
        ("find highest 5 % k", [], (3.0, INF)),
        ("find lowest 5 % k", [], (-INF, 3.0)),
        ("max other; min k", [], (-INF, 3.0)),
        ("max other", ["other <= 4"], (INF, -INF)),
    ],
)
def test_what_is_sought_of_a_property(goal, constraints, wanted):
    assert judging.wanted(parse_problem(goal, constraints), "k", 3.0) == wanted


def test_a_robust_model_is_not_taken_where_it_would_lose_what_is_sought():
    rng = np.random.default_rng(0)
    x = rng.random((24, 3))
    y = np.sin(4 * x[:, 0]) + x[:, 1] ** 2 + 0.02 * rng.normal(size=24)
    y[[3, 11]] += [4.0, -4.0]
    kinds = {}
    for wanted in (NOTHING, (3.0, INF), (-INF, -2.0), (-2.0, 2.0)):
        found = fit_property(Measured("a", x, y, wanted=wanted), 0)
        kinds[wanted] = found.summary["kind"]
        assert any("that are sought for outliers" in n for n in found.notes) == (
            kinds[wanted] == "gp"
        )
    assert kinds == {
        NOTHING: "robust",
        (3.0, INF): "gp",
        (-INF, -2.0): "gp",
        (-2.0, 2.0): "robust",
    }
    asked = fit_property(Measured("a", x, y, wanted=(3.0, INF)), 0, "robust")
    assert asked.summary["kind"] == "robust"
    assert ModelSettings("robust").of("a") == "robust"
