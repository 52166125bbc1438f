"""Filters: cheap questions to a candidate's elements and charges.

None builds a structure. Each answers with one clause that is the same for the same cause, so that a
report can count causes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

from cloudseed.errors import UsageError
from cloudseed.proposers._tables import elements, permitted_elements, radioactive
from cloudseed.proposers.protocols import Candidate, FilterResult, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["AllowedElements", "ChargeNeutrality"]

Answer = tuple[Verdict, str]


class AllowedElements:
    """Passes candidates made of permitted elements only.

    Args:
        allow: Symbols; None for all that are not radioactive. A radioactive element passes only
            if it stands here.
        forbid: Symbols that never pass.

    Raises:
        UsageError: If a symbol is no element, if the lists contradict each other, or if nothing
            is left.
    """

    name = "elements"
    version = "1"

    def __init__(self, allow: Iterable[str] | None = None, forbid: Iterable[str] = ()) -> None:
        self.permitted = permitted_elements(allow, forbid)
        if not self.permitted:
            raise UsageError("Every element is forbidden.", hint="Take some out of the list.")

    def check(self, candidate: Candidate) -> FilterResult:
        """Fails on the first element, in alphabetical order, that is not permitted."""
        for element in sorted(candidate.crystal.composition):
            if element not in self.permitted:
                why = f"{element} is radioactive" if radioactive(element) else f"{element} is not"
                reason = why if why.endswith("radioactive") else f"{why} among the allowed elements"
                return FilterResult(self.name, self.version, Verdict.FAIL, reason)
        return FilterResult(self.name, self.version, Verdict.PASS)


@dataclass(frozen=True, slots=True)
class ChargeNeutrality:
    """Passes compositions whose oxidation states can add up to zero.

    Every element takes one of its common or ICSD states; those with negative states must be at
    least as electronegative as those with positive ones, after Davies et al., Chem 1, 617 (2016),
    doi:10.1016/j.chempr.2016.09.010. Compositions of metals alone are unknown: charges say nothing
    about alloys.

    Attributes:
        mixed_valence: Whether atoms of one element may differ in state, as in Fe3O4.
    """

    mixed_valence: bool = False
    name: str = field(default="charge_neutrality", init=False)
    version: str = field(default="1", init=False)
    _memo: dict[tuple[tuple[str, int], ...], Answer] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def check(self, candidate: Candidate) -> FilterResult:
        """Tells whether the composition can be neutral; pass, fail or unknown."""
        verdict, reason = self.judge(candidate.crystal.composition)
        return FilterResult(self.name, self.version, verdict, reason)

    def judge(self, composition: Mapping[str, int]) -> Answer:
        """Returns the verdict on a composition, element -> atoms, with its reason."""
        divisor = reduce(math.gcd, composition.values())
        reduced = tuple(sorted((e, n // divisor) for e, n in composition.items()))
        answer = self._memo.get(reduced)
        if answer is None:
            answer = self._memo[reduced] = self._judge(reduced)
        return answer

    def _judge(self, composition: tuple[tuple[str, int], ...]) -> Answer:
        table = elements()
        for element, _ in composition:
            if not table[element].states:
                return Verdict.UNKNOWN, f"no oxidation state of {element} is known"
            if table[element].electronegativity is None:
                return Verdict.UNKNOWN, f"no electronegativity of {element} is known"
        if not any(q < 0 for element, _ in composition for q in table[element].states):
            return Verdict.UNKNOWN, "only metals, whose charges say nothing"
        order = sorted(composition, key=lambda item: table[item[0]].electronegativity or 0.0)
        if any(0 in self._sums(order, cations) for cations in range(1, len(order))):
            return Verdict.PASS, ""
        return Verdict.FAIL, "no common oxidation states add up to zero"

    def _sums(self, order: list[tuple[str, int]], cations: int) -> set[int]:
        """Returns the total charges where the first `cations` elements are positive.

        Args:
            order: Elements and atoms, electronegativity rising.
            cations: How many of them are positive; the others are negative.
        """
        sums = {0}
        for place, (element, count) in enumerate(order):
            positive = place < cations
            states = [q for q in elements()[element].states if (q > 0) == positive]
            totals = self._element_totals(states, count)
            sums = {old + new for old in sums for new in totals}
        return sums

    def _element_totals(self, states: list[int], count: int) -> set[int]:
        if not self.mixed_valence or len(states) < 2:
            return {q * count for q in states}
        totals = {0}
        for _ in range(count):
            totals = {old + q for old in totals for q in states}
        return totals
