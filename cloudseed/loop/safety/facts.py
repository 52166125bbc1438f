"""What a compiled recipe says of itself, as far as limits depend on it.

A lab's recipe is JSON of its own. Read from it, at any depth: `temperature` in K, `ramp` in K/min,
`precursors` with `formula` and `grams`, `gas` or `gases`, and `target`. A value that is there but
cannot be read is an error, never a fact that is missing: a limit must not be escaped by a typo.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Facts", "read_facts", "substance"]

_DEEPEST = 20
_LONGEST = 100
_MIXTURES = {"air": ("O2", "N2"), "synthetic air": ("O2", "N2"), "forming gas": ("H2", "N2")}
_INERT = frozenset({"none", "vacuum"})
_HYDRATE = re.compile(r"[·*]\s*(\d*\.?\d*)\s*H2O")
_ALIASES = {"temperature_K": "temperature", "ramp_K_min": "ramp", "mass_g": "grams"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What limits are held against.

    Attributes:
        target: Reduced formula of what is made; "" if it does not say.
        substances: Reduced formulas of precursors and gases.
        elements: Symbols of all elements in them.
        temperature: The hottest, K; None if it does not say.
        ramp: The fastest, K/min; None if it does not say.
        grams: What is weighed out in all; None if it does not say.
    """

    target: str = ""
    substances: frozenset[str] = frozenset()
    elements: frozenset[str] = frozenset()
    temperature: float | None = None
    ramp: float | None = None
    grams: float | None = None

    def over(self, other: Facts) -> Facts:
        """Returns these facts, with what they do not tell from others."""
        return Facts(
            target=self.target or other.target,
            substances=self.substances | other.substances,
            elements=self.elements | other.elements,
            temperature=other.temperature if self.temperature is None else self.temperature,
            ramp=other.ramp if self.ramp is None else self.ramp,
            grams=other.grams if self.grams is None else self.grams,
        )

    @property
    def missing(self) -> list[str]:
        """What a person has to look at, because it is not told."""
        told = {
            "temperature": self.temperature is not None,
            "ramp": self.ramp is not None,
            "mass": self.grams is not None,
            "precursors": bool(self.substances),
        }
        return [name for name, known in told.items() if not known]


def substance(formula: object) -> tuple[str, frozenset[str]]:
    """Returns a substance's reduced formula, its water of hydration apart, and its elements.

    Raises:
        ValueError: If it is no formula.
    """
    from pymatgen.core import Composition

    text = str(formula).strip()
    if not text or len(text) > _LONGEST:
        raise ValueError(f"{text[:_LONGEST]!r} is no formula")
    dry = _HYDRATE.sub("", text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = Composition(dry, strict=True)
            symbols = frozenset(e.symbol for e in found.elements)
            reduced = str(found.reduced_formula)
    except Exception as error:  # pymatgen raises many kinds for what it cannot read
        raise ValueError(f"{text!r} is no formula") from error
    if not symbols:
        raise ValueError(f"{text!r} is no formula")
    return reduced, symbols | ({"H", "O"} if dry != text else set())


def read_facts(recipe: Mapping[str, Any]) -> Facts:
    """Reads a recipe.

    Raises:
        ValueError: If something in it that a limit depends on cannot be read.
    """
    found: dict[str, list[Any]] = {"temperature": [], "ramp": [], "grams": [], "target": []}
    names: set[str] = set()
    elements: set[str] = set()
    for key, value in _walk(recipe, 0):
        if key in {"temperature", "ramp"}:
            found[key].append(_number(key, value))
        elif key == "target":
            reduced, symbols = substance(value)
            found[key].append(reduced)
            elements |= symbols
        elif key == "precursors":
            for formula, grams in _precursors(value):
                reduced, symbols = substance(formula)
                names.add(reduced)
                elements |= symbols
                found["grams"].append(grams)
        elif key in {"gas", "gases", "atmosphere"}:
            for reduced, symbols in _gases(value):
                names.add(reduced)
                elements |= symbols
    if len(set(found["target"])) > 1:
        raise ValueError("it names more than one target")
    unweighed = not found["grams"] or None in found["grams"]
    return Facts(
        target=next(iter(found["target"]), ""),
        substances=frozenset(names),
        elements=frozenset(elements),
        temperature=max(found["temperature"], default=None),
        ramp=max(map(abs, found["ramp"]), default=None),
        grams=None if unweighed else sum(found["grams"]),
    )


def _walk(value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yields each key with its value, at every depth."""
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        for key, inner in value.items():
            yield _ALIASES.get(str(key), str(key)), inner
            yield from _walk(inner, depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _walk(inner, depth + 1)


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"its {key} {value!r} is no number")
    return float(value)


def _precursors(value: Any) -> Iterator[tuple[Any, float | None]]:
    for each in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(each, dict):
            told = {_ALIASES.get(str(k), str(k)): v for k, v in each.items()}
            weight = told.get("grams")
            grams = None if weight is None else _number("grams", weight)
            if grams is not None and grams < 0:
                raise ValueError(f"it weighs out {grams} g")
            yield told.get("formula", ""), grams
        else:
            yield each, None


def _gases(value: Any) -> Iterator[tuple[str, frozenset[str]]]:
    for each in value if isinstance(value, (list, tuple)) else [value]:
        name = each.get("formula", "") if isinstance(each, dict) else str(each)
        if name.lower() in _INERT:
            continue
        for part in _MIXTURES.get(name.lower(), (name,)):
            yield substance(part)
