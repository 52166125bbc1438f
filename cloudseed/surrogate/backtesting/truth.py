"""What every candidate would measure, and which of them are hits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import EmptyPoolError, InputError, UsageError
from cloudseed.surrogate import judging, objectives
from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.protocols import Objective, Observations, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.backtesting.protocols import Rows

    Array = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["HIT_SHARE", "Truth"]

HIT_SHARE = 0.01
"""Share of the feasible rows that are hits where an objective ranks them."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What every candidate would measure.

    Attributes:
        problem: What is sought.
        values: Known values, N x m in the order of `problem.properties`, NaN where unknown.
        hits: Which rows are to be found, N.
        merit: How good each row is by the objective, N, larger is better; minus infinity for rows
            that are not known to be feasible, and all NaN where nothing ranks them.
    """

    problem: Problem
    values: Array
    hits: Mask
    merit: Array

    @classmethod
    def of(
        cls,
        problem: Problem,
        values: Mapping[str, Array],
        *,
        share: float | None = HIT_SHARE,
    ) -> Truth:
        """Judges every row.

        Args:
            problem: What is sought.
            values: Property -> values, N, NaN where unknown.
            share: Share of the feasible rows, best first, that are hits; ties with the last of them
                are hits too. None where every feasible row is one, which is so without an
                objective in any case. An objective that seeks a share of its own has that.

        Raises:
            EmptyPoolError: If there is one candidate or none.
            InputError: If a value is infinite, a property is missing or nowhere known, or there is
                no hit or nothing else.
            UsageError: If the share is not above 0 and at most 1.
        """
        if problem.objective.share is not None:
            share = problem.objective.share
        if share is not None and not 0 < share <= 1:
            raise UsageError(
                f"A share of hits of {share:g} is none.", hint="Give more than 0 % and up to 100 %."
            )
        table = _table(problem, values)
        feasible = _feasible(problem, table)
        merit = _merit(problem, table, feasible)
        hits = feasible.copy()
        if share is not None and _goal(problem) is not None:
            ranked = np.sort(merit[np.isfinite(merit)])[::-1]
            last = ranked[math.ceil(share * len(ranked)) - 1] if len(ranked) else math.inf
            hits = merit >= last
        _check_hits(problem, hits)
        return cls(problem, table, hits, merit)

    @property
    def measurable(self) -> Mask:
        """Rows of which an experiment gives at least one value, N; others are infeasible."""
        return np.asarray(np.isfinite(self.values).any(axis=1))

    @property
    def direction(self) -> float:
        """What a merit is times to be read: 1 for a maximum, -1 for a minimum or a distance.

        NaN where nothing ranks candidates.
        """
        goal = _goal(self.problem)
        if goal is None:
            return math.nan
        return 1.0 if goal.direction == "max" else -1.0

    @property
    def goal_name(self) -> str | None:
        """The property that ranks candidates, if there is one."""
        goal = _goal(self.problem)
        return None if goal is None else goal.property

    def observe(self, rows: Rows) -> Observations:
        """Returns what measuring rows gives; those that fail are infeasible."""
        succeeds = self.measurable[rows]
        good = rows[succeeds]
        return Observations(good, self.values[good], self.problem.properties, rows[~succeeds])


def _goal(problem: Problem) -> Objective | None:
    """Returns the objective that ranks candidates, if there is one."""
    goal = judging.as_optimum(problem).objective
    return None if goal.direction == "find" else goal


def _table(problem: Problem, values: Mapping[str, Array]) -> Array:
    """Returns checked values, N x m."""
    for name in problem.properties:
        column = values.get(name)
        if column is None or not np.isfinite(column).any():
            raise InputError(
                f"{name} is known of no candidate, so nothing can be replayed.",
                hint=f"Known are: {', '.join(values) or 'none'}.",
                property=name,
            )
        if np.isinf(column).any():
            row = int(np.flatnonzero(np.isinf(column))[0])
            raise InputError(
                f"The value of {name} in row {row + 1} is infinite.",
                hint="Leave it out where nothing was measured.",
                property=name,
                row=row,
            )
    table = np.stack([np.asarray(values[n], dtype=np.float64) for n in problem.properties], axis=1)
    if len(table) < 2:
        raise EmptyPoolError(
            f"A pool of {len(table)} leaves nothing to choose.", hint="Give at least two materials."
        )
    return table


def _feasible(problem: Problem, table: Array) -> Mask:
    """Tells which rows are known to meet every bound, N."""
    feasible = np.ones(len(table), dtype=bool)
    for name, (lower, upper) in judging.bounds(problem).items():
        column = table[:, problem.properties.index(name)]
        # A comparison with NaN is false, so an unknown value does not meet a bound.
        feasible &= (column >= lower) & (column <= upper)
    return feasible


def _merit(problem: Problem, table: Array, feasible: Mask) -> Array:
    goal = _goal(problem)
    if goal is None:
        return np.full(len(table), np.nan)
    column = Goal.of(goal).merit(table[:, problem.properties.index(goal.property)])
    return np.where(feasible & np.isfinite(column), column, -np.inf)


def _check_hits(problem: Problem, hits: Mask) -> None:
    if not hits.any():
        raise InputError(
            f"No row is a hit for {objectives.describe(problem)}.",
            hint="Loosen the constraints, or check the units of the table's columns.",
        )
    if hits.all():
        raise InputError(
            f"Every row is a hit for {objectives.describe(problem)}.",
            hint="Tighten the constraints, or give a smaller share of hits.",
        )
