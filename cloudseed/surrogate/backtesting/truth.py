"""What every candidate would measure, and which of them are hits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import EmptyPoolError, InputError, UsageError
from cloudseed.surrogate import judging, objectives
from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.front import hypervolume, hypervolumes, nondominated
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
        merits: Of several objectives, the merit by each, N x m, in the same way; else None.
        reference: From where the hypervolume of a front counts, m: the problem's reference, or the
            median of what is feasible.
    """

    problem: Problem
    values: Array
    hits: Mask
    merit: Array
    merits: Array | None = None
    reference: Array | None = None

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
                objective in any case. An objective that seeks a share of its own has that, and of
                several objectives the front is the hits.

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
        if problem.further:
            return cls._of_front(problem, table, feasible)
        merit = _merit(problem, table, feasible)
        hits = feasible.copy()
        if share is not None and _goal(problem) is not None:
            ranked = np.sort(merit[np.isfinite(merit)])[::-1]
            last = ranked[math.ceil(share * len(ranked)) - 1] if len(ranked) else math.inf
            hits = merit >= last
        _check_hits(problem, hits)
        return cls(problem, table, hits, merit)

    @classmethod
    def _of_front(cls, problem: Problem, table: Array, feasible: Mask) -> Truth:
        columns = [
            Goal.of(goal).merit(table[:, problem.properties.index(goal.property)])
            for goal in problem.objectives
        ]
        merits = np.column_stack(columns)
        merits[~(feasible & np.isfinite(merits).all(axis=1))] = -np.inf
        hits = nondominated(merits)
        _check_hits(problem, hits)
        known = merits[np.isfinite(merits).all(axis=1)]
        reference = (
            np.median(known, axis=0)
            if problem.reference is None
            else judging.reference_merits(problem)
        )
        return cls(problem, table, hits, np.full(len(table), np.nan), merits, reference)

    @cached_property
    def volume(self) -> float:
        """Hypervolume of the whole pool's front; NaN with one objective."""
        if self.merits is None or self.reference is None:
            return math.nan
        return hypervolume(self.merits, self.reference)

    def reached(self, orders: npt.NDArray[np.int64]) -> tuple[Array, Array] | None:
        """Returns what runs had reached after each experiment, and how far that is from the pool's.

        Args:
            orders: Rows in the order in which they were measured, runs x k.

        Returns:
            The best feasible objective so far, NaN as long as there is none, and its regret, in
            which that counts as the pool's worst; of several objectives the hypervolume as a share
            of the pool's, and what is missing. None where nothing ranks candidates.
        """
        if self.merits is not None and self.reference is not None:
            volumes = [hypervolumes(self.merits[order], self.reference) for order in orders]
            share = np.stack(volumes) / (self.volume or 1.0)
            return share, 1 - share
        known = self.merit[np.isfinite(self.merit)]
        if not len(known):
            return None
        best = np.maximum.accumulate(self.merit[orders], axis=1)
        regret = known.max() - np.maximum(best, known.min())
        return np.where(np.isfinite(best), best * self.direction, np.nan), regret

    @property
    def measurable(self) -> Mask:
        """Rows of which an experiment gives at least one value, N; others are infeasible."""
        return np.asarray(np.isfinite(self.values).any(axis=1))

    @property
    def direction(self) -> float:
        """What a merit is times to be read: 1 for a maximum, -1 for a minimum or a distance.

        NaN where nothing ranks candidates.
        """
        if self.problem.further:
            return 1.0
        goal = _goal(self.problem)
        if goal is None:
            return math.nan
        return 1.0 if goal.direction == "max" else -1.0

    @property
    def goal_name(self) -> str | None:
        """What ranks candidates, if anything does: a property, or the hypervolume of a front."""
        if self.problem.further:
            return "hypervolume"
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
            known = [other for other, found in values.items() if np.isfinite(found).any()]
            raise InputError(
                f"{name} is known of no candidate, so nothing can be replayed.",
                hint=f"Known are: {', '.join(known) or 'none'}.",
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
