"""Charge neutrality: whether the oxidation states of a composition can add up to zero."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cloudseed._elements import SYMBOLS
from cloudseed.proposers._tables import elements
from cloudseed.proposers.protocols import Candidate, FilterResult, Judged, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

__all__ = ["ChargeNeutrality"]

Answer = tuple[Verdict, str]
States = tuple[int, ...]


ONLY_METALS: Answer = (Verdict.UNKNOWN, "only metals, whose charges say nothing")


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
    depends_on: str = field(default="composition", init=False)
    _memo: dict[bytes, Answer] = field(default_factory=dict, init=False, repr=False, compare=False)

    def check(self, candidate: Candidate) -> FilterResult:
        """Tells whether the composition can be neutral; pass, fail or unknown."""
        verdict, reason = self.judge(candidate.crystal.composition)
        return FilterResult(self.name, self.version, verdict, reason)

    def judge(self, composition: Mapping[str, int]) -> Answer:
        """Returns the verdict on a composition, element -> atoms, with its reason."""
        table = elements()
        for element in sorted(composition):
            if not table[element].states:
                return Verdict.UNKNOWN, f"no oxidation state of {element} is known"
            if table[element].electronegativity is None:
                return Verdict.UNKNOWN, f"no electronegativity of {element} is known"
        divisor = reduce(math.gcd, composition.values())
        order = sorted(composition, key=lambda element: (table[element].electronegativity, element))
        return self._judge([(table[e].states, composition[e] // divisor) for e in order])

    def check_many(self, numbers: npt.NDArray[np.uint8], amounts: Sequence[int]) -> Judged:
        """Returns what `check` says of many compositions.

        The answer depends on the sets of states and on the order of electronegativities only, so
        that few compositions are different.
        """
        tables = _tables()
        known = (tables.kind[numbers] != 0).all(axis=1)
        metals = known & ~tables.negative[numbers].any(axis=1)
        places: dict[Answer, int] = {ONLY_METALS: 0}
        index = np.zeros(len(numbers), dtype=np.intp)
        for row in np.flatnonzero(~known).tolist():
            # The reason names the element.
            answer = self.judge(_composition(numbers[row].tolist(), amounts))
            index[row] = places.setdefault(answer, len(places))
        asked = np.flatnonzero(known & ~metals)
        codes, first, inverse = np.unique(
            _codes(numbers[asked], amounts), return_index=True, return_inverse=True
        )
        found = np.empty(len(codes), dtype=np.intp)
        for place, (code, row) in enumerate(zip(codes.tolist(), first.tolist(), strict=True)):
            answer = self._remembered(code, numbers[asked[row]].tolist(), amounts)
            found[place] = places.setdefault(answer, len(places))
        index[asked] = found[inverse]
        return Judged([FilterResult(self.name, self.version, *answer) for answer in places], index)

    def _remembered(self, code: bytes, numbers: Sequence[int], amounts: Sequence[int]) -> Answer:
        answer = self._memo.get(code)
        if answer is None:
            answer = self._memo[code] = self.judge(_composition(numbers, amounts))
        return answer

    def _judge(self, order: Sequence[tuple[States, int]]) -> Answer:
        """Judges states and atoms of the elements, electronegativity rising."""
        if not any(q < 0 for states, _ in order for q in states):
            return ONLY_METALS
        if self._cancels(order):
            return Verdict.PASS, ""
        return Verdict.FAIL, "no common oxidation states add up to zero"

    def _cancels(self, order: Sequence[tuple[States, int]]) -> bool:
        """Tells whether the first elements can be as positive as the others are negative.

        A set of totals is a number whose bits are set at them; shifting it adds a charge to all.
        """
        negative = [1]
        for states, count in reversed(order):
            negative.append(self._with(negative[-1], [-q for q in states if q < 0], count))
        positive = 1
        for place, (states, count) in enumerate(order[:-1], 1):
            positive = self._with(positive, [q for q in states if q > 0], count)
            if positive & negative[len(order) - place]:
                return True
        return False

    def _with(self, totals: int, charges: Sequence[int], count: int) -> int:
        """Returns the totals with the atoms of one more element."""
        rounds, each = (count, 1) if self.mixed_valence and len(charges) > 1 else (1, count)
        for _ in range(rounds):
            grown = 0
            for charge in charges:
                grown |= totals << charge * each
            totals = grown
        return totals


def _codes(numbers: npt.NDArray[np.uint8], amounts: Sequence[int]) -> npt.NDArray[np.void]:
    """Returns bytes that are equal where states, order and ratios of the elements are."""
    tables = _tables()
    divisor = math.gcd(*amounts)
    order = np.argsort(tables.place[numbers], axis=1, kind="stable")
    kinds = np.take_along_axis(tables.kind[numbers], order, 1)
    counts = np.array([a // divisor for a in amounts], dtype=np.uint16)[order]
    packed = np.hstack([kinds, np.ascontiguousarray(counts).view(np.uint8)])
    return np.ascontiguousarray(packed).view(f"V{packed.shape[1]}").ravel()


def _composition(numbers: Sequence[int], amounts: Sequence[int]) -> dict[str, int]:
    return {SYMBOLS[z]: n for z, n in zip(numbers, amounts, strict=True)}


class _Tables(NamedTuple):
    """What the answer depends on, by atomic number.

    Attributes:
        place: Place in the order of electronegativity, equal ones in alphabetical order.
        kind: Number of the set of states; 0 where states or electronegativity are not known.
        negative: Whether a state is negative.
    """

    place: npt.NDArray[np.int16]
    kind: npt.NDArray[np.uint8]
    negative: npt.NDArray[np.bool_]


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    table = elements()
    known = [e for e in table if table[e].states and table[e].electronegativity is not None]
    order = sorted(known, key=lambda element: (table[element].electronegativity, element))
    kinds: dict[States, int] = {}
    place = np.zeros(len(SYMBOLS), dtype=np.int16)
    kind = np.zeros(len(SYMBOLS), dtype=np.uint8)
    negative = np.zeros(len(SYMBOLS), dtype=bool)
    for rank, element in enumerate(order):
        place[table[element].number] = rank
        kind[table[element].number] = kinds.setdefault(table[element].states, len(kinds) + 1)
        negative[table[element].number] = min(table[element].states) < 0
    return _Tables(place, kind, negative)
