"""What is done with labs that fail: wait longer each time, and leave a lab alone that goes on so.

answers ──failure──> failing ──three in a row──> closed ──pause──> one more try
^────────────────────┴──────── an answer ────────┘
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudseed.loop.context import Context

__all__ = ["asking", "failed", "is_closed", "pause"]

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.4
LONGEST_PAUSE = 300.0
CLOSING = 3
"""Failures in a row after which a lab is left alone for a while."""

_rng = np.random.default_rng()


def pause(failures: int, *, first: float | None = None, longest: float | None = None) -> float:
    """Returns seconds to wait after so many failures in a row: doubled each time, half at random.

    Without the random half, all that failed together would come back together.
    """
    least = FIRST_PAUSE if first is None else first
    most = LONGEST_PAUSE if longest is None else longest
    whole = min(least * 2.0 ** min(failures - 1, 60), most)
    return float(whole * _rng.uniform(0.5, 1.0))


def is_closed(context: Context, lab: str) -> bool:
    """Whether a lab is left alone for now."""
    found = context.ledger.health(context.campaign.id).get(lab)
    until = None if found is None else found.closed_until
    return until is not None and until > datetime.now(UTC)


@contextmanager
def asking(context: Context, lab: str) -> Iterator[None]:
    """Keeps the count of a lab's failures while it is asked something.

    Raises:
        LabError: What the lab raised.
    """
    try:
        yield
    except LabError as error:
        failed(context, lab, error)
        raise
    known = context.ledger.health(context.campaign.id).get(lab)
    if known is not None and known.failures:
        context.ledger.record_health(context.claim, lab, failures=0)


def failed(context: Context, lab: str, error: LabError) -> None:
    """Counts a failure of a lab; after `CLOSING` in a row it is left alone for a while."""
    known = context.ledger.health(context.campaign.id).get(lab)
    failures = 1 if known is None else known.failures + 1
    closed_for = pause(failures) if failures >= CLOSING else 0.0
    context.ledger.record_health(
        context.claim, lab, failures=failures, error=error.message, closed_for=closed_for
    )
    log.warning("lab failed", extra={"lab": lab, "why": error.message, "failures": failures})
