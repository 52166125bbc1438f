"""Whether a ledger contradicts itself: what `cloudseed db verify` runs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select, text
from sqlalchemy.exc import DatabaseError

from cloudseed.db.consistency import CHECKS
from cloudseed.db.events import EventKind
from cloudseed.db.experiments import SENT
from cloudseed.db.models import Attempt, Candidate, Event, Experiment, Inbox, Measurement, Outbox
from cloudseed.db.states import ExperimentState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.orm import Session

    Progress = Callable[[str, int, int], None]

__all__ = ["contradictions"]


def contradictions(session: Session, progress: Progress = lambda *_: None) -> Iterator[str]:
    """Yields one sentence per contradiction; none if the ledger is sound.

    Args:
        session: A transaction that sees one state.
        progress: Told a name, how many checks are done, and how many there are.
    """
    sqlite = session.get_bind().dialect.name == "sqlite"
    checks = [*([_pages, _references] if sqlite else []), *_CHECKS, *CHECKS]
    for done, check in enumerate(checks):
        progress("checks", done, len(checks))
        found = False
        for contradiction in check(session):
            found = True
            yield contradiction
        if found and check is _pages:
            # What stands in damaged pages proves nothing more, and reading it may fail.
            return


def _pages(session: Session) -> Iterator[str]:
    """What SQLite finds wrong in its own pages; where it is much, SQLite gives up counting."""
    try:
        found = session.scalars(text("PRAGMA integrity_check")).all()
    except DatabaseError as error:
        found = [str(error.orig)]
    for problem in found:
        if problem != "ok":
            yield f"SQLite finds the file damaged: {problem}."


def _references(session: Session) -> Iterator[str]:
    """Rows that refer to none; PostgreSQL has no way to make them."""
    for table, row, parent, _ in session.execute(text("PRAGMA foreign_key_check")):
        yield f"Row {row} of {table} refers to a row of {parent} that is not there."


def _lives(session: Session) -> Iterator[str]:
    """Each experiment's state must be what its events lead to, step by legal step."""
    folded: dict[int, tuple[ExperimentState, int]] = {}
    log = (
        select(Event.experiment_id, Event.kind, Event.data)
        .where(Event.kind.in_([EventKind.PLANNED.value, EventKind.MOVED.value]))
        .order_by(Event.id)
        .execution_options(yield_per=1_000)
    )
    for experiment_id, kind, data in session.execute(log):
        if kind == EventKind.PLANNED.value:
            folded[experiment_id] = (ExperimentState.PLANNED, 0)
            continue
        before, after = ExperimentState(data["before"]), ExperimentState(data["after"])
        known, _ = folded.get(experiment_id, (None, 0))
        if known is not before or after not in before.successors:
            yield (
                f"Experiment {experiment_id} went from {before} to {after} in its log, "
                f"where it was {known}."
            )
        folded[experiment_id] = (after, data["attempt"])
    now_so = select(Experiment.id, Experiment.state, Experiment.attempt)
    for experiment_id, state, attempt in session.execute(now_so):
        told = folded.pop(experiment_id, None)
        if told != (state, attempt):
            yield (
                f"Experiment {experiment_id} is {state} at attempt {attempt}, "
                f"but its log leads to {told}."
            )
    for experiment_id in folded:
        yield f"The log tells of experiment {experiment_id}, which is not there."


def _attempts(session: Session) -> Iterator[str]:
    """An attempt is open exactly while the lab may have the experiment; each has its outbox row."""
    opened = func.count(Attempt.id).filter(Attempt.closed_at.is_(None))
    query = (
        select(Experiment.id, Experiment.state, Experiment.attempt, func.count(Attempt.id), opened)
        .outerjoin(Attempt, Attempt.experiment_id == Experiment.id)
        .group_by(Experiment.id, Experiment.state, Experiment.attempt)
    )
    for experiment_id, state, attempt, count, n_open in session.execute(query):
        if count != attempt:
            yield f"Experiment {experiment_id} counts {attempt} attempts and has {count}."
        if n_open != (1 if state in SENT else 0):
            yield f"Experiment {experiment_id} is {state} and has {n_open} open attempts."
    unsent = select(Attempt.id).outerjoin(Outbox).where(Outbox.id.is_(None))
    for attempt_id in session.scalars(unsent):
        yield f"Attempt {attempt_id} has no row in the outbox."
    yield from _intents(session)


def _intents(session: Session) -> Iterator[str]:
    """Exactly what is planned waits in the outbox, under the number of its next attempt."""
    waiting = and_(
        Outbox.experiment_id == Experiment.id,
        Outbox.claimed_at.is_(None),
        Outbox.withdrawn_at.is_(None),
    )
    query = (
        select(Experiment.id, Experiment.state, func.count(Outbox.id))
        .outerjoin(Outbox, waiting)
        .group_by(Experiment.id, Experiment.state)
    )
    for experiment_id, state, count in session.execute(query):
        if count != (1 if state is ExperimentState.PLANNED else 0):
            yield f"Experiment {experiment_id} is {state} and waits {count} times in the outbox."
    odd = select(Outbox.id).where(Outbox.claimed_at.is_(None) != Outbox.attempt_id.is_(None))
    for row in session.scalars(odd):
        yield f"Row {row} of the outbox is claimed without an attempt, or the other way round."
    wrong = (
        select(Outbox.id)
        .join(Attempt, Attempt.id == Outbox.attempt_id)
        .where((Attempt.n != Outbox.n) | (Attempt.experiment_id != Outbox.experiment_id))
    )
    for row in session.scalars(wrong):
        yield f"Row {row} of the outbox belongs to another attempt."


def _messages(session: Session) -> Iterator[str]:
    """Messages must be as they came, and measurements come from messages that were read."""
    messages = select(Inbox.id, Inbox.raw, Inbox.sha).execution_options(yield_per=100)
    for inbox_id, raw, sha in session.execute(messages):
        if hashlib.sha256(raw).hexdigest() != sha:
            yield f"Message {inbox_id} is not as it was received."
    early = (
        select(Measurement.id)
        .join(Inbox, Inbox.id == Measurement.inbox_id)
        .where(Inbox.outcome.is_distinct_from("applied"))
    )
    for measurement_id in session.scalars(early):
        yield f"Measurement {measurement_id} comes from a message that was not applied."


def _pools(session: Session) -> Iterator[str]:
    """Positions in a pool have no gaps."""
    query = select(
        Candidate.campaign_id,
        func.count(),
        func.min(Candidate.position),
        func.max(Candidate.position),
    ).group_by(Candidate.campaign_id)
    for campaign_id, count, first, last in session.execute(query):
        if (first, last) != (0, count - 1):
            yield f"The pool of campaign {campaign_id} has gaps: {count} rows, {first} to {last}."


_CHECKS = (_lives, _attempts, _messages, _pools)
