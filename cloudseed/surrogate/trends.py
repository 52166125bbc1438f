"""A prior mean that somebody else predicted, such as a head of the encoder.

The measurements decide how much of it holds: the mean is slope times prediction plus an offset, and
what that leaves is modelled by the Gaussian process. The slope has a normal prior about one, so
that with few measurements the prediction is believed, and with many a useless one is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["Trend", "fit_slope"]

#: Standard deviation of the slope's prior.
SLOPE_SPREAD = 0.5


@dataclass(frozen=True, slots=True)
class Trend:
    """A prior mean that is linear in one coordinate of the points.

    Attributes:
        column: Which coordinate.
        slope: How much of it holds.
    """

    column: int
    slope: float

    def __call__(self, x: Array) -> Array:
        """Returns the prior mean at points, k x p, less its offset, in the property's unit: k."""
        return np.asarray(self.slope * x[:, self.column])


def fit_slope(predicted: Array, y: Array) -> float:
    """Returns the slope of the posterior mode, for noise as large as a slope of one leaves.

    Args:
        predicted: What was predicted of each measurement, n, in the property's unit.
        y: Measured values, n.
    """
    h, v = predicted - predicted.mean(), y - y.mean()
    size = float(np.abs(h).max())
    if size == 0:
        return 1.0
    h, v = h / size, v / size
    noise = float((v - h).var()) / SLOPE_SPREAD**2
    # Where one fits exactly, it stays.
    return float((h @ v + noise) / (h @ h + noise)) if noise > 0 else 1.0
