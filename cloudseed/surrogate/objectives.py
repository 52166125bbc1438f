"""What is sought, written as people write it: `"max bulk_modulus"`, `"band_gap >= 1.5 eV"`.

The grammar, one line each:

    objective    =  ("max" | "min") property | property "=" number [unit] | window | "find all"
                    | "find" ("highest" | "lowest") number "%" property
    front        =  objective ";" objective {";" objective}, each of a property of its own
    constraint   =  property ("<=" | "<" | ">=" | ">") number [unit] | window
    window       =  property "in" "[" number "," number "]" [unit]
    property     =  identifier ["@" number "K"]

After "max" and "min" a formula may stand in the place of a property
(`cloudseed.surrogate.formulas`).

A measurement cannot tell `<` from `<=`, so both mean `<=`. Bounds are converted to the property's
own unit (`cloudseed.units`). A property that the table of units does not know is allowed, without
a unit. A property at a temperature, such as `heat_capacity@500K`, is one of its own, with the unit
of its base; `@500.0K` is written `@500K`.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from cloudseed.errors import ObjectiveError, UnitError
from cloudseed.surrogate.formulas import FUNCTIONS, read_formula
from cloudseed.surrogate.judging import bounds
from cloudseed.surrogate.protocols import Constraint, Objective, Problem
from cloudseed.units import PROPERTIES, convert, unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudseed.surrogate.formulas import Formula

__all__ = [
    "constraint",
    "constraint_text",
    "constraints_of",
    "describe",
    "objective",
    "objective_text",
    "problem",
]

_PROPERTY = re.compile(r"(?P<base>[A-Za-z_]\w*)(@(?P<kelvin>\d+(\.\d+)?)K)?", re.ASCII)
_FORMULA = re.compile(r"[-+*/()^]")
_HOTTEST = 10_000.0
_CONSTRAINT = re.compile(r"\s*(?P<name>[^\s<>=≤≥]+)\s*(?P<relation>[<>=≤≥!~]+)\s*(?P<right>.*)")
_SHARE = re.compile(
    r"\s*find\s+(?P<end>\S+)\s+(?P<number>\d+\.?\d*|\.\d+)\s*%\s+(of\s+)?(?P<name>\S+)\s*"
)
_TARGET = re.compile(r"\s*(?P<name>[^\s<>=≤≥]+)\s*=\s*(?P<right>[^=].*)")
_WINDOW = re.compile(
    r"\s*(?P<name>\S+)\s+in\s*\[(?P<lower>[^,\]]*),(?P<upper>[^,\]]*)\]\s*(?P<unit>.*?)\s*"
)
_NUMBER = re.compile(r"(?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)(?P<unit>.*)")
_NO_UNITS: Mapping[str, str] = MappingProxyType({})
_RELATIONS: Mapping[str, Literal["<=", ">="]] = MappingProxyType(
    {"<": "<=", "<=": "<=", "≤": "<=", ">": ">=", ">=": ">=", "≥": ">="}
)


def objective(text: str, units: Mapping[str, str] = _NO_UNITS) -> Objective:
    """Parses an objective that stands alone.

    Args:
        text: For instance `"max bulk_modulus"`, `"min formation_energy"` or `"band_gap = 1.4 eV"`.
        units: As in `constraints_of`.

    Raises:
        ObjectiveError: If the direction or the property is missing or misspelt, or no value can
            come near the target.
        UnitError: If the target's unit is unknown or measures something else.

    >>> objective("max bulk_modulus")
    Objective(property='bulk_modulus', direction='max', target=None, share=None, end=None)
    """
    share = _SHARE.fullmatch(text)
    if share:
        return _share(share, text)
    target = _TARGET.fullmatch(text)
    if target:
        name = _property_name(target["name"], text)
        return _reachable(Objective(name, "target", _bound(target["right"], name, text, units)))
    words = text.split()
    if len(words) != 2:
        raise ObjectiveError(
            f"The objective {text!r} is not a direction and a property.",
            hint='Write it as "max bulk_modulus", "min formation_energy", "band_gap = 1.4 eV",'
            ' "band_gap in [1.5, 3.0] eV", "find lowest 1 % formation_energy", or "find all" with'
            " constraints.",
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


def constraints_of(text: str, units: Mapping[str, str] = _NO_UNITS) -> tuple[Constraint, ...]:
    """Parses a constraint: a bound, or a window, which is two.

    Args:
        text: For instance `"formation_energy <= -2.0 eV/atom"` or `"band_gap in [1.5, 3.0] eV"`.
        units: Units of properties that are derived from others.

    Raises:
        ObjectiveError: If the text does not follow the grammar, or no value can meet it.
        UnitError: If a unit is unknown or measures something else.

    >>> constraints_of("band_gap in [1500, 3000] meV")[1]
    Constraint(property='band_gap', relation='<=', bound=3.0)
    """
    window = _WINDOW.fullmatch(text)
    if not window:
        return (constraint(text, units),)
    name = _property_name(window["name"], text)
    ends = [
        _bound(f"{window[end].strip()} {window['unit']}".strip(), name, text, units)
        for end in ("lower", "upper")
    ]
    if ends[0] >= ends[1]:
        raise ObjectiveError(
            f"The window of {name} from {ends[0]:g} to {ends[1]:g} is empty.",
            hint="Give the lower end first.",
            text=text,
        )
    return (_checked(Constraint(name, ">=", ends[0])), _checked(Constraint(name, "<=", ends[1])))


def constraint(text: str, units: Mapping[str, str] = _NO_UNITS) -> Constraint:
    """Parses a constraint and converts its bound to the property's own unit.

    Args:
        text: For instance `"formation_energy <= -2.0 eV/atom"`; without a unit the number is in the
            property's own.
        units: As in `constraints_of`.

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
            hint=f'For a window write "{name} in [1.5, 3.0]".',
            text=text,
        )
    return _checked(Constraint(name, relation, _bound(match["right"], name, text, units)))


def problem(
    objective_: str | Objective | Sequence[str],
    constraints: Iterable[str | Constraint] = (),
    reference: Mapping[str, str | float] | None = None,
    derived: Mapping[str, str] | None = None,
) -> Problem:
    """Puts objectives and constraints together.

    Args:
        objective_: What is sought, as text or parsed. `"find all"` seeks every material that meets
            the constraints, and a window every one in it. Several objectives, in a sequence or with
            semicolons between them, seek their Pareto front.
        constraints: What must hold, as text or parsed; repeated ones count once.
        reference: Property -> the value from which a front's hypervolume counts.
        derived: Name -> formula of properties that are computed from others; each may hold those
            before it. A formula after "max" or "min" is called `score`.

    Raises:
        ObjectiveError: If a part cannot be parsed, two constraints contradict each other, there
            is nothing to find, or the objectives make no front.
        UnitError: If a unit is unknown or measures something else.

    >>> problem("max bulk_modulus; min formation_energy").further[0].property
    'formation_energy'
    """
    if not isinstance(objective_, Objective):
        texts = [objective_] if isinstance(objective_, str) else list(objective_)
        parts = [part.strip() for text in texts for part in text.split(";")]
        parts, formulas = _formulas(parts, derived or {})
        units = {formula.name: formula.unit for formula in formulas}
        read = tuple(
            found
            for c in constraints
            for found in (constraints_of(c, units) if isinstance(c, str) else (c,))
        )
        if len(parts) == 1:
            whole = _single(parts[0], read, units)
        else:
            whole = _front(parts, read, reference, units)
        if reference and not whole.further:
            raise ObjectiveError(
                "A reference is given, but there is one objective only.",
                hint="It is for the hypervolume of several; drop it.",
            )
        return replace(whole, derived=formulas)
    return _single(objective_, constraints, _NO_UNITS)


def _single(
    objective_: str | Objective,
    constraints: Iterable[str | Constraint],
    units: Mapping[str, str],
) -> Problem:
    """Returns the problem of one objective."""
    parsed = [
        found
        for c in constraints
        for found in (constraints_of(c) if isinstance(c, str) else (_checked(c),))
    ]
    goal: Objective
    if isinstance(objective_, Objective):
        goal = objective_
    elif _WINDOW.fullmatch(objective_):
        window = constraints_of(objective_, units)
        goal = Objective(window[0].property, "find")
        parsed = [*window, *parsed]
    elif objective_.split() == ["find", "all"]:
        goal = Objective(parsed[0].property if parsed else "", "find")
    else:
        goal = objective(objective_, units)
    if goal.share is not None and any(c.property == goal.property for c in parsed):
        raise ObjectiveError(
            f"Both a share and a bound say which values of {goal.property} are wanted.",
            hint='Drop the bound, or write "find all" to find all that meet it.',
            property=goal.property,
        )
    if goal.direction == "find" and goal.share is None and not parsed:
        raise ObjectiveError(
            "There is nothing to find: no constraint says which materials are wanted.",
            hint='Add constraints, such as "band_gap in [1.5, 3.0] eV".',
        )
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


def _front(
    parts: Sequence[str],
    constraints: Iterable[str | Constraint],
    reference: Mapping[str, str | float] | None,
    units: Mapping[str, str],
) -> Problem:
    """Returns the problem of several objectives."""
    goals = [objective(part, units) for part in parts if not _is_search(part)]
    if len(goals) != len(parts) or any(goal.direction == "find" for goal in goals):
        raise ObjectiveError(
            f"{'; '.join(parts)!r} mixes what is to be found with what is to be optimised.",
            hint="Make windows and bounds constraints, and keep max, min and targets.",
            text="; ".join(parts),
        )
    names = [goal.property for goal in goals]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None or len(names) < 2:
        raise ObjectiveError(
            f"{twice or 'No property'} is the objective twice." if twice else "No objective.",
            hint="Give each objective a property of its own.",
            property=twice,
        )
    first = _single(goals[0], constraints, units)
    given = None if not reference else _reference(names, reference, units)
    return Problem(goals[0], first.constraints, tuple(goals[1:]), given)


def _formulas(
    parts: Sequence[str], derived: Mapping[str, str]
) -> tuple[list[str], tuple[Formula, ...]]:
    """Returns objectives with names in the place of formulas, and all formulas."""
    named = dict(derived)
    texts = []
    for part in parts:
        direction, _, what = part.partition(" ")
        if direction not in {"max", "min"} or not _FORMULA.search(what):
            texts.append(part)
            continue
        name = "score" if "score" not in named else f"score_{len(named) + 1}"
        named[name] = what.strip()
        texts.append(f"{direction} {name}")
    units: dict[str, str] = {}
    found = []
    for name, text in named.items():
        if not name.isidentifier() or name in PROPERTIES or name in FUNCTIONS:
            raise ObjectiveError(
                f"A derived property cannot be called {name!r}.",
                hint="Give it a name of its own, of letters, digits and underscores.",
                property=name,
            )
        formula = read_formula(name, text, units)
        later = [n for n in formula.of if n in named and n not in units]
        if later:
            raise ObjectiveError(
                f"The formula of {name} holds {later[0]}, which is not derived before it.",
                hint="Put formulas in order.",
                property=name,
            )
        units[name] = formula.unit
        found.append(formula)
    return texts, tuple(found)


def _is_search(text: str) -> bool:
    return bool(_WINDOW.fullmatch(text)) or text.split() == ["find", "all"]


def _reference(
    names: Sequence[str], reference: Mapping[str, str | float], units: Mapping[str, str]
) -> tuple[float, ...]:
    """Returns the reference's values in the order of the objectives, in their own units."""
    given = {_property_name(name, str(name)): value for name, value in reference.items()}
    for name in (*given, *names):
        if name not in names or name not in given:
            what = "is no objective" if name in given else "has none"
            raise ObjectiveError(
                f"The reference does not go with the objectives: {name} {what}.",
                hint=f"Give a value for each of {', '.join(names)}.",
                property=name,
            )
    values = tuple(
        _bound(str(given[name]), name, f"{name}: {given[name]}", units) for name in names
    )
    if not all(math.isfinite(value) for value in values):
        raise ObjectiveError("The reference is not finite.", hint="Give finite numbers.")
    return values


def objective_text(objective: Objective) -> str:
    """Writes an objective in the grammar of `problem`."""
    if objective.share is not None:
        return f"find {objective.end} {100 * objective.share:.12g} % {objective.property}"
    if objective.direction == "find":
        return "find all"
    if objective.direction == "target":
        unit = unit_of(objective.property)
        return f"{objective.property} = {objective.target!r}" + (f" {unit}" if unit else "")
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
    goals = "; ".join(_with_unit(goal, problem) for goal in problem.objectives)
    if problem.reference is not None:
        named = zip(problem.objectives, problem.reference, strict=True)
        goals += f" from {', '.join(f'{goal.property} {value:g}' for goal, value in named)}"
    own = {formula.name: formula.unit for formula in problem.derived}
    bounds_ = [f"{constraint_text(c)} {own.get(c.property, '')}" for c in problem.constraints]
    formulas = [
        f"{f.name} = {f.text}" + (f" ({f.unit})" if f.unit else "") for f in problem.derived
    ]
    return ", ".join([goals, *(text.strip() for text in bounds_), *formulas])


def _with_unit(goal: Objective, problem: Problem) -> str:
    unit = problem.unit(goal.property)
    text = objective_text(goal)
    return f"{text} ({unit})" if unit and goal.direction in {"max", "min"} else text


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


def _bound(right: str, name: str, text: str, units: Mapping[str, str] = _NO_UNITS) -> float:
    match = _NUMBER.fullmatch(right.strip())
    if not match:
        raise ObjectiveError(
            f"{right.strip()!r} in {text!r} is not a number with an optional unit.",
            hint=f'Write it as in "{name} <= -2.0", "{name} = 1.4" or "{name} in [1.5, 3.0]".',
            text=text,
        )
    value, unit = float(match["number"]), match["unit"].strip()
    own = units.get(name, unit_of(name))
    if not unit or unit == own:
        return value
    if own is None:
        raise UnitError(
            f"The unit {unit!r} cannot be converted: cloudseed has no unit for {name}.",
            hint="Leave the unit out and give the number in the unit of your measurements.",
            unit=unit,
        )
    return convert(value, unit, own)


def _share(match: re.Match[str], text: str) -> Objective:
    """Returns the objective of a best share of the pool."""
    name, share = _property_name(match["name"], text), float(match["number"]) / 100
    if not 0 < share < 1:
        raise ObjectiveError(
            f"{match['number']} % in {text!r} is no part of a pool.",
            hint="Give more than 0 % and less than 100 %.",
            text=text,
        )
    for end in ("highest", "lowest"):
        if match["end"] == end:
            return Objective(name, "find", share=share, end=end)
    near = difflib.get_close_matches(match["end"], ("highest", "lowest"), n=1, cutoff=0.5)
    raise ObjectiveError(
        f"{match['end']!r} in {text!r} is neither 'highest' nor 'lowest'.",
        hint=f'Did you mean "find {near[0] if near else "highest"} {match["number"]} % {name}"?',
        text=text,
    )


def _reachable(objective: Objective) -> Objective:
    """Returns the objective if a physical value can come to its target."""
    target = objective.target
    assert target is not None, "only a target is reached"
    known = PROPERTIES.get(objective.property.split("@", 1)[0])
    if not math.isfinite(target) or (known and target < known.lower):
        raise ObjectiveError(
            f"{objective.property} cannot be {target:g}.",
            hint="Check the sign and the unit of the target.",
            property=objective.property,
        )
    return objective


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
