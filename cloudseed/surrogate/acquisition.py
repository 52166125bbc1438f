"""What measuring one candidate alone is worth, in closed form.

For an optimum it is the log expected improvement plus the log probability that all constraints
hold: the constrained expected improvement of J. R. Gardner et al., Bayesian Optimization with
Inequality Constraints, ICML 2014. Where all that meets the constraints is to be found, it is that
probability alone: every hit counts the same, so that the batch with the most expected hits is the
likeliest candidates. Bounds on the objective itself and its improvement are one event: the
improvement is that of a truncated normal distribution. That a candidate can be made is one
constraint more, where that is modelled.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_ndtr

from cloudseed.surrogate import judging
from cloudseed.surrogate.normal import (
    log_expected_approach,
    log_expected_improvement,
    log_expected_ramp,
    log_probability_between,
)
from cloudseed.surrogate.values import folded_moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.front_gain import FrontGain
    from cloudseed.surrogate.gp import FittedSurrogate
    from cloudseed.surrogate.hurdle import Hurdle
    from cloudseed.surrogate.makeable import Makeable
    from cloudseed.surrogate.protocols import Objective, Problem
    from cloudseed.surrogate.scalarised import Scalarised

    Array = npt.NDArray[np.float64]

__all__ = ["Criterion", "Evaluation", "Goal"]

#: Smallest distance from a target that is still to be improved on, in standardised units.
_NEAREST = 1e-9
#: The same below the best that bounds on the objective allow.
_SATURATED = 1e-6
#: Standard deviations are at least this share of a model's scale.
SMALLEST_SD = 1e-12


@dataclass(frozen=True, slots=True)
class Goal:
    """What is sought of the objective's values, in some unit.

    Attributes:
        sign: Plus one for the largest value, minus one for the smallest; with a target unused.
        target: The value to come near, or None.
    """

    sign: float
    target: float | None = None

    @classmethod
    def of(cls, objective: Objective, centre: float = 0.0, scale: float = 1.0) -> Goal:
        """Makes the goal for values that are (value - centre) / scale."""
        target = None if objective.target is None else (objective.target - centre) / scale
        return cls(-1.0 if objective.direction == "min" else 1.0, target)

    def standardised(self, merit: float, centre: float, scale: float) -> float:
        """Returns a merit as the goal for values that are (value - centre) / scale has it."""
        return (merit if self.target is not None else merit - self.sign * centre) / scale

    def merit(self, values: Array) -> Array:
        """Returns how good values are, larger is better; at most zero where there is a target."""
        if self.target is None:
            return self.sign * values
        return -np.abs(values - self.target)

    def log_beyond(self, mean: Array, sd: Array, merit: Array | float) -> Array:
        """Returns the log probability that normal values have at least this merit."""
        if self.target is None:
            return np.asarray(log_ndtr((self.sign * mean - merit) / sd))
        distance = np.maximum(-np.asarray(merit, dtype=np.float64), _NEAREST * sd)
        ends = self.target - distance, self.target + distance
        return log_probability_between(mean, sd, *ends)

    def log_gain(
        self,
        mean: Array,
        sd: Array,
        best: Array | float,
        limits: tuple[float, float] = (-np.inf, np.inf),
    ) -> Array:
        """Returns the log expectation of what normal values gain over the best merit so far.

        Args:
            mean: Means.
            sd: Standard deviations, positive.
            best: The best merit so far.
            limits: Bounds on the values themselves; beyond them nothing is gained.
        """
        if np.isfinite(limits).any():
            return self._log_gain_within(mean, sd, best, limits)
        if self.target is None:
            return log_expected_improvement(self.sign * mean - best, sd)
        distance = np.maximum(-np.asarray(best, dtype=np.float64), _NEAREST * sd)
        return log_expected_approach(mean, sd, self.target, distance)

    def _log_gain_within(
        self, mean: Array, sd: Array, best: Array | float, limits: tuple[float, float]
    ) -> Array:
        """Adds up the slopes on which values gain: one, or one on either side of a target."""
        best = self._reachable(best, sd, limits)
        low, high = self.better(best)
        slopes = [(low, np.inf, low, 1.0) if self.sign > 0 else (-np.inf, high, high, -1.0)]
        if self.target is not None:
            slopes = [(low, self.target, low, 1.0), (self.target, high, high, -1.0)]
        found = [
            log_expected_ramp(
                mean,
                sd,
                np.maximum(start, limits[0]),
                np.minimum(end, limits[1]),
                origin=origin,
                sign=sign,
            )
            for start, end, origin, sign in slopes
        ]
        return np.asarray(np.logaddexp.reduce(found, axis=0))

    def _reachable(self, best: Array | float, sd: Array, limits: tuple[float, float]) -> Array:
        """Returns the best merit, a little below what the bounds allow at most.

        Where a model believes what was measured to lie beyond the bounds, nothing could gain, and
        all candidates would be alike.
        """
        if self.target is not None:
            most = -abs(self.target - min(max(self.target, limits[0]), limits[1]))
        else:
            most = limits[1] if self.sign > 0 else -limits[0]
        return np.asarray(np.minimum(best, most - _SATURATED * sd))

    def moments(self, mean: Array, sd: Array) -> tuple[Array, Array]:
        """Returns mean and standard deviation of the merit of normal values."""
        if self.target is None:
            return self.sign * mean, sd
        return folded_moments(mean, sd, self.target)

    def better(self, best: Array | float) -> tuple[Array | float, Array | float]:
        """Returns the lower and the upper end of the values whose merit is above `best`."""
        if self.target is not None:
            reach = np.maximum(-np.asarray(best, dtype=np.float64), 0.0)
            return self.target - reach, self.target + reach
        return (best, np.inf) if self.sign > 0 else (-np.inf, -np.asarray(best))

    def log_chance(
        self,
        mean: Array,
        sd: Array,
        best: Array | float,
        limits: tuple[float, float] = (-np.inf, np.inf),
    ) -> Array:
        """Returns the log probability that normal values are better and within their bounds.

        Args:
            mean: Means.
            sd: Standard deviations, positive.
            best: The merit to exceed.
            limits: Bounds on the values themselves.
        """
        low, high = self.better(self._reachable(best, sd, limits))
        low, high = np.maximum(low, limits[0]), np.minimum(high, limits[1])
        inside = log_probability_between(mean, sd, low, np.maximum(low, high))
        return np.where(low < high, inside, -np.inf)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the models say of some points.

    Attributes:
        mean: Posterior mean per modelled property, k x m.
        sd: Posterior standard deviation of the noise-free property, k x m.
        acquisition: Log of the value of measuring each point alone, k: of its expected improvement
            that meets the constraints, or of the probability that it meets them.
        log_feasible: Log probability that a point can be made and measured values meet all
            constraints, k.
        inside: Its parts: log probability that a measured value keeps its bounds, k x m.
    """

    mean: Array
    sd: Array
    acquisition: Array
    log_feasible: Array
    inside: Array

    def at(self, places: npt.NDArray[np.intp]) -> Evaluation:
        """Returns what is said of some of the points."""
        return Evaluation(**{f.name: getattr(self, f.name)[places] for f in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Returns evaluations one below the other."""
        names = (f.name for f in fields(cls))
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


@dataclass(frozen=True, slots=True)
class Criterion:
    """The models of a problem's properties and the merit that is to be improved on.

    Attributes:
        problem: What is sought.
        surrogates: A model per property, the objective's first; a constrained property that was
            never measured has none, and its constraint is left out.
        best: The best feasible merit so far, in the property's unit; where nothing feasible is
            known, one that nearly every candidate improves on, so that feasibility decides.
        makeable: Model of whether a candidate can be made; None where all could be.
        front: Of several objectives, what is to be added to.
        reference: Merits from which the front's hypervolume counts, in the objectives' units.
    """

    problem: Problem
    surrogates: Mapping[str, FittedSurrogate | Hurdle]
    best: float
    makeable: Makeable | None = None
    front: FrontGain | Scalarised | None = None
    reference: Array | None = None

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What is sought of each objective, in its own unit."""
        return tuple(Goal.of(objective) for objective in self.problem.objectives)

    @property
    def goal(self) -> Goal:
        """What is sought of the objective, in its own unit."""
        return Goal.of(self.problem.objective)

    @property
    def objective(self) -> FittedSurrogate | Hurdle:
        """The model of the objective."""
        return self.surrogates[self.problem.objective.property]

    def log_makeable(self, x: Array) -> Array:
        """Returns the log probability that points of the space, k x p, can be made: k."""
        return np.zeros(len(x)) if self.makeable is None else self.makeable.log_probability(x)

    def __call__(self, x: Array) -> Evaluation:
        """Evaluates points of the space, k x p."""
        limits = judging.bounds(self.problem)
        means, sds, insides = [], [], []
        others = log_feasible = self.log_makeable(x)
        sought = self.problem.objective.property
        for name, surrogate in self.surrogates.items():
            mean, sd, inside = surrogate.evaluate(x, *limits.get(name, (-np.inf, np.inf)))
            means.append(mean)
            sds.append(sd)
            insides.append(inside)
            log_feasible = log_feasible + inside
            others = others if name == sought else others + inside
        acquisition = log_feasible
        if self.front is not None:
            many = len(self.problem.objectives)
            scales = [model.scale for model in self.surrogates.values()]
            spreads = [
                np.maximum(sd, SMALLEST_SD * scale) for sd, scale in zip(sds, scales, strict=True)
            ]
            acquisition = log_feasible + self.front.log_gain(means[:many], spreads[:many])
        elif self.problem.objective.direction != "find":
            spread = np.maximum(sds[0], SMALLEST_SD * self.objective.scale)
            own = limits.get(sought, (-np.inf, np.inf))
            acquisition = others + self.goal.log_gain(means[0], spread, self.best, own)
        return Evaluation(
            np.column_stack(means),
            np.column_stack(sds),
            acquisition,
            log_feasible,
            np.column_stack(insides),
        )
