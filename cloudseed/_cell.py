"""Cell: lattice, species and coordinates, what a lab needs and nothing more."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed._parsing import plain_cell
from cloudseed._symmetry import SYMPREC, Row
from cloudseed.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms
    from pymatgen.core import Structure

__all__ = ["Cell", "reduced_formula", "rows"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A periodic cell.

    Attributes:
        lattice: Three row vectors in angstrom.
        species: Element symbols, one per site.
        frac_coords: Fractional coordinates, one row per site.
    """

    lattice: tuple[Row, Row, Row]
    species: tuple[str, ...]
    frac_coords: tuple[Row, ...]

    @property
    def volume(self) -> float:
        """Cell volume in cubic angstrom."""
        return float(abs(np.linalg.det(np.array(self.lattice))))

    @property
    def formula(self) -> str:
        """Reduced formula, elements in order of electronegativity."""
        return reduced_formula(Counter(self.species))

    def scaled_to(self, volume: float) -> Cell:
        """Returns the same cell with its lattice scaled evenly to a volume in cubic angstrom."""
        if not (math.isfinite(volume) and volume > 0):
            raise StructureError(
                f"A cell cannot have the volume {volume}.",
                hint="Give a positive number of cubic angstrom.",
                volume=volume,
            )
        factor = (volume / self.volume) ** (1 / 3)
        return Cell(rows(np.array(self.lattice) * factor), self.species, self.frac_coords)

    def to_structure(self) -> Structure:
        """Returns a pymatgen structure."""
        from pymatgen.core import Lattice, Structure

        return Structure(Lattice(self.lattice), list(self.species), list(self.frac_coords))

    def to_atoms(self) -> Atoms:
        """Returns ASE atoms with periodic boundaries."""
        from ase import Atoms

        return Atoms(
            symbols=list(self.species),
            scaled_positions=np.array(self.frac_coords),
            cell=np.array(self.lattice),
            pbc=True,
        )

    def to_cif(self, symprec: float | None = SYMPREC) -> str:
        """Returns a CIF, with symmetry operations if `symprec` is given, else in P 1."""
        from pymatgen.io.cif import CifWriter

        return str(CifWriter(self.to_structure(), symprec=symprec))

    def to_json(self) -> dict[str, Any]:
        """Returns plain lists, exact to the last bit."""
        return {
            "lattice": [list(row) for row in self.lattice],
            "species": list(self.species),
            "frac_coords": [list(row) for row in self.frac_coords],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cell:
        """Reads what `to_json` wrote.

        Raises:
            StructureError: If a part is missing or the lengths disagree.
        """
        try:
            lattice = np.array(data["lattice"], dtype=float).reshape(3, 3)
            species = tuple(str(s) for s in data["species"])
            coords = np.array(data["frac_coords"], dtype=float).reshape(-1, 3)
        except (KeyError, TypeError, ValueError) as error:
            raise StructureError("The cell is not in cloudseed's JSON form.") from error
        if len(species) != len(coords) or not np.isfinite(lattice).all():
            raise StructureError("The cell's species and coordinates do not match.")
        return cls(rows(lattice), species, tuple(rows(coords)))

    @classmethod
    def from_structure(cls, structure: Structure) -> Cell:
        """Takes a pymatgen structure; oxidation states, magnetic moments and labels are dropped.

        Raises:
            StructureError: If a site is partly occupied, unknown, or on top of another.
        """
        return cls(*plain_cell(structure))

    @classmethod
    def from_atoms(cls, atoms: Atoms) -> Cell:
        """Takes periodic ASE atoms.

        Raises:
            StructureError: As `from_structure`, or if the atoms are not periodic.
        """
        from pymatgen.io.ase import AseAtomsAdaptor

        if not all(atoms.pbc):
            raise StructureError(
                f"{atoms.get_chemical_formula()} is not periodic in three directions.",
                hint="Set `atoms.pbc = True` and a cell.",
            )
        return cls.from_structure(AseAtomsAdaptor.get_structure(atoms))


def reduced_formula(composition: Mapping[str, int]) -> str:
    """Returns the reduced formula, elements in order of electronegativity."""
    from pymatgen.core import Composition

    with warnings.catch_warnings():
        # pymatgen announces that noble gases have no electronegativity; it sorts them last.
        warnings.simplefilter("ignore", UserWarning)
        return str(Composition(dict(composition)).reduced_formula)


def rows(matrix: Any) -> Any:
    """Returns three numbers per row as tuples."""
    return tuple((float(a), float(b), float(c)) for a, b, c in matrix)
