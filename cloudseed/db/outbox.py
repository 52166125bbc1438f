"""The outbox: intents to send, each committed with what asks for it.

put ──> waiting ──> claimed (an attempt, by `experiments.next_to_send`) ──> acknowledged
└────> withdrawn
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from cloudseed.db.columns import now
from cloudseed.db.models import Outbox

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from cloudseed.db.models import Experiment

__all__ = ["next_due", "put", "waiting", "withdraw"]


def put(session: Session, experiment: Experiment, at: datetime, *, delay: float = 0.0) -> None:
    """Adds the intent to send an experiment, again if it was sent before, `delay` seconds later."""
    session.add(
        Outbox(
            campaign_id=experiment.campaign_id,
            experiment_id=experiment.id,
            n=experiment.attempt + 1,
            lab=experiment.lab,
            attempt_id=None,
            epoch=None,
            created_at=at,
            due_at=at + timedelta(seconds=delay),
            claimed_at=None,
            acknowledged_at=None,
            withdrawn_at=None,
        )
    )


def waiting(session: Session, campaign_id: int, experiment_id: int | None = None) -> Outbox | None:
    """Returns the oldest intent that is due, or that of one experiment; locks it on PostgreSQL."""
    query = (
        select(Outbox)
        .where(
            Outbox.campaign_id == campaign_id,
            Outbox.claimed_at.is_(None),
            Outbox.withdrawn_at.is_(None),
            Outbox.due_at <= now(),
        )
        .order_by(Outbox.experiment_id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if experiment_id is not None:
        query = query.where(Outbox.experiment_id == experiment_id)
    return session.scalar(query)


def next_due(session: Session, campaign_id: int) -> dict[int, datetime]:
    """Returns, by experiment, when what waits may be sent, UTC."""
    query = select(Outbox.experiment_id, Outbox.due_at).where(
        Outbox.campaign_id == campaign_id,
        Outbox.claimed_at.is_(None),
        Outbox.withdrawn_at.is_(None),
    )
    return {row.experiment_id: row.due_at for row in session.execute(query)}


def withdraw(session: Session, experiment: Experiment, at: datetime) -> None:
    """Takes back the intent to send an experiment."""
    query = select(Outbox).where(
        Outbox.experiment_id == experiment.id,
        Outbox.claimed_at.is_(None),
        Outbox.withdrawn_at.is_(None),
    )
    for intent in session.scalars(query):
        intent.withdrawn_at = at
