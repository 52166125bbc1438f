"""What was let through lately, counted and weighed without a walk over all of it."""

from __future__ import annotations

import math
from bisect import insort
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from cloudseed.db import EventRow

__all__ = ["Sendings", "Sent"]


class Sent(NamedTuple):
    """What was let through since a moment.

    Attributes:
        attempts: How many.
        grams: What those weigh whose mass is known, g.
        unweighed: How many state no mass.
    """

    attempts: int
    grams: float
    unweighed: int


class Sendings:
    """Checks that let something through, by time, with the sums over the newest of them.

    The sums follow the moment since which they are asked for: only what has come in or fallen out
    since the last question is added or taken off. Of several checks of one attempt the last counts.
    """

    def __init__(self) -> None:
        self._all: list[tuple[datetime, int, EventRow]] = []
        self._since: datetime | None = None
        self._start = 0
        self._within: dict[str, list[tuple[int, float | None]]] = {}
        # A fraction is exact: what is taken off leaves nothing behind.
        self._grams = Fraction(0)
        self._unweighed = self._endless = 0

    def add(self, line: EventRow) -> None:
        """Takes in a check that let something through; they may come in any order."""
        insort(self._all, (line.at, line.id, line))
        if self._since is None or line.at <= self._since:
            self._start += 1
        else:
            self._enter(line)

    def since(self, moment: datetime) -> Sent:
        """Returns what was let through after a moment; clocks may be set back between two."""
        self._since = moment
        while self._start > 0 and self._all[self._start - 1][0] > moment:
            self._start -= 1
            self._enter(self._all[self._start][2])
        while self._start < len(self._all) and self._all[self._start][0] <= moment:
            self._leave(self._all[self._start][2])
            self._start += 1
        grams = math.inf if self._endless else float(self._grams)
        return Sent(len(self._within), grams, self._unweighed)

    def _enter(self, line: EventRow) -> None:
        same = self._within.setdefault(line.data["key"], [])
        if same:
            self._weigh(same[-1][1], -1)
        insort(same, (line.id, line.data["grams"]))
        self._weigh(same[-1][1], 1)

    def _leave(self, line: EventRow) -> None:
        same = self._within[line.data["key"]]
        self._weigh(same[-1][1], -1)
        same.remove((line.id, line.data["grams"]))
        if same:
            self._weigh(same[-1][1], 1)
        else:
            del self._within[line.data["key"]]

    def _weigh(self, grams: float | None, sign: int) -> None:
        if grams is None:
            self._unweighed += sign
        elif math.isfinite(grams):
            self._grams += sign * Fraction(grams)
        else:
            self._endless += sign
