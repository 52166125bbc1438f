"""Curves over experiments: a mean over runs, the runs' band, and how sure the mean is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.backtesting.chance import BAND

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.backtesting.protocols import Run
    from cloudseed.surrogate.backtesting.truth import Truth

    Array = npt.NDArray[np.float64]

__all__ = ["Curve", "Curves", "bootstrap_weights", "curve_of", "curves_of"]

#: Resamples of the runs that a confidence interval is made from.
RESAMPLES = 2_000
#: Quantiles of every confidence interval.
CONFIDENCE = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class Curve:
    """A quantity after 1, 2, ... k experiments, over runs under different seeds.

    Attributes:
        mean: Mean over the runs that have a value, k; NaN where none has.
        band: 5th and 95th percentile of the runs, 2 x k.
        interval: 95 % bootstrap confidence interval of the mean, 2 x k.
    """

    mean: Array
    band: Array
    interval: Array


@dataclass(frozen=True, eq=False)
class Curves:
    """What the runs of one method found; names after Borg et al., Digital Discovery 2, 327 (2023).

    Attributes:
        found: Hits among the first k experiments.
        discovery_yield: The same as a share of all hits.
        discovery_probability: Share of the runs whose k-th experiment is a hit, k.
        enhancement: Share of the hits that are found, over the share of the pool that is measured
            (Liang et al., npj Comput. Mater. 7, 188, 2021), k.
        best: Best feasible objective so far, in its own unit, over the runs that have one; of
            several objectives the hypervolume, as a share of the pool's. None where nothing ranks
            candidates.
        regret: How far that is from the pool's best; a run without anything feasible counts with
            the pool's worst feasible value.
    """

    found: Curve
    discovery_yield: Curve
    discovery_probability: Array
    enhancement: Array
    best: Curve | None
    regret: Curve | None


def curves_of(runs: Sequence[Run], truth: Truth) -> Curves:
    """Returns the curves of one method's runs.

    Args:
        runs: At least one, all of the same length.
        truth: What they searched.
    """
    orders = np.array([run.order for run in runs], dtype=np.int64)
    is_hit = truth.hits[orders]
    found = np.cumsum(is_hit, axis=1).astype(np.float64)
    share = found / truth.hits.sum()
    measured = np.arange(1, orders.shape[1] + 1) / len(truth.hits)
    reached = truth.reached(orders)
    return Curves(
        found=curve_of(found),
        discovery_yield=curve_of(share),
        discovery_probability=is_hit.mean(axis=0),
        enhancement=share.mean(axis=0) / measured,
        best=None if reached is None else curve_of(reached[0]),
        regret=None if reached is None else curve_of(reached[1]),
    )


def curve_of(values: Array) -> Curve:
    """Reduces runs x k values, NaN where a run has none."""
    known = np.isfinite(values)
    weights = bootstrap_weights(len(values))
    band = np.full((2, values.shape[1]), np.nan)
    some = known.any(axis=0)
    band[:, some] = np.nanquantile(values[:, some], BAND, axis=0)
    means = _weighted(weights, values, known)
    interval = np.full((2, values.shape[1]), np.nan)
    interval[:, some] = np.nanquantile(means[:, some], CONFIDENCE, axis=0)
    return Curve(_weighted(np.ones((1, len(values))), values, known)[0], band, interval)


def bootstrap_weights(runs: int) -> Array:
    """Returns how often each run is drawn in each resample, resamples x runs."""
    rng = np.random.default_rng(0)
    return rng.multinomial(runs, np.full(runs, 1 / runs), size=RESAMPLES).astype(np.float64)


def _weighted(weights: Array, values: Array, known: npt.NDArray[np.bool_]) -> Array:
    """Returns weighted means over known values, b x k; NaN where none has weight."""
    sums = weights @ np.where(known, values, 0.0)
    counts = weights @ known.astype(np.float64)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
