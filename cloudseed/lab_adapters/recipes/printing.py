"""A recipe as people read it, whoever compiled it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudseed._printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Printed", "printed"]

_FIRST = ("do", "temperature", "ramp", "hours", "gas")
"""What a step says first; a ledger keeps keys in alphabetical order."""

_UNITS = {"ramp": " K/min", "hours": " h"}


@dataclass(frozen=True, slots=True)
class Printed:
    """A recipe in words.

    Attributes:
        reaction: The balanced equation; "" if it has none.
        precursors: Formula and grams of what is weighed out.
        steps: What is done, in order.
        rest: What else it holds, as JSON; "" if nothing.
    """

    reaction: str
    precursors: tuple[tuple[str, str], ...]
    steps: tuple[str, ...]
    rest: str

    @property
    def lines(self) -> list[str]:
        """Everything, as lines."""
        weighed = ", ".join(f"{grams} g {formula}" for formula, grams in self.precursors)
        found = [self.reaction, f"weigh {weighed}" if weighed else "", *self.steps]
        return [*filter(None, found), *self.rest.splitlines()]


def printed(recipe: Mapping[str, Any]) -> Printed:
    """Returns a recipe in words; what is of no known form is left as it is.

    Line breaks and escape sequences are written out: whoever reads it may approve it.
    """
    rest = dict(recipe)
    rest.pop("target", None)
    reaction = rest.pop("reaction") if isinstance(rest.get("reaction"), str) else ""
    weighed = _objects(rest.get("precursors"))
    if all({"formula", "grams"} == set(each) for each in weighed):
        rest = {k: v for k, v in rest.items() if k != "precursors" or not weighed}
    else:
        weighed = []
    steps = _objects(rest.get("steps"))
    rest = {k: v for k, v in rest.items() if k != "steps" or not steps}
    return Printed(
        reaction=printable(reaction),
        precursors=tuple(
            (printable(each["formula"]), printable(each["grams"])) for each in weighed
        ),
        steps=tuple(printable(", ".join(_words(step))) for step in steps),
        rest=json.dumps(rest, indent=1) if rest else "",
    )


def _objects(value: Any) -> list[dict[str, Any]]:
    """Returns a list of objects, or [] for anything else."""
    fit = isinstance(value, list | tuple) and all(isinstance(each, dict) for each in value)
    return list(value) if fit else []


def _words(step: Mapping[str, Any]) -> Iterator[str]:
    """Yields what a step says, with the units that recipes have."""
    known = [name for name in _FIRST if name in step]
    for name in (*known, *(name for name in step if name not in known)):
        value = step[name]
        if name == "temperature" and isinstance(value, int | float):
            yield f"{value:g} K ({value - 273.15:.0f} degC)"
        elif name == "do":
            yield str(value)
        else:
            yield f"{name} {value}{_UNITS.get(name, '')}"
