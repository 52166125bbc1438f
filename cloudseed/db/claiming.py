"""Claims: the lock and the lease together, so that one engine drives a campaign.

A free lock proves that the last holder has ended where that ran on this machine; the lease speaks
where there is no such proof. `leases` draws the cases.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cloudseed.db import campaigns, leases, locks
from cloudseed.errors import CampaignRunningError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudseed.db.engine import Database
    from cloudseed.db.rows import CampaignRow, Claim, LeaseRow

__all__ = ["claimed"]

log = logging.getLogger(__name__)

WATCH = 12.0
"""Seconds to watch a lease that seems to have ended; a living engine renews it every 5 s."""


_mine: set[tuple[str, int, int]] = set()
"""Claims that this process holds: database, campaign and epoch."""


@contextmanager
def claimed(database: Database, campaign_id: int) -> Iterator[Claim]:
    """Takes a campaign, and lets go of it at the end.

    Raises:
        CampaignRunningError: If another engine holds it.
    """
    with database.reading() as session:
        campaign = campaigns.by_id(session, campaign_id)
    with locks.exclusive(database, campaign_id) as free:
        claim = _take(database, campaign, free=free)
        mine = (database.name, campaign_id, claim.epoch)
        _mine.add(mine)
        try:
            yield claim
        finally:
            _mine.discard(mine)
            # A lease that cannot be given back ends by itself.
            with suppress(LedgerError), database.writing() as session:
                leases.release(session, claim)


def _take(database: Database, campaign: CampaignRow, *, free: bool) -> Claim:
    """Takes the lease if nobody drives the campaign."""
    seen = _read(database, campaign)
    proven = free and _has_ended(database, campaign, seen)
    if not proven and not _abandoned(database, campaign, seen):
        raise _running(campaign)
    with database.writing("claim") as session:
        claim = leases.take(session, campaign.id, seen=seen, proven=proven)
    if claim is None:
        raise _running(campaign)
    if not proven:
        log.warning("took over", extra={"campaign": campaign.id, "from": seen.holder})
    return claim


def _has_ended(database: Database, campaign: CampaignRow, seen: LeaseRow) -> bool:
    """Whether the engine of the last claim is known to have ended.

    This process knows its own: one that could not give its lease back, as the database was gone,
    has ended all the same.
    """
    if seen.holder == leases.holder():
        return (database.name, campaign.id, seen.epoch) not in _mine
    return not seen.holder or leases.has_ended(seen.holder)


def _abandoned(database: Database, campaign: CampaignRow, seen: LeaseRow) -> bool:
    """Whether a lease has ended and nobody renews it.

    One that ends long after any could have been given was written before the clock was set back.
    """
    if seen.until is None or 0 < (seen.until - seen.at).total_seconds() < 2 * leases.LEASE:
        return False
    deadline = time.monotonic() + WATCH
    while time.monotonic() < deadline:
        time.sleep(min(0.2, WATCH / 4))
        now = _read(database, campaign)
        if (now.epoch, now.until) != (seen.epoch, seen.until):
            return False
    return True


def _read(database: Database, campaign: CampaignRow) -> LeaseRow:
    with database.reading() as session:
        return leases.read(session, campaign.id)


def _running(campaign: CampaignRow) -> CampaignRunningError:
    return CampaignRunningError(
        f"Another engine drives the campaign {campaign.name!r}.",
        hint="Stop it first; `cloudseed status` shows what it does.",
        campaign_id=campaign.id,
        heartbeat_at=campaign.heartbeat_at,
    )
