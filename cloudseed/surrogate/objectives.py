"""What is sought, written as people write it: `"max bulk_modulus"`, `"band_gap >= 1.5 eV"`.

The grammar, one line each:

    objective    =  ("max" | "min") property
    constraint   =  property ("<=" | "<" | ">=" | ">") number [unit]
    property     =  identifier ["@" number "K"]

A measurement cannot tell `<` from `<=`, so both mean `<=`. Bounds are converted to the property's
own unit (`cloudseed.units`). A property that the table of units does not know is allowed, without
a unit. A property at a temperature, such as `heat_capacity@500K`, is one of its own, with the unit
of its base; `@500.0K` is written `@500K`.
"""

from __future__ import annotations

import difflib
import math
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from cloudseed.errors import ObjectiveError, UnitError
from cloudseed.surrogate.protocols import Constraint, Objective, Problem
from cloudseed.units import PROPERTIES, convert, unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "best_so_far",
    "bounds",
    "constraint",
    "constraint_text",
    "describe",
    "is_feasible",
    "objective",
    "objective_text",
    "problem",
]

_PROPERTY = re.compile(r"(?P<base>[A-Za-z_]\w*)(@(?P<kelvin>\d+(\.\d+)?)K)?", re.ASCII)
_HOTTEST = 10_000.0
_CONSTRAINT = re.compile(r"\s*(?P<name>[^\s<>=≤≥]+)\s*(?P<relation>[<>=≤≥!~]+)\s*(?P<right>.*)")
_NUMBER = re.compile(r"(?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)(?P<unit>.*)")
_RELATIONS: Mapping[str, Literal["<=", ">="]] = MappingProxyType(
    {"<": "<=", "<=": "<=", "≤": "<=", ">": ">=", ">=": ">=", "≥": ">="}
)


def objective(text: str) -> Objective:
    """Parses an objective.

    Args:
        text: For instance `"max bulk_modulus"` or `"min formation_energy"`.

    Raises:
        ObjectiveError: If the direction or the property is missing or misspelt.

    >>> objective("max bulk_modulus")
    Objective(property='bulk_modulus', direction='max')
    """
    words = text.split()
    if len(words) != 2:
        raise ObjectiveError(
            f"The objective {text!r} is not a direction and a property.",
            hint='Write it as "max bulk_modulus" or "min formation_energy".',
            text=text,
        )
    direction, name = words
    if direction == "max":
        return Objective(_property_name(name, text), "max")
    if direction == "min":
        return Objective(_property_name(name, text), "min")
    # The first three letters, so that "maximise" is understood as well as "mxa".
    near = difflib.get_close_matches(direction.lower()[:3], ("max", "min"), n=1)
    hint = f'Did you mean "{near[0]} {name}"?' if near else 'Begin with "max" or "min".'
    raise ObjectiveError(
        f"The direction {direction!r} in {text!r} is neither 'max' nor 'min'.",
        hint=hint,
        text=text,
    )


def constraint(text: str) -> Constraint:
    """Parses a constraint and converts its bound to the property's own unit.

    Args:
        text: For instance `"formation_energy <= -2.0 eV/atom"`; without a unit the number is in the
            property's own.

    Raises:
        ObjectiveError: If the text does not follow the grammar, or no value can meet the bound.
        UnitError: If the unit is unknown or measures something else.

    >>> constraint("formation_energy < -2000 meV/atom")
    Constraint(property='formation_energy', relation='<=', bound=-2.0)
    """
    match = _CONSTRAINT.fullmatch(text)
    if not match:
        raise ObjectiveError(
            f"The constraint {text!r} is not a property, a relation and a number.",
            hint='Write it as "formation_energy <= -2.0 eV/atom".',
            text=text,
        )
    name = _property_name(match["name"], text)
    relation = _RELATIONS.get(match["relation"])
    if relation is None:
        raise ObjectiveError(
            f"The relation {match['relation']!r} in {text!r} is not one of <=, <, >=, >.",
            hint="For a window give two constraints, one with >= and one with <=.",
            text=text,
        )
    return _checked(Constraint(name, relation, _bound(match["right"], name, text)))


def problem(objective_: str | Objective, constraints: Iterable[str | Constraint] = ()) -> Problem:
    """Puts an objective and its constraints together.

    Args:
        objective_: What to optimise, as text or parsed.
        constraints: What must hold, as text or parsed; repeated ones count once.

    Raises:
        ObjectiveError: If a part cannot be parsed or two constraints contradict each other.
        UnitError: If a unit is unknown or measures something else.
    """
    goal = objective(objective_) if isinstance(objective_, str) else objective_
    parsed = [constraint(c) if isinstance(c, str) else _checked(c) for c in constraints]
    found = Problem(goal, tuple(dict.fromkeys(parsed)))
    for name, (lower, upper) in bounds(found).items():
        if lower >= upper:
            raise ObjectiveError(
                f"No value of {name} is both >= {lower:g} and <= {upper:g}.",
                hint="Drop one of the two constraints or move its bound.",
                property=name,
                lower=lower,
                upper=upper,
            )
    return found


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


def objective_text(objective: Objective) -> str:
    """Writes an objective in the grammar of `objective`."""
    return f"{objective.direction} {objective.property}"


def constraint_text(constraint: Constraint) -> str:
    """Writes a constraint in the grammar of `constraint`, with its unit where it has one."""
    text = f"{constraint.property} {constraint.relation} {constraint.bound!r}"
    unit = unit_of(constraint.property)
    return f"{text} {unit}" if unit else text


def describe(problem: Problem) -> str:
    """Says on one line what is sought.

    >>> describe(problem("max bulk_modulus", ["formation_energy <= -2"]))
    'max bulk_modulus (GPa), formation_energy <= -2.0 eV/atom'
    """
    unit = unit_of(problem.objective.property)
    goal = objective_text(problem.objective) + (f" ({unit})" if unit else "")
    return ", ".join([goal, *(constraint_text(c) for c in problem.constraints)])


def is_feasible(problem: Problem, values: Mapping[str, float | None]) -> bool:
    """Tells whether measured values are known to meet every constraint.

    Args:
        problem: What is sought.
        values: Measured values by property, in the property's own unit. A constrained property that
            is missing, None or NaN is not known to meet its bound.
    """
    for c in problem.constraints:
        value = values.get(c.property)
        # A comparison with NaN is false, so NaN does not meet a bound.
        if value is None or not (value <= c.bound if c.relation == "<=" else value >= c.bound):
            return False
    return True


def best_so_far(
    problem: Problem, measured: Sequence[Mapping[str, float | None]]
) -> list[float | None]:
    """Returns the best feasible objective value after each measurement.

    Args:
        problem: What is sought.
        measured: The values of each measurement, in the order in which they came.

    Returns:
        As many values as measurements; None as long as nothing feasible was measured.
    """
    better = max if problem.objective.direction == "max" else min
    best: float | None = None
    curve: list[float | None] = []
    for values in measured:
        value = values.get(problem.objective.property)
        if value is not None and not math.isnan(value) and is_feasible(problem, values):
            best = value if best is None else better(best, value)
        curve.append(best)
    return curve


def _property_name(name: str, text: str) -> str:
    match = _PROPERTY.fullmatch(name)
    if match and match["kelvin"] is None:
        return name
    if match and 0 < float(match["kelvin"]) <= _HOTTEST:
        return f"{match['base']}@{float(match['kelvin']):.12g}K"
    if match or (re.match(r"[A-Za-z_]\w*@", name, re.ASCII) and not name.endswith("@K")):
        temperature = name.split("@", 1)[1]
        raise ObjectiveError(
            f"{temperature!r} in {text!r} is no temperature above 0 K and up to {_HOTTEST:g} K.",
            hint="Write it in kelvin, for instance heat_capacity@500K.",
            text=text,
        )
    raise ObjectiveError(
        f"{name!r} in {text!r} is not a property name.",
        hint="Use letters, digits and underscores, for instance band_gap or heat_capacity@500K.",
        text=text,
    )


def _bound(right: str, name: str, text: str) -> float:
    match = _NUMBER.fullmatch(right.strip())
    if not match:
        raise ObjectiveError(
            f"{right.strip()!r} in {text!r} is not a number with an optional unit.",
            hint=f'Write the bound as in "{name} <= -2.0"; for a window give two constraints.',
            text=text,
        )
    value, unit = float(match["number"]), match["unit"].strip()
    own = unit_of(name)
    if not unit or unit == own:
        return value
    if own is None:
        raise UnitError(
            f"The unit {unit!r} cannot be converted: cloudseed has no unit for {name}.",
            hint="Leave the unit out and give the number in the unit of your measurements.",
            unit=unit,
        )
    return convert(value, unit, own)


def _checked(constraint: Constraint) -> Constraint:
    """Returns the constraint if a physical value can meet it."""
    name, bound = constraint.property, constraint.bound
    if not math.isfinite(bound):
        raise ObjectiveError(
            f"The bound {bound} of {name} is not a finite number.",
            hint="Leave the constraint out if there is no bound.",
            property=name,
        )
    known = PROPERTIES.get(name.split("@", 1)[0])
    if known and constraint.relation == "<=" and bound < known.lower:
        raise ObjectiveError(
            f"{name} is never below {known.lower:g}, so {name} <= {bound:g} cannot be met.",
            hint="Check the sign and the unit of the bound.",
            property=name,
            bound=bound,
        )
    return constraint
