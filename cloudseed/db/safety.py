"""What was checked before anything was sent, and what people said to it: lines of the event log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from cloudseed.db import events
from cloudseed.db.campaigns import by_id, fenced
from cloudseed.db.events import EventKind
from cloudseed.db.listening import hint
from cloudseed.db.models import Event
from cloudseed.db.rows import EventRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from cloudseed.db.rows import Claim

__all__ = ["log", "record_check", "record_word"]

_KINDS = (EventKind.CHECKED.value, EventKind.SAID.value, EventKind.WISHED.value)


def record_check(
    session: Session, claim: Claim, experiment_id: int | None, data: Mapping[str, Any]
) -> None:
    """Records a check with its verdict."""
    campaign = fenced(session, claim)
    events.append(session, campaign.id, EventKind.CHECKED, experiment_id=experiment_id, **data)


def record_word(
    session: Session, campaign_id: int, experiment_id: int | None, data: Mapping[str, Any]
) -> None:
    """Records what a person said."""
    by_id(session, campaign_id)
    events.append(session, campaign_id, EventKind.SAID, experiment_id=experiment_id, **data)
    hint(session, campaign_id)


def log(session: Session, campaign_id: int, after: int) -> list[EventRow]:
    """Returns checks, words and wishes whose id is greater than `after`, oldest first."""
    query = (
        select(Event.id, Event.at, Event.kind, Event.experiment_id, Event.data)
        .where(Event.campaign_id == campaign_id, Event.id > after, Event.kind.in_(_KINDS))
        .order_by(Event.id)
    )
    return [EventRow(*row) for row in session.execute(query)]
