"""Aliovalent substitution: ions of another charge come in, and something else makes up for it.

pair      some sites of an element get one ion, the others another: 2 Ti4+ -> Nb5+ + Sc3+
partner   some sites of an element get another charge, and all of another element too
vacancy   as either, but the sites are left empty: 3 Sr2+ -> 2 La3+ + nothing
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cloudseed._elements import NUMBERS
from cloudseed.proposers._tables import ALPHA, permitted_elements
from cloudseed.proposers.ionic import assign_ions, check_threshold, hautier_arguments, ion_options
from cloudseed.proposers.maps import Options, likeliest_maps
from cloudseed.proposers.partial import check_cap
from cloudseed.proposers.subsets import Subset, coloured, distinct_subsets, element_sites
from cloudseed.proposers.substituting import Substituter, children, likeliest_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudseed.proposers._tables import Ion
    from cloudseed.proposers.protocols import Batch, Parent, ProposalContext

__all__ = ["AliovalentSubstitution"]

OPERATION = "aliovalent_substitution"
KIND = "hautier2011-aliovalent"


@dataclass(frozen=True, slots=True)
class AliovalentSubstitution(Substituter):
    """Proposes neutral children in which two sets of sites change their charges.

    The probability, of kind "hautier2011-aliovalent", is the product of p(new | old) over the two
    sets, `vacancy` for one that is left empty, times the pattern's share as in partial
    substitution. Parents without neutral charges have no such children.

    Attributes:
        threshold: Smallest probability of a child.
        vacancy: Probability that sites are left empty; 0 for never.
        cap: Most patterns of one element.
    """

    threshold: float = 1e-6
    vacancy: float = 0.01
    cap: int = 12
    name: str = field(default=OPERATION, init=False)
    version: str = field(default="1", init=False)

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        check_cap(self.cap)
        if self.vacancy != 0:
            check_threshold(self.vacancy)

    def batches(
        self, parent: Parent, context: ProposalContext, budget: int, rng: np.random.Generator
    ) -> Iterator[Batch]:
        """Yields one batch per pattern and partner, at most `budget` children together."""
        ions = assign_ions(parent.crystal.composition)
        if ions is None:
            return
        elements = permitted_elements(context.elements)
        found = (
            batch
            for element in ions
            for subset in self._subsets(parent, element, rng)
            for partner in ions
            for batch in self._children(
                parent, _Change(ions, element, subset, partner), elements, budget
            )
        )
        yield from likeliest_rows(found, budget)

    def _subsets(self, parent: Parent, element: str, rng: np.random.Generator) -> Iterator[Subset]:
        sites = element_sites(parent.crystal, element)
        if len(sites) > 1:
            yield from distinct_subsets(parent.crystal, sites, self.cap, rng)

    def _children(
        self, parent: Parent, change: _Change, elements: frozenset[str], budget: int
    ) -> Iterator[Batch]:
        """Yields children whose chosen sites and whose partner's sites change their charges."""
        ions, element, subset, partner = change
        options = [
            _changed(ion, elements, 0.0) if name == partner else _unchanged(ion)
            for name, ion in ions.items()
        ]
        present = parent.crystal.composition
        counts = [present[e] - len(subset.sites) * (e == element) for e in ions]
        maps = likeliest_maps(
            [*options, _changed(ions[element], elements, self.vacancy)],
            [*counts, len(subset.sites)],
            limit=budget,
            least=math.log(self.threshold) - math.log(subset.weight),
            merging=False,
        )
        if not len(maps):
            return
        maps = maps.shifted(math.log(subset.weight))
        yield children(
            parent,
            coloured(parent.crystal, [subset.sites]),
            maps,
            species=[*map(str, ions.values()), str(ions[element])],
            kind=KIND,
            operation=OPERATION,
            arguments=hautier_arguments(ALPHA)
            | {
                "vacancy": self.vacancy,
                "sites": list(subset.sites),
                "partner": partner,
                "pattern_weight": subset.weight,
            },
        )


class _Change(NamedTuple):
    """What changes its charge.

    Attributes:
        ions: Element -> ion of the parent.
        element: Whose sites are chosen.
        subset: The chosen sites.
        partner: The element whose other sites make up for them.
    """

    ions: Mapping[str, Ion]
    element: str
    subset: Subset
    partner: str


def _unchanged(ion: Ion) -> Options:
    return Options.of([(0.0, NUMBERS[ion.element], ion.charge)])


def _changed(ion: Ion, elements: frozenset[str], vacancy: float) -> Options:
    """Returns the ions of other charge that may come in, and the vacancy if it may."""
    options = ion_options(ion, elements)
    options = options.at(np.flatnonzero(options.charges != ion.charge))
    return options.with_vacancy(math.log(vacancy)) if vacancy else options
