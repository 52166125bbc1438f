"""What the ledger knew at an earlier time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from cloudseed.db.events import EventKind
from cloudseed.db.inbox import measurement_rows
from cloudseed.db.models import Decision, Event, Measurement
from cloudseed.db.rows import EventRow, MeasurementRow
from cloudseed.db.states import ExperimentState
from cloudseed.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

__all__ = ["events_of", "measured", "pool_before", "states_before"]

_CHUNK = 1_000


def states_before(session: Session, decision_id: int) -> dict[int, ExperimentState]:
    """Returns the state of every experiment that was planned before a decision, as it was then."""
    campaign_id, line = _line_of(session, decision_id)
    log = (
        select(Event.experiment_id, Event.kind, Event.data)
        .where(
            Event.campaign_id == campaign_id,
            Event.id < line,
            Event.kind.in_([EventKind.PLANNED.value, EventKind.MOVED.value]),
        )
        .order_by(Event.id)
        .execution_options(yield_per=_CHUNK)
    )
    states: dict[int, ExperimentState] = {}
    for experiment_id, kind, data in session.execute(log):
        planned = kind == EventKind.PLANNED.value
        states[experiment_id] = (
            ExperimentState.PLANNED if planned else ExperimentState(data["after"])
        )
    return states


def pool_before(session: Session, decision_id: int) -> int:
    """Returns how many candidates the pool held when a decision was made."""
    campaign_id, line = _line_of(session, decision_id)
    grown = select(Event.data).where(
        Event.campaign_id == campaign_id,
        Event.id < line,
        Event.kind == EventKind.CANDIDATES.value,
    )
    return sum(int(data["added"]) for data in session.scalars(grown))


def measured(session: Session, ids: Iterable[int]) -> list[MeasurementRow]:
    """Returns measurements by id, in order of recording, whether or not they still stand."""
    rows: list[MeasurementRow] = []
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), _CHUNK):
        query = (
            measurement_rows()
            .where(Measurement.id.in_(ordered[start : start + _CHUNK]))
            .order_by(Measurement.id)
        )
        rows.extend(MeasurementRow(*row) for row in session.execute(query))
    return rows


def events_of(session: Session, experiment_id: int) -> list[EventRow]:
    """Returns the lines of the log that tell of one experiment, oldest first."""
    query = (
        select(Event.id, Event.at, Event.kind, Event.experiment_id, Event.data)
        .where(Event.experiment_id == experiment_id)
        .order_by(Event.id)
    )
    return [EventRow(*row) for row in session.execute(query)]


def _line_of(session: Session, decision_id: int) -> tuple[int, int]:
    """Returns a decision's campaign and the id of the line that tells of it.

    Raises:
        LedgerError: If there is no such decision.
    """
    campaign_id = session.scalar(select(Decision.campaign_id).where(Decision.id == decision_id))
    if campaign_id is not None:
        log = select(Event.id, Event.data).where(
            Event.campaign_id == campaign_id, Event.kind == EventKind.DECIDED.value
        )
        for line, data in session.execute(log):
            if data["decision_id"] == decision_id:
                return campaign_id, line
    raise LedgerError(
        f"There is no decision with id {decision_id}.",
        hint="`cloudseed decision list` lists them.",
        decision_id=decision_id,
    )
