"""How good measured values are by what is sought."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.front import hypervolumes, layers, nadir, nondominated
from cloudseed.surrogate.protocols import Constraint, Objective, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

__all__ = [
    "as_optimum",
    "best_so_far",
    "bounded",
    "bounds",
    "fronts_away",
    "is_feasible",
    "merit",
    "merits",
    "on_front",
    "reference_merits",
    "shown",
    "with_reference",
]


def as_optimum(problem: Problem) -> Problem:
    """Turns the best share of a pool into the optimum that ranks its members.

    Returns:
        The problem of the highest or lowest value; any other problem as it is.
    """
    goal = problem.objective
    if goal.end is None:
        return problem
    optimum = Objective(goal.property, "max" if goal.end == "highest" else "min")
    return replace(problem, objective=optimum)


def bounded(problem: Problem, threshold: float) -> Problem:
    """Turns the best share of a pool into a bound, where that share is known to begin.

    Args:
        problem: What is sought, a share of the pool.
        threshold: The value at which the share begins, in the property's own unit.

    Returns:
        The problem of finding all that reach it; hits under one threshold need not be hits under
        another.
    """
    goal = problem.objective
    bound = Constraint(goal.property, ">=" if goal.end == "highest" else "<=", threshold)
    found = Objective(goal.property, "find")
    return replace(problem, objective=found, constraints=(bound, *problem.constraints))


def bounds(problem: Problem) -> dict[str, tuple[float, float]]:
    """Returns the tightest lower and upper bound of each constrained property, in its own unit."""
    found: dict[str, tuple[float, float]] = {}
    for c in problem.constraints:
        lower, upper = found.get(c.property, (-math.inf, math.inf))
        if c.relation == ">=":
            lower = max(lower, c.bound)
        else:
            upper = min(upper, c.bound)
        found[c.property] = (lower, upper)
    return found


def wanted(problem: Problem, name: str, middle: float) -> tuple[float, float]:
    """Returns the smallest and largest value of a property that is sought.

    Args:
        problem: What is sought.
        name: The property.
        middle: Its usual value: what is to be large is sought from there on, and what is to be near
            a target within as far from it.

    Returns:
        Infinity and minus infinity of a property that nothing is asked of.
    """
    limits, goals = bounds(problem), [o for o in problem.objectives if o.property == name]
    lower, upper = limits.get(name, (-math.inf, math.inf))
    asked = name in limits
    for goal in goals:
        if goal.target is not None:
            away = abs(goal.target - middle)
            lower, upper = max(lower, goal.target - away), min(upper, goal.target + away)
        elif goal.direction == "max" or goal.end == "highest":
            lower = max(lower, middle)
        elif goal.direction == "min" or goal.end == "lowest":
            upper = min(upper, middle)
        else:
            continue
        asked = True
    return (lower, upper) if asked else (math.inf, -math.inf)


def is_feasible(problem: Problem, values: Mapping[str, float | None]) -> bool:
    """Tells whether measured values are known to meet every constraint.

    Args:
        problem: What is sought.
        values: Measured values by property, in the property's own unit. A constrained property that
            is missing, None or NaN is not known to meet its bound.

    Of a share of the pool nothing is known before it is `bounded`.
    """
    if problem.objective.share is not None:
        return False
    for c in problem.constraints:
        value = values.get(c.property)
        # A comparison with NaN is false, so NaN does not meet a bound.
        if value is None or not (value <= c.bound if c.relation == "<=" else value >= c.bound):
            return False
    return True


def merit(problem: Problem, values: Mapping[str, float | None]) -> float | None:
    """Returns how good measured values are, larger is better, constraints aside.

    Args:
        problem: What is sought.
        values: Measured values by property, in the property's own unit.

    Returns:
        The value of the objective, of several the first; its negative where the smallest is sought,
        the negative of its distance from a target; 1 or 0 for whether all that is to be found
        holds. None where the objective was not measured.
    """
    goal = problem.objective
    if goal.direction == "find":
        known = all(values.get(name) is not None for name in problem.properties)
        return float(is_feasible(problem, values)) if known else None
    return _merit(goal, values)


def _merit(goal: Objective, values: Mapping[str, float | None]) -> float | None:
    value = values.get(goal.property)
    if value is None or math.isnan(value):
        return None
    if goal.target is not None:
        return -abs(value - goal.target)
    return value if goal.direction == "max" else -value


def merits(
    problem: Problem, measured: Sequence[Mapping[str, float | None]]
) -> npt.NDArray[np.float64]:
    """Returns the merits of each objective, n x m; minus infinity where not known to be feasible.

    Args:
        problem: What is sought, an optimum or several.
        measured: The values of n materials.
    """
    table = np.full((len(measured), len(problem.objectives)), -np.inf)
    for row, values in zip(table, measured, strict=True):
        found = [_merit(goal, values) for goal in problem.objectives]
        if is_feasible(problem, values) and None not in found:
            row[:] = found
    return table


def on_front(problem: Problem, measured: Sequence[Mapping[str, float | None]]) -> list[bool]:
    """Tells which materials are feasible and on the Pareto front of all that are."""
    return [bool(on) for on in nondominated(merits(problem, measured))]


def shown(problem: Problem, merit: float) -> float:
    """Returns a merit as people read it: the objective's value, a distance, or a count."""
    return merit if problem.objective.direction in {"max", "find"} else -merit


def fronts_away(problem: Problem, measured: Sequence[Mapping[str, float | None]]) -> list[int]:
    """Returns how many fronts are better than each material's, 0 on the best one.

    What is not known to be feasible is behind all.
    """
    table = merits(problem, measured)
    known = np.isfinite(table).all(axis=1)
    found = np.full(len(table), len(table), dtype=np.int64)
    found[known] = layers(table[known])
    return [int(far) for far in found]


def with_reference(problem: Problem, measured: Sequence[Mapping[str, float | None]]) -> Problem:
    """Returns a problem of several objectives with the reference that its volumes count from.

    Args:
        problem: What is sought.
        measured: The values of all measurements.

    Returns:
        The problem as it is where it has a reference, one objective, or nothing feasible is known.
    """
    table = merits(problem, measured)
    known = table[np.isfinite(table).all(axis=1)]
    if not problem.further or problem.reference is not None or not len(known):
        return problem
    reference = tuple(
        {"max": m, "min": -m}.get(goal.direction, (goal.target or 0.0) - m)
        for goal, m in zip(problem.objectives, nadir(known).tolist(), strict=True)
    )
    return replace(problem, reference=reference)


def best_so_far(
    problem: Problem, measured: Sequence[Mapping[str, float | None]]
) -> list[float | None]:
    """Returns what a campaign had reached after each measurement.

    Args:
        problem: What is sought.
        measured: The values of each measurement, in the order in which they came.

    Returns:
        As many values as measurements: the best feasible value of the objective, or its smallest
        distance from the target, None as long as nothing feasible was measured; or how many
        materials were found. Of several objectives the hypervolume of the front, from the
        problem's reference or from one a little beyond the last front's worst values.
    """
    if problem.further:
        problem = with_reference(problem, measured)
        if problem.reference is None:
            return [None] * len(measured)
        volumes = hypervolumes(merits(problem, measured), reference_merits(problem))
        return [float(volume) for volume in volumes]
    best: float | None = None
    found = 0.0
    curve: list[float | None] = []
    for values in measured:
        value = merit(problem, values)
        if problem.objective.direction == "find":
            found += value or 0.0
            curve.append(found)
            continue
        if value is not None and is_feasible(problem, values):
            best = value if best is None else max(best, value)
        curve.append(None if best is None else shown(problem, best))
    return curve


def reference_merits(problem: Problem) -> npt.NDArray[np.float64]:
    """Returns the reference that a problem gives, in merits, m."""
    assert problem.reference is not None, "a reference is given"
    named = {o.property: v for o, v in zip(problem.objectives, problem.reference, strict=True)}
    return np.array([_merit(goal, named) for goal in problem.objectives], dtype=np.float64)
