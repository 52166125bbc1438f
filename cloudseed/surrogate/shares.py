"""Where the best share of a pool begins, as far as that can be told.

The share of a pool that is better than a threshold is expected to be the mean, over its members, of
the probability that each is. The threshold is where that mean is the share that is sought. Measured
members count as what they are. While the model knows little, that lies further out than the
same quantile of the posterior means, whose spread is smaller than that of the true values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.gp import FittedSurrogate
from cloudseed.surrogate.judging import bounded
from cloudseed.surrogate.modelling import known_feasible, replicate_means
from cloudseed.surrogate.normal import log_probability_between

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion
    from cloudseed.surrogate.modelling import Space
    from cloudseed.surrogate.protocols import Observations

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["bounded_criterion", "threshold"]

#: Halvings of the interval in which the threshold is looked for.
_HALVINGS = 50
#: Rows of a large pool that stand for all where the model is not a Gaussian process.
_SAMPLE = 20_000
_CHUNK = 16_384


def bounded_criterion(
    space: Space, criterion: Criterion, observations: Observations, rows: Rows
) -> tuple[Criterion, float]:
    """Puts a bound in the place of the share that is sought.

    Args:
        space: The pool.
        criterion: Models of a problem that seeks a share.
        observations: What was measured.
        rows: All other members of the pool that can be made as far as is known.

    Returns:
        The criterion of finding all beyond the bound, and the bound.
    """
    found = threshold(space, criterion, observations, rows)
    return replace(criterion, problem=bounded(criterion.problem, found)), found


def threshold(space: Space, criterion: Criterion, observations: Observations, rows: Rows) -> float:
    """Returns the value, in the property's unit, at which the share that is sought begins."""
    goal = criterion.problem.objective
    assert goal.share is not None, "only a share has a threshold"
    sign = 1.0 if goal.end == "highest" else -1.0
    measured, values = replicate_means(observations, (goal.property,))
    known = np.isfinite(values[:, 0])
    feasible = known_feasible(criterion, observations)[1][known]
    merits = sign * values[known, 0]
    rows = np.setdiff1d(rows, measured[known])
    beyond, chances, bulk = _unmeasured(space, criterion, rows, sign)
    # Where a constraint was not measured, what was measured counts in half.
    weights = np.where(np.isnan(feasible), 0.5, feasible)
    wanted = max(goal.share * (chances + weights.sum()), min(1.0, chances + weights.sum()))
    ends = np.concatenate([bulk, merits])
    low, high = float(ends.min()), float(ends.max())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        count = beyond(middle) + weights[merits >= middle].sum()
        low, high = (middle, high) if count >= wanted else (low, middle)
    return sign * low


def _unmeasured(
    space: Space, criterion: Criterion, rows: Rows, sign: float
) -> tuple[Callable[[float], float], float, Array]:
    """Returns how many rows are expected beyond a merit, how many count at all, and a range."""
    model = criterion.surrogates[criterion.problem.objective.property]
    if not len(rows):
        return (lambda _: 0.0), 0.0, np.empty(0)
    weigh = 1.0
    if not isinstance(model, FittedSurrogate) and len(rows) > _SAMPLE:
        kept = rows[np.linspace(0, len(rows) - 1, _SAMPLE).astype(np.int64)]
        weigh, rows = len(rows) / len(kept), kept
    parts = [
        criterion(space[rows[start : start + _CHUNK]]) for start in range(0, len(rows), _CHUNK)
    ]
    chance = weigh * np.exp(np.concatenate([p.log_feasible for p in parts]))
    mean = np.concatenate([p.mean[:, 0] for p in parts])
    sd = np.concatenate([p.sd[:, 0] for p in parts])
    if isinstance(model, FittedSurrogate):
        sd = np.hypot(sd, model.noise_sd)
        merit = sign * mean

        def beyond(least: float) -> float:
            return float(chance @ np.exp(log_probability_between(merit, sd, least, np.inf)))

    else:
        points = space[rows]

        def beyond(least: float) -> float:
            ends = (least, np.inf) if sign > 0 else (-np.inf, -least)
            return float(chance @ np.exp(model.evaluate(points, *ends)[2]))

    widest = 8 * float(sd.max())
    bulk = np.array([(sign * mean).min() - widest, (sign * mean).max() + widest])
    return beyond, float(chance.sum()), bulk
