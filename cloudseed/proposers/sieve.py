"""The sieve: filters, cheapest first, then keys; everything is counted."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cloudseed._keys import key_code, key_codes, patterns
from cloudseed._root import VACANT
from cloudseed.errors import StructureError
from cloudseed.proposers.blocks import Block, Loose
from cloudseed.proposers.guarding import guarded
from cloudseed.proposers.protocols import (
    Batch,
    Candidate,
    CompositionFilter,
    Filter,
    FilterResult,
    Judged,
    Verdict,
)
from cloudseed.proposers.substituting import taken

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

__all__ = ["Sieve", "Tally"]

Cause = tuple[str, str]


@dataclass(slots=True)
class Tally:
    """What happened to the candidates.

    Attributes:
        raw: Name of the proposer -> how many it proposed.
        passed: Name of the proposer -> how many passed.
        dropped: (filter, reason) -> how many failed.
        unknown: (filter, reason) -> how many the filter could not judge.
    """

    raw: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[Cause] = field(default_factory=Counter)
    unknown: Counter[Cause] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Adds what another has counted."""
        self.raw.update(other.raw)
        self.passed.update(other.passed)
        self.dropped.update(other.dropped)
        self.unknown.update(other.unknown)


class Sieve:
    """Judges batches and single candidates, and counts.

    Args:
        filters: Asked in this order; the first that fails ends the questions.
    """

    def __init__(self, filters: Sequence[Filter]) -> None:
        self.tally = Tally()
        self._asked = [_asked(judge) for judge in filters]

    def batch(self, batch: Batch, proposer: str) -> tuple[Batch, list[bytes], tuple[Judged, ...]]:
        """Returns the rows that pass, their codes and what the filters said of them."""
        self.tally.raw[proposer] += len(batch)
        said: list[Judged] = []
        for asked in self._asked:
            if not len(batch):
                break
            with guarded("filter", asked.name):
                judged = asked.judge(batch)
            failed = self._count(judged)
            if failed.any():
                kept = np.flatnonzero(~failed)
                batch = taken(batch, kept)
                said = [_rows(before, kept) for before in said]
                judged = _rows(judged, kept)
            said.append(judged)
        try:
            codes = key_codes(batch.root, batch.classes, batch.numbers)
        except StructureError:
            kept = self._with_structure(batch)
            batch = taken(batch, kept)
            said = [_rows(before, kept) for before in said]
            codes = key_codes(batch.root, batch.classes, batch.numbers)
        self.tally.passed[proposer] += len(batch)
        return batch, codes, tuple(said)

    def _with_structure(self, batch: Batch) -> npt.NDArray[np.intp]:
        """Returns the rows of which there is a structure, and counts the others."""
        kept: list[int] = []
        for _, rows in patterns(batch.numbers):
            try:
                key_codes(batch.root, batch.classes, batch.numbers[rows])
            except StructureError as error:
                self.tally.dropped["structure", error.message] += len(rows)
            else:
                kept.extend(rows.tolist())
        return np.array(sorted(kept), dtype=np.intp)

    def loose(self, candidates: Sequence[Candidate], proposer: str, maker: int) -> Block:
        """Returns the candidates that pass."""
        self.tally.raw[proposer] += len(candidates)
        kept: list[Candidate] = []
        codes: list[bytes] = []
        said: list[list[FilterResult]] = []
        for candidate in candidates:
            try:
                results = self._ask_all(candidate)
                with guarded("proposer", proposer):
                    code = key_code(candidate.key)
            except StructureError as error:
                self.tally.dropped["structure", error.message] += 1
                continue
            if results is not None:
                kept.append(candidate)
                codes.append(code)
                said.append(results)
        self.tally.passed[proposer] += len(kept)
        columns = zip(*said, strict=True) if said else [() for _ in self._asked]
        judged = tuple(_interned(list(column)) for column in columns)
        return Block(Loose(tuple(kept)), codes, judged, maker)

    def _ask_all(self, candidate: Candidate) -> list[FilterResult] | None:
        results = []
        for asked in self._asked:
            with guarded("filter", asked.name):
                result = asked.judge_one(candidate)
            self._count(Judged([result], np.zeros(1, dtype=np.intp)))
            if result.verdict is Verdict.FAIL:
                return None
            results.append(result)
        return results

    def _count(self, judged: Judged) -> npt.NDArray[np.bool_]:
        """Counts verdicts and returns which rows fail."""
        counts = np.bincount(judged.index, minlength=len(judged.results))
        failed = np.zeros(len(judged.results), dtype=bool)
        for place, (result, count) in enumerate(zip(judged.results, counts.tolist(), strict=True)):
            failed[place] = result.verdict is Verdict.FAIL
            if count and result.verdict is Verdict.FAIL:
                self.tally.dropped[result.filter, result.reason] += count
            elif count and result.verdict is Verdict.UNKNOWN:
                self.tally.unknown[result.filter, result.reason] += count
        return failed[judged.index]


class _EachCandidate:
    """Asks a filter about every candidate."""

    def __init__(self, judge: Filter) -> None:
        self._judge = judge
        self.name = judge.name

    def judge(self, batch: Batch) -> Judged:
        return _interned([self.judge_one(candidate) for candidate in batch])

    def judge_one(self, candidate: Candidate) -> FilterResult:
        """Returns the verdict; a candidate without a structure fails for that reason."""
        try:
            return self._judge.check(candidate)
        except StructureError as error:
            return FilterResult(self.name, self._judge.version, Verdict.FAIL, error.message)


class _EachComposition(_EachCandidate):
    """Asks a filter about every reduced composition once."""

    def __init__(self, judge: Filter) -> None:
        super().__init__(judge)
        self._memo: dict[bytes, FilterResult] = {}

    def judge(self, batch: Batch) -> Judged:
        results: list[FilterResult | None] = [None] * len(batch)
        for group in _compositions(batch):
            for row, code in zip(group.rows.tolist(), _composition_codes(group), strict=True):
                known = self._memo.get(code)
                if known is None:
                    known = self._memo[code] = self.judge_one(batch.candidate(row))
                results[row] = known
        return _interned([result for result in results if result is not None])


class _ManyCompositions(_EachCandidate):
    """Asks a filter about many compositions at once."""

    def __init__(self, judge: CompositionFilter) -> None:
        super().__init__(judge)
        self._many = judge

    def judge(self, batch: Batch) -> Judged:
        results: list[FilterResult] = []
        index = np.empty(len(batch), dtype=np.intp)
        for group in _compositions(batch):
            judged = self._many.check_many(group.numbers, group.amounts)
            index[group.rows] = judged.index + len(results)
            results.extend(judged.results)
        return _rows(Judged(results, index), np.arange(len(batch)))


def _asked(judge: Filter) -> _EachCandidate:
    if isinstance(judge, CompositionFilter):
        return _ManyCompositions(judge)
    if getattr(judge, "depends_on", "crystal") == "composition":
        return _EachComposition(judge)
    return _EachCandidate(judge)


class _Compositions(NamedTuple):
    """Rows of a batch whose elements have the same amounts.

    Attributes:
        rows: Their places.
        numbers: Atomic numbers, no two of a row equal.
        amounts: Atoms of each column in the cell.
    """

    rows: npt.NDArray[np.intp]
    numbers: npt.NDArray[np.uint8]
    amounts: list[int]


def _compositions(batch: Batch) -> Iterator[_Compositions]:
    sites = [0] * batch.numbers.shape[1]
    for column, count in zip(batch.classes, batch.root.sites_per_orbit, strict=True):
        sites[column] += count
    for pattern, rows in patterns(batch.numbers):
        amounts: dict[int, int] = {}
        for column, count in zip(pattern, sites, strict=True):
            if column != VACANT:
                amounts[column] = amounts.get(column, 0) + count
        yield _Compositions(rows, batch.numbers[rows][:, list(amounts)], list(amounts.values()))


def _composition_codes(group: _Compositions) -> list[bytes]:
    """Returns bytes that are equal where reduced compositions are."""
    divisor = math.gcd(*group.amounts)
    amounts = np.array([a // divisor for a in group.amounts], dtype=np.uint16)
    order = np.argsort(group.numbers, axis=1)
    numbers = np.take_along_axis(group.numbers, order, 1)
    packed = np.hstack([numbers, np.ascontiguousarray(amounts[order]).view(np.uint8)])
    width, text = packed.shape[1], packed.tobytes()
    return [text[i : i + width] for i in range(0, len(text), width)]


def _interned(results: list[FilterResult]) -> Judged:
    places: dict[FilterResult, int] = {}
    index = [places.setdefault(result, len(places)) for result in results]
    return Judged(list(places), np.array(index, dtype=np.uint16))


def _rows(judged: Judged, rows: npt.NDArray[np.intp]) -> Judged:
    """Returns the verdicts on some rows, without the results that none of them has."""
    used, index = np.unique(judged.index[rows], return_inverse=True)
    return Judged([judged.results[i] for i in used.tolist()], index.astype(np.uint16))
