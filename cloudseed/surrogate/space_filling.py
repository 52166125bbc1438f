"""The first experiments, before there is anything to model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["fill_space"]

#: Candidates that callers pass at most; a random part stands for a larger pool.
MAX_ROWS = 10_000
#: Draws for each pick, of which the one that represents the pool best is kept.
_DRAWS = 16


def fill_space(candidates: Array, taken: Array, batch: int, rng: np.random.Generator) -> list[int]:
    """Chooses points that are unlike each other and stand for the whole pool.

    This is the greedy k-means++ seeding (D. Arthur and S. Vassilvitskii, k-means++: The Advantages
    of Careful Seeding, SODA 2007): each pick is drawn in proportion to its squared distance from
    all points taken so far, several times over, and the draw that brings the pool closest to a
    taken point is kept.

    Args:
        candidates: Projected features to choose from, k x p.
        taken: Projected features of what is measured or pending, t x p; t may be 0.
        batch: Number of picks.
        rng: Decides the draws.

    Returns:
        min(batch, k) positions in `candidates`, in order of choice, each once.
    """
    nearest = _nearest(candidates, taken)
    free = np.ones(len(candidates), dtype=bool)
    picks: list[int] = []
    for _ in range(min(batch, len(candidates))):
        draws = _draw(nearest, free, rng)
        gaps = np.minimum(nearest, cdist(candidates[draws], candidates, "sqeuclidean"))
        best = int(np.argmin(gaps.sum(axis=1)))
        nearest, pick = gaps[best], int(draws[best])
        free[pick] = False
        picks.append(pick)
    return picks


def _nearest(points: Array, taken: Array) -> Array:
    """Returns each point's squared distance to the nearest taken one; ones where none is."""
    nearest = np.full(len(points), np.inf)
    for start in range(0, len(taken), 256):
        part = cdist(taken[start : start + 256], points, "sqeuclidean").min(axis=0)
        nearest = np.minimum(nearest, part)
    return nearest


def _draw(
    nearest: Array, free: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draws free points in proportion to their squared distance; evenly where all are taken."""
    weights = np.where(free, np.where(np.isfinite(nearest), nearest, 1.0), 0.0)
    total = weights.sum()
    if total <= 0 or not np.isfinite(total):
        weights = free.astype(np.float64)
        total = weights.sum()
    return rng.choice(len(nearest), size=_DRAWS, p=weights / total)
