"""What random picks find in a known pool, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import hypergeom

from cloudseed.surrogate.front import random_hypervolumes
from cloudseed.surrogate.random_search import exact_random_best

if TYPE_CHECKING:
    import numpy.typing as npt

    from cloudseed.surrogate.backtesting.truth import Truth

    Array = npt.NDArray[np.float64]

__all__ = ["Chance", "chance_of", "experiments_of_random"]

#: Quantiles of every band.
BAND = (0.05, 0.95)
#: Random campaigns that the band of a hypervolume is made from.
_ORDERS = 200


@dataclass(frozen=True, eq=False)
class Chance:
    """What k random picks find, for k = 1 ... budget.

    Attributes:
        found: Expected hits.
        found_band: 5th and 95th percentile of the hits, 2 x budget.
        any_hit: Probability of at least one hit.
        best: Expected best feasible merit given that there is one, NaN where there is none.
            Of several objectives the expected hypervolume, as a share of the pool's.
        best_band: 5th and 95th percentile of the best merit, 2 x budget; minus infinity where
            nothing feasible is found as often as that.
    """

    found: Array
    found_band: Array
    any_hit: Array
    best: Array
    best_band: Array


def experiments_of_random(wanted: int, hits: int, total: int) -> float:
    """Returns the expected number of random picks until `wanted` of the hits are found.

    The wanted-th of M hits in N lies at wanted (N + 1) / (M + 1) on average, a property of order
    statistics without replacement.

    >>> experiments_of_random(1, 1, 99)
    50.0
    """
    return wanted * (total + 1) / (hits + 1)


def chance_of(truth: Truth, budget: int) -> Chance:
    """Returns what random picks find, up to `budget` of them."""
    total, hits = len(truth.hits), int(truth.hits.sum())
    k = np.arange(1, min(budget, total) + 1)
    feasible = np.isfinite(truth.merit)
    if truth.merits is not None:
        best, band = _volumes(truth, len(k))
    elif feasible.any():
        best = exact_random_best(truth.merit, count=len(k), feasible=feasible)[0]
        band = _best_band(np.sort(truth.merit[feasible])[::-1], total, len(k))
    else:
        best, band = np.full(len(k), np.nan), np.full((2, len(k)), np.nan)
    return Chance(
        found=k * hits / total,
        found_band=np.array([hypergeom.ppf(q, total, hits, k) for q in BAND]),
        any_hit=1 - hypergeom.pmf(0, total, hits, k),
        best=best,
        best_band=band,
    )


def _volumes(truth: Truth, count: int) -> tuple[Array, Array]:
    """Returns the hypervolume that k = 1 ... count picks dominate, and percentiles, 2 x count."""
    assert truth.merits is not None, "there is a front"
    assert truth.reference is not None, "a front has a reference"
    known = truth.merits[np.isfinite(truth.merits).all(axis=1)]
    total = len(truth.hits)
    expected = random_hypervolumes(known, truth.reference, total, count)
    rng = np.random.default_rng(0)
    orders = np.stack([rng.permutation(total)[:count] for _ in range(_ORDERS)])
    reached = truth.reached(orders)
    assert reached is not None, "a front ranks candidates"
    return expected / (truth.volume or 1.0), np.quantile(reached[0], BAND, axis=0)


def _best_band(ranked: Array, total: int, count: int) -> Array:
    """Returns percentiles of the best of k = 1 ... count picks, 2 x count.

    None of the j best is among k picks with probability prod_i (N - j - i) / (N - i), i < k.
    """
    place = np.arange(1, len(ranked) + 1)
    log_missed = np.zeros(len(ranked))
    band = np.full((2, count), -np.inf)
    with np.errstate(divide="ignore"):
        for k in range(count):
            log_missed += np.log(np.maximum(total - place - k, 0) / (total - k))
            missed = np.exp(log_missed)
            for line, quantile in enumerate(BAND):
                # The best reaches the j-th with probability 1 - missed, which grows with j.
                reached = np.flatnonzero(1 - missed >= 1 - quantile)
                if len(reached):
                    band[line, k] = ranked[reached[0]]
    return band
