"""Measurements that no longer stand: retracted or replaced, with a reason; the rows stay.

What is withdrawn is no longer read as measured, and the decisions that were made on it are marked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, select

from cloudseed.db import events
from cloudseed.db.columns import now
from cloudseed.db.events import EventKind
from cloudseed.db.ids import Ids
from cloudseed.db.models import Decision, DecisionMark, Event, Experiment, Measurement, Withdrawal
from cloudseed.db.rows import AmendmentRow
from cloudseed.db.states import ExperimentState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.orm import Session

__all__ = ["amendments", "standing", "withdraw", "withdraw_all"]


def standing(session: Session, experiment_id: int, name: str | None = None) -> list[Measurement]:
    """Returns an experiment's measurements that stand, of one property or of all, newest last."""
    query = (
        select(Measurement)
        .where(
            Measurement.experiment_id == experiment_id,
            ~exists().where(Withdrawal.measurement_id == Measurement.id),
        )
        .order_by(Measurement.id)
    )
    if name is not None:
        query = query.where(Measurement.property == name)
    return list(session.scalars(query))


def withdraw_all(session: Session, experiment: Experiment, reason: str) -> None:
    """Withdraws all that an experiment measured."""
    rows = standing(session, experiment.id)
    withdraw(session, experiment, {row.id: None for row in rows}, reason)


def withdraw(
    session: Session, experiment: Experiment, measured: Mapping[int, int | None], reason: str
) -> None:
    """Withdraws measurements of an experiment and marks the decisions that were made on them.

    Args:
        session: A writing transaction.
        experiment: The experiment.
        measured: Id of a measurement -> id of what stands instead, if anything does.
        reason: Why.
    """
    for number, superseded_by in measured.items():
        _withdraw(session, experiment, number, reason=reason, superseded_by=superseded_by)
    _mark(session, experiment, measured, reason)


def _withdraw(
    session: Session,
    experiment: Experiment,
    measurement_id: int,
    *,
    reason: str,
    superseded_by: int | None,
) -> None:
    session.add(
        Withdrawal(
            measurement_id=measurement_id,
            superseded_by=superseded_by,
            reason=reason,
            retracted_at=now(),
        )
    )
    session.flush()
    events.append(
        session,
        experiment.campaign_id,
        EventKind.WITHDRAWN,
        experiment_id=experiment.id,
        measurement_id=measurement_id,
        superseded_by=superseded_by,
        reason=reason,
    )


def _mark(
    session: Session, experiment: Experiment, withdrawn: Collection[int], reason: str
) -> None:
    """Marks the decisions that were made on what is withdrawn; they are read once."""
    at = now()
    made = (
        select(Decision.id, Decision.step, Decision.observed)
        .where(Decision.campaign_id == experiment.campaign_id)
        .order_by(Decision.id)
    )
    for decision in session.execute(made).all():
        observed = Ids.stored(decision.observed)
        for number in sorted(i for i in withdrawn if i in observed):
            session.add(
                DecisionMark(
                    decision_id=decision.id,
                    measurement_id=number,
                    reason=reason,
                    marked_at=at,
                )
            )
            events.append(
                session,
                experiment.campaign_id,
                EventKind.MARKED,
                experiment_id=experiment.id,
                decision_id=decision.id,
                step=decision.step,
                measurement_id=number,
            )


def amendments(session: Session, campaign_id: int) -> list[AmendmentRow]:
    """Returns what was retracted or corrected, oldest first."""
    found = [*_withdrawn(session, campaign_id), *_unmeasured(session, campaign_id)]
    return sorted(found, key=lambda row: (row.at, row.measurement_id or 0))


def _withdrawn(session: Session, campaign_id: int) -> list[AmendmentRow]:
    query = (
        select(
            Measurement.experiment_id,
            Withdrawal.measurement_id,
            Withdrawal.superseded_by,
            Withdrawal.reason,
            Withdrawal.retracted_at,
        )
        .join(Measurement, Measurement.id == Withdrawal.measurement_id)
        .join(Experiment, Experiment.id == Measurement.experiment_id)
        .where(Experiment.campaign_id == campaign_id)
    )
    return [AmendmentRow(*row) for row in session.execute(query)]


def _unmeasured(session: Session, campaign_id: int) -> list[AmendmentRow]:
    """Returns what was retracted without a withdrawal.

    That is an end without a measurement, or a retraction that an older cloudseed recorded.
    """
    query = (
        select(Experiment.id, Measurement.id, Event.data, Event.at)
        .join(Event, Event.experiment_id == Experiment.id)
        .outerjoin(Measurement, Measurement.experiment_id == Experiment.id)
        .where(
            Experiment.campaign_id == campaign_id,
            Experiment.state == ExperimentState.RETRACTED,
            Event.kind == EventKind.MOVED.value,
            ~exists().where(Withdrawal.measurement_id == Measurement.id),
        )
        .order_by(Event.id)
    )
    return [
        AmendmentRow(experiment_id, measurement_id, None, data["reason"], at)
        for experiment_id, measurement_id, data, at in session.execute(query)
        if data["after"] == ExperimentState.RETRACTED.value
    ]
