"""GeometryRoot: where the atoms of a parent and of all its children may sit."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed._cell import rows
from cloudseed._elements import VACANCY
from cloudseed._symmetry import (
    SYMPREC,
    Row,
    multiplicities,
    site_permutations,
    symmetry_dataset,
)
from cloudseed.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["VACANT", "GeometryRoot", "Orbit", "Symmetry", "orbit_of", "partition_of"]

VACANT = -1
"""Class of empty orbits in a partition."""

NEIGHBOURS = 12
"""Nearest sites that tell what surrounds an orbit."""

#: Angstrom; what is nearer is the site itself.
_SAME_SITE = 1e-6


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
        group: For each of the root's orbits, the index of the merged orbit it belongs to; `VACANT`
            where the orbit is empty.
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
        memo: Partition of the orbits -> its symmetry, as far as it has been asked for.
    """

    space_group: int
    lattice: tuple[Row, Row, Row]
    frac_coords: tuple[Row, ...]
    site_orbits: tuple[int, ...]
    orbits: tuple[Orbit, ...]
    partition: tuple[int, ...]
    symprec: float = SYMPREC
    memo: dict[tuple[int, ...], Symmetry] = field(default_factory=dict, repr=False)
    _splits: dict[tuple[int, ...], GeometryRoot] = field(default_factory=dict, repr=False)

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

    @cached_property
    def first_sites(self) -> tuple[int, ...]:
        """The first site of each orbit."""
        return tuple(self.site_orbits.index(i) for i in range(len(self.orbits)))

    @cached_property
    def permutations(self) -> np.ndarray:
        """How the parent's space group moves the sites, `operations x sites`."""
        numbers = [self.partition[orbit] + 1 for orbit in self.site_orbits]
        return site_permutations(self.lattice, self.frac_coords, numbers, self.symprec)

    @cached_property
    def surroundings(self) -> np.ndarray:
        """How far the nearest sites are from each orbit's, whatever is on them: orbits x 12.

        Sorted, in units of the edge of a cube that holds one site, so that cells of one shape and
        of different size have the same.
        """
        from pymatgen.optimization.neighbors import find_points_in_spheres

        lattice = np.ascontiguousarray(self.lattice, dtype=np.float64)
        sites = np.ascontiguousarray((np.array(self.frac_coords) % 1) @ lattice)
        centres = np.ascontiguousarray(sites[list(self.first_sites)])
        edge = (abs(np.linalg.det(lattice)) / len(sites)) ** (1 / 3)
        radius, periodic = 2.2 * edge, np.ones(3, dtype=np.int64)
        while True:
            of, _, _, far = find_points_in_spheres(sites, centres, radius, periodic, lattice, 1e-8)
            of, far = of[far > _SAME_SITE], far[far > _SAME_SITE]
            if np.bincount(of, minlength=len(centres)).min() >= NEIGHBOURS:
                break
            radius *= 1.4
        found = [np.sort(far[of == orbit])[:NEIGHBOURS] for orbit in range(len(centres))]
        return np.asarray(np.array(found) / edge)

    def symmetry(self, partition: tuple[int, ...]) -> Symmetry:
        """Returns the symmetry of a partition of the orbits into classes of one element each.

        The symmetry group of any colouring contains the group that maps each orbit onto itself. A
        partition at least as fine as the parent's therefore has exactly the parent's symmetry.
        Empty orbits, of class `VACANT`, may leave a higher one.

        Raises:
            StructureError: If every orbit is empty.
        """
        known = self.memo.get(partition)
        if known is None:
            known = self.memo[partition] = self._search(partition)
        return known

    def knows(self, partition: tuple[int, ...]) -> bool:
        """Tells whether `symmetry` has been asked for a partition before."""
        return partition in self.memo

    def _search(self, partition: tuple[int, ...]) -> Symmetry:
        classes: dict[int, int] = {}
        finer = all(
            classes.setdefault(new, old) == old and new != VACANT
            for new, old in zip(partition, self.partition, strict=True)
        )
        if finer:
            group = tuple(range(len(self.orbits)))
            return Symmetry(self.space_group, self.orbits, group, inherited=True)
        sites = [s for s, orbit in enumerate(self.site_orbits) if partition[orbit] != VACANT]
        dataset = self._dataset(sites, [partition[self.site_orbits[site]] for site in sites])
        place = {site: i for i, site in enumerate(sites)}
        first = [place.get(site) for site in self.first_sites]
        heads = [None if i is None else int(dataset.crystallographic_orbits[i]) for i in first]
        return Symmetry(
            int(dataset.number),
            tuple(_NO_ORBIT if i is None else orbit_of(dataset, i) for i in first),
            tuple(VACANT if head is None else heads.index(head) for head in heads),
            inherited=False,
        )

    def _dataset(self, sites: Sequence[int], labels: Sequence[int]) -> Any:
        if not sites:
            raise StructureError("No site is occupied.", hint="Leave an element on some orbit.")
        coords = [self.frac_coords[site] for site in sites]
        return symmetry_dataset(self.lattice, coords, [x + 1 for x in labels], self.symprec)

    def split(self, labels: Sequence[int]) -> GeometryRoot:
        """Returns the root that tells sites of different labels apart; each is made once.

        It has the same lattice and sites in the same order. Its orbits are those of the space group
        that keeps the labels, numbered by their first site.

        Args:
            labels: For each site what is on it; sites that held different elements differ.
        """
        seen: dict[int, int] = {}
        classes = tuple([seen.setdefault(label, len(seen)) for label in labels])
        known = self._splits.get(classes)
        if known is None:
            known = self._splits[classes] = self._split(classes)
        return known

    def _split(self, classes: tuple[int, ...]) -> GeometryRoot:
        dataset = self._dataset(range(len(classes)), classes)
        heads = [int(i) for i in dataset.crystallographic_orbits]
        firsts = list(dict.fromkeys(heads))
        return GeometryRoot(
            space_group=int(dataset.number),
            lattice=self.lattice,
            frac_coords=self.frac_coords,
            site_orbits=tuple(firsts.index(head) for head in heads),
            orbits=tuple(orbit_of(dataset, head) for head in firsts),
            partition=tuple(classes[head] for head in firsts),
            symprec=self.symprec,
        )

    def orbit_map(self, split: GeometryRoot) -> tuple[int, ...]:
        """Returns, for each orbit of a root made by `split`, the orbit here that it lies on."""
        return tuple(self.site_orbits[site] for site in split.first_sites)

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
            lattice=rows(np.array(data["lattice"], dtype=float)),
            frac_coords=tuple(rows(np.array(data["frac_coords"], dtype=float))),
            site_orbits=tuple(int(i) for i in data["site_orbits"]),
            orbits=tuple(Orbit(str(a), int(m), str(s)) for a, m, s in data["orbits"]),
            partition=tuple(int(i) for i in data["partition"]),
            symprec=float(data["symprec"]),
        )


_NO_ORBIT = Orbit("", 0)


def orbit_of(dataset: Any, site: int) -> Orbit:
    """Returns the orbit that spglib's dataset says a site is on."""
    letter = dataset.wyckoffs[site]
    table = multiplicities(int(dataset.number))
    return Orbit(letter, table[letter], dataset.site_symmetry_symbols[site])


def partition_of(colouring: Sequence[str]) -> tuple[int, ...]:
    """Returns the class of each orbit: elements by their first orbit, `VACANT` where empty."""
    seen: dict[str, int] = {VACANCY: VACANT}
    return tuple([seen.setdefault(element, len(seen) - 1) for element in colouring])
