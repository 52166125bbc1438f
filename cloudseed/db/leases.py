"""Leases: who drives a campaign, and until when that holds without another sign of life.

    lock free,  last holder ended or let go ──────────────> take, at once
    lock free,  last holder out of sight     ┐ lease ended, and no
    lock held,  its process stopped or hung  ┘ renewal seen ──────> take; its epoch is `unproven`
    otherwise ────────────────────────────────────────────> refused

The lease ends by the database's clock. As a clock may jump, a lease that seems to have ended is
also watched for a while: an engine that still lives renews it meanwhile.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from cloudseed.db import events
from cloudseed.db.campaigns import fenced, locked
from cloudseed.db.columns import now
from cloudseed.db.events import EventKind
from cloudseed.db.models import Campaign, Lease
from cloudseed.db.rows import Claim, LeaseRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

__all__ = ["LEASE", "has_ended", "holder", "read", "release", "renew", "take"]

LEASE = 30.0
"""Seconds that a sign of life holds."""


def holder() -> str:
    """Names this process: host and boot, number, and when it began, for numbers are used again."""
    return f"{_machine()} {os.getpid()} {_began(os.getpid())}"


def has_ended(name: str) -> bool:
    """Whether a process is known to have ended: it ran here, and does so no more."""
    parts = name.rsplit(" ", 2)
    if len(parts) != 3:
        return True
    machine, number, began = parts
    return machine == _machine() and _began(int(number)) != began


def read(session: Session, campaign_id: int) -> LeaseRow:
    """Returns who drives a campaign."""
    at = _clock(session)
    found = session.get(Lease, campaign_id)
    if found is None:
        epoch = session.scalar(select(Campaign.epoch).where(Campaign.id == campaign_id)) or 0
        return LeaseRow(epoch, "", None, at, "")
    return LeaseRow(found.epoch, found.holder, found.until, at, found.stage)


def take(session: Session, campaign_id: int, *, seen: LeaseRow, proven: bool) -> Claim | None:
    """Begins a new epoch, which makes every earlier claim stale.

    Args:
        session: A transaction.
        campaign_id: The campaign.
        seen: The lease as it was when the decision to take it was made.
        proven: Whether the engine that held it has surely ended.

    Returns:
        The claim; None if another engine took or renewed the lease meanwhile.
    """
    campaign = locked(session, campaign_id)
    lease = session.get(Lease, campaign_id)
    if campaign.epoch != seen.epoch or (lease is not None and lease.until != seen.until):
        return None
    if lease is None:
        lease = Lease(campaign_id=campaign_id, epoch=0, holder="", until=None, unproven=0, stage="")
        session.add(lease)
    if not proven:
        lease.unproven = campaign.epoch
    campaign.epoch += 1
    campaign.heartbeat_at = now()
    lease.epoch, lease.holder, lease.stage = campaign.epoch, holder(), ""
    lease.until = _clock(session) + timedelta(seconds=LEASE)
    events.append(
        session,
        campaign_id,
        EventKind.CLAIMED,
        epoch=campaign.epoch,
        holder=lease.holder,
        unproven=lease.unproven,
    )
    return Claim(campaign_id, campaign.epoch, lease.unproven)


def renew(session: Session, claim: Claim, stage: str) -> None:
    """Leaves a sign of life; no event, for there would be millions."""
    fenced(session, claim).heartbeat_at = now()
    lease = session.get_one(Lease, claim.campaign_id)
    lease.until = _clock(session) + timedelta(seconds=LEASE)
    lease.stage = stage


def release(session: Session, claim: Claim) -> None:
    """Lets go of a lease, unless another engine has it."""
    campaign = locked(session, claim.campaign_id)
    if campaign.epoch == claim.epoch:
        lease = session.get_one(Lease, claim.campaign_id)
        lease.holder, lease.until, lease.stage = "", None, ""


def _clock(session: Session) -> datetime:
    """Returns the database's time, UTC; SQLite's is this machine's."""
    if session.get_bind().dialect.name == "sqlite":
        return now()
    at: datetime = session.scalars(select(func.clock_timestamp())).one()
    return at


@lru_cache(maxsize=1)
def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()}/{boot.read_text().strip()[:8] if boot.exists() else ''}"


def _began(process: int) -> str:
    """Returns when a process began, in the system's ticks; "" if it has ended."""
    try:
        # The name in brackets may hold anything; the state is the first field after it.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _runs(process)
    return "" if fields[0] in {"Z", "X"} else fields[19]


def _runs(process: int) -> str:
    """Where there is no /proc: says only whether a process runs."""
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "runs"
