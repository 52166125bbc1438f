"""Novelty, always relative to a named list: by composition, by prototype, by structure."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudseed.errors import InputError
from cloudseed.proposers.parents import Reading, counted, read_entries
from cloudseed.proposers.protocols import FilterResult, Verdict
from cloudseed.proposers.provenance import sha256_of
from cloudseed.proposers.screens.protocols import Answer, CompositionScreen
from cloudseed.proposers.sources import find_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cloudseed.crystal import Cell, Crystal
    from cloudseed.proposers.protocols import Candidate

__all__ = ["KnownList", "NewComposition", "NewPrototype", "NewStructure", "read_known"]

Formula = tuple[tuple[str, int], ...]


class KnownList:
    """Materials that count as known.

    Args:
        name: What reasons call the list.
        crystals: Its crystals.
        formulas: Compositions that it gives without a structure.
        skipped: For each structure that could not be used, why.

    Attributes:
        name: As given.
        sha256: Of the list's keys and compositions.
        skipped: As given.
    """

    def __init__(
        self,
        name: str,
        crystals: Iterable[Crystal] = (),
        formulas: Iterable[Formula] = (),
        skipped: Iterable[str] = (),
    ) -> None:
        found = defaultdict(list)
        for crystal in crystals:
            found[crystal.key].append(crystal)
        self.name = name
        self._crystals = dict(found)
        self._bare = frozenset(formulas)
        structured = {_reduced(c.composition) for same in found.values() for c in same}
        self._formulas = self._bare | structured
        self.sha256 = sha256_of([sorted(found), sorted(self._formulas)])
        self.skipped = tuple(skipped)

    def __len__(self) -> int:
        return len(self._formulas)

    def has_composition(self, composition: Mapping[str, int]) -> bool:
        """Tells whether a composition, element -> atoms, is listed."""
        return _reduced(composition) in self._formulas

    def lacks_structure(self, composition: Mapping[str, int]) -> bool:
        """Tells whether a composition is listed without a structure."""
        return _reduced(composition) in self._bare

    @property
    def has_structures(self) -> bool:
        """Whether any material is listed with a structure."""
        return bool(self._crystals)

    def crystals(self, key: str) -> Sequence[Crystal]:
        """Returns the listed crystals that have a key."""
        return self._crystals.get(key, ())


def read_known(source: str | Path, name: str = "", reading: Reading | None = None) -> KnownList:
    """Reads a list of known materials.

    Args:
        source: Whatever parents may come from, or a CSV with a column `formula` and no structures.
        name: What reasons call it; the file's name if empty.
        reading: How structures are read; as parents are, so that the same crystal has the same key.

    Raises:
        UsageError: If the source cannot be understood.
        InputError: If it cannot be read, or a formula is none.
    """
    name, reading = name or Path(str(source)).name, reading or Reading()
    formulas = _formulas_of_table(Path(source))
    if formulas is not None:
        return KnownList(name, formulas=formulas)
    crystals: list[Crystal] = []
    skipped: list[str] = []
    entries, total = counted(find_entries(source))
    results = read_entries(
        entries,
        symprec=reading.symprec,
        workers=reading.workers,
        disorder=reading.disorder,
    )
    for done, (_, _, result) in enumerate(results, start=1):
        reading.progress(f"reading {name}", done, total)
        if isinstance(result, InputError):
            skipped.append(result.message)
        else:
            crystals.append(result)
    return KnownList(name, crystals, skipped=skipped)


def _formulas_of_table(path: Path) -> frozenset[Formula] | None:
    """Returns the compositions of a table without structures; None for any other source."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or ()
            if "cif" in columns or "formula" not in columns:
                return None
            return frozenset(_rows(path, reader))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as CSV.", hint="Is it comma-separated text?", path=str(path)
        ) from error


def _rows(path: Path, reader: Iterable[dict[str, str]]) -> Iterator[Formula]:
    from pymatgen.core import Composition
    from pymatgen.core.composition import CompositionError

    for number, row in enumerate(reader, start=1):
        try:
            amounts = Composition(row["formula"] or "").get_integer_formula_and_factor()[0]
            yield _reduced({str(e): int(n) for e, n in Composition(amounts).items()})
        except (ValueError, ZeroDivisionError, CompositionError) as error:
            raise InputError(
                f"{path}, row {number}: {row['formula']!r} is no formula.",
                hint="Write it like SrTiO3.",
                path=str(path),
            ) from error


def _reduced(composition: Mapping[str, int]) -> Formula:
    divisor = math.gcd(*composition.values())
    return tuple(sorted((element, count // divisor) for element, count in composition.items()))


@dataclass(frozen=True, slots=True)
class NewComposition(CompositionScreen):
    """Fails compositions that are in a list, whatever their structure."""

    known: KnownList
    name: str = field(default="new_composition", init=False)
    version: str = field(default="2", init=False)

    @property
    def skipped(self) -> tuple[str, ...]:
        """For each listed structure that could not be used, why."""
        return _told(self.known)

    def judge(self, composition: Mapping[str, int]) -> Answer:
        """Looks the composition up."""
        if self.known.has_composition(composition):
            return Verdict.FAIL, f"the composition is in {self.known.name}"
        return Verdict.PASS, f"not in {self.known.name}"


@dataclass(frozen=True, slots=True)
class NewPrototype:
    """Fails crystals whose elements sit on the Wyckoff positions of a listed crystal."""

    known: KnownList
    name: str = field(default="new_prototype", init=False)
    version: str = field(default="2", init=False)
    depends_on = "crystal"

    @property
    def skipped(self) -> tuple[str, ...]:
        """For each listed structure that could not be used, why."""
        return _told(self.known)

    def check(self, candidate: Candidate) -> FilterResult:
        """Looks the key up; a composition that is listed without a structure is unknown."""
        verdict, reason = Verdict.PASS, f"not in {self.known.name}"
        if self.known.crystals(candidate.key):
            verdict = Verdict.FAIL
            reason = f"the elements and Wyckoff orbits are in {self.known.name}"
        elif self.known.lacks_structure(candidate.crystal.composition):
            verdict = Verdict.UNKNOWN
            reason = f"{self.known.name} has the composition, no structure"
        return FilterResult(self.name, self.version, verdict, reason)


@dataclass(frozen=True, slots=True)
class NewStructure:
    """Fails cells that are the same structure as a listed crystal.

    pymatgen's StructureMatcher, with its own tolerances and scaled volumes, compares a cell only
    with listed crystals of the same key.
    """

    known: KnownList
    name: str = field(default="new_structure", init=False)
    version: str = field(default="2", init=False)

    @property
    def skipped(self) -> tuple[str, ...]:
        """For each listed structure that could not be used, why."""
        return _told(self.known)

    def check_cell(self, candidate: Candidate, cell: Cell) -> FilterResult:
        """Compares the cell with its namesakes; listed compositions without structure: unknown."""
        verdict, reason = Verdict.PASS, f"not in {self.known.name}"
        here = cell.to_structure()
        for crystal in self.known.crystals(candidate.key):
            if _matcher().fit(here, crystal.build().to_structure()):
                verdict, reason = Verdict.FAIL, f"the structure is in {self.known.name}"
                break
        else:
            if self.known.lacks_structure(candidate.crystal.composition):
                verdict = Verdict.UNKNOWN
                reason = f"{self.known.name} has the composition, no structure"
        return FilterResult(self.name, self.version, verdict, reason)


def _told(known: KnownList) -> tuple[str, ...]:
    return tuple(f"of {known.name}: {why}" for why in known.skipped)


@lru_cache(maxsize=1)
def _matcher() -> Any:
    from pymatgen.core.structure_matcher import StructureMatcher

    return StructureMatcher()
