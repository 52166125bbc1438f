"""What measuring one candidate alone is worth, in closed form.

For an optimum it is the log expected improvement plus the log probability that all constraints
hold: the constrained expected improvement of J. R. Gardner et al., Bayesian Optimization with
Inequality Constraints, ICML 2014. Where all that meets the constraints is to be found, it is that
probability alone: every hit counts the same, so that the batch with the most expected hits is the
likeliest candidates. That a candidate can be made is one constraint more, where that is modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_ndtr

from cloudseed.surrogate import judging
from cloudseed.surrogate.normal import (
    log_expected_approach,
    log_expected_improvement,
    log_probability_between,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def log_gain(self, mean: Array, sd: Array, best: Array | float) -> Array:
        """Returns the log expectation of what normal values gain over the best merit so far.

        Args:
            mean: Means.
            sd: Standard deviations, positive.
            best: The best merit so far.
        """
        if self.target is None:
            return log_expected_improvement(self.sign * mean - best, sd)
        distance = np.maximum(-np.asarray(best, dtype=np.float64), _NEAREST * sd)
        return log_expected_approach(mean, sd, self.target, distance)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the models say of some points.

    Attributes:
        mean: Posterior mean per modelled property, k x m.
        sd: Posterior standard deviation of the noise-free property, k x m.
        acquisition: Log of the value of measuring each point alone, k.
        log_feasible: Log probability that a point can be made and measured values meet all
            constraints, k.
    """

    mean: Array
    sd: Array
    acquisition: Array
    log_feasible: Array


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
        means, sds = [], []
        log_feasible = self.log_makeable(x)
        for name, surrogate in self.surrogates.items():
            mean, sd, inside = surrogate.evaluate(x, *limits.get(name, (-np.inf, np.inf)))
            means.append(mean)
            sds.append(sd)
            log_feasible += inside
        acquisition = log_feasible
        if self.front is not None:
            many = len(self.problem.objectives)
            scales = [model.scale for model in self.surrogates.values()]
            spreads = [np.maximum(sd, 1e-12 * scale) for sd, scale in zip(sds, scales, strict=True)]
            acquisition = log_feasible + self.front.log_gain(means[:many], spreads[:many])
        elif self.problem.objective.direction != "find":
            spread = np.maximum(sds[0], 1e-12 * self.objective.scale)
            acquisition = log_feasible + self.goal.log_gain(means[0], spread, self.best)
        return Evaluation(np.column_stack(means), np.column_stack(sds), acquisition, log_feasible)
