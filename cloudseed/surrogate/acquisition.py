"""What measuring one candidate alone is worth, in closed form.

The value is the log expected improvement plus the log probability that all constraints hold: the
constrained expected improvement of J. R. Gardner et al., Bayesian Optimization with Inequality
Constraints, ICML 2014, in the stable logarithm of S. Ament et al., Unexpected Improvements to
Expected Improvement for Bayesian Optimization, NeurIPS 2023, arXiv:2310.20708.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import erfcx, log_ndtr

from cloudseed.surrogate import objectives

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.gp import FittedSurrogate
    from cloudseed.surrogate.protocols import Problem

    Array = npt.NDArray[np.float64]

__all__ = ["Criterion", "Evaluation", "log_expected_improvement", "log_probability_between"]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_LOG_SQRT_HALF_PI = 0.5 * math.log(math.pi / 2)
#: Below this standard score the tail of the expected improvement is its leading term.
_FAR_TAIL = -1e6


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the models say of some points.

    Attributes:
        mean: Posterior mean per modelled property, k x m.
        sd: Posterior standard deviation of the noise-free property, k x m.
        acquisition: Log of the constrained expected improvement of each point alone, k.
        log_feasible: Log probability that measured values meet all constraints, k.
    """

    mean: Array
    sd: Array
    acquisition: Array
    log_feasible: Array


@dataclass(frozen=True, slots=True)
class Criterion:
    """The models of a problem's properties and the value that is to be improved on.

    Attributes:
        problem: What is sought.
        surrogates: A model per property, the objective's first; a constrained property that was
            never measured has none, and its constraint is left out.
        best: The best feasible objective so far, times `sign`, in the property's unit; where
            nothing feasible is known, a value that nearly every candidate improves on, so that
            feasibility decides.
    """

    problem: Problem
    surrogates: Mapping[str, FittedSurrogate]
    best: float

    @property
    def sign(self) -> float:
        """Plus one to maximise, minus one to minimise."""
        return sign(self.problem)

    @property
    def objective(self) -> FittedSurrogate:
        """The model of the objective."""
        return self.surrogates[self.problem.objective.property]

    def __call__(self, x: Array) -> Evaluation:
        """Evaluates projected features, k x p."""
        moments = [s.posterior_moments(x) for s in self.surrogates.values()]
        mean = np.column_stack([m for m, _ in moments])
        sd = np.column_stack([s for _, s in moments])
        # A material is feasible if its measured values are, and those are noisy.
        noise = [s.noise_sd for s in self.surrogates.values()]
        noisy = np.hypot(sd, [0.0, *noise[1:]])
        log_feasible = log_probability(self.problem, tuple(self.surrogates), mean, noisy)
        gain = log_expected_improvement(
            self.sign * mean[:, 0] - self.best, np.maximum(sd[:, 0], 1e-12 * self.objective.scale)
        )
        return Evaluation(mean, sd, gain + log_feasible, log_feasible)


def sign(problem: Problem) -> float:
    """Returns plus one to maximise, minus one to minimise."""
    return 1.0 if problem.objective.direction == "max" else -1.0


def log_probability(problem: Problem, properties: tuple[str, ...], mean: Array, sd: Array) -> Array:
    """Returns the log probability that independent normal properties meet all constraints.

    Args:
        problem: What is sought; constraints on other properties than those given are left out.
        properties: The m properties of the columns.
        mean: Means, k x m.
        sd: Standard deviations, k x m.
    """
    total = np.zeros(len(mean))
    for name, (lower, upper) in objectives.bounds(problem).items():
        if name in properties:
            column = properties.index(name)
            total += log_probability_between(mean[:, column], sd[:, column], lower, upper)
    return total


def log_probability_between(mean: Array, sd: Array, lower: float, upper: float) -> Array:
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
