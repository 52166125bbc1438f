"""What the periodic table says of the elements, as arrays in order of atomic number.

From pymatgen's periodic table, which ships with it; nothing is measured on or computed for a
crystal.
"""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.surrogate.scope import ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["CHARGES", "element_table", "ionic_radii", "oxidation_states"]

CHARGES = range(-5, 9)
"""Charges that an ion may have, in elementary charges."""

_STATES = 6
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
    rows = [_properties(entry) for entry in _entries()]
    names = tuple(rows[ELEMENTS.index("Fe")])
    table = np.array([[row.get(name, np.nan) for name in names] for row in rows], dtype=float)
    table = (table - np.nanmean(table, axis=0)) / np.nanstd(table, axis=0)
    return names, table


@lru_cache(maxsize=1)
def oxidation_states() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Returns the likeliest states of each element, 118 x 6, and what each costs.

    A common state costs nothing, one that occurs in the ICSD 1, any other 2; empty places cost
    infinity.
    """
    states = np.zeros((len(ELEMENTS), _STATES), dtype=np.int64)
    costs = np.full((len(ELEMENTS), _STATES), np.inf)
    for row, entry in enumerate(_entries()):
        ranked: dict[int, float] = {}
        kinds = ("Common oxidation states", "ICSD oxidation states", "Oxidation states")
        for cost, kind in enumerate(kinds):
            for state in entry.get(kind) or ():
                if state:
                    ranked.setdefault(int(state), float(cost))
        for column, state in enumerate(list(ranked)[:_STATES]):
            states[row, column] = state
            costs[row, column] = ranked[state]
    return states, costs


@lru_cache(maxsize=1)
def ionic_radii() -> npt.NDArray[np.float64]:
    """Returns Shannon's ionic radii in angstrom, 118 x charges, NaN where none is tabulated.

    Charges are those of `CHARGES`; six-fold coordination, high spin where it is tabulated.
    """
    radii = np.full((len(ELEMENTS), len(CHARGES)), np.nan)
    for row, entry in enumerate(_entries()):
        for charge, radius in (entry.get("Ionic radii") or {}).items():
            if int(charge) in CHARGES:
                radii[row, CHARGES.index(int(charge))] = float(radius)
    return radii


@lru_cache(maxsize=1)
def _entries() -> list[Mapping[str, Any]]:
    packed = (files("pymatgen.core") / "periodic_table.json.gz").read_bytes()
    data = json.loads(gzip.decompress(packed))
    return [data.get(symbol, {}) for symbol in ELEMENTS]


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
