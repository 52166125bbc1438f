"""Blocks: candidates of one proposer that passed the filters, in little memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.proposers.protocols import Batch, Candidate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.crystal import Crystal
    from cloudseed.proposers.protocols import FilterResult, Judged

__all__ = ["Block", "Loose"]


@dataclass(frozen=True, slots=True, eq=False)
class Loose:
    """Candidates that came one by one; their order is the proposer's.

    Attributes:
        candidates: As proposed.
    """

    candidates: Sequence[Candidate]

    def __len__(self) -> int:
        return len(self.candidates)

    def candidate(self, row: int) -> Candidate:
        """Returns one of them."""
        return self.candidates[row]

    def crystal(self, row: int) -> Crystal:
        """Returns the crystal of one of them."""
        return self.candidates[row].crystal

    @property
    def log_probability(self) -> npt.NDArray[np.float64]:
        """Natural logarithms."""
        return np.array([c.log_probability for c in self.candidates], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Candidates of one proposer, with what the filters said and their keys.

    Attributes:
        rows: The candidates.
        codes: Their keys, as `cloudseed._keys` packs them.
        judged: For each filter, in order, its verdicts on the rows.
        maker: Place of the proposer, from 1; 0 for the parents themselves.
        stream: The entropy and the key of the random generator that the proposer was given.
    """

    rows: Batch | Loose
    codes: list[bytes]
    judged: tuple[Judged, ...]
    maker: int
    stream: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    def places(self, first: int) -> npt.NDArray[np.float64]:
        """Returns what the rows are sorted by within their maker, smallest first.

        Args:
            first: How many rows the maker's blocks before this one have.
        """
        if isinstance(self.rows, Batch):
            return -self.rows.log_probability
        return np.arange(first, first + len(self), dtype=np.float64)

    def log_probability(self, row: int) -> float:
        """Returns the natural logarithm of one row's probability."""
        if isinstance(self.rows, Batch):
            return float(self.rows.log_probability[row])
        return float(self.rows.candidates[row].log_probability)

    def parents(self, row: int) -> tuple[str, ...]:
        """Returns the names of the parents of one row."""
        if isinstance(self.rows, Batch):
            return (self.rows.parent.name,)
        return self.rows.candidates[row].parents

    def results(self, row: int) -> tuple[FilterResult, ...]:
        """Returns what the filters said of one row."""
        return tuple(j.results[int(j.index[row])] for j in self.judged)
