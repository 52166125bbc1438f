"""Expectations under normal distributions, in logarithms that neither under- nor overflow.

After S. Ament et al., Unexpected Improvements to Expected Improvement for Bayesian Optimization,
NeurIPS 2023, arXiv:2310.20708.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import erfcx, log_ndtr

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = [
    "log_expected_approach",
    "log_expected_improvement",
    "log_expected_ramp",
    "log_probability_between",
]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_LOG_SQRT_HALF_PI = 0.5 * math.log(math.pi / 2)
#: Below this standard score the tail of the expected improvement is its leading term.
_FAR_TAIL = -1e6
#: Nodes of a quadrature, and by how much the log density falls where it ends.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
_FALL = 37.0
#: Relative accuracy below which the expected approach is taken from its bounding box.
_CANCELLED = 1e-9


def log_probability_between(
    mean: Array, sd: Array, lower: Array | float, upper: Array | float
) -> Array:
    """Returns the log probability of a normal variable between two bounds, either may be infinite.

    Args:
        mean: Means, k.
        sd: Standard deviations, k; zero means that the mean is certain.
        lower: Lower bound.
        upper: Upper bound.
    """
    sd = np.maximum(sd, np.finfo(np.float64).tiny * 1e10)
    with np.errstate(over="ignore"):
        low, high = (lower - mean) / sd, (upper - mean) / sd
    # The side on which the difference of the two tails does not cancel.
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    log_low, log_high = log_ndtr(low), log_ndtr(high)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = log_high + np.log1p(-np.exp(np.minimum(log_low - log_high, 0.0)))
    return np.asarray(np.where(np.isneginf(log_low), log_high, between))


def log_expected_improvement(gain: Array, sd: Array) -> Array:
    """Returns the log expected improvement, finite however small it is.

    Args:
        gain: Posterior mean minus the best value so far, k.
        sd: Posterior standard deviation, k, positive.
    """
    z = np.asarray(gain / sd)
    out = np.empty_like(z)
    near, far = z > -1, z < _FAR_TAIL
    middle = ~near & ~far
    u = z[near]
    out[near] = np.log(np.exp(-u * u / 2 - _LOG_SQRT_2PI) + u * np.exp(log_ndtr(u)))
    u = z[middle]
    ratio = np.log(erfcx(-u / math.sqrt(2)) * -u) + _LOG_SQRT_HALF_PI
    out[middle] = -u * u / 2 - _LOG_SQRT_2PI + np.log(-np.expm1(ratio))
    u = z[far]
    out[far] = -u * u / 2 - _LOG_SQRT_2PI - 2 * np.log(-u)
    return np.asarray(out + np.log(sd))


def log_expected_approach(mean: Array, sd: Array, target: float, distance: Array) -> Array:
    """Returns the log expected gain in nearness to a target over a distance reached before.

    The gain is the amount by which |value - target| falls below `distance`, and zero where it does
    not. Its expectation is a second difference of the expected improvement; far from the target,
    where that cancels, it is taken as half the distance times the probability of any gain.

    Args:
        mean: Means, of any shape.
        sd: Standard deviations, broadcast against it, positive.
        target: The value to come near.
        distance: The smallest distance so far, broadcast against the means, positive.
    """
    mean, sd, distance = np.broadcast_arrays(mean, sd, distance)
    below, at, above = ((target + side * distance - mean) / sd for side in (-1.0, 0.0, 1.0))
    ramps = [_ramp(z) for z in (below, at, above)]
    gain = ramps[2] - 2 * ramps[1] + ramps[0]
    rough = log_probability_between(mean, sd, target - distance, target + distance)
    rough = rough + np.log(distance / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.log(gain) + np.log(sd)
    return np.asarray(np.where(gain > _CANCELLED * ramps[2], exact, rough))


def log_expected_ramp(
    mean: Array,
    sd: Array,
    lower: Array | float,
    upper: Array | float,
    *,
    origin: Array | float,
    sign: float = 1.0,
) -> Array:
    """Returns the log expectation of sign * (value - origin) where the value is between two bounds.

    It is zero outside them, and must not be negative between them. By Gauss-Legendre quadrature
    about the likeliest value between the bounds, as far as the density matters: differences of
    closed forms cancel where bounds are near each other or far from the mean.

    Args:
        mean: Means, of any shape.
        sd: Standard deviations, broadcast against it, positive.
        lower: Lower bound, broadcast against the means, or minus infinity.
        upper: Upper bound, or infinity; where it is not above the lower one the answer is minus
            infinity.
        origin: Where the ramp begins.
        sign: Plus one for a ramp that rises, minus one for one that falls.
    """
    mean, sd, lower, upper, origin = np.broadcast_arrays(mean, sd, lower, upper, origin)
    is_open = lower < upper
    upper = np.where(is_open, upper, np.inf)
    peak = np.clip(mean, lower, upper)
    z = (peak - mean) / sd
    reach = 2 * _FALL / (np.sqrt(z * z + 2 * _FALL) + np.abs(z))
    with np.errstate(over="ignore"):
        start, end = np.maximum((lower - peak) / sd, -reach), np.minimum((upper - peak) / sd, reach)
    middle, half = (start + end) / 2, (end - start) / 2
    offset = sign * (peak - origin)
    total = np.zeros(mean.shape)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        t = middle + half * node
        height = np.maximum(offset + sign * sd * t, 0.0)
        total += weight * height * np.exp(-t * (z + t / 2))
    with np.errstate(divide="ignore"):
        found = np.log(total) + np.log(half) - z * z / 2 - _LOG_SQRT_2PI
    return np.asarray(np.where(is_open, found, -np.inf))


def _ramp(z: Array) -> Array:
    """Returns the expectation of the positive part of z minus a standard normal variable."""
    return np.asarray(z * np.exp(log_ndtr(z)) + np.exp(-z * z / 2 - _LOG_SQRT_2PI))
