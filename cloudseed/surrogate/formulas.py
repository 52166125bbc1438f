"""Formulas over properties, with units: `"shear_modulus / bulk_modulus"`.

A formula holds property names, numbers, numbers with a unit such as `100 GPa` or `(1 eV/atom)`, the
operators + - * / ** and the functions of `FUNCTIONS`. It is read into Python's syntax tree, of
which nothing else is allowed, and computed node by node; no code is ever run. What is added must
measure the same; what goes into an exponent or a logarithm must be a plain number.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import ObjectiveError, UnitError
from cloudseed.units import quantity, unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["FUNCTIONS", "Formula", "read_formula", "with_derived"]

_LONGEST = 500
_LARGEST_POWER = 10
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(
    rf"\(\s*(?P<bracketed>{_NUMBER})\s+(?P<unit>[A-Za-z][\w/^ ]*?)\s*\)"
    rf"|(?<![\w.])(?P<bare>{_NUMBER})\s+(?P<word>[A-Za-z]\w*)"
)
_HOT = re.compile(r"[A-Za-z_]\w*@\d+(?:\.\d+)?K\b")
_PLACE = "_at_{}_"


def _plain(value: Any) -> Any:
    """Returns a quantity without a unit as numbers."""
    return value.to("").magnitude


FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "abs": abs,
        "exp": lambda x: quantity(np.exp(_plain(x)), ""),
        "log": lambda x: quantity(np.log(_plain(x)), ""),
        "max": np.maximum,
        "min": np.minimum,
        "sqrt": lambda x: x**0.5,
    }
)
"""What may be called, and how it is computed."""

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = MappingProxyType(
    {
        ast.Add: lambda a, b: a + b,
        ast.Sub: lambda a, b: a - b,
        ast.Mult: lambda a, b: a * b,
        ast.Div: lambda a, b: a / b,
    }
)


@dataclass(frozen=True, slots=True)
class Formula:
    """A property that is computed from others.

    Attributes:
        name: What it is called.
        text: The formula.
        of: The properties in it.
        unit: The unit of its values; "" where dimensionless.
    """

    name: str
    text: str
    of: tuple[str, ...]
    unit: str

    def __call__(self, values: Mapping[str, Array], units: Mapping[str, str]) -> Array:
        """Computes the property.

        Args:
            values: Values of each property in it, n each, NaN where unknown; n of 1 or more.
            units: Units of those that the table of units does not know.

        Returns:
            Values, n, NaN where one is missing or the formula has none, as at a division by zero.
        """
        known = {
            n: quantity(np.asarray(values[n], dtype=np.float64), _unit(n, units)) for n in self.of
        }
        tree, names = _parsed(self.text)
        with np.errstate(all="ignore"):
            found = _computed(tree, {place: known[name] for place, name in names.items()})
            numbers = np.asarray(found.to(self.unit).magnitude, dtype=np.float64)
        numbers = np.broadcast_to(numbers, np.shape(next(iter(known.values())).magnitude)).copy()
        numbers[~np.isfinite(numbers)] = np.nan
        return numbers


def read_formula(name: str, text: str, units: Mapping[str, str]) -> Formula:
    """Reads a formula and finds its unit.

    Args:
        name: What the property is called.
        text: For instance `"shear_modulus / bulk_modulus"`.
        units: Units of properties that the table of units does not know; those that neither knows
            are taken as plain numbers.

    Raises:
        ObjectiveError: If the text is no formula, or holds no property.
        UnitError: If a unit is unknown, or quantities of different kinds are added.

    >>> read_formula("stiffness", "bulk_modulus / (100 GPa) - band_gap / (1 eV)", {}).unit
    ''
    """
    tree, names = _parsed(text)
    if not names:
        raise ObjectiveError(
            f"The formula {text!r} holds no property.",
            hint='Write it as in "shear_modulus / bulk_modulus".',
            text=text,
        )
    known = {place: quantity(np.ones(1), _unit(n, units)) for place, n in names.items()}
    with np.errstate(all="ignore"):
        try:
            found = _computed(tree, known)
        except UnitError:
            raise
        except Exception as error:  # pint lets many kinds through
            raise UnitError(
                f"The units in {text!r} do not go together: {error}.",
                hint="Divide each part by a quantity of its kind, as in bulk_modulus / (100 GPa).",
                text=text,
            ) from error
    if found.dimensionless:
        found = found.to("")
    return Formula(name, text, tuple(dict.fromkeys(names.values())), f"{found.units:~}".strip())


def _unit(name: str, units: Mapping[str, str]) -> str:
    return units.get(name, unit_of(name) or "")


@lru_cache(maxsize=256)
def _parsed(text: str) -> tuple[ast.expr, Mapping[str, str]]:
    """Returns the checked syntax tree of a formula and its names -> properties."""
    if len(text) > _LONGEST:
        raise ObjectiveError(
            f"A formula of {len(text)} characters is too long.", hint="Split it into several."
        )
    hot = list(dict.fromkeys(_HOT.findall(text)))
    # Whole names: one may end another.
    written = _HOT.sub(lambda match: _PLACE.format(hot.index(match[0])), text)
    written = _QUANTITY.sub(_as_call, written).replace("^", "**")
    try:
        tree = ast.parse(written.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _no_formula(text, "it cannot be read") from error
    used: dict[str, str] = {}
    _check(tree, text, used)
    for place, name in enumerate(hot):
        used[_PLACE.format(place)] = name
    return tree, MappingProxyType(used)


def _as_call(match: re.Match[str]) -> str:
    number, unit = match["bracketed"] or match["bare"], match["unit"] or match["word"]
    return f"quantity({number}, {unit!r})"


def _check(node: ast.expr, text: str, used: dict[str, str]) -> None:
    """Refuses all but the nodes of a formula, and collects names."""
    match node:
        case ast.Name(id=name):
            used[name] = name
        case ast.Constant(value=value) if type(value) in {int, float}:
            pass
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            _check(operand, text, used)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            _check(left, text, used)
            _power(right, text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            _check(left, text, used)
            _check(right, text, used)
        case ast.Call(
            func=ast.Name(id="quantity"),
            args=[ast.Constant(value=int() | float()), ast.Constant(value=str())],
            keywords=[],
        ):
            pass
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            wanted = 2 if name in {"max", "min"} else 1
            if len(args) != wanted:
                raise _no_formula(text, f"{name} takes {wanted}")
            for argument in args:
                _check(argument, text, used)
        case _:
            raise _no_formula(text, f"{ast.unparse(node)!r} is not allowed")


def _power(node: ast.expr, text: str) -> float:
    """Returns an exponent, a number of moderate size."""
    match node:
        case ast.Constant(value=int() | float() as value) if abs(value) <= _LARGEST_POWER:
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_power(operand, text)
        case _:
            raise _no_formula(text, f"an exponent is a number up to {_LARGEST_POWER}")


def _no_formula(text: str, why: str) -> ObjectiveError:
    return ObjectiveError(
        f"{text!r} is no formula: {why}.",
        hint=f"Use properties, numbers, units, + - * / ** and {', '.join(FUNCTIONS)}.",
        text=text,
    )


def _computed(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """Returns the value of a checked node as a quantity."""
    match node:
        case ast.Name(id=name):
            return known[name]
        case ast.Constant(value=int() | float() as value):
            return quantity(float(value), "")
        case ast.UnaryOp(op=op, operand=operand):
            value = _computed(operand, known)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _computed(left, known) ** _power(right, "")
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_computed(left, known), _computed(right, known))
        case ast.Call(func=ast.Name(id="quantity"), args=[number, unit]):
            return quantity(float(ast.literal_eval(number)), ast.literal_eval(unit))
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name](*(_computed(a, known) for a in args))
    raise AssertionError("the tree was checked")


def with_derived(formulas: Sequence[Formula], values: Mapping[str, Array]) -> dict[str, Array]:
    """Adds what can be computed to measured values.

    Args:
        formulas: Each may hold those before it.
        values: Property -> values, n each, NaN where unknown.
    """
    found = dict(values)
    units = {formula.name: formula.unit for formula in formulas}
    for formula in formulas:
        if all(name in found for name in formula.of):
            found[formula.name] = formula(found, units)
    return found
