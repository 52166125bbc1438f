"""The figures of replays, against counting by hand and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cloudseed.surrogate import parse_problem
from cloudseed.surrogate.backtesting import (
    Forecast,
    Run,
    Truth,
    accelerations,
    chance_of,
    curves_of,
    foresight,
)

PROBLEM = parse_problem("min score")


@pytest.fixture(scope="module")
def truth():
    return Truth.of(PROBLEM, {"score": np.arange(20.0)}, share=0.2)


def test_curves_count_hits_and_the_best(truth):
    runs = [Run((19, 0, 1, 4), 1), Run((5, 6, 3, 2), 1)]
    curves = curves_of(runs, truth)
    assert curves.found.mean.tolist() == [0, 0.5, 1.5, 2]
    assert curves.discovery_yield.mean.tolist() == [0, 0.125, 0.375, 0.5]
    assert curves.discovery_probability.tolist() == [0, 0.5, 1, 0.5]
    assert curves.enhancement.tolist() == pytest.approx([0, 1.25, 2.5, 2.5])
    assert curves.best.mean.tolist() == [12, 2.5, 1.5, 1]
    assert curves.regret.mean.tolist() == [12, 2.5, 1.5, 1]
    assert curves.found.interval[0, 1] == 0
    assert curves.found.interval[1, 1] == 1


def test_acceleration_counts_censored_runs_with_the_pool(truth):
    runs = [Run((0, 1, 2, 3), 1), Run((0, 1, 9, 8), 1)]
    half, most, every = accelerations(runs, truth)
    assert (half.wanted, half.censored, half.median) == (2, 0, 2)
    assert half.factor == half.at_most == pytest.approx(2 * 21 / 5 / 2)
    assert (most.wanted, every.wanted) == (4, 4)
    assert (every.censored, every.median, every.is_bound) == (1, None, True)
    assert every.factor == pytest.approx(4 * 21 / 5 / 12)
    assert every.at_most == pytest.approx(4 * 21 / 5 / 4)
    assert every.interval[0] <= every.factor <= every.interval[1]
    assert every.text == "≥1.4 (1/2)"
    assert accelerations([Run((9, 8), 1)], truth)[0].text == "-"


def test_chance_agrees_with_random_orders():
    rng = np.random.default_rng(0)
    values = {"score": rng.normal(size=40), "cost": rng.normal(size=40)}
    truth = Truth.of(parse_problem("max score", ["cost <= 1"]), values, share=0.1)
    runs = [Run(tuple(rng.permutation(40)[:15].tolist()), 15) for _ in range(3000)]
    chance, curves = chance_of(truth, 15), curves_of(runs[:500], truth)
    assert chance.found == pytest.approx(curves.found.mean, abs=0.15)
    orders = np.array([r.order for r in runs])
    found = np.cumsum(truth.hits[orders], axis=1)
    assert chance.any_hit == pytest.approx((found > 0).mean(axis=0), abs=0.03)
    assert chance.found_band[1, -1] == np.quantile(found[:, -1], 0.95)
    best = np.maximum.accumulate(truth.merit[orders], axis=1)
    for line, quantile in enumerate((0.05, 0.95)):
        assert chance.best_band[line, 9] == np.quantile(best[:, 9], quantile, method="lower")
    assert chance.best == pytest.approx(curves.best.mean, abs=0.2)
    half = accelerations(runs[:200], truth)[0]
    whole = [Run(tuple(rng.permutation(40).tolist()), 0) for _ in range(400)]
    assert accelerations(whole, truth)[0].factor == pytest.approx(1, abs=0.1)
    assert half.factor < 1 < half.at_most


def test_a_goal_without_anything_feasible_yet_has_no_best():
    values = {"score": np.arange(6.0), "cost": np.array([2.0, 2, 2, 0, 0, 0])}
    truth = Truth.of(parse_problem("max score", ["cost <= 1"]), values, share=0.3)
    curves = curves_of([Run((0, 1, 3), 1)], truth)
    assert np.isnan(curves.best.mean).tolist() == [True, True, False]
    assert curves.regret.mean.tolist() == [2, 2, 2]
    assert math.isinf(chance_of(truth, 1).best_band[0, 0])


def test_foresight_compares_forecasts_with_what_came():
    truth = Truth.of(PROBLEM, {"score": np.array([0.0, 1.0, 2.0, np.nan])}, share=0.3)
    forecasts = [Forecast(0, "score", 0.0, 1.0), Forecast(2, "score", 0.0, 1.0)]
    forecasts.append(Forecast(3, "score", 0.0, 1.0))
    (found,) = foresight([Run((0, 2, 3), 0, tuple(forecasts))], truth)
    assert (found.count, found.coverage90, found.sharpness) == (2, 0.5, 1.0)
    assert found.mean_absolute_error == 1.0
    assert found.nlpd == pytest.approx(0.5 * math.log(2 * math.pi) + 1)
