"""A cheap source before the one that counts: which of them is to measure a candidate.

A candidate's cheap value is a test that costs little and tells something of what the dear one would
be. Tests that all must be passed cost, on average, what each costs times the chance that it is
reached (L. G. Mitten, J. Ind. Eng. 11, 17 (1960); `screening` orders several). A candidate passes
if its cheap value makes it no less likely to be what is sought than it was thought before. So
going by way of the cheap source costs its price plus the share that passes, and keeps that part of
the good ones which passes too. A candidate is valued over the cost that is least per good one kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from cloudseed.surrogate import judging
from cloudseed.surrogate.acquisition import SMALLEST_SD
from cloudseed.surrogate.fidelities import FidelitySurrogate
from cloudseed.surrogate.normal import log_probability_between

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion
    from cloudseed.surrogate.protocols import CheapSource, Choice, Observations
    from cloudseed.surrogate.space import Space

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["begin", "passing", "relative_costs"]

#: Values that the cheap source may give, in standard deviations, and how likely each is.
_NODES, _WEIGHTS = hermegauss(32)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
#: A chance counts as no smaller where it is so by less than this share.
_ROUNDING = 1e-9
#: Rows that are looked at together.
_CHUNK = 4_096


def relative_costs(
    space: Space, criterion: Criterion, rows: Rows, cheap: CheapSource
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Returns what rows cost until they are known, and which the cheap source measures first.

    Args:
        space: The pool.
        criterion: Models of what is sought.
        rows: Candidates that the dear source has not measured, k.
        cheap: The cheap source.

    Returns:
        Costs over that of one dear value, per good candidate kept, k: 1 where the cheap source has
        nothing more to say or does not pay; and whether it comes first, k.
    """
    costs, first = np.ones(len(rows)), np.zeros(len(rows), dtype=bool)
    fresh = np.flatnonzero(~np.isin(rows, cheap.done))
    if not len(fresh) or not np.isfinite(cheap.price):
        return costs, first
    limits = _sought(space, criterion, rows)
    passed, kept = np.ones(len(fresh)), np.ones(len(fresh))
    for start in range(0, len(fresh), _CHUNK):
        part = slice(start, start + _CHUNK)
        x = space[rows[fresh[part]]]
        for name, (lower, upper) in limits.items():
            model = criterion.surrogates[name]
            mean, sd, _ = model.evaluate(x, -np.inf, np.inf)
            sd = np.maximum(sd, SMALLEST_SD * model.scale)
            # Of a source that is not known yet the best is hoped.
            told = model.explained(x) if isinstance(model, FidelitySurrogate) else np.ones(len(x))
            # A front has no value to exceed: its members come out better than expected.
            low = mean if lower is None else lower
            high = mean if upper is None else upper
            through, good = passing(mean, sd, told, low, high)
            passed[part] *= through
            kept[part] *= good
    by_way = (cheap.price + passed) / kept
    first[fresh] = by_way < 1
    costs[fresh] = np.minimum(by_way, 1)
    return costs, first


def passing(
    mean: Array, sd: Array, told: Array, lower: Array | float, upper: Array | float
) -> tuple[Array, Array]:
    """Returns how many candidates pass a cheap test, and how many of those that are sought.

    A candidate passes if its cheap value leaves the chance that it is within its bounds as large as
    before, or makes it larger.

    Args:
        mean: Posterior means, k.
        sd: Posterior standard deviations, k, positive.
        told: Share of the variance that a cheap value takes away, k.
        lower: Lower bound, one or k.
        upper: Upper bound, one or k.

    Returns:
        The chance to pass, k, and the chance of one within its bounds to pass, k.
    """
    shift, left = sd * np.sqrt(told), sd * np.sqrt(1 - told)
    low, high = (np.broadcast_to(end, mean.shape)[:, None] for end in (lower, upper))
    means = mean[:, None] + shift[:, None] * _NODES
    chances = np.exp(log_probability_between(means, left[:, None], low, high))
    before = chances @ _WEIGHTS
    passes = chances >= before[:, None] * (1 - _ROUNDING)
    sure = before <= 0
    kept = (chances * passes) @ _WEIGHTS / np.where(sure, 1.0, before)
    # What cannot be within its bounds is not told apart by any value.
    return np.where(sure, 1.0, passes @ _WEIGHTS), np.where(sure, 1.0, kept)


def begin(
    choose: Callable[[Observations, Rows, int], Choice],
    observations: Observations,
    available: Rows,
    cheap: CheapSource,
    batch: int,
) -> Choice:
    """Chooses before a model can: new candidates for the cheap source, known ones for the dear.

    Half of the batch goes to the dear source and repeats what the cheap one has measured, so that
    it is soon known how far they go together; all of it where the cheap source cannot be asked.

    Args:
        choose: Given what is known, rows and their number, chooses among them.
        observations: What was measured.
        available: Rows that may be chosen, none of them pending or known for good.
        cheap: The cheap source.
        batch: The most rows to choose.
    """
    fresh = available[~np.isin(available, cheap.done)]
    again = np.setdiff1d(available, fresh)
    if not np.isfinite(cheap.price):
        fresh, again = fresh[:0], available
    repeated = min(len(again), (batch + 1) // 2 if len(fresh) else batch)
    asked = (
        (observations.counting, again, repeated, 0),
        (observations, fresh, batch - repeated, 1),
    )
    made = [(choose(known, rows, count), source) for known, rows, count, source in asked if count]
    picks = tuple(row for choice, _ in made for row in choice.picks)
    sources = tuple(source for choice, source in made for _ in choice.picks)
    told: dict[str, object] = {**made[-1][0].model, "scored": 0, "sources": list(sources)}
    for name in ("roles", "promising"):
        told.pop(name, None)
    return replace(made[-1][0], picks=picks, scores=None, model=told, sources=sources)


def _sought(
    space: Space, criterion: Criterion, rows: Rows
) -> dict[str, tuple[float | None, float | None]]:
    """Returns between which values each property is sought; None for the candidate's own mean.

    Of an optimum they are better than the best so far; of a share of the pool, among that share of
    the posterior means.
    """
    problem = criterion.problem
    limits: dict[str, tuple[float | None, float | None]] = {
        name: (low, high)
        for name, (low, high) in judging.bounds(problem).items()
        if name in criterion.surrogates
    }
    goal = problem.objective
    if problem.further:
        for one in problem.objectives:
            if one.property not in limits:
                end = (-np.inf, None) if one.direction == "min" else (None, np.inf)
                limits[one.property] = end
    elif goal.share is not None:
        mean = np.concatenate(
            [
                criterion.objective.evaluate(space[rows[at : at + _CHUNK]], -np.inf, np.inf)[0]
                for at in range(0, len(rows), _CHUNK)
            ]
        )
        highest = goal.end == "highest"
        begins = float(np.quantile(mean, 1 - goal.share if highest else goal.share))
        limits[goal.property] = (begins, np.inf) if highest else (-np.inf, begins)
    elif goal.direction != "find":
        low, high = (float(end) for end in criterion.goal.better(criterion.best))
        below, above = judging.bounds(problem).get(goal.property, (-np.inf, np.inf))
        low, high = max(low, below), min(high, above)
        # Where bounds leave nothing that is better, they alone are what is sought.
        limits[goal.property] = (low, high) if low < high else (below, above)
    return limits
