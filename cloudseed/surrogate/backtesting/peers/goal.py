"""What a peer is told of a measurement: a score, or a number for each objective of a front."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate import judging
from cloudseed.surrogate.acquisition import Goal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.protocols import Problem

    Array = npt.NDArray[np.float64]

__all__ = ["SCORE", "PeerGoal"]

SCORE = "score"
"""What the one number is called."""


@dataclass(frozen=True, eq=False)
class PeerGoal:
    """A problem as users of the peers put it: numbers to make as large or small as can be.

    Of one objective the number is its merit. Where all that meets the constraints is sought, it is
    minus what each bound is missed by, in scales, so 0 for a hit. A material that misses a bound of
    an optimum or a front counts as no better than average, less what it misses.

    Attributes:
        problem: What is sought; the best share of a pool as the optimum that ranks it.
        scales: Property -> what counts as one unit of missing its bound; 1 where none is given.
        averages: Objective's property -> the merit that is average; needed for an optimum or a
            front with constraints.
    """

    problem: Problem
    scales: Mapping[str, float] = field(default_factory=dict)
    averages: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, values: Array) -> PeerGoal:
        """Takes scales and averages from the first measurements.

        Args:
            problem: What is sought.
            values: What was measured first, n x m in the order of `problem.properties`, finite. A
                scale is their standard deviation.
        """
        problem = judging.as_optimum(problem)
        names = problem.properties
        spread = values.std(axis=0)
        scales = np.where(spread > 0, spread, 1.0)
        averages = {
            o.property: float(Goal.of(o).merit(values[:, names.index(o.property)]).mean())
            for o in problem.objectives
        }
        return cls(problem, dict(zip(names, scales.tolist(), strict=True)), averages)

    @property
    def signs(self) -> dict[str, float]:
        """Name of each number that a peer is told -> 1 if large is good, -1 if small is."""
        if not self.problem.further:
            return {SCORE: 1.0}
        return {o.property: -1.0 if o.direction == "min" else 1.0 for o in self.problem.objectives}

    def outcomes(self, values: Array) -> Array:
        """Returns what a peer is told, n x `len(signs)`.

        Args:
            values: Measured, n x m in the order of `problem.properties`, finite.
        """
        missed = self._missed(values)
        if self.problem.objective.direction == "find":
            return -missed[:, None]
        columns = []
        for objective in self.problem.objectives:
            name = objective.property
            merit = Goal.of(objective).merit(values[:, self.problem.properties.index(name)])
            if missed.any():
                behind = np.minimum(merit, self.averages[name])
                merit = np.where(missed > 0, behind - missed * self.scales.get(name, 1.0), merit)
            columns.append(merit)
        signs = self.signs.values() if self.problem.further else (1.0,)
        return np.asarray(np.column_stack(columns) * np.array([*signs]))

    def _missed(self, values: Array) -> Array:
        """Returns by how many scales each row misses its bounds in all, n."""
        missed = np.zeros(len(values))
        for name, (lower, upper) in judging.bounds(self.problem).items():
            value = values[:, self.problem.properties.index(name)]
            scale = self.scales.get(name, 1.0)
            missed += np.maximum(lower - value, 0) / scale
            missed += np.maximum(value - upper, 0) / scale
        return missed
