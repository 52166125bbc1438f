"""What a measurement is worth by other measures than the expected improvement, in logarithms.

All take normal posteriors, k candidates, and answer with k logarithms, so that the chance to meet
constraints adds and the log of a cost subtracts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_ndtr, ndtr

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = [
    "folded_moments",
    "label_information",
    "largest_values",
    "max_value_information",
    "softplus",
    "straddle",
    "upper_bound",
]

#: Standard deviations on either side of a mean that are taken for possible near a bound.
STRADDLED = 1.96
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_TINY = 1e-300
#: Below this a soft positive part is an exponential.
_FAR = -30.0
#: Above this standard score what a value tells is its leading term.
_RARE = 8.0
#: Candidates that may hold the optimum, at most.
_CONTENDERS = 4096


def softplus(x: Array, scale: float) -> Array:
    """Returns the log of a positive amount that is x where x is large: log(s log(1 + exp(x/s)))."""
    u = np.asarray(x / scale)
    grown = np.logaddexp(0.0, u)
    with np.errstate(divide="ignore"):
        # Far below zero log(1 + exp(u)) is exp(u), whose log is u however small.
        return np.asarray(np.where(u < _FAR, u, np.log(grown)) + math.log(scale))


def folded_moments(mean: Array, sd: Array, target: float) -> tuple[Array, Array]:
    """Returns mean and standard deviation of minus the distance from a target.

    Args:
        mean: Means of the value.
        sd: Its standard deviations, positive.
        target: The value to come near.
    """
    z = (mean - target) / sd
    distance = sd * (2 * np.exp(-z * z / 2 - _LOG_SQRT_2PI) + z * (1 - 2 * ndtr(-z)))
    square = (mean - target) ** 2 + sd * sd
    return -distance, np.sqrt(np.maximum(square - distance * distance, 0.0))


def upper_bound(mean: Array, sd: Array, width: float, floor: float, scale: float) -> Array:
    """Returns the log of how far the upper confidence bound is above a floor.

    N. Srinivas et al., ICML 2010, arXiv:0912.3995. The log of a soft positive part keeps the order
    of the bounds and lets chances and costs weigh in.

    Args:
        mean: Means of the merit.
        sd: Its standard deviations.
        width: Standard deviations that count.
        floor: A merit that is as good as nothing.
        scale: A plausible difference between two merits.
    """
    return softplus(mean + width * sd - floor, scale)


def straddle(
    mean: Array, sd: Array, lower: Array | float, upper: Array | float, scale: float
) -> Array:
    """Returns the log of a soft positive part of 1.96 sd minus the distance to the nearer bound.

    B. Bryan et al., Active Learning for Identifying Function Threshold Boundaries, NeurIPS 2005.

    Args:
        mean: Means.
        sd: Standard deviations.
        lower: Lower bound, or minus infinity.
        upper: Upper bound, or infinity.
        scale: A plausible difference between two values.
    """
    distance = np.minimum(np.abs(mean - lower), np.abs(mean - upper))
    return softplus(STRADDLED * sd - distance, scale)


def label_information(
    mean: Array, sd: Array, noise: float, lower: Array | float, upper: Array | float
) -> Array:
    """Returns the log of what measuring tells of the function, through "within the nearer bound?".

    N. Houlsby et al., Bayesian Active Learning for Classification and Preference Learning, 2011,
    arXiv:1112.5745, with the latent value over the noise in the place of the probit's argument.

    Args:
        mean: Means.
        sd: Standard deviations of the noise-free value.
        noise: Standard deviation of the measurement, positive.
        lower: Lower bound, or minus infinity.
        upper: Upper bound, or infinity.

    Returns:
        Log of the mutual information in bits.
    """
    to_lower, to_upper = np.abs(mean - lower), np.abs(mean - upper)
    z, s = np.minimum(to_lower, to_upper) / noise, sd / noise
    known = ndtr(z / np.sqrt(1 + s * s))
    entropy = -(known * np.log2(known) + (1 - known) * np.log2(np.maximum(1 - known, _TINY)))
    c2 = math.pi * math.log(2) / 2
    expected = np.sqrt(c2 / (c2 + s * s)) * np.exp(-z * z / (2 * (c2 + s * s)))
    return np.asarray(np.log(np.maximum(entropy - expected, _TINY)))


def largest_values(
    mean: Array, sd: Array, chance: Array, samples: int, rng: np.random.Generator
) -> Array:
    """Draws the largest of independent values, as Z. Wang and S. Jegelka, ICML 2017 do.

    The distribution function of the maximum is inverted by bisection.

    Args:
        mean: Means of the merit, k.
        sd: Its standard deviations, positive, k.
        chance: Probability that each counts at all, k; one of them is positive.
        samples: How many draws; strata of equal probability, one draw in each.
        rng: Draws them.

    Returns:
        Draws, S.
    """
    wanted = np.log((np.arange(samples) + rng.random(samples)) / samples)
    low = np.full(samples, float((mean - 6 * sd).min()))
    high = np.full(samples, float((mean + 6 * sd).max()))
    # What hardly counts hardly moves the maximum, and a million candidates are too many to bisect.
    likely = np.argsort(-(mean + 2 * sd + np.log(np.maximum(chance, _TINY)) * sd))[:_CONTENDERS]
    mean, sd, chance = mean[likely], sd[likely], chance[likely]
    for _ in range(40):
        middle = (low + high) / 2
        above = chance * ndtr((mean - middle[:, None]) / sd)
        below = np.log1p(-np.minimum(above, 1 - 1e-16)).sum(axis=1) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high


def max_value_information(mean: Array, sd: Array, largest: Array) -> Array:
    """Returns the log of what a value tells of the optimum's value, in nats.

    Max-value entropy search: Z. Wang and S. Jegelka, ICML 2017, arXiv:1703.01968, eq. 6.

    Args:
        mean: Means of the merit, k.
        sd: Its standard deviations, positive, k.
        largest: Draws of the largest merit, S.
    """
    total = np.full(len(mean), -np.inf)
    for top in largest:
        z = (top - mean) / sd
        log_cdf = log_ndtr(z)
        log_density = -z * z / 2 - _LOG_SQRT_2PI
        told = z * np.exp(log_density - log_cdf) / 2 - log_cdf
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = log_density + np.log(z / 2 + 1 / z)
            total = np.logaddexp(total, np.where(z > _RARE, tail, np.log(np.maximum(told, _TINY))))
    return np.asarray(total - math.log(len(largest)))
