"""The event log: written in the transaction of what it tells, and never changed."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select

from cloudseed.db.columns import now
from cloudseed.db.models import Event
from cloudseed.db.rows import EventRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.orm import Session

__all__ = ["EventKind", "append", "append_planned", "newest", "of_kind", "rows"]


class EventKind(StrEnum):
    """What can happen.

    `planned` and `moved` tell an experiment's whole life: folded, they give its state.
    """

    CREATED = "campaign_created"
    CLAIMED = "campaign_claimed"
    STATUS = "campaign_status"
    CANDIDATES = "candidates_added"
    DECIDED = "decision_recorded"
    PLANNED = "experiment_planned"
    MOVED = "experiment_moved"
    HELD = "experiment_held"
    ACKNOWLEDGED = "attempt_acknowledged"
    RECEIVED = "message_received"
    CONFLICT = "message_conflict"
    READ = "message_read"
    MEASURED = "measurement_recorded"
    CHARGED = "charge_settled"
    WISHED = "wish_recorded"
    LAB = "lab_health_changed"
    WITHDRAWN = "measurement_withdrawn"
    MARKED = "decision_marked"
    ENCODER = "encoder_changed"
    CHECKED = "safety_checked"
    SAID = "person_said"


def append(
    session: Session,
    campaign_id: int,
    kind: EventKind,
    *,
    experiment_id: int | None = None,
    **data: Any,
) -> None:
    """Adds a line to the log."""
    session.add(
        Event(
            campaign_id=campaign_id,
            experiment_id=experiment_id,
            at=now(),
            kind=kind.value,
            data=data,
        )
    )
    # At once, for the order of lines is the order of what happened.
    session.flush()


def append_planned(
    session: Session, campaign_id: int, planned: Iterable[tuple[int, Mapping[str, Any]]]
) -> None:
    """Adds a line per planned experiment, given its id and data."""
    at = now()
    lines = [
        {
            "campaign_id": campaign_id,
            "experiment_id": experiment_id,
            "at": at,
            "kind": EventKind.PLANNED.value,
            "data": dict(data),
        }
        for experiment_id, data in planned
    ]
    if lines:
        session.execute(insert(Event), lines)


def newest(session: Session, campaign_id: int) -> int:
    """Returns the id of a campaign's last line; 0 before the first."""
    found = session.scalar(select(func.max(Event.id)).where(Event.campaign_id == campaign_id))
    return found or 0


def rows(session: Session, campaign_id: int, after: int = 0) -> list[EventRow]:
    """Returns a campaign's lines whose id is greater than `after`, oldest first."""
    query = (
        select(Event.id, Event.at, Event.kind, Event.experiment_id, Event.data)
        .where(Event.campaign_id == campaign_id, Event.id > after)
        .order_by(Event.id)
    )
    return [EventRow(*row) for row in session.execute(query)]


def of_kind(session: Session, campaign_id: int, kind: EventKind) -> list[Mapping[str, Any]]:
    """Returns what a campaign's lines of one kind say, oldest first."""
    query = (
        select(Event.data)
        .where(Event.campaign_id == campaign_id, Event.kind == kind.value)
        .order_by(Event.id)
    )
    return list(session.scalars(query))
