"""The pulse: a thread that renews the engine's lease while it computes or waits for a lab."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Self

from cloudseed.errors import LedgerError, StaleWorkerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudseed.db import Claim, Ledger

__all__ = ["BEAT", "Pulse"]

log = logging.getLogger(__name__)

BEAT = 5.0
"""Seconds between two signs of life; a lease holds six of them."""


class Pulse:
    """Signs of life for as long as the context lasts and no step takes too long.

    A step that takes longer than its deadline hangs, as far as anybody can tell: the pulse falls
    silent, and another engine may take over once the lease has ended.

    Args:
        ledger: Where the lease is.
        claim: The right to it.
    """

    def __init__(self, ledger: Ledger, claim: Claim) -> None:
        self._ledger = ledger
        self._claim = claim
        self._deadline = math.inf
        self._on_overdue: Callable[[str], None] = lambda _: None
        self._stage = ""
        self._since = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="cloudseed-pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(timeout=10)

    def limit(self, deadline: float, on_overdue: Callable[[str], None] = lambda _: None) -> None:
        """Sets how long a step may take from now on; until this is called, any time.

        Args:
            deadline: Seconds.
            on_overdue: Called once, from the pulse's thread, where a step has missed it.
        """
        self._since = time.monotonic()
        self._on_overdue, self._deadline = on_overdue, deadline

    def stage(self, text: str) -> None:
        """Says what the engine does now; the deadline counts from here."""
        self._stage, self._since = text, time.monotonic()

    def _beat(self) -> None:
        while not self._end.wait(BEAT):
            if time.monotonic() - self._since > self._deadline:
                log.error("step overdue", extra={"stage": self._stage, "deadline": self._deadline})
                self._on_overdue(
                    f"{self._stage or 'a step'} takes longer than {self._deadline:g} s"
                )
                return
            try:
                self._ledger.heartbeat(self._claim, self._stage)
            except StaleWorkerError:
                # The next write of the engine itself raises it where it can be dealt with.
                return
            except LedgerError as error:
                log.warning("no heartbeat", extra={"why": error.message})
