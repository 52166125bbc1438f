"""Ids of rows as runs, for a long campaign's decisions each rest on nearly all its measurements."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Ids"]


@dataclass(frozen=True, slots=True)
class Ids(Collection[int]):
    """Ids in order, held as runs of successive ones.

    Attributes:
        runs: First and last id of each run.

    >>> few = Ids.of([3, 4, 5, 9])
    >>> few.runs, list(few), len(few), 4 in few, 8 in few
    (((3, 5), (9, 9)), [3, 4, 5, 9], 4, True, False)
    """

    runs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, ids: Iterable[int]) -> Self:
        """Returns ids as runs, in their order."""
        runs: list[tuple[int, int]] = []
        for i in ids:
            number = int(i)
            if runs and number == runs[-1][1] + 1:
                runs[-1] = (runs[-1][0], number)
            else:
                runs.append((number, number))
        return cls(tuple(runs))

    @classmethod
    def stored(cls, value: Any) -> Self:
        """Reads what `to_json` wrote."""
        if isinstance(value, dict):
            return cls(tuple((first, last) for first, last in value["runs"]))
        return cls.of(value)

    def among(self, ordered: Sequence[int]) -> int:
        """Returns how many of them are in a sorted sequence of different ids."""
        return sum(
            bisect_right(ordered, last) - bisect_left(ordered, first) for first, last in self.runs
        )

    def to_json(self) -> Any:
        """Returns runs where they are shorter than the ids, else the ids."""
        if 2 * len(self.runs) < len(self):
            return {"runs": [list(run) for run in self.runs]}
        return list(self)

    def __contains__(self, what: object) -> bool:
        return isinstance(what, int) and any(first <= what <= last for first, last in self.runs)

    def __iter__(self) -> Iterator[int]:
        for first, last in self.runs:
            yield from range(first, last + 1)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs)
