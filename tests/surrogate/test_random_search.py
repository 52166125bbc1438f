import itertools
from dataclasses import replace

import numpy as np
import pytest

from cloudseed.errors import InputError
from cloudseed.surrogate.objectives import problem
from cloudseed.surrogate.protocols import Scores
from cloudseed.surrogate.random_search import exact_random_best, expected_random_best


def scores(mean, sd):
    mean = np.asarray(mean, dtype=float)
    return Scores(
        rows=np.arange(len(mean)),
        mean=mean,
        sd=np.broadcast_to(np.asarray(sd, dtype=float), mean.shape),
        acquisition=np.zeros(len(mean)),
        feasible=np.ones(len(mean)),
        properties=("a", "b")[: mean.shape[1]],
    )


@pytest.mark.parametrize("direction", ["max", "min"])
def test_exact_agrees_with_counting_all_subsets(direction):
    values = np.random.default_rng(0).normal(size=7)
    feasible = np.array([1, 0, 1, 1, 0, 0, 1], dtype=bool)
    best = max if direction == "max" else min
    expected, found = exact_random_best(values, count=9, direction=direction, feasible=feasible)
    assert len(expected) == 7
    for k in range(1, 8):
        subsets = [
            [values[i] for i in s if feasible[i]] for s in itertools.combinations(range(7), k)
        ]
        hits = [best(s) for s in subsets if s]
        assert expected[k - 1] == pytest.approx(np.mean(hits))
        assert found[k - 1] == pytest.approx(len(hits) / len(subsets))


def test_exact_is_stable_on_a_large_pool():
    values = np.random.default_rng(0).normal(size=20_000)
    expected, found = exact_random_best(values, count=300)
    assert (np.diff(expected) > 0).all()
    np.testing.assert_allclose(found, 1.0)
    draws = [np.random.default_rng(s).choice(values, 300, replace=False).max() for s in range(400)]
    assert expected[-1] == pytest.approx(np.mean(draws), abs=0.05)


def test_exact_without_anything_feasible():
    expected, found = exact_random_best(np.ones(4), count=3, feasible=np.zeros(4, dtype=bool))
    assert np.isnan(expected).all()
    assert (found == 0).all()


@pytest.mark.parametrize("direction", ["max", "min"])
def test_certain_posterior_gives_the_exact_curve(direction):
    values = np.random.default_rng(1).normal(size=30)
    curve = expected_random_best(
        scores(values[:, None], 0), problem(f"{direction} a"), count=10, seed=0, draws=20_000
    )
    exact, _ = exact_random_best(values, count=10, direction=direction)
    np.testing.assert_allclose(curve.expected, exact, atol=0.03)
    assert (curve.found == 1).all()
    low, high = np.minimum(curve.lower, curve.upper), np.maximum(curve.lower, curve.upper)
    assert ((low <= curve.expected) & (curve.expected <= high)).all()


def test_infeasible_values_do_not_count():
    mean = np.column_stack([np.arange(10.0), np.arange(10.0)])
    known = replace(scores(mean, 0), feasible=(mean[:, 1] <= 4.5).astype(float))
    curve = expected_random_best(
        known, problem("max a", ["b <= 4.5"]), count=10, seed=0, draws=5_000
    )
    assert curve.expected[-1] == 4
    assert curve.found[0] == pytest.approx(0.5, abs=0.03)
    assert curve.found[-1] == 1


@pytest.mark.parametrize("direction", ["max", "min"])
def test_half_of_all_campaigns_get_as_far_as_the_median(direction):
    """Of few that are feasible, and whatever the first that is found happens to be worth."""
    values = np.random.default_rng(0).normal(size=500) * (1 if direction == "max" else -1)
    known = replace(scores(np.column_stack([values, values]), 0), feasible=np.zeros(500))
    known.feasible[:10] = 1.0
    goal = problem(f"{direction} a", ["b >= -9"])
    curve = expected_random_best(known, goal, count=500, seed=0, draws=2_000)
    merit = curve.median if direction == "max" else -curve.median
    begun = int(np.flatnonzero(~np.isnan(merit))[0])
    assert (np.diff(merit[begun:]) >= 0).all()
    assert curve.found[begun - 1] < 0.5 <= curve.found[begun]
    ranked = np.sort(values[:10] if direction == "max" else -values[:10])[::-1]
    for place in (1, 3, 6):
        # None of so many best ones is among k of N with probability C(N - m, k) / C(N, k).
        missed = np.cumprod([(500 - place - k) / (500 - k) for k in range(500 - place)])
        exact = int(np.flatnonzero(missed <= 0.5)[0])
        there = int(np.flatnonzero(merit >= ranked[place - 1])[0])
        assert there == pytest.approx(exact, rel=0.1)


def test_start_is_never_lost():
    curve = expected_random_best(
        scores([[0.0], [1.0]], 0.1), problem("max a"), count=5, seed=0, start=3.0
    )
    assert len(curve.expected) == 2
    np.testing.assert_allclose(curve.expected, 3.0)


def test_uncertainty_widens_the_band_and_seeds_repeat():
    mean = np.zeros((50, 1))
    wide = expected_random_best(scores(mean, 1.0), problem("max a"), count=5, seed=0)
    slim = expected_random_best(scores(mean, 0.1), problem("max a"), count=5, seed=0)
    assert ((wide.upper - wide.lower) > 5 * (slim.upper - slim.lower)).all()
    again = expected_random_best(scores(mean, 1.0), problem("max a"), count=5, seed=0)
    np.testing.assert_array_equal(wide.expected, again.expected)


def test_senseless_campaigns_are_refused():
    with pytest.raises(InputError):
        expected_random_best(scores([[0.0]], 0.1), problem("max a"), count=0, seed=0)
    with pytest.raises(InputError):
        expected_random_best(scores([[0.0]], 0.1), problem("max c"), count=1, seed=0)


def test_hits_are_counted_by_their_probabilities():
    known = replace(scores(np.zeros((40, 1)), 1.0), feasible=np.full(40, 0.25))
    curve = expected_random_best(known, problem("a in [0, 1]"), count=20, seed=0, draws=4_000)
    assert curve.expected[-1] == pytest.approx(5.0, abs=0.15)
    assert curve.found[0] == pytest.approx(0.25, abs=0.03)
    assert curve.lower[-1] <= 5 <= curve.upper[-1]
