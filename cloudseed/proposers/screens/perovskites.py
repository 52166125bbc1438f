"""Tolerance factors: whether three kinds of ions fit into a perovskite."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from cloudseed.crystal import VACANCY
from cloudseed.proposers._tables import elements
from cloudseed.proposers.ionic import assign_ions
from cloudseed.proposers.protocols import FilterResult, Verdict
from cloudseed.proposers.screens.radii import shannon_radius

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from cloudseed.crystal import Crystal, GeometryRoot
    from cloudseed.proposers._tables import Ion
    from cloudseed.proposers.protocols import Candidate
    from cloudseed.proposers.screens.protocols import Answer

__all__ = ["PerovskiteTolerance", "perovskite_sites"]

GOLDSCHMIDT = (0.825, 1.059)
"""Between which Goldschmidt's factor t sorts perovskites best, by Bartel et al. (2019)."""

BARTEL = 4.18
"""Below which Bartel's factor tau sorts perovskites best."""


@dataclass(frozen=True, slots=True)
class PerovskiteTolerance:
    """Fails crystals on a perovskite's sites whose ions do not fit there; passes all others.

    A crystal counts as a perovskite where its geometry is one: three fifths of its sites hold the
    most electronegative elements, and one fifth has six of these around it, in octahedra that share
    their corners. Radii are averaged over the sites of one kind.

    Goldschmidt, Naturwissenschaften 14, 477 (1926), doi:10.1007/BF01507527; Bartel et al., Sci.
    Adv. 5, eaav0693 (2019), doi:10.1126/sciadv.aav0693; radii of Shannon, Acta Cryst. A 32, 751
    (1976), doi:10.1107/S0567739476001551, for 12 neighbours on A and 6 on B and X. None is
    extrapolated: a missing radius is unknown.

    Attributes:
        rule: "bartel" or "goldschmidt".
    """

    rule: Literal["bartel", "goldschmidt"] = "bartel"
    name: str = field(default="perovskite_tolerance", init=False)
    version: str = field(default="1", init=False)
    depends_on = "crystal"
    late = True

    def check(self, candidate: Candidate) -> FilterResult:
        """Computes the factor where the crystal has a perovskite's sites."""
        verdict, reason = self._judge(candidate.crystal)
        return FilterResult(self.name, self.version, verdict, reason)

    def _judge(self, crystal: Crystal) -> Answer:
        sites = perovskite_sites(crystal)
        if sites is None:
            return Verdict.PASS, ""
        ions = _ions(tuple(sorted(crystal.composition.items())))
        if ions is None:
            return Verdict.UNKNOWN, "no charges can be given to the elements"
        radii: list[float] = []
        for letter, amounts, neighbours in zip("ABX", sites, (12, 6, 6), strict=True):
            found = {e: shannon_radius(ions[e], neighbours) for e in amounts}
            missing = sorted(e for e, radius in found.items() if radius is None)
            if missing:
                ion = ions[missing[0]]
                return Verdict.UNKNOWN, f"no radius of {ion} on {letter} is known"
            total = sum(amounts.values())
            radii.append(sum(n * (found[e] or 0.0) for e, n in amounts.items()) / total)
        charge = sum(n * ions[e].charge for e, n in sites.a.items()) / sum(sites.a.values())
        a, b, x = radii
        fits = _bartel(a, b, x, charge) if self.rule == "bartel" else _goldschmidt(a, b, x)
        return (Verdict.PASS, "") if fits else (Verdict.FAIL, "its ions do not fit a perovskite")


def _goldschmidt(a: float, b: float, x: float) -> bool:
    return GOLDSCHMIDT[0] < (a + x) / (math.sqrt(2) * (b + x)) < GOLDSCHMIDT[1]


def _bartel(a: float, b: float, x: float, charge: float) -> bool:
    if a <= b:  # the factor is defined where A is the larger
        return False
    return x / b - charge * (charge - (a / b) / math.log(a / b)) < BARTEL


class PerovskiteSites(NamedTuple):
    """Element -> atoms on each kind of site."""

    a: Mapping[str, int]
    b: Mapping[str, int]
    x: Mapping[str, int]


def perovskite_sites(crystal: Crystal) -> PerovskiteSites | None:
    """Returns what is on A, B and X of a crystal with a perovskite's geometry, None for others."""
    anions = _anions(crystal.composition)
    if VACANCY in crystal.colouring or anions is None:
        return None
    mask = tuple([element in anions for element in crystal.colouring])
    roles = _ROLES.setdefault(crystal.root, {})
    if mask not in roles:
        roles[mask] = _roles(crystal.root, mask)
    kinds = roles[mask]
    if kinds is None:
        return None
    found: dict[str, dict[str, int]] = {"A": {}, "B": {}, "X": {}}
    counts = crystal.root.sites_per_orbit
    for kind, element, count in zip(kinds, crystal.colouring, counts, strict=True):
        found[kind][element] = found[kind].get(element, 0) + count
    return PerovskiteSites(found["A"], found["B"], found["X"])


_ROLES: WeakKeyDictionary[GeometryRoot, dict[tuple[bool, ...], str | None]] = WeakKeyDictionary()


def _anions(composition: Mapping[str, int]) -> frozenset[str] | None:
    """Returns the most electronegative elements if they are three fifths of the atoms."""
    total, taken, chosen = sum(composition.values()), 0, []
    table = elements()
    for element in sorted(composition, key=lambda e: -(table[e].electronegativity or 0.0)):
        if 5 * taken >= 3 * total:
            break
        taken += composition[element]
        chosen.append(element)
    return frozenset(chosen) if 5 * taken == 3 * total else None


def _roles(root: GeometryRoot, anions: tuple[bool, ...]) -> str | None:
    """Returns "A", "B" or "X" for each orbit, or None where the geometry is no perovskite's.

    Of the sites with six anions around them those with the shortest bonds are B; each of their
    octahedra shares its six corners with six others, and no edge.
    """
    shells = _octahedra(root, anions)
    mean = {orbit: np.mean([s.length for s in shells if s.orbit == orbit]) for orbit, *_ in shells}
    wanted, chosen = sum(root.sites_per_orbit) / 5, set[int]()
    for orbit in sorted(mean, key=lambda i: (mean[i], i)):
        if sum(root.sites_per_orbit[i] for i in chosen) < wanted:
            chosen.add(orbit)
    centres = [shell for shell in shells if shell.orbit in chosen]
    if len(centres) != wanted or not _share_corners(centres):
        return None
    return "".join("X" if x else "B" if i in chosen else "A" for i, x in enumerate(anions))


class _Octahedron(NamedTuple):
    """A site with six anions around it.

    Attributes:
        orbit: The orbit of the site.
        length: Mean distance in angstrom.
        corners: The anions: site and cell.
    """

    orbit: int
    length: float
    corners: tuple[tuple[int, tuple[int, int, int]], ...]


def _octahedra(root: GeometryRoot, anions: tuple[bool, ...]) -> list[_Octahedron]:
    from pymatgen.core import Lattice, Structure

    lattice = Lattice(root.lattice)
    structure = Structure(lattice, ["O"] * len(root.site_orbits), root.frac_coords)
    # A perovskite's B-X is 0.86 of this length, its longest bond to A 1.22 of it.
    scale = (lattice.volume / len(structure)) ** (1 / 3)
    first, second, cells, apart = structure.get_neighbor_list(1.6 * scale)
    is_anion = np.array([anions[orbit] for orbit in root.site_orbits])
    found = []
    for site in np.flatnonzero(~is_anion).tolist():
        mine = np.flatnonzero((first == site) & is_anion[second])
        mine = mine[np.argsort(apart[mine], kind="stable")]
        near = apart[mine]
        if len(near) < 6 or near[5] > 1.4 * near[0] or (len(near) > 6 and near[6] < 1.2 * near[5]):
            continue
        corners = tuple((int(second[i]), _cell_of(cells[i])) for i in mine[:6])
        found.append(_Octahedron(root.site_orbits[site], float(near[:6].mean()), corners))
    return found


def _cell_of(image: npt.NDArray[np.float64]) -> tuple[int, int, int]:
    a, b, c = (round(float(x)) for x in image)
    return a, b, c


def _share_corners(centres: list[_Octahedron]) -> bool:
    """Tells whether each octahedron shares single corners with six others."""
    holders = defaultdict(list)
    for place, centre in enumerate(centres):
        for anion, cell in centre.corners:
            holders[anion].append((place, cell))
    if any(len(found) != 2 for found in holders.values()):
        return False
    for place, centre in enumerate(centres):
        others = {
            (other, tuple(np.subtract(cell, theirs).tolist()))
            for anion, cell in centre.corners
            for other, theirs in holders[anion]
        }
        if len(others - {(place, (0, 0, 0))}) != 6:
            return False
    return True


@lru_cache(maxsize=100_000)
def _ions(composition: tuple[tuple[str, int], ...]) -> dict[str, Ion] | None:
    return assign_ions(dict(composition))
