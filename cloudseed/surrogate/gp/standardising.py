"""Values of one property made ready for a model: drawn in, freed of a trend, standardised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import InputError
from cloudseed.surrogate.space import LARGEST, SMALLEST
from cloudseed.surrogate.trends import Trend, fit_slope

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["NOTHING", "OUTLIER_LIMIT", "Standardised", "standardise"]

#: Values this many robust standard deviations from the median are drawn in for the fit.
OUTLIER_LIMIT = 10.0
#: Of those that are sought: so many, or this share, may be outliers. More are what values are like.
_FEW, _FEW_OF_MANY = 2, 0.05
NOTHING = (np.inf, -np.inf)
"""Where no value of a property is better than another."""
#: Standard deviations of all values; an uncertainty above so many tells as little as so many.
_BLIND = 1e6


@dataclass(frozen=True, slots=True)
class Standardised:
    """Values of one property, ready for a model.

    Attributes:
        targets: (value - trend - centre) / scale, outliers drawn in, n.
        centre: In the property's unit.
        scale: In the property's unit.
        trend: The prior mean; None for a constant one.
        offsets: The trend at the measurements, n, in the property's unit; None without one.
        noise: Known variances of measurement noise, standardised, n; None where none is known.
        lessened: How many of the values that are sought were drawn in.
    """

    targets: Array
    centre: float
    scale: float
    trend: Trend | None = None
    offsets: Array | None = None
    noise: Array | None = None
    lessened: int = 0


def standardise(
    x: Array,
    y: Array,
    *,
    name: str,
    spread: float | None,
    notes: list[str],
    prior: tuple[int, Array] | None = None,
    sigma: Array | None = None,
    wanted: tuple[float, float] = NOTHING,
) -> Standardised:
    """Checks values and makes them ready for a model; see `fit` for the arguments.

    Differences below `SMALLEST` are none.

    Raises:
        InputError: If there is no value, or one is NaN or above `LARGEST` in size.
    """
    if not len(y) or len(x) != len(y):
        raise InputError(
            f"{len(y)} values of {name} for {len(x)} rows of features make no model.",
            hint="Give one value per row, and at least one.",
            property=name,
        )
    if not (np.abs(y) <= LARGEST).all():
        raise InputError(
            f"A value of {name} is not a finite number, or above {LARGEST:g} in size.",
            hint="Leave out what was not measured; correct what overflowed.",
            property=name,
        )
    y = np.where(np.abs(y) < SMALLEST, 0.0, y)
    y, lessened = _drawn_in(y, name, notes, wanted)
    spread = None if spread is None or spread < SMALLEST else spread
    largest = float(np.abs(y).max())
    if np.ptp(y) <= 1e-12 * largest and (prior is None or len(y) > 1):
        found = Standardised(np.zeros(len(y)), float(np.median(y)), spread or largest or 1.0)
    elif prior is None:
        centre, scale = float(y.mean()), float(y.std())
        found = Standardised((y - centre) / scale, centre, scale)
    else:
        found = _beside_trend(y, *prior, spread)
    noise = None
    if sigma is not None:
        known = np.where(np.isnan(sigma), 0.0, np.minimum(sigma, _BLIND * found.scale))
        noise = (known / found.scale) ** 2
    found = replace(found, lessened=lessened)
    return found if noise is None or not noise.any() else replace(found, noise=noise)


def _beside_trend(y: Array, column: int, predicted: Array, spread: float | None) -> Standardised:
    """Returns what a trend leaves, standardised."""
    trend = Trend(column, fit_slope(predicted, y))
    offsets = trend.slope * predicted
    rest = y - offsets
    centre, scale = float(rest.mean()), float(rest.std())
    if scale <= max(1e-12 * float(np.abs(y).max()), SMALLEST):
        scale = spread or float(y.std()) or float(np.abs(y).max()) or 1.0
    return Standardised((rest - centre) / scale, centre, scale, trend, offsets)


def _drawn_in(
    y: Array, name: str, notes: list[str], wanted: tuple[float, float]
) -> tuple[Array, int]:
    """Returns the values with outliers at the limit, and how many of these are sought.

    Nothing is moved into or out of what is sought, and of that only a few are: rare good values lie
    far from the others too.
    """
    median = float(np.median(y))
    deviation = np.abs(y - median)
    # 1.4826 times the median deviation is the standard deviation of a normal distribution.
    limit = OUTLIER_LIMIT * 1.4826 * float(np.median(deviation))
    if not limit > 0 or len(y) < 5:
        return y, 0
    limit = max(limit, *(2 * abs(end - median) for end in wanted if np.isfinite(end)), 0.0)
    far = deviation > limit
    good = far & (y >= wanted[0]) & (y <= wanted[1])
    if good.sum() > max(_FEW, _FEW_OF_MANY * len(y)):
        far &= ~good
    if not far.any():
        return y, 0
    notes.append(
        f"{far.sum()} of {len(y)} values of {name} lie more than {OUTLIER_LIMIT:g} robust standard "
        "deviations from the median and are drawn in to that limit for the model"
    )
    drawn = np.clip(y, median - limit, median + limit)
    return np.where(far, drawn, y), int((far & good).sum())
