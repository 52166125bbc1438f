"""Each measurement predicted from all the others, and how probable that makes what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import logsumexp

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["LeftOut", "Outliers"]

#: Half the width of a normal distribution's central 90 %, in standard deviations.
_Z90 = 1.6448536269514722
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Outliers(NamedTuple):
    """How often a value has noise of its own, and how much.

    Attributes:
        share: Of values that do.
        variance: Of that noise, standardised.
    """

    share: float
    variance: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Predictions of standardised values, each from all the others.

    Attributes:
        targets: What was measured, n.
        mean: What is predicted, n.
        sd: Its standard deviation, n, noise included, but not that of outliers.
        outliers: What is known of outliers; None where the model knows none.
    """

    targets: Array
    mean: Array
    sd: Array
    outliers: Outliers | None = None

    def log_densities(self) -> Array:
        """Returns the log density of each value, n.

        Where a model knows outliers, a value may be one with the probability that they have: the
        density is a mixture, since nothing tells of a value that was left out.
        """
        plain = _log_normal(self.targets - self.mean, self.sd)
        if self.outliers is None:
            return plain
        share, variance = self.outliers
        wide = _log_normal(self.targets - self.mean, np.sqrt(self.sd**2 + variance))
        both = np.stack([np.log1p(-share) + plain, math.log(share) + wide])
        return np.asarray(logsumexp(both, axis=0))

    def figures(self, scale: float) -> dict[str, float]:
        """Returns how well values are predicted from all the others, in the property's unit.

        Args:
            scale: What a standardised unit is in the property's own.

        Returns:
            `n`, `coverage90`, `nlpd` (mean negative log predictive density), `mae` and, where the
            values differ, `r2`.
        """
        error = self.targets - self.mean
        spread = float(self.targets.var())
        return {
            "n": len(error),
            "coverage90": float((np.abs(error) <= _Z90 * self.sd).mean()),
            "nlpd": float(-self.log_densities().mean()) + math.log(scale),
            "mae": float(np.abs(error).mean()) * scale,
            **({"r2": 1 - float((error * error).mean()) / spread} if spread > 0 else {}),
        }


def _log_normal(error: Array, sd: Array) -> Array:
    z = error / sd
    return np.asarray(-0.5 * z * z - np.log(sd) - _LOG_SQRT_2PI)
