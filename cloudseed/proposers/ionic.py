"""Ionic substitution by data-mined probabilities.

Hautier, Fischer, Ehrlacher, Jain & Ceder, "Data Mined Ionic Substitutions for the Discovery of New
Compounds", Inorg. Chem. 50, 656 (2011), doi:10.1021/ic102031h.

A child replaces every ion of its parent, by itself or by another; its probability is the product
of p(new | old) over the distinct ions. Maps are enumerated likeliest first: one heap holds, for
each choice of charges that makes the child neutral, the best map not yet given.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cloudseed.errors import UsageError
from cloudseed.proposers._tables import ALPHA, LAMBDA_TABLE, Ion, ion_table, permitted_elements
from cloudseed.proposers.protocols import Candidate, Operation, Parent, ProposalContext

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

__all__ = ["IonicSubstitution", "assign_ions", "likeliest_maps"]

OPERATION = "ionic_substitution"
BY_IONS = "hautier2011"
BY_ELEMENTS = "hautier2011-elements"


class _Option(NamedTuple):
    """What an ion of the parent may become."""

    log_probability: float
    element: str
    charge: int


class SpeciesMap(NamedTuple):
    """A choice for every ion of a parent, with the sum of its log probabilities."""

    log_probability: float
    choice: tuple[_Option, ...]


@dataclass(frozen=True, slots=True)
class IonicSubstitution:
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
    name: str = OPERATION
    version: str = "1"

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UsageError(
                f"The threshold {self.threshold} is not a probability above 0.",
                hint="Give a number such as 1e-6.",
            )
        if not math.isfinite(self.alpha):
            raise UsageError(
                f"The weight alpha {self.alpha} is not finite.", hint="The published value is -5."
            )

    def propose(
        self,
        context: ProposalContext,
        budget: int,
        rng: np.random.Generator,  # noqa: ARG002  the enumeration is exact
    ) -> Iterator[Candidate]:
        """Yields at most `budget` children per parent, likeliest first over all parents.

        Args:
            context: The parents, and the elements that may be used.
            budget: Children per parent.
            rng: Not used: the order is exact.
        """
        elements = permitted_elements(context.elements)
        streams = [self._children(parent, elements, budget) for parent in context.parents]
        yield from heapq.merge(*streams, key=lambda candidate: -candidate.log_probability)

    def _children(
        self, parent: Parent, elements: frozenset[str], budget: int
    ) -> Iterator[Candidate]:
        composition = parent.crystal.composition
        ions = assign_ions(composition, self.alpha)
        if ions is None:
            kind, options = BY_ELEMENTS, self._element_options(composition, elements)
        else:
            kind, options = BY_IONS, self._ion_options(ions, elements)
        maps = likeliest_maps(
            options,
            list(composition.values()),
            least=math.log(self.threshold),
            neutral=ions is not None,
            merging=self.merging,
        )
        rank = 0
        for found in maps:
            if rank >= budget:
                return
            changed = dict(zip(composition, (o.element for o in found.choice), strict=True))
            if all(old == new for old, new in changed.items()):
                continue
            yield self._candidate(parent, ions, kind, found, rank)
            rank += 1

    def _ion_options(
        self, ions: Mapping[str, Ion], elements: frozenset[str]
    ) -> list[list[_Option]]:
        table = ion_table(self.alpha)
        return [
            [
                _Option(float(log_p), new.element, new.charge)
                for new, log_p in zip(table.ions, table.log_conditional(old), strict=True)
                if new.element in elements
            ]
            for old in ions.values()
        ]

    def _element_options(
        self, composition: Mapping[str, int], elements: frozenset[str]
    ) -> list[list[_Option]]:
        table = ion_table(self.alpha)
        return [
            [
                _Option(log_p, new, 0)
                for new, log_p in (table.log_element_conditional(old) or {old: 0.0}).items()
                if new in elements
            ]
            for old in composition
        ]

    def _candidate(
        self,
        parent: Parent,
        ions: Mapping[str, Ion] | None,
        kind: str,
        found: SpeciesMap,
        rank: int,
    ) -> Candidate:
        olds = list(parent.crystal.composition)
        becomes = {old: new.element for old, new in zip(olds, found.choice, strict=True)}
        arguments: dict[str, object] = {
            "elements": becomes,
            "table": LAMBDA_TABLE,
            "table_sha256": ion_table(self.alpha).sha256,
            "alpha": self.alpha,
            "threshold": self.threshold,
        }
        if ions is not None:
            arguments["ions"] = {
                str(ions[old]): str(Ion(new.element, new.charge))
                for old, new in zip(olds, found.choice, strict=True)
            }
        return Candidate(
            crystal=parent.crystal.recoloured([becomes[e] for e in parent.crystal.colouring]),
            parents=(parent.name,),
            operation=Operation(OPERATION, arguments),
            log_probability=found.log_probability,
            probability_kind=kind,
            rank=rank,
        )


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
    table = ion_table(alpha)
    options = [
        [
            _Option(table.log_share(ion), ion.element, ion.charge)
            for ion in table.ions
            if ion.element == element
        ]
        for element in composition
    ]
    best = next(likeliest_maps(options, list(composition.values())), None)
    if best is None:
        return None
    return {o.element: Ion(o.element, o.charge) for o in best.choice}


def likeliest_maps(
    options: Sequence[Sequence[_Option]],
    counts: Sequence[int],
    *,
    least: float = -math.inf,
    neutral: bool = True,
    merging: bool = True,
) -> Iterator[SpeciesMap]:
    """Yields the choices of one option per ion by falling sum of log probabilities.

    Args:
        options: What each ion may become.
        counts: Atoms of each ion in the cell.
        least: Sum of log probabilities below which nothing is yielded.
        neutral: Whether the charges must cancel.
        merging: Whether two ions may become the same one. One element in two charges is never
            yielded: its sites could not be told apart.
    """
    if not all(options):
        return
    by_charge = [_sorted_by_charge(choices) for choices in options]
    heap: list[tuple[float, tuple[int, ...], tuple[int, ...]]] = []
    for charges in _charge_choices(by_charge, counts, least, neutral=neutral):
        start = (0,) * len(charges)
        heap.append((-_total(by_charge, charges, start), charges, start))
    heapq.heapify(heap)
    while heap:
        negative, charges, ranks = heapq.heappop(heap)
        if -negative < least:
            return
        choice = tuple(
            group[charge][rank]
            for group, charge, rank in zip(by_charge, charges, ranks, strict=True)
        )
        if _tells_apart(choice, merging=merging):
            yield SpeciesMap(-negative, choice)
        for following in _successors(by_charge, charges, ranks):
            heapq.heappush(heap, (-_total(by_charge, charges, following), charges, following))


def _sorted_by_charge(options: Sequence[_Option]) -> dict[int, list[_Option]]:
    groups: dict[int, list[_Option]] = {}
    for option in sorted(options, key=lambda o: (-o.log_probability, o.element, o.charge)):
        groups.setdefault(option.charge, []).append(option)
    return groups


def _charge_choices(
    by_charge: Sequence[Mapping[int, Sequence[_Option]]],
    counts: Sequence[int],
    least: float,
    *,
    neutral: bool,
) -> Iterator[tuple[int, ...]]:
    """Yields every choice of one charge per ion that can be neutral and likely enough."""
    size = len(by_charge)
    lowest, highest, likeliest = [0] * (size + 1), [0] * (size + 1), [0.0] * (size + 1)
    for i in range(size - 1, -1, -1):
        lowest[i] = lowest[i + 1] + counts[i] * min(by_charge[i])
        highest[i] = highest[i + 1] + counts[i] * max(by_charge[i])
        best = max(group[0].log_probability for group in by_charge[i].values())
        likeliest[i] = likeliest[i + 1] + best

    def extend(chosen: tuple[int, ...], sum_: int, log_p: float) -> Iterator[tuple[int, ...]]:
        i = len(chosen)
        if log_p + likeliest[i] < least:
            return
        if neutral and not lowest[i] <= -sum_ <= highest[i]:
            return
        if i == size:
            yield chosen
            return
        for charge, group in by_charge[i].items():
            gained = group[0].log_probability
            yield from extend((*chosen, charge), sum_ + counts[i] * charge, log_p + gained)

    yield from extend((), 0, 0.0)


def _successors(
    by_charge: Sequence[Mapping[int, Sequence[_Option]]],
    charges: tuple[int, ...],
    ranks: tuple[int, ...],
) -> Iterator[tuple[int, ...]]:
    """Yields the next choices so that each is reached along one path only.

    A choice is reached by stepping its ranks from the last ion to the first: only ions up to the
    first that has been stepped may be stepped.
    """
    for i, (group, charge, rank) in enumerate(zip(by_charge, charges, ranks, strict=True)):
        if rank + 1 < len(group[charge]):
            yield (*ranks[:i], rank + 1, *ranks[i + 1 :])
        if rank > 0:
            return


def _total(
    by_charge: Sequence[Mapping[int, Sequence[_Option]]],
    charges: tuple[int, ...],
    ranks: tuple[int, ...],
) -> float:
    return math.fsum(
        group[charge][rank].log_probability
        for group, charge, rank in zip(by_charge, charges, ranks, strict=True)
    )


def _tells_apart(choice: Sequence[_Option], *, merging: bool) -> bool:
    distinct = {option.element for option in choice}
    if not merging:
        return len(distinct) == len(choice)
    return len(distinct) == len({(o.element, o.charge) for o in choice})
