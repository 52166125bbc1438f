"""Ionic substitution by data-mined probabilities.

Hautier, Fischer, Ehrlacher, Jain & Ceder, "Data Mined Ionic Substitutions for the Discovery of New
Compounds", Inorg. Chem. 50, 656 (2011), doi:10.1021/ic102031h.

A child replaces every ion of its parent, by itself or by another; its probability is the product
of p(new | old) over the distinct ions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from cloudseed._elements import NUMBERS, SYMBOLS
from cloudseed.errors import UsageError
from cloudseed.proposers._tables import ALPHA, LAMBDA_TABLE, Ion, ion_table, permitted_elements
from cloudseed.proposers.maps import Options, likeliest_maps
from cloudseed.proposers.subsets import coloured
from cloudseed.proposers.substituting import Substituter, changing, children

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from cloudseed.proposers.maps import Maps
    from cloudseed.proposers.protocols import Batch, Parent, ProposalContext

__all__ = [
    "BY_ELEMENTS",
    "BY_IONS",
    "IonicSubstitution",
    "assign_ions",
    "element_options",
    "ion_options",
]

OPERATION = "ionic_substitution"
BY_IONS = "hautier2011"
BY_ELEMENTS = "hautier2011-elements"


@dataclass(frozen=True, slots=True)
class IonicSubstitution(Substituter):
    """Proposes children by Hautier's probabilities.

    Parents whose elements can be given one charge each, neutral in sum, from the ions of the table
    yield only neutral children, with log-probability of kind "hautier2011". For others, such as
    intermetallics, the table is summed over charges and children may be of any charge, of kind
    "hautier2011-elements"; elements that the table lacks stay where they are.

    Attributes:
        threshold: Smallest probability of a child, the product over its ions. The paper uses 1e-3
            and more for prediction; lower values explore.
        alpha: Weight lambda of a pair of ions never seen to replace each other.
        merging: Whether two ions of a parent may become the same one, which can raise the
            symmetry; the paper leaves these out.
    """

    threshold: float = 1e-6
    alpha: float = ALPHA
    merging: bool = False
    name: str = field(default=OPERATION, init=False)
    version: str = field(default="2", init=False)

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        if not math.isfinite(self.alpha):
            raise UsageError(
                f"The weight alpha {self.alpha} is not finite.", hint="The published value is -5."
            )

    def batches(
        self,
        parent: Parent,
        context: ProposalContext,
        budget: int,
        rng: np.random.Generator,  # noqa: ARG002  the enumeration is exact
    ) -> Iterator[Batch]:
        """Yields one batch, at most `budget` children, likeliest first."""
        composition = parent.crystal.composition
        ions = assign_ions(composition, self.alpha)
        divisor = math.gcd(*composition.values())
        maps = self._maps(
            tuple(composition) if ions is None else tuple(ions.values()),
            tuple(count // divisor for count in composition.values()),
            permitted_elements(context.elements),
            budget,
        )
        if len(maps):
            yield self._batch(parent, ions, maps)

    def _maps(
        self,
        species: tuple[Ion, ...] | tuple[str, ...],
        counts: tuple[int, ...],
        elements: frozenset[str],
        budget: int,
    ) -> Maps:
        return _changing_maps(
            species,
            counts,
            elements,
            budget,
            alpha=self.alpha,
            threshold=self.threshold,
            merging=self.merging,
        )

    def _batch(self, parent: Parent, ions: Mapping[str, Ion] | None, maps: Maps) -> Batch:
        return children(
            parent,
            coloured(parent.crystal, ()),
            maps,
            species=list(map(str, ions.values() if ions else parent.crystal.composition)),
            kind=BY_IONS if ions else BY_ELEMENTS,
            operation=OPERATION,
            arguments=hautier_arguments(self.alpha) | {"threshold": self.threshold},
            charged=ions is not None,
        )


def hautier_arguments(alpha: float) -> dict[str, object]:
    """Returns which table of weights was used, as JSON values."""
    return {"table": LAMBDA_TABLE, "table_sha256": ion_table(alpha).sha256, "alpha": alpha}


def check_threshold(threshold: float) -> None:
    """Raises `UsageError` for what is no probability."""
    if not 0 < threshold <= 1:
        raise UsageError(
            f"The threshold {threshold} is not a probability above 0.",
            hint="Give a number such as 1e-6.",
        )


@lru_cache(maxsize=1024)
def _changing_maps(
    species: tuple[Ion, ...] | tuple[str, ...],
    counts: tuple[int, ...],
    elements: frozenset[str],
    budget: int,
    *,
    alpha: float,
    threshold: float,
    merging: bool,
) -> Maps:
    """Returns the likeliest maps that change something; parents of one formula share them."""
    by_ions = isinstance(species[0], Ion)
    options = [
        ion_options(one, elements, alpha)
        if isinstance(one, Ion)
        else element_options(one, elements, alpha)
        for one in species
    ]
    maps = likeliest_maps(
        options,
        counts,
        limit=budget + 1,
        least=math.log(threshold),
        neutral=by_ions,
        merging=merging,
    )
    own = [NUMBERS[one.element if isinstance(one, Ion) else one] for one in species]
    return changing(maps, own, budget)


@lru_cache(maxsize=1024)
def ion_options(
    old: Ion, elements: frozenset[str], alpha: float = ALPHA, floor: float = -math.inf
) -> Options:
    """Returns what an ion may become, with log p(new | old)."""
    table = ion_table(alpha, floor)
    return Options.of(
        [
            (float(log_p), NUMBERS[new.element], new.charge)
            for new, log_p in zip(table.ions, table.log_conditional(old), strict=True)
            if new.element in elements
        ]
    )


@lru_cache(maxsize=1024)
def element_options(
    old: str, elements: frozenset[str], alpha: float = ALPHA, floor: float = -math.inf
) -> Options:
    """Returns what an element may become, summed over charges; itself if the table lacks it."""
    found = ion_table(alpha, floor).log_element_conditional(old) or {old: 0.0}
    return Options.of([(p, NUMBERS[new], 0) for new, p in found.items() if new in elements])


def assign_ions(composition: Mapping[str, int], alpha: float = ALPHA) -> dict[str, Ion] | None:
    """Gives every element one charge such that the cell is neutral.

    Of all neutral choices among the table's ions, the one whose ions are the most common forms of
    their elements, by the table's own marginals.

    Args:
        composition: Element -> number of atoms.
        alpha: Weight of pairs never seen.

    Returns:
        Element -> ion in the order of the composition, or None if no choice is neutral.
    """
    if not composition:
        return None
    options = [_charge_options(element, alpha) for element in composition]
    best = likeliest_maps(options, list(composition.values()), limit=1)
    if not len(best):
        return None
    return {
        SYMBOLS[number]: Ion(SYMBOLS[number], charge)
        for number, charge in zip(best.numbers[0].tolist(), best.charges[0].tolist(), strict=True)
    }


@lru_cache(maxsize=256)
def _charge_options(element: str, alpha: float) -> Options:
    table = ion_table(alpha)
    return Options.of(
        [
            (table.log_share(ion), NUMBERS[element], ion.charge)
            for ion in table.ions
            if ion.element == element
        ]
    )
