"""Acceleration factors: how many experiments random needs for each of ours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.backtesting.chance import experiments_of_random
from cloudseed.surrogate.backtesting.curves import CONFIDENCE, bootstrap_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.surrogate.backtesting.protocols import Run
    from cloudseed.surrogate.backtesting.truth import Truth

__all__ = ["FRACTIONS", "Acceleration", "accelerations"]

FRACTIONS = (0.5, 0.9, 1.0)
"""Shares of the hits at which methods are compared."""


@dataclass(frozen=True, slots=True)
class Acceleration:
    """Experiments until a share of the hits is found.

    Runs that end before that are censored: they count with the whole pool, which they cannot
    exceed, so that the factor is a lower bound; `at_most` counts them with their budget instead.

    Attributes:
        fraction: The share.
        wanted: The same in hits.
        random: Experiments that random needs, the exact expectation.
        median: Median of the experiments of the runs; None where half of them or more are censored.
        factor: Random's experiments over the mean of the runs'; a lower bound if any is censored.
        at_most: An upper bound of the same factor; equal to it if none is censored.
        interval: 95 % bootstrap confidence interval of `factor`.
        runs: Number of runs.
        censored: How many of them ended before.
    """

    fraction: float
    wanted: int
    random: float
    median: float | None
    factor: float
    at_most: float
    interval: tuple[float, float]
    runs: int
    censored: int

    @property
    def is_bound(self) -> bool:
        """Whether `factor` is only a lower bound."""
        return self.censored > 0

    @property
    def text(self) -> str:
        """The factor as it may be quoted, with how many runs got there; "-" if none did."""
        if not self.censored:
            return f"{self.factor:.1f}"
        reached = self.runs - self.censored
        return f"≥{self.factor:.1f} ({reached}/{self.runs})" if reached else "-"


def accelerations(
    runs: Sequence[Run], truth: Truth, fractions: Sequence[float] = FRACTIONS
) -> tuple[Acceleration, ...]:
    """Returns the acceleration factor of one method's runs at each share of the hits."""
    return tuple(_acceleration(runs, truth, fraction) for fraction in fractions)


def _acceleration(runs: Sequence[Run], truth: Truth, fraction: float) -> Acceleration:
    total, hits = len(truth.hits), int(truth.hits.sum())
    wanted = math.ceil(fraction * hits - 1e-9)
    needed = np.array([_needed(run, truth, wanted) for run in runs])
    censored = np.isinf(needed)
    budgets = np.array([len(run.order) for run in runs], dtype=np.float64)
    counted = np.where(censored, total, needed)
    random = experiments_of_random(wanted, hits, total)
    means = bootstrap_weights(len(runs)) @ counted / len(runs)
    low, high = np.quantile(random / means, CONFIDENCE)
    median = float(np.median(needed))
    return Acceleration(
        fraction=fraction,
        wanted=wanted,
        random=random,
        median=median if math.isfinite(median) else None,
        factor=random / float(counted.mean()),
        at_most=random / float(np.where(censored, budgets, needed).mean()),
        interval=(float(low), float(high)),
        runs=len(runs),
        censored=int(censored.sum()),
    )


def _needed(run: Run, truth: Truth, wanted: int) -> float:
    """Returns the experiments until so many hits were found; infinity if they never were."""
    places = np.flatnonzero(truth.hits[np.array(run.order, dtype=np.int64)])
    return float(places[wanted - 1] + 1) if len(places) >= wanted else math.inf
