"""Site swaps: two elements trade places, as from a normal to an inverse spinel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from cloudseed._elements import NUMBERS
from cloudseed.proposers._tables import ALPHA, ion_table
from cloudseed.proposers.ionic import assign_ions, hautier_arguments
from cloudseed.proposers.maps import Maps
from cloudseed.proposers.partial import check_cap
from cloudseed.proposers.subsets import Subset, coloured, distinct_subsets
from cloudseed.proposers.substituting import Substituter, children, likeliest_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudseed.proposers._tables import Ion
    from cloudseed.proposers.protocols import Batch, Parent, ProposalContext

__all__ = ["SiteSwap"]

OPERATION = "site_swap"
KIND = "hautier2011-swap"


@dataclass(frozen=True, slots=True)
class SiteSwap(Substituter):
    """Proposes children of the parent's own composition: one orbit trades sites with another.

    The smaller orbit gets the other's element as a whole; of the larger one every pattern of as
    many sites that symmetry tells apart gets the smaller one's. The probability, of kind
    "hautier2011-swap", is the product of both replacements, summed over charges, times the
    pattern's share. Where charges are known, only ions of one sign trade places.

    Attributes:
        cap: Most patterns of one pair of orbits.
    """

    cap: int = 12
    name: str = field(default=OPERATION, init=False)
    version: str = field(default="1", init=False)

    def __post_init__(self) -> None:
        check_cap(self.cap)

    def batches(
        self,
        parent: Parent,
        context: ProposalContext,  # noqa: ARG002  no element comes in
        budget: int,
        rng: np.random.Generator,
    ) -> Iterator[Batch]:
        """Yields one batch per child, at most `budget`."""
        ions = assign_ions(parent.crystal.composition)
        found = (
            self._child(parent, ions, small, large, subset)
            for small, large in self._pairs(parent, ions)
            for subset in self._subsets(parent, small, large, rng)
        )
        yield from likeliest_rows(found, budget)

    def _pairs(self, parent: Parent, ions: Mapping[str, Ion] | None) -> Iterator[tuple[int, int]]:
        """Yields pairs of orbits of two elements, the one with fewer sites first."""
        colouring, sizes = parent.crystal.colouring, parent.crystal.root.sites_per_orbit
        present = parent.crystal.composition
        for pair in combinations(range(len(colouring)), 2):
            small, large = sorted(pair, key=lambda orbit: (sizes[orbit], orbit))
            first, second = colouring[small], colouring[large]
            if first == second or not {first, second} <= set(present):
                continue
            if ions and (ions[first].charge > 0) != (ions[second].charge > 0):
                continue
            yield small, large

    def _subsets(
        self, parent: Parent, small: int, large: int, rng: np.random.Generator
    ) -> list[Subset]:
        """Returns the patterns of the larger orbit that have as many sites as the smaller."""
        root = parent.crystal.root
        size = root.sites_per_orbit[small]
        sites = [site for site, orbit in enumerate(root.site_orbits) if orbit == large]
        if len(sites) == size:
            return [Subset(tuple(sites), 1.0)]
        return distinct_subsets(parent.crystal, sites, self.cap, rng, size=size)

    def _child(
        self,
        parent: Parent,
        ions: Mapping[str, Ion] | None,
        small: int,
        large: int,
        subset: Subset,
    ) -> Batch:
        crystal = parent.crystal
        present = list(crystal.composition)
        first, second = crystal.colouring[small], crystal.colouring[large]
        moved = [site for site, orbit in enumerate(crystal.root.site_orbits) if orbit == small]
        names = [str(ions[e]) if ions else e for e in present]
        after = [*present, second, first]
        log_p = _log_exchange(first, second) + math.log(subset.weight)
        maps = Maps(
            np.array([[NUMBERS[e] for e in after]], dtype=np.uint8),
            np.array([[ions[e].charge if ions else 0 for e in after]], dtype=np.int8),
            np.array([log_p]),
        )
        return children(
            parent,
            coloured(crystal, [moved, subset.sites]),
            maps,
            species=[*names, names[present.index(first)], names[present.index(second)]],
            kind=KIND,
            operation=OPERATION,
            arguments=hautier_arguments(ALPHA)
            | {
                "orbits": [small, large],
                "sites": list(subset.sites),
                "pattern_weight": subset.weight,
            },
            charged=ions is not None,
        )


def _log_exchange(first: str, second: str) -> float:
    """Returns log p(second | first) + log p(first | second); that of one never seen if unknown."""
    table = ion_table(ALPHA)
    unseen = ALPHA - math.log(len(table.ions))
    there = table.log_element_conditional(first).get(second, unseen)
    return there + table.log_element_conditional(second).get(first, unseen)
