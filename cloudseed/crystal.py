"""Crystal: a structure with its symmetry, refined once; the ground that all parts share.

A parent structure is refined once into a `GeometryRoot`: its space group, Wyckoff orbits and
lattice. A `Crystal` is a colouring of a root's orbits, one element per orbit. Where a colouring
merges no two orbits that the parent kept apart, its space group, orbits and letters are the
parent's and cost nothing; where it does merge some, spglib runs once per root and partition of
orbits, and the answer is kept (Togo, Shinohara & Tanaka, Sci. Technol. Adv. Mater. Meth. 4,
2384822 (2024)).

    Cell          lattice, species and fractional coordinates: what a lab needs
    GeometryRoot  where the atoms may sit
    Crystal       which element sits where; builds its `Cell` when asked
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed._elements import VACANCY
from cloudseed._parsing import plain_cell
from cloudseed._reading import Disorder, Source, read_cells
from cloudseed._symmetry import multiplicities, primitive_cell, relabelings, symmetry_dataset
from cloudseed.errors import InputError, StructureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ase import Atoms
    from pymatgen.core import Structure

__all__ = [
    "SYMPREC",
    "VACANCY",
    "Cell",
    "Crystal",
    "GeometryRoot",
    "Orbit",
    "Source",
    "Symmetry",
    "multiplicities",
    "read_crystals",
    "reduced_formula",
    "relabelings",
]

SYMPREC = 0.01
"""Distance tolerance of the symmetry search in angstrom; pymatgen's default, hence CLOUD's."""

Row = tuple[float, float, float]


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
        return Cell(_rows(np.array(self.lattice) * factor), self.species, self.frac_coords)

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
        return cls(_rows(lattice), species, tuple(_rows(coords)))

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


@dataclass(frozen=True, slots=True)
class Orbit:
    """A set of symmetry-equivalent sites.

    Attributes:
        letter: Wyckoff letter.
        multiplicity: Number of sites in the conventional cell.
        site_symmetry: Site-symmetry symbol.
    """

    letter: str
    multiplicity: int
    site_symmetry: str = ""

    @property
    def symbol(self) -> str:
        """Wyckoff symbol, for instance "3c"."""
        return f"{self.multiplicity}{self.letter}"


@dataclass(frozen=True, slots=True)
class Symmetry:
    """The symmetry of one partition of a root's orbits.

    Attributes:
        space_group: International number, 1 to 230.
        orbits: The orbit that each of the root's orbits belongs to, in the root's order.
        group: For each of the root's orbits, the index of the merged orbit it belongs to.
        inherited: Whether the answer is the parent's own, without another symmetry search.
    """

    space_group: int
    orbits: tuple[Orbit, ...]
    group: tuple[int, ...]
    inherited: bool


@dataclass(frozen=True, eq=False)
class GeometryRoot:
    """Where the atoms of a parent and of all its children may sit.

    Attributes:
        space_group: International number of the parent.
        lattice: Row vectors of the refined primitive cell, in angstrom.
        frac_coords: Sites of that cell, orbit by orbit.
        site_orbits: For each site the index of its orbit.
        orbits: The parent's orbits, in the order of their first site in the input.
        partition: For each orbit the class of its element in the parent: orbits of one class held
            one element.
        symprec: Tolerance of the symmetry search, in angstrom.
    """

    space_group: int
    lattice: tuple[Row, Row, Row]
    frac_coords: tuple[Row, ...]
    site_orbits: tuple[int, ...]
    orbits: tuple[Orbit, ...]
    partition: tuple[int, ...]
    symprec: float = SYMPREC
    _memo: dict[tuple[int, ...], Symmetry] = field(default_factory=dict, repr=False)

    @cached_property
    def sha(self) -> str:
        """SHA-256 of the root's JSON form."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def sites_per_orbit(self) -> tuple[int, ...]:
        """Number of sites of each orbit in the primitive cell."""
        counts = Counter(self.site_orbits)
        return tuple(counts[i] for i in range(len(self.orbits)))

    def symmetry(self, partition: tuple[int, ...]) -> Symmetry:
        """Returns the symmetry of a partition of the orbits into classes of one element each.

        The symmetry group of any colouring contains the group that maps each orbit onto itself. A
        partition at least as fine as the parent's therefore has exactly the parent's symmetry.
        """
        known = self._memo.get(partition)
        if known is None:
            known = self._memo[partition] = self._search(partition)
        return known

    def _search(self, partition: tuple[int, ...]) -> Symmetry:
        classes: dict[int, int] = {}
        finer = all(
            classes.setdefault(new, old) == old
            for new, old in zip(partition, self.partition, strict=True)
        )
        if finer:
            group = tuple(range(len(self.orbits)))
            return Symmetry(self.space_group, self.orbits, group, inherited=True)
        numbers = [partition[orbit] + 1 for orbit in self.site_orbits]
        dataset = symmetry_dataset(self.lattice, self.frac_coords, numbers, self.symprec)
        first = [self.site_orbits.index(i) for i in range(len(self.orbits))]
        table = multiplicities(dataset.number)
        orbits = tuple(
            Orbit(
                dataset.wyckoffs[site],
                table[dataset.wyckoffs[site]],
                dataset.site_symmetry_symbols[site],
            )
            for site in first
        )
        heads = [int(dataset.crystallographic_orbits[site]) for site in first]
        group = tuple(heads.index(head) for head in heads)
        return Symmetry(int(dataset.number), orbits, group, inherited=False)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values from which `from_json` makes an equal root."""
        return {
            "space_group": self.space_group,
            "lattice": [list(row) for row in self.lattice],
            "frac_coords": [list(row) for row in self.frac_coords],
            "site_orbits": list(self.site_orbits),
            "orbits": [[o.letter, o.multiplicity, o.site_symmetry] for o in self.orbits],
            "partition": list(self.partition),
            "symprec": self.symprec,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GeometryRoot:
        """Reads what `to_json` wrote."""
        return cls(
            space_group=int(data["space_group"]),
            lattice=_rows(np.array(data["lattice"], dtype=float)),
            frac_coords=tuple(_rows(np.array(data["frac_coords"], dtype=float))),
            site_orbits=tuple(int(i) for i in data["site_orbits"]),
            orbits=tuple(Orbit(str(a), int(m), str(s)) for a, m, s in data["orbits"]),
            partition=tuple(int(i) for i in data["partition"]),
            symprec=float(data["symprec"]),
        )


@dataclass(frozen=True, eq=False)
class Crystal:
    """A colouring of a geometry root: one element for each orbit.

    Attributes:
        root: Where the atoms sit.
        colouring: Element symbols, one per orbit of the root.
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
        seen: dict[str, int] = {}
        partition = tuple(seen.setdefault(element, len(seen)) for element in self.colouring)
        return self.root.symmetry(partition)

    @cached_property
    def composition(self) -> dict[str, int]:
        """Atoms per element in the primitive cell, in the order of the orbits."""
        counts: dict[str, int] = {}
        for element, sites in zip(self.colouring, self.root.sites_per_orbit, strict=True):
            counts[element] = counts.get(element, 0) + sites
        return counts

    @property
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
        species = tuple(self.colouring[orbit] for orbit in self.root.site_orbits)
        cell = Cell(self.root.lattice, species, self.root.frac_coords)
        return cell if volume is None else cell.scaled_to(volume)

    @classmethod
    def from_cell(cls, cell: Cell, symprec: float = SYMPREC) -> Crystal:
        """Refines a cell into a root and its own colouring.

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
        lattice, coords, orbit_of_site = primitive_cell(
            cell.lattice, cell.frac_coords, labels, symprec
        )
        order = sorted(range(len(orbit_of_site)), key=lambda site: orbit_of_site[site])
        table = multiplicities(dataset.number)
        orbits = tuple(
            Orbit(
                dataset.wyckoffs[head],
                table[dataset.wyckoffs[head]],
                dataset.site_symmetry_symbols[head],
            )
            for head in heads
        )
        root = GeometryRoot(
            space_group=int(dataset.number),
            lattice=_rows(lattice),
            frac_coords=tuple(_rows(coords[order])),
            site_orbits=tuple(orbit_of_site[site] for site in order),
            orbits=orbits,
            partition=tuple(numbers[head] - 1 for head in heads),
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


def reduced_formula(composition: Mapping[str, int]) -> str:
    """Returns the reduced formula, elements in order of electronegativity."""
    from pymatgen.core import Composition

    return str(Composition(dict(composition)).reduced_formula)


def _rows(matrix: Any) -> Any:
    return tuple((float(a), float(b), float(c)) for a, b, c in matrix)
