"""Energy above the convex hull of reference entries that the user gives."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudseed.errors import InputError
from cloudseed.proposers.protocols import FilterResult, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cloudseed.proposers.protocols import Candidate
    from cloudseed.proposers.screens.protocols import Answer

__all__ = ["EnergyAboveHull", "ReferenceEntries"]

ENERGIES = ("energy_per_atom", "formation_energy_per_atom")
"""Columns of energies; formation energies bring the elements along, at zero."""

Reference = tuple[str, float]


@dataclass(frozen=True, slots=True)
class ReferenceEntries:
    """Energies that may be compared with each other.

    Attributes:
        kind: Which of `ENERGIES` they are.
        entries: Formulas with energies in eV/atom.
        method: How they were computed; "" where the table does not say.
    """

    kind: str
    entries: tuple[Reference, ...]
    method: str = ""

    @classmethod
    def read(cls, path: Path) -> ReferenceEntries:
        """Reads a CSV with `formula`, one of `ENERGIES`, and `method` if there may be doubt.

        Raises:
            InputError: If a column or number is missing, or the methods differ.
        """
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                reader = csv.DictReader(stream)
                columns = list(reader.fieldnames or ())
                kind = next((c for c in ENERGIES if c in columns), None)
                if "formula" not in columns or kind is None:
                    raise InputError(
                        f"{path} needs the columns 'formula' and {ENERGIES[0]!r}.",
                        hint=f"Its columns are {', '.join(columns) or 'none'}.",
                        path=str(path),
                    )
                rows = list(reader)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(
                f"{path} cannot be read as a table of energies.", hint="Give a CSV.", path=str(path)
            ) from error
        methods = sorted({(row.get("method") or "").strip() for row in rows})
        if len(methods) > 1:
            raise InputError(
                f"{path} mixes methods: {' and '.join(repr(m) for m in methods[:2])}.",
                hint="Energies of different methods make no hull; keep those of one.",
                path=str(path),
            )
        entries = tuple(_reference(path, i, row, kind) for i, row in enumerate(rows, start=1))
        return cls(kind, entries, methods[0] if methods else "")


def _reference(path: Path, number: int, row: Mapping[str, str], kind: str) -> Reference:
    from pymatgen.core import Composition

    try:
        formula = str(Composition(row["formula"]).reduced_formula)
        energy = float(row[kind])
        if not math.isfinite(energy):
            raise ValueError(energy)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path}, row {number}: {row['formula']!r} with {row[kind]!r} is no entry.",
            hint="Give a formula and an energy in eV/atom.",
            path=str(path),
        ) from error
    return formula, energy


@dataclass(frozen=True, slots=True)
class EnergyAboveHull:
    """Fails candidates that lie too high above the hull of the reference entries.

    pymatgen's PhaseDiagram after Ong et al., Chem. Mater. 20, 1798 (2008),
    doi:10.1021/cm702327g. The candidate's own energy is what its list gives under the name of the
    entries' column; without one the answer is unknown, as it is where an element has no entry.

    Attributes:
        references: The entries.
        most: Largest energy above the hull in eV/atom.
    """

    references: ReferenceEntries
    most: float = 0.1
    name: str = field(default="energy_above_hull", init=False)
    version: str = field(default="1", init=False)
    depends_on = "crystal"
    late = True
    _diagrams: dict[frozenset[str], Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def check(self, candidate: Candidate) -> FilterResult:
        """Compares the candidate with its chemical system's hull."""
        verdict, reason = self._judge(candidate)
        return FilterResult(self.name, self.version, verdict, reason)

    def _judge(self, candidate: Candidate) -> Answer:
        values = candidate.operation.arguments.get("values")
        energy = values.get(self.references.kind) if isinstance(values, dict) else None
        if not isinstance(energy, int | float):
            return Verdict.UNKNOWN, "no energy of the candidate is known"
        composition = candidate.crystal.composition
        diagram = self._diagram(frozenset(composition))
        if isinstance(diagram, str):
            return Verdict.UNKNOWN, f"no reference entry of {diagram} is given"
        above = _above(diagram, composition, float(energy))
        if above <= self.most:
            return Verdict.PASS, ""
        return Verdict.FAIL, "its energy is too high above the hull"

    def _diagram(self, elements: frozenset[str]) -> Any:
        """Returns a system's phase diagram, or an element without an entry."""
        if elements not in self._diagrams:
            self._diagrams[elements] = self._make(elements)
        return self._diagrams[elements]

    def _make(self, elements: frozenset[str]) -> Any:
        from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
        from pymatgen.core import Composition

        given: Sequence[Reference] = self.references.entries
        if self.references.kind == "formation_energy_per_atom":
            given = (*given, *((element, 0.0) for element in sorted(elements)))
        entries = []
        for formula, energy in given:
            composition = Composition(formula)
            if {str(e) for e in composition} <= elements:
                entries.append(PDEntry(composition, energy * composition.num_atoms))
        pure = {str(entry.composition.elements[0]) for entry in entries if entry.is_element}
        missing = sorted(elements - pure)
        return missing[0] if missing else PhaseDiagram(entries)


def _above(diagram: Any, composition: Mapping[str, int], energy: float) -> float:
    from pymatgen.core import Composition

    formula = Composition(dict(composition))
    return energy - float(diagram.get_hull_energy_per_atom(formula))
