"""What people wish of an engine, and how labs have answered it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from cloudseed.db import events
from cloudseed.db.campaigns import by_id, fenced
from cloudseed.db.columns import now
from cloudseed.db.events import EventKind
from cloudseed.db.listening import hint
from cloudseed.db.models import Control, LabHealth
from cloudseed.db.rows import LabHealthRow
from cloudseed.db.states import Wish

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from cloudseed.db.rows import Claim

__all__ = ["health", "record_health", "wish", "wished"]


def wish(session: Session, campaign_id: int, wanted: Wish, reason: str) -> None:
    """Records a wish; the last one counts."""
    by_id(session, campaign_id)
    found = session.get(Control, campaign_id)
    if found is None:
        if wanted is Wish.RUN:
            return
        found = Control(campaign_id=campaign_id)
        session.add(found)
    elif (found.wish, found.reason) == (wanted.value, reason):
        return
    found.wish, found.reason, found.asked_at = wanted.value, reason, now()
    events.append(session, campaign_id, EventKind.WISHED, wish=wanted.value, reason=reason)
    hint(session, campaign_id)


def wished(session: Session, campaign_id: int) -> tuple[Wish, str]:
    """Returns what is wished, and why."""
    found = session.get(Control, campaign_id)
    return (Wish.RUN, "") if found is None else (Wish(found.wish), found.reason)


def record_health(
    session: Session, claim: Claim, lab: str, *, failures: int, error: str, closed_for: float
) -> None:
    """Records how a lab answers; an event where it closes or opens."""
    campaign = fenced(session, claim)
    at = now()
    found = session.get(LabHealth, (campaign.id, lab))
    if found is None:
        found = LabHealth(campaign_id=campaign.id, lab=lab, failures=0, closed_until=None)
        session.add(found)
    was_closed = found.closed_until is not None
    found.failures, found.error = failures, error
    if failures:
        found.failed_at = at
    found.closed_until = at + timedelta(seconds=closed_for) if closed_for else None
    if was_closed != (found.closed_until is not None):
        events.append(session, campaign.id, EventKind.LAB, lab=lab, failures=failures, error=error)


def health(session: Session, campaign_id: int) -> dict[str, LabHealthRow]:
    """Returns the health of each lab that has ever failed, by name."""
    query = select(LabHealth).where(LabHealth.campaign_id == campaign_id).order_by(LabHealth.lab)
    return {
        h.lab: LabHealthRow(h.lab, h.failures, h.error, h.failed_at, h.closed_until)
        for h in session.scalars(query)
    }
