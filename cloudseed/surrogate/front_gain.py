"""What candidates are expected to add to a Pareto front, in closed form.

Above a reference, what a front does not dominate is a set of boxes. The properties of a candidate
are independent given the models, so the volume that it is expected to add in a box is a product
over the objectives, and all of it the sum over the boxes: the expected hypervolume improvement of
M. Emmerich et al., IEEE Congress on Evolutionary Computation 2011, by the boxes of S. Daulton,
M. Balandat and E. Bakshy, NeurIPS 2020, arXiv:2006.05078. It is kept in logarithms, so that it is
right however small it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from cloudseed.surrogate.front import nondominated

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Goal

    Array = npt.NDArray[np.float64]

__all__ = ["FrontGain"]

#: Numbers that are held at once.
_ENTRIES = 2**21


@dataclass(frozen=True, slots=True)
class FrontGain:
    """A front as boxes.

    Attributes:
        goals: What is sought of each objective, m.
        lower: Lower corner of each box, in merits, c x m.
        upper: Upper corner, c x m, infinite where nothing bounds it.
    """

    goals: tuple[Goal, ...]
    lower: Array
    upper: Array

    @classmethod
    def of(cls, goals: Sequence[Goal], merits: Array, reference: Array) -> FrontGain:
        """Makes the boxes of what some merits, n x m, do not dominate above a reference, m."""
        points = merits[(merits > reference).all(axis=1)]
        lower, upper = _boxes(points[nondominated(points)], reference)
        return cls(tuple(goals), lower, upper)

    def log_gain(self, mean: Sequence[Array], sd: Sequence[Array]) -> Array:
        """Returns the log expected hypervolume that normal values add, k.

        Args:
            mean: Means of each objective, m arrays of k, in the unit of its goal.
            sd: Standard deviations, positive.
        """
        count = len(mean[0])
        step = max(1, _ENTRIES // max(len(self.lower), 1))
        parts = [
            self._log_gain([m[at : at + step] for m in mean], [s[at : at + step] for s in sd])
            for at in range(0, count, step)
        ]
        return np.concatenate([np.empty(0), *parts])

    def _log_gain(self, mean: Sequence[Array], sd: Sequence[Array]) -> Array:
        total = np.zeros((len(mean[0]), len(self.lower)))
        for j, goal in enumerate(self.goals):
            levels, place = np.unique(
                np.concatenate([self.lower[:, j], self.upper[:, j]]), return_inverse=True
            )
            finite = np.isfinite(levels)
            ramps = np.full((len(mean[j]), len(levels)), -np.inf)
            ramps[:, finite] = goal.log_gain(mean[j][:, None], sd[j][:, None], levels[finite])
            low, high = (ramps[:, part] for part in np.split(place, 2))
            with np.errstate(divide="ignore", invalid="ignore"):
                between = low + np.log1p(-np.exp(np.minimum(high - low, 0.0)))
            total += np.where(np.isneginf(low), -np.inf, between)
        return np.asarray(logsumexp(total, axis=1))


def _boxes(front: Array, reference: Array) -> tuple[Array, Array]:
    """Returns the corners of boxes that fill what a front does not dominate above a reference."""
    if front.shape[1] == 2:
        front = np.unique(front, axis=0)  # rising in the first objective, falling in the second
        lower = np.column_stack(
            [
                np.concatenate([reference[:1], front[:, 0]]),
                np.concatenate([front[:, 1], reference[1:]]),
            ]
        )
        upper = np.full_like(lower, np.inf)
        upper[:-1, 0] = front[:, 0]
        return lower, upper
    import torch
    from botorch.utils.multi_objective.box_decompositions.non_dominated import (
        FastNondominatedPartitioning,
    )

    points = torch.as_tensor(front, dtype=torch.float64)
    boxes = FastNondominatedPartitioning(torch.as_tensor(reference), points)
    lower, upper = boxes.get_hypercell_bounds().numpy()
    return lower, upper
