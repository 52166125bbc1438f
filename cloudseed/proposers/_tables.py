"""Tables of elements and ions, read as files: importing pymatgen for them takes a second."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ALPHA",
    "LAMBDA_TABLE",
    "RADIOACTIVE",
    "Element",
    "Ion",
    "IonTable",
    "elements",
    "ion_table",
    "periodic_table",
    "permitted_elements",
    "radioactive",
]

ALPHA = -5.0
"""Weight of a pair of ions never seen to replace each other; Hautier et al. 2011."""

LAMBDA_TABLE = "pymatgen.core.structure_prediction/data/lambda.json"
"""The weights of Hautier et al. (2011), as pymatgen ships them."""

_FIRST_HEAVY = 84
RADIOACTIVE = frozenset({"Tc", "Pm"})
"""Elements below polonium without a stable isotope.

All from polonium (84) on have none either (IUPAC, Standard Atomic Weights 2021, Pure Appl. Chem.
94, 573 (2022), doi:10.1515/pac-2019-0603), thorium and uranium included; bismuth, whose half-life
is 2e19 years, counts as stable.
"""


@dataclass(frozen=True, slots=True)
class Element:
    """An element, with what the filters and the volume estimate ask of it.

    Attributes:
        number: Atomic number.
        states: Oxidation states that are common or reported in the ICSD, without zero.
        electronegativity: On the Pauling scale, or None.
        atomic_radius: In angstrom, or None.
        ionic_radii: Oxidation state -> mean Shannon radius in angstrom.
    """

    number: int
    states: tuple[int, ...]
    electronegativity: float | None
    atomic_radius: float | None
    ionic_radii: Mapping[int, float]


@lru_cache(maxsize=1)
def elements() -> Mapping[str, Element]:
    """Returns symbol -> element, in order of atomic number, hydrogen to oganesson."""
    found = {symbol: _element(raw) for symbol, raw in periodic_table().items()}
    return MappingProxyType(dict(sorted(found.items(), key=lambda item: item[1].number)))


@lru_cache(maxsize=1)
def periodic_table() -> Mapping[str, Mapping[str, Any]]:
    """Returns symbol -> everything that pymatgen's table says of the element."""
    packed = (files("pymatgen") / "core" / "periodic_table.json.gz").read_bytes()
    raw = json.loads(gzip.decompress(packed))
    return {symbol: facts for symbol, facts in raw.items() if symbol not in {"_unit", "D", "T"}}


def _element(raw: Mapping[str, Any]) -> Element:
    common = raw.get("Common oxidation states") or []
    reported = raw.get("ICSD oxidation states") or []
    return Element(
        number=int(raw["Atomic no"]),
        states=tuple(sorted({int(q) for q in (*common, *reported)} - {0})),
        electronegativity=_number(raw.get("X")),
        atomic_radius=_number(raw.get("Atomic radius")),
        ionic_radii={int(q): float(r) for q, r in (raw.get("Ionic radii") or {}).items()},
    )


def _number(value: object) -> float | None:
    known = isinstance(value, int | float) and np.isfinite(value) and value > 0
    return float(value) if known and isinstance(value, int | float) else None


def radioactive(symbol: str) -> bool:
    """Tells whether an element has no stable isotope."""
    return symbol in RADIOACTIVE or elements()[symbol].number >= _FIRST_HEAVY


def permitted_elements(
    allow: Iterable[str] | None = None, forbid: Iterable[str] = ()
) -> frozenset[str]:
    """Returns the symbols that may be used.

    Args:
        allow: Symbols; None for all that are not radioactive. A radioactive element is permitted
            only where it stands here.
        forbid: Symbols to take away from those.

    Raises:
        UsageError: If a symbol is no element, if one is both allowed and forbidden, or if none
            is left.
    """
    forbidden = _checked(forbid, "forbidden")
    if allow is None:
        return frozenset(s for s in elements() if not radioactive(s)) - forbidden
    allowed = _checked(allow, "allowed")
    both = sorted(allowed & forbidden)
    if both:
        raise UsageError(
            f"{both[0]} is both allowed and forbidden.",
            hint="Take it out of one of the two lists.",
            elements=both,
        )
    if not allowed:
        raise UsageError(
            "The list of allowed elements is empty.",
            hint="Name some, or leave the list out to allow all that are not radioactive.",
        )
    return allowed


def _checked(symbols: Iterable[str], which: str) -> frozenset[str]:
    known = elements()
    asked = [symbols] if isinstance(symbols, str) else list(symbols)
    for symbol in asked:
        if symbol not in known:
            near = difflib.get_close_matches(str(symbol).capitalize(), list(known), n=1, cutoff=0.3)
            # YAML reads an unquoted No as false.
            hint = 'Write "No" in quotes for nobelium.' if str(symbol) == "False" else ""
            raise UsageError(
                f"{symbol!r} in the list of {which} elements is not an element.",
                hint=hint or (f"Did you mean {near[0]!r}?" if near else "Give element symbols."),
                element=symbol,
            )
    return frozenset(asked)


@dataclass(frozen=True, slots=True, order=True)
class Ion:
    """An element in an oxidation state."""

    element: str
    charge: int

    def __str__(self) -> str:
        return f"{self.element}{abs(self.charge)}{'+' if self.charge > 0 else '-'}"


@dataclass(frozen=True, eq=False)
class IonTable:
    """How likely one ion replaces another in a crystal.

    Hautier, Fischer, Ehrlacher, Jain & Ceder, Inorg. Chem. 50, 656 (2011),
    doi:10.1021/ic102031h: p(a, b) is proportional to exp(lambda(a, b)), with weights mined from
    the ICSD and `ALPHA` for pairs never seen.

    Attributes:
        ions: The ions, sorted.
        weights: exp(lambda), `n x n`, symmetric.
        sha256: Of the file that the weights come from.
    """

    ions: tuple[Ion, ...]
    weights: np.ndarray
    sha256: str

    def index(self, ion: Ion) -> int | None:
        """Returns the row of an ion, or None if the table lacks it."""
        try:
            return self.ions.index(ion)
        except ValueError:
            return None

    def log_conditional(self, old: Ion) -> np.ndarray:
        """Returns log p(new | old) for every ion of the table, shape `n`."""
        row = self.weights[self.ions.index(old)]
        return np.asarray(np.log(row / row.sum()))

    def log_share(self, ion: Ion) -> float:
        """Returns the logarithm of the share of an ion among the ions of its element."""
        totals = self.weights.sum(axis=1)
        same = [i for i, other in enumerate(self.ions) if other.element == ion.element]
        return float(np.log(totals[self.ions.index(ion)] / totals[same].sum()))

    def log_element_conditional(self, old: str) -> dict[str, float]:
        """Returns log p(new element | old element), summed over their ions; empty if unknown."""
        rows = [i for i, ion in enumerate(self.ions) if ion.element == old]
        if not rows:
            return {}
        row = self.weights[rows].sum(axis=0)
        totals: dict[str, float] = {}
        for ion, weight in zip(self.ions, row / row.sum(), strict=True):
            totals[ion.element] = totals.get(ion.element, 0.0) + float(weight)
        return {element: float(np.log(p)) for element, p in totals.items()}


@lru_cache(maxsize=8)
def ion_table(alpha: float = ALPHA, floor: float = -math.inf) -> IonTable:
    """Loads the table of weights.

    Args:
        alpha: Weight of pairs never seen.
        floor: Least weight of any pair.
    """
    path = files("pymatgen") / "core" / "structure_prediction" / "data" / "lambda.json"
    raw = path.read_bytes()
    # Deuterium is no element of its own here, as in pymatgen's reading of the table.
    rows = [row for row in json.loads(raw) if "D1+" not in row]
    ions = tuple(sorted({_ion(name) for row in rows for name in row[:2]}))
    place = {ion: i for i, ion in enumerate(ions)}
    weights = np.full((len(ions), len(ions)), alpha)
    for first, second, value in rows:
        i, j = place[_ion(first)], place[_ion(second)]
        weights[i, j] = weights[j, i] = float(value)
    return IonTable(ions, np.exp(np.maximum(weights, floor)), hashlib.sha256(raw).hexdigest())


def _ion(name: str) -> Ion:
    match = re.fullmatch(r"([A-Z][a-z]?)(\d+)([+-])", name)
    assert match is not None, name
    return Ion(match[1], int(match[2]) * (1 if match[3] == "+" else -1))
