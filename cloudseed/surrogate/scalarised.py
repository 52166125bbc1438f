"""Many objectives as one, by a random weight for each pick.

The boxes of a front grow fast with the number of objectives. From four on, a pick improves on the
worst of the weighted objectives instead, with weights of its own: ParEGO (J. Knowles, IEEE Trans.
Evol. Comput. 10, 50, 2006). The objectives are independent given the models, so the expected
improvement is an integral over one variable, of a product of probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Goal

    Array = npt.NDArray[np.float64]

__all__ = ["MANY", "Scalarised", "simplex"]

#: From so many objectives on they are scalarised.
MANY = 4
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
#: Standard deviations above its mean that an objective is followed.
_FAR = 5.0


@dataclass(frozen=True, slots=True)
class Scalarised:
    """The worst of the weighted objectives, to be improved on.

    Attributes:
        goals: What is sought of each objective, m.
        weights: Weight of each, in one over its unit, m, positive.
        reference: Merits that are just not worth having, m.
        best: The best scalar so far; zero where none is better than the reference.
    """

    goals: tuple[Goal, ...]
    weights: Array
    reference: Array
    best: float

    @classmethod
    def of(
        cls, goals: Sequence[Goal], merits: Array, reference: Array, weights: Array
    ) -> Scalarised:
        """Makes the scalar, with the best that some merits, n x m, have of it."""
        scalars = (weights * (merits - reference)).min(axis=1) if len(merits) else np.zeros(1)
        return cls(tuple(goals), weights, reference, max(float(scalars.max()), 0.0))

    def log_gain(self, mean: Sequence[Array], sd: Sequence[Array]) -> Array:
        """Returns the log expected improvement of the scalar, k; as `FrontGain.log_gain`."""
        highest = np.min(
            [
                w * (goal.merit(m) + _FAR * s - r)
                for goal, w, m, s, r in zip(
                    self.goals, self.weights, mean, sd, self.reference, strict=True
                )
            ],
            axis=0,
        )
        width = np.maximum(highest - self.best, 1e-3 * (abs(self.best) + 1e-9))
        steps = self.best + width[:, None] * (1 + _NODES) / 2
        log_chance = np.zeros_like(steps)
        for j, goal in enumerate(self.goals):
            level = self.reference[j] + steps / self.weights[j]
            log_chance += goal.log_beyond(mean[j][:, None], sd[j][:, None], level)
        return np.asarray(logsumexp(log_chance, axis=1, b=_WEIGHTS / 2) + np.log(width))


def simplex(many: int, rng: np.random.Generator) -> Array:
    """Returns weights that are evenly spread over the simplex, m; none is below a thousandth."""
    drawn = rng.dirichlet(np.ones(many))
    return np.maximum(drawn, 1e-3)
