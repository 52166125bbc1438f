"""How often the whole of a campaign is looked at: what it costs grows with the campaign.

A step deals with what has come and goes, and costs the same at ten experiments and at a hundred
thousand. Reading every result, for the stopping rules and for the eye, does not: it is done each
time while that is cheap, and then in proportion.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudseed.loop.snapshot import Snapshot

__all__ = ["Review", "Shown"]

SHARE = 0.01
"""News, as a share of all results, that the stopping rules are asked about at once."""

WAIT = 30.0
"""Seconds after which they are asked in any case, for clocks run too."""

PORTION = 10.0
"""So many times as long as a look took passes before the next."""


class Review:
    """Says when the stopping rules are to be asked again while planned experiments wait."""

    def __init__(self) -> None:
        self.news = 1
        self._size = 0
        self._next = 0.0

    def due(self) -> bool:
        """Whether enough has come, or enough time has passed."""
        enough = max(1.0, SHARE * self._size)
        return self.news >= enough or time.monotonic() >= self._next

    def taken(self, look: Callable[[], Snapshot]) -> Snapshot:
        """Looks at the whole, and begins to count anew."""
        began = time.monotonic()
        now = look()
        end = time.monotonic()
        self.news, self._size = 0, len(now.results)
        self._next = end + max(WAIT, PORTION * (end - began))
        return now


class Shown:
    """Shows a campaign to whoever looks on, without taking more than a tenth of the time.

    Args:
        show: Called with the state of affairs.
        look: Reads it.
    """

    def __init__(self, show: Callable[[Snapshot], None], look: Callable[[], Snapshot]) -> None:
        self._show = show
        self._look = look
        self._next = 0.0

    def now(self) -> Snapshot:
        """Shows where the campaign stands."""
        began = time.monotonic()
        found = self._look()
        end = time.monotonic()
        cost = end - began
        # What is quick is always shown.
        self._next = end + (PORTION * cost if cost > 0.1 else 0.0)
        self._show(found)
        return found

    def perhaps(self) -> None:
        """Shows it unless the last look was dear and lately."""
        if time.monotonic() >= self._next:
            self.now()
