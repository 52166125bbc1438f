"""Crystal: a structure with its symmetry, refined once; the ground that all parts share.

A parent structure is refined once into a `GeometryRoot`: its space group, Wyckoff orbits and
lattice. A `Crystal` is a colouring of a root's orbits, one element per orbit. Where a colouring
merges no two orbits that the parent kept apart, its space group, orbits and letters are the
parent's and cost nothing; where it does merge some, spglib runs once per root and partition of
orbits, and the answer is kept (Togo, Shinohara & Tanaka, Sci. Technol. Adv. Mater. Meth. 4,
2384822 (2024)). A vacancy is a colour too; sites of one orbit that shall differ take a root with
split orbits, made once per root and partition of sites.

    Cell          lattice, species and fractional coordinates: what a lab needs
    GeometryRoot  where the atoms may sit
    Crystal       which element sits where; builds its `Cell` when asked
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cloudseed._cell import Cell, reduced_formula, rows
from cloudseed._elements import VACANCY
from cloudseed._reading import Disorder, Source, read_cells
from cloudseed._root import VACANT, GeometryRoot, Orbit, Symmetry, orbit_of, partition_of
from cloudseed._symmetry import (
    SYMPREC,
    multiplicities,
    placed_by_letters,
    primitive_cell,
    relabelings,
    symmetry_dataset,
)
from cloudseed.errors import InputError, StructureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from ase import Atoms
    from pymatgen.core import Structure

__all__ = [
    "SYMPREC",
    "VACANCY",
    "VACANT",
    "Cell",
    "Crystal",
    "Disorder",
    "GeometryRoot",
    "Orbit",
    "Source",
    "Symmetry",
    "multiplicities",
    "partition_of",
    "read_crystals",
    "reduced_formula",
    "relabelings",
]


@dataclass(frozen=True, eq=False)
class Crystal:
    """A colouring of a geometry root: one element for each orbit.

    Attributes:
        root: Where the atoms sit.
        colouring: Element symbols, one per orbit of the root; `VACANCY` where it is empty.
    """

    root: GeometryRoot
    colouring: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.colouring) != len(self.root.orbits):
            raise StructureError(
                f"{len(self.colouring)} elements cannot colour {len(self.root.orbits)} orbits."
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Crystal):
            return NotImplemented
        return self.colouring == other.colouring and self.root.sha == other.root.sha

    def __hash__(self) -> int:
        return hash((self.root.sha, self.colouring))

    @cached_property
    def symmetry(self) -> Symmetry:
        """The symmetry of this colouring."""
        return self.root.symmetry(partition_of(self.colouring))

    @cached_property
    def composition(self) -> dict[str, int]:
        """Atoms per element in the primitive cell, in the order of the orbits."""
        counts: dict[str, int] = {}
        for element, sites in zip(self.colouring, self.root.sites_per_orbit, strict=True):
            if element != VACANCY:
                counts[element] = counts.get(element, 0) + sites
        return counts

    @cached_property
    def formula(self) -> str:
        """Reduced formula, elements in order of electronegativity."""
        return reduced_formula(self.composition)

    @property
    def chemical_system(self) -> str:
        """Elements in alphabetical order, joined by hyphens."""
        return "-".join(sorted(self.composition))

    @cached_property
    def key(self) -> str:
        """What makes two crystals the same candidate: elements on Wyckoff orbits.

        Space group and element-bearing Wyckoff symbols, after the relabelling by the group's
        affine normaliser that sorts first, so that the choice of origin does not matter; for
        instance "221 1a:Sr 1b:Ti 3c:O". Isopointal crystals whose free coordinates differ share
        a key.
        """
        symmetry = self.symmetry
        distinct: dict[int, tuple[Orbit, str]] = {}
        for group, orbit, element in zip(
            symmetry.group, symmetry.orbits, self.colouring, strict=True
        ):
            if group != VACANT:
                distinct.setdefault(group, (orbit, element))
        best = min(
            sorted(
                (relabel[ord(orbit.letter)], orbit.multiplicity, element)
                for orbit, element in distinct.values()
            )
            for relabel in relabelings(symmetry.space_group)
        )
        orbits = " ".join(f"{m}{letter}:{element}" for letter, m, element in best)
        return f"{symmetry.space_group} {orbits}"

    def recoloured(self, colouring: Sequence[str]) -> Crystal:
        """Returns the crystal of the same root with other elements on its orbits."""
        return Crystal(self.root, tuple(colouring))

    def build(self, volume: float | None = None) -> Cell:
        """Returns the refined primitive cell, orbit by orbit.

        Args:
            volume: Cell volume in cubic angstrom; the parent's if None.
        """
        species = [self.colouring[orbit] for orbit in self.root.site_orbits]
        sites = [site for site, element in enumerate(species) if element != VACANCY]
        cell = Cell(
            self.root.lattice,
            tuple(species[site] for site in sites),
            tuple(self.root.frac_coords[site] for site in sites),
        )
        return cell if volume is None else cell.scaled_to(volume)

    @classmethod
    def from_cell(cls, cell: Cell, symprec: float = SYMPREC) -> Crystal:
        """Refines a cell into a root and its own colouring.

        The root's cell is the refined primitive one, placed so that its letters are those of the
        cell; where refining would change the symmetry that was found, it is the cell itself.

        Args:
            cell: Any setting, any size of cell.
            symprec: Tolerance of the symmetry search, in angstrom.

        Raises:
            StructureError: If no symmetry can be found.
        """
        elements = list(dict.fromkeys(cell.species))
        numbers = [elements.index(s) + 1 for s in cell.species]
        dataset = symmetry_dataset(cell.lattice, cell.frac_coords, numbers, symprec)
        heads = list(dict.fromkeys(int(i) for i in dataset.crystallographic_orbits))
        labels = [heads.index(int(i)) for i in dataset.crystallographic_orbits]
        orbits = tuple(orbit_of(dataset, head) for head in heads)
        partition = tuple(numbers[head] - 1 for head in heads)
        lattice, coords, site_orbits = _refined(cell, labels, symprec)
        placed = placed_by_letters(
            lattice.tolist(),
            coords,
            [partition[orbit] + 1 for orbit in site_orbits],
            [orbits[orbit].letter for orbit in site_orbits],
            space_group=int(dataset.number),
            symprec=symprec,
        )
        if placed is None:
            lattice, placed, site_orbits = _as_given(cell, labels)
        root = GeometryRoot(
            space_group=int(dataset.number),
            lattice=rows(lattice),
            frac_coords=tuple(rows(placed)),
            site_orbits=site_orbits,
            orbits=orbits,
            partition=partition,
            symprec=symprec,
        )
        return cls(root, tuple(cell.species[head] for head in heads))

    @classmethod
    def from_structure(cls, structure: Structure, symprec: float = SYMPREC) -> Crystal:
        """Refines a pymatgen structure; see `Cell.from_structure` for what is refused."""
        return cls.from_cell(Cell.from_structure(structure), symprec)

    @classmethod
    def from_atoms(cls, atoms: Atoms, symprec: float = SYMPREC) -> Crystal:
        """Refines ASE atoms; see `Cell.from_atoms` for what is refused."""
        return cls.from_cell(Cell.from_atoms(atoms), symprec)

    @classmethod
    def from_file(cls, path: str | Path, symprec: float = SYMPREC) -> Crystal:
        """Reads one crystal from a file; see `read_crystals`.

        Raises:
            InputError: If the file is missing or cannot be used.
        """
        (result,) = read_crystals([path], symprec=symprec)
        if isinstance(result, InputError):
            raise result
        return result


Sites = tuple[np.ndarray, np.ndarray, tuple[int, ...]]
"""Lattice, coordinates and orbits of sites, orbit by orbit."""


def _refined(cell: Cell, labels: Sequence[int], symprec: float) -> Sites:
    lattice, coords, orbits = primitive_cell(cell.lattice, cell.frac_coords, labels, symprec)
    order = np.argsort(orbits, kind="stable")
    return lattice, coords[order], tuple(orbits[site] for site in order.tolist())


def _as_given(cell: Cell, labels: Sequence[int]) -> Sites:
    """Returns the cell itself: refining it would change the symmetry that was found."""
    order = np.argsort(labels, kind="stable")
    coords = np.array(cell.frac_coords)[order]
    return np.array(cell.lattice), coords, tuple(labels[site] for site in order.tolist())


def read_crystals(
    sources: Iterable[Source],
    *,
    symprec: float = SYMPREC,
    workers: int = 1,
    disorder: Disorder = "refuse",
) -> Iterator[Crystal | InputError]:
    """Yields, in order, the refined crystal of each source or the error that it gave.

    Files are parsed in processes of their own, under the limits of `cloudseed._reading.LIMITS`.

    Args:
        sources: Paths of CIF, POSCAR or extended XYZ files, or pairs of a name and a CIF text.
        symprec: Tolerance of the symmetry search, in angstrom.
        workers: Processes that parse at the same time.
        disorder: What is done with partly occupied sites: "refuse", or "majority" to give each to
            whatever is on most of it.
    """
    for result in read_cells(sources, workers=workers, disorder=disorder):
        if isinstance(result, InputError):
            yield result
            continue
        try:
            yield Crystal.from_cell(Cell(*result), symprec)
        except StructureError as error:
            yield error
