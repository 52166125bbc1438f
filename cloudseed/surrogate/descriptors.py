"""What an encoder learns to say of a string: targets that follow from the string alone.

Nothing here was measured on, or computed for, the crystal: every target is made of its composition,
of which element stands where, and of tabulated properties of the elements (pymatgen's periodic
table). The statistics are those of Ward et al., npj Comput. Mater. 2, 16028 (2016).
"""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.surrogate.scope import ELEMENTS, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.scope import Scope

__all__ = ["SLOTS", "blocks", "describe", "element_table"]

SLOTS = 5
"""Sites whose element is described one by one: the first four and the last."""

_TABULATED = {
    "X": "electronegativity",
    "Atomic radius": "radius",
    "Atomic radius calculated": "calculated radius",
    "Metallic radius": "metallic radius",
    "Van der waals radius": "van der Waals radius",
    "Mendeleev no": "Mendeleev number",
    "Atomic no": "atomic number",
    "Electron affinity": "electron affinity",
    "Melting point": "melting point",
    "Boiling point": "boiling point",
    "Bulk modulus": "bulk modulus",
    "Youngs modulus": "Young's modulus",
    "Molar volume": "molar volume",
}
_LOGARITHMIC = {"Bulk modulus", "Youngs modulus", "Molar volume", "Melting point", "Boiling point"}


@lru_cache(maxsize=1)
def element_table() -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Returns property names and their values, 118 x p, standardised, NaN where not tabulated."""
    packed = (files("pymatgen.core") / "periodic_table.json.gz").read_bytes()
    data = json.loads(gzip.decompress(packed))
    rows = [_properties(data.get(symbol, {})) for symbol in ELEMENTS]
    names = tuple(rows[ELEMENTS.index("Fe")])
    table = np.array([[row.get(name, np.nan) for name in names] for row in rows], dtype=float)
    table = (table - np.nanmean(table, axis=0)) / np.nanstd(table, axis=0)
    return names, table


def _properties(entry: Mapping[str, Any]) -> dict[str, float]:
    """Returns what the periodic table says of one element; absent keys are not tabulated."""
    found: dict[str, float] = {}
    for key, name in _TABULATED.items():
        value = entry.get(key)
        if isinstance(value, int | float) and np.isfinite(value):
            found[name] = float(np.log(value)) if key in _LOGARITHMIC else float(value)
    energies = [e for e in entry.get("Ionization energies", []) if e is not None]
    for order, energy in enumerate(energies[:3], start=1):
        found[f"ionisation energy {order}"] = float(np.log(energy))
    common = entry.get("Common oxidation states")
    if common:
        found["lowest common charge"] = float(min(common))
        found["highest common charge"] = float(max(common))
        radii = entry.get("Ionic radii", {})
        charge = str(common[0])
        if charge in radii:
            found["ionic radius"] = float(radii[charge])
    return found | _shells(entry)


def _shells(entry: Mapping[str, Any]) -> dict[str, float]:
    """Returns row, outer electrons by kind, and the highest orbital energy of each kind."""
    text = entry.get("Electronic structure", {})
    text = text.get("0", "") if isinstance(text, dict) else str(text)
    outer = [shell for shell in text.split(".") if shell and shell[0].isdigit()]
    if not outer:
        return {}
    counts = dict.fromkeys("spdf", 0.0)
    for shell in outer:
        counts[shell[1]] += float("".join(filter(str.isdigit, shell[2:])) or 1)
    found = {f"{kind} electrons": count for kind, count in counts.items()}
    found["outer electrons"] = sum(counts.values())
    found["row"] = float(max(int(shell[0]) for shell in outer))
    orbitals = entry.get("Atomic orbitals")
    if isinstance(orbitals, dict) and orbitals:
        energies = sorted(float(e) for e in orbitals.values() if e is not None)
        found["highest orbital energy"] = energies[-1]
    return found


def blocks() -> dict[str, slice]:
    """Returns where each kind of target stands among the columns of `describe`."""
    p = len(element_table()[0])
    widths = {
        "fractions": len(ELEMENTS),
        "statistics": 5 * p,
        "sites": SLOTS * p,
        "site_fractions": SLOTS,
        "contrasts": 2 * len(_PAIRS) + 1,
    }
    edges = np.cumsum([0, *widths.values()])
    return {
        name: slice(int(a), int(b))
        for name, a, b in zip(widths, edges[:-1], edges[1:], strict=True)
    }


def describe(strings: Sequence[str]) -> npt.NDArray[np.float32]:
    """Returns the targets of each string, n x t, NaN where a property is not tabulated.

    Per string: atomic fractions; mean, standard deviation, minimum, maximum and range over the
    composition of every element property; the properties and fraction of the element on each of
    the first four sites and the last, in the string's order; contrasts between sites.

    Raises:
        ScopeError: If a string does not parse.
    """
    scopes = [parse(string) for string in strings]
    return np.hstack(
        [
            _fractions(scopes),
            _statistics(scopes),
            *_sites(scopes),
        ]
    ).astype(np.float32)


_INDEX = {element: number for number, element in enumerate(ELEMENTS)}
_PAIRS = ((0, 1), (0, 2), (1, 2))


def _fractions(scopes: Sequence[Scope]) -> npt.NDArray[np.float64]:
    table = np.zeros((len(scopes), len(ELEMENTS)))
    for row, scope in enumerate(scopes):
        for element, fraction in scope.composition:
            table[row, _INDEX[element]] = fraction
    return table


def _statistics(scopes: Sequence[Scope]) -> npt.NDArray[np.float64]:
    _, properties = element_table()
    width = max(len(scope.composition) for scope in scopes)
    values = np.full((len(scopes), width, properties.shape[1]), np.nan)
    weights = np.zeros((len(scopes), width, 1))
    for row, scope in enumerate(scopes):
        for column, (element, fraction) in enumerate(scope.composition):
            values[row, column] = properties[_INDEX[element]]
            weights[row, column] = max(fraction, 0.005)
    present = weights > 0
    weights = weights / weights.sum(axis=1, keepdims=True)
    filled = np.where(present, values, 0.0)
    mean = (weights * filled).sum(axis=1)
    spread = np.sqrt((weights * np.where(present, values - mean[:, None], 0.0) ** 2).sum(axis=1))
    low = np.where(present, values, np.inf).min(axis=1)
    high = np.where(present, values, -np.inf).max(axis=1)
    return np.hstack([mean, spread, low, high, high - low])


def _sites(scopes: Sequence[Scope]) -> list[npt.NDArray[np.float64]]:
    _, properties = element_table()
    count, width = len(scopes), properties.shape[1]
    values = np.full((count, SLOTS, width), np.nan)
    amounts = np.full((count, SLOTS), np.nan)
    for row, scope in enumerate(scopes):
        elements, fractions = scope.elements, dict(scope.composition)
        placed = {**dict(enumerate(elements[: SLOTS - 1])), SLOTS - 1: elements[-1]}
        for slot, element in placed.items():
            values[row, slot] = properties[_INDEX[element]]
            amounts[row, slot] = fractions[element] * 4
    electronegativity, radius = values[:, :, 0], values[:, :, 1]
    contrasts = [
        np.abs(table[:, i] - table[:, j])
        for table in (electronegativity, radius)
        for i, j in _PAIRS
    ]
    ionicity = np.abs(electronegativity[:, 0] - electronegativity[:, -1])
    return [
        values.reshape(count, -1),
        amounts,
        np.stack([*contrasts, ionicity], axis=1),
    ]
