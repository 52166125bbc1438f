"""Atoms that come too close once a cell has its predicted volume."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.proposers._tables import elements
from cloudseed.proposers.protocols import FilterResult, Verdict

if TYPE_CHECKING:
    from cloudseed.crystal import Cell
    from cloudseed.proposers.protocols import Candidate

__all__ = ["MinimumDistance"]

_ABSOLUTE = 0.7
"""Angstrom; no two atoms are closer in any crystal (H-H: 0.74)."""


@dataclass(frozen=True, slots=True)
class MinimumDistance:
    """Fails cells in which two atoms are much closer than their atomic radii allow.

    Atomic radii after Slater, J. Chem. Phys. 41, 3199 (1964), doi:10.1063/1.1725697, whose sums
    reproduce bond lengths of all kinds within about 0.12 angstrom.

    Attributes:
        factor: Smallest distance as a share of the sum of the radii.
    """

    factor: float = 0.7
    name: str = field(default="minimum_distance", init=False)
    version: str = field(default="1", init=False)

    def check_cell(self, candidate: Candidate, cell: Cell) -> FilterResult:  # noqa: ARG002
        """Compares all distances; elements without a radius are unknown."""
        table = elements()
        given = {e: table[e].atomic_radius for e in set(cell.species)}
        radii = np.array([given[e] or 0.0 for e in cell.species])
        reach = max(2 * self.factor * float(radii.max()), _ABSOLUTE)
        first, second, _, apart = cell.to_structure().get_neighbor_list(reach)
        least = np.maximum(self.factor * (radii[first] + radii[second]), _ABSOLUTE)
        verdict, reason = Verdict.PASS, ""
        unknown = sorted(e for e, radius in given.items() if radius is None)
        if (apart < least).any():
            worst = int(np.argmin(apart / least))
            pair = sorted((cell.species[first[worst]], cell.species[second[worst]]))
            verdict, reason = Verdict.FAIL, f"{'-'.join(pair)} are too close"
        elif unknown:
            verdict, reason = Verdict.UNKNOWN, f"no radius of {unknown[0]} is known"
        return FilterResult(self.name, self.version, verdict, reason)
