"""What a filter of built cells is, and a base for filters of compositions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from cloudseed._elements import SYMBOLS
from cloudseed.proposers.protocols import Candidate, FilterResult, Judged, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.crystal import Cell

__all__ = ["Answer", "CellFilter", "CompositionScreen"]

Answer = tuple[Verdict, str]
"""A verdict with its reason."""


@runtime_checkable
class CellFilter(Protocol):
    """Judges a candidate by its built cell; asked of what is selected only.

    Attributes:
        name: What results call it.
        version: Changes whenever the same cell gets another verdict.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...

    def check_cell(self, candidate: Candidate, cell: Cell) -> FilterResult:
        """Returns the verdict on a candidate with its cell, scaled to its predicted volume."""
        ...


class CompositionScreen(ABC):
    """A filter that needs only to judge reduced compositions, one at a time."""

    name: str
    version: str
    depends_on = "composition"

    @abstractmethod
    def judge(self, composition: Mapping[str, int]) -> Answer:
        """Returns the verdict on a composition, element -> atoms in its smallest formula."""

    def check(self, candidate: Candidate) -> FilterResult:
        """Returns the verdict on a candidate."""
        composition = candidate.crystal.composition
        divisor = math.gcd(*composition.values())
        verdict, reason = self.judge({e: n // divisor for e, n in composition.items()})
        return FilterResult(self.name, self.version, verdict, reason)

    def check_many(self, numbers: npt.NDArray[np.uint8], amounts: Sequence[int]) -> Judged:
        """Returns what `check` says of many compositions.

        Args:
            numbers: Atomic numbers, `n x m`.
            amounts: Atoms of each column in the cell, `m`.
        """
        divisor = math.gcd(*amounts)
        reduced = [amount // divisor for amount in amounts]
        unique, places = np.unique(numbers, axis=0, return_inverse=True)
        answers: dict[Answer, int] = {}
        index = [
            answers.setdefault(
                self.judge(dict(zip([SYMBOLS[z] for z in row], reduced, strict=True))), len(answers)
            )
            for row in unique.tolist()
        ]
        results = [FilterResult(self.name, self.version, *answer) for answer in answers]
        return Judged(results, np.array(index, dtype=np.intp)[places.reshape(-1)])
