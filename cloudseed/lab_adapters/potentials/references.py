"""Energies of elements and of competing phases, and the hull that they make."""

from __future__ import annotations

import csv
import hashlib
import io
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

__all__ = [
    "Entries",
    "check_references",
    "chgnet_references",
    "digest",
    "element_energies",
    "known_entries",
    "read_entries",
]

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
        sha256: Digest of the file in hexadecimal.
    """

    phases: tuple[tuple[Mapping[str, float], float], ...]
    sha256: str

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


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal.

    Raises:
        InputError: If it cannot be read.
    """
    return hashlib.sha256(_bytes(path)).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> InputError:
    words = f"{path} cannot be read as a table of energies."
    return InputError(words, hint="Give a CSV.", path=str(path))


@lru_cache(maxsize=4)
def read_entries(path: Path, sha256: str) -> Entries:
    """Reads a CSV with the columns `formula` and `energy_per_atom` in eV/atom.

    Args:
        path: The file.
        sha256: The digest that it must have.

    Raises:
        InputError: If it cannot be read, is another file, or a row is no entry.
    """
    raw = _bytes(path)
    found = hashlib.sha256(raw).hexdigest()
    if found != sha256:
        raise InputError(
            f"{path} is not the file it was: its SHA-256 is {found}, not {sha256}.",
            hint="Put the file back, or set its new SHA-256.",
            path=str(path),
        )
    try:
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8"), newline=""))
        missing = {"formula", _COLUMN} - set(reader.fieldnames or ())
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path) from error
    if missing:
        raise InputError(
            f"{path} has no column {sorted(missing)[0]!r}.",
            hint=f"It needs 'formula' and {_COLUMN!r}, in eV/atom by the lab's own potential.",
            path=str(path),
        )
    phases = tuple(_phase(path, n, row) for n, row in enumerate(rows, start=1))
    return Entries(phases, sha256)


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
        path = Path(settings.entries)
        return read_entries(path, settings.entries_sha256 or digest(path))
    except InputError as error:
        raise SpecError(error.message, hint=error.hint, key="entries") from error


def check_references(settings: MlipSettings) -> None:
    """Refuses settings that would take an element whose own energy is not known.

    A lab without any such energies offers nothing that needs them.

    Raises:
        SpecError: If there is one, or the file of entries cannot be used.
    """
    entries = known_entries(settings)
    wanted = set(settings.elements or ())
    if settings.calculator != CHGNET:
        if entries is None:
            return
        if not entries.phases:
            words = f"{settings.entries} has no row, so that no element has an energy."
            raise SpecError(words, hint="Give it a row for each element.", key="entries")
        if settings.elements is None:
            wanted = {symbol for composition, _ in entries.phases for symbol in composition}
    missing = sorted(wanted - element_energies(settings).keys())
    if not missing:
        return
    named = ", ".join(missing)
    if settings.calculator == CHGNET:
        hint = "Leave them out of 'elements': CHGNet could not relax them."
        raise SpecError(f"CHGNet has no reference energy for {named}.", hint=hint, key="elements")
    raise SpecError(
        f"{settings.entries} has no row for the element itself: {named}.",
        hint="Add the energy of each by the same potential, or limit 'elements'.",
        key="entries",
    )
