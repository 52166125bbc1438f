"""Batches by closed forms: what is pending or picked is believed to come as foreseen.

A point that is believed leaves all means as they are and takes away what is unsure near it, so that
the next pick goes elsewhere without a penalty that somebody would have to choose: the batch upper
confidence bound of T. Desautels, A. Krause and J. W. Burdick, J. Mach. Learn. Res. 15, 3873 (2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_solve

from cloudseed.surrogate.batch import best_left, cholesky

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["Belief", "choose_believing"]

#: Smallest variance, as a share of the largest prior one.
_SMALLEST = 1e-10


@dataclass(slots=True)
class Belief:
    """A normal variable at some candidates, with what is pending or picked believed.

    Attributes:
        mean: Its means, k.
        covariance: Its covariance, k x k.
        noise: Variance of a measurement.
    """

    mean: Array
    covariance: Array
    noise: float

    @classmethod
    def of(cls, mean: Array, joint: Array, waiting: int, noise: float) -> Belief:
        """Believes the first points.

        Args:
            mean: Means at pending points and candidates, w + k.
            joint: Their covariance, (w + k) x (w + k).
            waiting: How many are pending, w.
            noise: Variance of a measurement, not negative.

        Raises:
            FitError: If the covariance is not positive definite.
        """
        noise = max(noise, _SMALLEST * float(np.diag(joint).max()))
        if waiting:
            inner = joint[:waiting, :waiting] + noise * np.eye(waiting)
            cross = joint[:waiting, waiting:]
            explained = cross.T @ cho_solve((cholesky(inner), True), cross)
            return cls(mean[waiting:], joint[waiting:, waiting:] - explained, noise)
        return cls(mean, joint, noise)

    @property
    def sd(self) -> Array:
        """Standard deviations of the variable itself, k."""
        return np.sqrt(np.maximum(np.diag(self.covariance), _SMALLEST * self.noise))

    def believe(self, pick: int) -> None:
        """Believes a candidate."""
        row = self.covariance[pick] / np.sqrt(self.covariance[pick, pick] + self.noise)
        self.covariance = self.covariance - np.outer(row, row)


def choose_believing(
    beliefs: Sequence[Belief], value: Callable[[], Array], batch: int
) -> list[int]:
    """Chooses one after another, believing each.

    Args:
        beliefs: The variables, on the same k candidates.
        value: Log of what each candidate is worth by the beliefs as they are, k.
        batch: Number of picks.

    Returns:
        min(batch, k) positions, in order of choice, each once.
    """
    count = len(beliefs[0].mean)
    left = np.ones(count, dtype=bool)
    picks: list[int] = []
    for _ in range(min(batch, count)):
        pick = best_left(value(), left)
        picks.append(pick)
        left[pick] = False
        for belief in beliefs:
            belief.believe(pick)
    return picks
