"""Symmetry-aware partial substitution: some sites of one element get another.

Merchant et al., "Scaling deep learning for materials discovery", Nature 624, 80 (2023),
doi:10.1038/s41586-023-06735-9, call it SAPS: of all ways to choose sites of an element, one for
each class that the space group makes; the weights of Hautier et al. (2011) with none below zero,
so that unusual pairs are tried too; and a threshold of 0.001.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cloudseed._elements import NUMBERS
from cloudseed.errors import UsageError
from cloudseed.proposers._tables import ALPHA, permitted_elements
from cloudseed.proposers.ionic import (
    assign_ions,
    check_threshold,
    element_options,
    hautier_arguments,
    ion_options,
)
from cloudseed.proposers.maps import Maps
from cloudseed.proposers.subsets import Subset, coloured, distinct_subsets, element_sites
from cloudseed.proposers.substituting import Substituter, children, likeliest_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.proposers._tables import Ion
    from cloudseed.proposers.maps import Options
    from cloudseed.proposers.protocols import Batch, Parent, ProposalContext

__all__ = ["PartialSubstitution", "check_cap"]

Number = TypeVar("Number", np.uint8, np.int8)

OPERATION = "partial_substitution"
KIND = "hautier2011-partial"


@dataclass(frozen=True, slots=True)
class PartialSubstitution(Substituter):
    """Proposes children in which one element keeps only some of its sites.

    The probability, of kind "hautier2011-partial", is that of the pair of ions times the share that
    the pattern and its images have among all patterns of as many sites. Ions come from charges that
    make the parent neutral; without them the table is summed over charges.

    Attributes:
        threshold: Smallest probability of a pair.
        floor: Least weight of a pair.
        cap: Most patterns of one element.
        neutral: Whether an ion is replaced only by those of its own charge. The paper does not ask.
    """

    threshold: float = 1e-3
    floor: float = 0.0
    cap: int = 24
    neutral: bool = True
    name: str = field(default=OPERATION, init=False)
    version: str = field(default="1", init=False)

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        check_cap(self.cap)

    def batches(
        self, parent: Parent, context: ProposalContext, budget: int, rng: np.random.Generator
    ) -> Iterator[Batch]:
        """Yields one batch per element and pattern, at most `budget` children together."""
        elements = permitted_elements(context.elements)
        ions = assign_ions(parent.crystal.composition)
        found = (
            batch
            for element in parent.crystal.composition
            for batch in self._patterns(parent, element, ions, elements, rng)
        )
        yield from likeliest_rows(found, budget)

    def _patterns(
        self,
        parent: Parent,
        element: str,
        ions: Mapping[str, Ion] | None,
        elements: frozenset[str],
        rng: np.random.Generator,
    ) -> Iterator[Batch]:
        sites = element_sites(parent.crystal, element)
        options = self._options(element, ions, elements)
        if len(sites) < 2 or not len(options):
            return
        for subset in distinct_subsets(parent.crystal, sites, self.cap, rng):
            yield self._batch(parent, element, ions, subset, options)

    def _options(
        self, element: str, ions: Mapping[str, Ion] | None, elements: frozenset[str]
    ) -> Options:
        """Returns what may come in: another element, likely enough, of the same charge."""
        if ions is None:
            options = element_options(element, elements, ALPHA, self.floor)
            kept = np.ones(len(options), dtype=bool)
        else:
            options = ion_options(ions[element], elements, ALPHA, self.floor)
            kept = (options.charges == ions[element].charge) | (not self.neutral)
        kept &= options.numbers != NUMBERS[element]
        kept &= options.log_probability >= math.log(self.threshold)
        return options.at(np.flatnonzero(kept))

    def _batch(
        self,
        parent: Parent,
        element: str,
        ions: Mapping[str, Ion] | None,
        subset: Subset,
        options: Options,
    ) -> Batch:
        present = list(parent.crystal.composition)
        charges = [ions[e].charge if ions else 0 for e in present]
        maps = Maps(
            _beside([NUMBERS[e] for e in present], options.numbers),
            _beside(charges, options.charges),
            options.log_probability + math.log(subset.weight),
        )
        names = [str(ions[e]) if ions else e for e in present]
        return children(
            parent,
            coloured(parent.crystal, [subset.sites]),
            maps,
            species=[*names, names[present.index(element)]],
            kind=KIND,
            operation=OPERATION,
            arguments=hautier_arguments(ALPHA)
            | {"floor": self.floor, "sites": list(subset.sites), "pattern_weight": subset.weight},
            charged=ions is not None,
        )


def _beside(same: Sequence[int], last: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Returns rows that are the same but for the last column."""
    return np.hstack([np.tile(np.array(same, dtype=last.dtype), (len(last), 1)), last[:, None]])


def check_cap(cap: int) -> None:
    """Raises `UsageError` if there may be no pattern."""
    if cap < 1:
        raise UsageError(f"A cap of {cap} patterns allows none.", hint="Give a positive number.")
