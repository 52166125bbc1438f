"""Energies of elements and of competing phases, and the hull that they make."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from cloudseed.errors import InputError, SpecError
from cloudseed.lab_adapters.potentials.calculators import CHGNET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.lab_adapters.potentials.settings import MlipSettings

__all__ = ["Entries", "chgnet_references", "element_energies", "known_entries", "read_entries"]

_COLUMN = "energy_per_atom"


@lru_cache(maxsize=1)
def chgnet_references() -> Mapping[str, float]:
    """Returns element -> energy in eV/atom of its ground state, relaxed by CHGNet.

    The table was measured by `scripts/make_chgnet_references.py`. An element that is not in it
    could not be relaxed.
    """
    path = files("cloudseed.lab_adapters") / "data" / "chgnet_references.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    return MappingProxyType({name: float(e["energy"]) for name, e in table["elements"].items()})


@dataclass(frozen=True, slots=True)
class Entries:
    """Competing phases.

    Attributes:
        phases: Composition as element -> count, with its energy in eV/atom.
    """

    phases: tuple[tuple[Mapping[str, float], float], ...]

    def elements(self) -> dict[str, float]:
        """Returns element -> lowest energy in eV/atom among the elements' own phases."""
        found: dict[str, float] = {}
        for composition, energy in self.phases:
            if len(composition) == 1:
                (symbol,) = composition
                found[symbol] = min(energy, found.get(symbol, math.inf))
        return found

    def above_hull(
        self, species: Sequence[str], energy: float, elements: Mapping[str, float]
    ) -> float:
        """Returns the distance from the hull in eV/atom; below 0 for a new ground state.

        The hull is that of Ong et al., Chem. Mater. 20, 1798 (2008), doi:10.1021/cm702327g.

        Args:
            species: Symbol of each atom.
            energy: Energy in eV/atom.
            elements: Element -> energy in eV/atom.
        """
        from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
        from pymatgen.core import Composition

        system = set(species)
        known = [({symbol: 1.0}, elements[symbol]) for symbol in sorted(system)]
        known += [(dict(c), e) for c, e in self.phases if set(c) <= system]
        entries = [PDEntry(Composition(c), e * sum(c.values())) for c, e in known]
        composition = Composition(Counter(species))
        hull = PhaseDiagram(entries).get_hull_energy_per_atom(composition)
        return energy - float(hull)


@lru_cache(maxsize=4)
def read_entries(path: Path) -> Entries:
    """Reads a CSV with the columns `formula` and `energy_per_atom` in eV/atom.

    Raises:
        InputError: If it cannot be read or a row is no entry.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = {"formula", _COLUMN} - set(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as a table of energies.", hint="Give a CSV.", path=str(path)
        ) from error
    if missing:
        raise InputError(
            f"{path} has no column {sorted(missing)[0]!r}.",
            hint=f"It needs 'formula' and {_COLUMN!r}, in eV/atom by the lab's own potential.",
            path=str(path),
        )
    return Entries(tuple(_phase(path, n, row) for n, row in enumerate(rows, start=1)))


def _phase(path: Path, number: int, row: Mapping[str, str]) -> tuple[Mapping[str, float], float]:
    from pymatgen.core import Composition

    try:
        composition = Composition(row["formula"], strict=True).as_dict()
        energy = float(row[_COLUMN])
        if not composition or not math.isfinite(energy):
            raise ValueError(energy)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path}, row {number}: {row['formula']!r} with {row[_COLUMN]!r} is no entry.",
            hint="Give a formula and an energy in eV/atom.",
            path=str(path),
        ) from error
    return composition, energy


def element_energies(settings: MlipSettings) -> Mapping[str, float]:
    """Returns element -> energy in eV/atom by the lab's potential; empty if none are known.

    Raises:
        SpecError: If the file of entries cannot be used.
    """
    if settings.calculator == CHGNET:
        return chgnet_references()
    entries = known_entries(settings)
    return {} if entries is None else entries.elements()


def known_entries(settings: MlipSettings) -> Entries | None:
    """Returns the competing phases that the owner gave, if any.

    Raises:
        SpecError: If the file cannot be used.
    """
    if settings.entries is None:
        return None
    try:
        return read_entries(Path(settings.entries))
    except InputError as error:
        raise SpecError(error.message, hint=error.hint, key="entries") from error
