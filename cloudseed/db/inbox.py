"""What labs said, byte for byte, and what it means.

`receive` commits the bytes before anybody reads them; `settle` turns them into a state and
measurements, once.
"""

from __future__ import annotations

import hashlib
import math
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import exists, select
from sqlalchemy.orm import aliased

from cloudseed.db import charges, events, experiments, withdrawals
from cloudseed.db.campaigns import fenced
from cloudseed.db.columns import now
from cloudseed.db.events import EventKind
from cloudseed.db.listening import hint
from cloudseed.db.models import Attempt, Experiment, Inbox, InboxConflict, Measurement, Withdrawal
from cloudseed.db.rows import PERSON, MeasurementRow
from cloudseed.db.states import ExperimentState
from cloudseed.errors import LedgerError, TransitionError, UnitError
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

    from cloudseed.db.rows import Claim, NewMeasurement

__all__ = [
    "MessageOutcome",
    "correct",
    "measurement_rows",
    "measurements",
    "measurements_of",
    "receive",
    "settle",
    "tell",
    "told_by",
    "unprocessed",
]

_S = ExperimentState
_OF_THE_MATERIAL = frozenset({_S.MEASURED, _S.INFEASIBLE, _S.RETRACTED})
"""Outcomes that count whichever attempt they come from."""


class MessageOutcome(StrEnum):
    """What became of a message.

    applied    it moved its experiment
    noted      it was read and changes nothing: it was to, or it repeats what is so already
    late       its experiment had ended, or it tells of a failed attempt that another followed
    early      it retracts a result that has not come; that result is retracted when it comes
    stranger   no experiment of this campaign has its key
    """

    APPLIED = "applied"
    NOTED = "noted"
    LATE = "late"
    EARLY = "early"
    STRANGER = "stranger"


def receive(
    session: Session, claim: Claim, *, lab: str, message_id: str, key: str, raw: bytes
) -> bool:
    """Commits a raw message; False if it was there before."""
    campaign = fenced(session, claim)
    return _take_in(session, campaign.id, lab=lab, message_id=message_id, key=key, raw=raw)[1]


def tell(session: Session, campaign_id: int, *, message_id: str, key: str, raw: bytes) -> int:
    """Commits what a person says, without a claim; returns its inbox id."""
    message, _ = _take_in(session, campaign_id, lab=PERSON, message_id=message_id, key=key, raw=raw)
    hint(session, campaign_id)
    return message.id


def _take_in(
    session: Session, campaign_id: int, *, lab: str, message_id: str, key: str, raw: bytes
) -> tuple[Inbox, bool]:
    """Returns the message of an id, and whether it is new."""
    sha = hashlib.sha256(raw).hexdigest()
    first = session.scalar(
        select(Inbox).where(
            Inbox.campaign_id == campaign_id, Inbox.lab == lab, Inbox.message_id == message_id
        )
    )
    if first is not None:
        if (first.sha, first.idem_key) != (sha, key):
            _keep_aside(session, first, key, raw, sha)
        return first, False
    message = Inbox(
        campaign_id=campaign_id,
        lab=lab,
        message_id=message_id,
        idem_key=key,
        raw=raw,
        sha=sha,
        received_at=now(),
        processed_at=None,
        outcome=None,
    )
    session.add(message)
    session.flush()
    events.append(
        session,
        campaign_id,
        EventKind.RECEIVED,
        inbox_id=message.id,
        lab=lab,
        message_id=message_id,
        key=key,
        sha=sha,
    )
    return message, True


def told_by(session: Session, inbox_ids: Iterable[int]) -> dict[int, str]:
    """Returns who each message is from: a lab's name, or `PERSON`."""
    query = select(Inbox.id, Inbox.lab).where(Inbox.id.in_(list(inbox_ids)))
    return {row.id: row.lab for row in session.execute(query)}


def unprocessed(session: Session, campaign_id: int) -> list[tuple[int, str, bytes]]:
    """Returns (inbox id, idempotency key, raw) of messages not yet turned into outcomes."""
    query = (
        select(Inbox.id, Inbox.idem_key, Inbox.raw)
        .where(Inbox.campaign_id == campaign_id, Inbox.processed_at.is_(None))
        .order_by(Inbox.id)
    )
    return [(i, key, bytes(raw)) for i, key, raw in session.execute(query)]


def settle(
    session: Session,
    claim: Claim,
    inbox_id: int,
    state: ExperimentState | None,
    *,
    measured: Sequence[NewMeasurement],
    reason: str,
    details: Mapping[str, Any] | None,
    costs: Mapping[str, float] | None = None,
    delay: float = 0.0,
) -> None:
    """Turns one message into a state and measurements."""
    message, experiment, attempt = _opened(session, claim, inbox_id)
    if message.processed_at is not None:
        return
    outcome = _outcome(experiment, state, attempt)
    if outcome is MessageOutcome.APPLIED:
        assert experiment is not None
        assert state is not None
        charges.settle(session, experiment, costs or {})
        _apply(session, experiment, message, state, measured=measured, reason=reason, delay=delay)
        if state is not _S.RETRACTED:
            experiment.details = dict(details or {})
    _mark_read(session, message, experiment, outcome, state=state, reason=reason)


def correct(
    session: Session,
    claim: Claim,
    inbox_id: int,
    measured: Sequence[NewMeasurement],
    *,
    reason: str,
) -> None:
    """Turns one message into values that replace those of the same properties."""
    message, experiment, _ = _opened(session, claim, inbox_id)
    if message.processed_at is not None:
        return
    outcome = MessageOutcome.STRANGER if experiment is None else MessageOutcome.LATE
    if experiment is not None and experiment.state is _S.MEASURED:
        old = [withdrawals.standing(session, experiment.id, m.property)[-1:] for m in measured]
        outcome = MessageOutcome.APPLIED if measured and all(old) else MessageOutcome.NOTED
        if outcome is MessageOutcome.APPLIED:
            replaced = {
                row.id: _record(
                    session,
                    experiment,
                    new,
                    attempt_id=row.attempt_id,
                    source=(message.id, ordinal),
                    supersedes=row.id,
                )
                for ordinal, (new, (row,)) in enumerate(zip(measured, old, strict=True))
            }
            withdrawals.withdraw(session, experiment, replaced, reason)
    _mark_read(session, message, experiment, outcome, state=None, reason=reason)


def _opened(
    session: Session, claim: Claim, inbox_id: int
) -> tuple[Inbox, Experiment | None, int | None]:
    """Returns a message of the claimed campaign, the experiment that it is about, the attempt."""
    campaign = fenced(session, claim)
    message = session.get(Inbox, inbox_id)
    if message is None or message.campaign_id != campaign.id:
        raise LedgerError(
            f"The campaign {campaign.name!r} has no message with id {inbox_id}.",
            hint="Settle what `unprocessed` returns.",
            inbox_id=inbox_id,
        )
    return message, *about(session, campaign.id, message.idem_key)


def _mark_read(
    session: Session,
    message: Inbox,
    experiment: Experiment | None,
    outcome: MessageOutcome,
    *,
    state: ExperimentState | None,
    reason: str,
) -> None:
    """Notes what became of a message."""
    message.processed_at = now()
    message.outcome = outcome.value
    events.append(
        session,
        message.campaign_id,
        EventKind.READ,
        experiment_id=None if experiment is None else experiment.id,
        inbox_id=message.id,
        outcome=outcome.value,
        state=None if state is None else state.value,
        reason=reason,
    )


def measurements(session: Session, campaign_id: int) -> list[MeasurementRow]:
    """Returns the measurements that stand, in order of recording."""
    return _standing(session, Experiment.campaign_id == campaign_id)


def measurements_of(session: Session, experiment_ids: Iterable[int]) -> list[MeasurementRow]:
    """Returns the measurements of some experiments that stand, in order of recording."""
    return _standing(session, Experiment.id.in_(list(experiment_ids)))


def measurement_rows() -> Select[int, int, int, str, float, str, float | None, str, datetime]:
    """Returns a query whose rows are those of `MeasurementRow`, to be narrowed and ordered."""
    return select(
        Measurement.id,
        Measurement.experiment_id,
        Experiment.candidate_id,
        Measurement.property,
        Measurement.value,
        Measurement.unit,
        Measurement.sigma,
        Measurement.method,
        Measurement.created_at,
    ).join(Experiment, Experiment.id == Measurement.experiment_id)


def _standing(session: Session, which: ColumnElement[bool]) -> list[MeasurementRow]:
    newer = aliased(Measurement)
    query = (
        measurement_rows()
        .where(
            which,
            Experiment.state != _S.RETRACTED,
            ~exists().where(newer.supersedes == Measurement.id),
            ~exists().where(Withdrawal.measurement_id == Measurement.id),
        )
        .order_by(Measurement.id)
    )
    return [MeasurementRow(*row) for row in session.execute(query)]


def about(
    session: Session, campaign_id: int, key: str
) -> tuple[Experiment, int | None] | tuple[None, None]:
    """Returns the experiment that a message is about, and the attempt; None where it names none.

    A message bears the key of an attempt, "KEY-N", or that of the experiment, "KEY".
    """
    stem, _, number = key.rpartition("-")
    query = select(Experiment).where(
        Experiment.campaign_id == campaign_id, Experiment.idem_key.in_([key, stem])
    )
    found = {e.idem_key: e for e in session.scalars(query)}
    if key in found:
        return found[key], None
    if stem in found and number.isdecimal():
        return found[stem], int(number)
    return None, None


def _outcome(
    experiment: Experiment | None, state: ExperimentState | None, attempt: int | None
) -> MessageOutcome:
    """Says what a message does, given the experiment and the attempt that it is about."""
    if experiment is None:
        return MessageOutcome.STRANGER
    if state is None or state is experiment.state:
        return MessageOutcome.NOTED
    if state is _S.RETRACTED and not experiment.state.terminal:
        return MessageOutcome.EARLY
    if experiment.state.terminal and state not in experiment.state.successors:
        return MessageOutcome.LATE
    if attempt is not None and attempt < experiment.attempt and state not in _OF_THE_MATERIAL:
        return MessageOutcome.LATE
    return MessageOutcome.APPLIED


def _apply(
    session: Session,
    experiment: Experiment,
    message: Inbox,
    state: ExperimentState,
    *,
    measured: Sequence[NewMeasurement],
    reason: str,
    delay: float,
) -> None:
    """Moves the experiment and records what was measured."""
    if state is _S.SENDING:
        raise TransitionError("No message sends an experiment.", hint="Call `next_to_send`.")
    attempt_id = session.scalar(
        select(Attempt.id).where(
            Attempt.experiment_id == experiment.id, Attempt.n == experiment.attempt
        )
    )
    experiments.move(session, experiment, state, reason=reason, delay=delay, inbox_id=message.id)
    for ordinal, m in enumerate(measured):
        _record(session, experiment, m, attempt_id=attempt_id, source=(message.id, ordinal))
    if _S.RETRACTED in state.successors and _was_retracted_before(session, message):
        experiments.move(
            session,
            experiment,
            _S.RETRACTED,
            reason="Retracted before it came.",
            inbox_id=message.id,
        )
    if experiment.state is _S.RETRACTED:
        withdrawals.withdraw_all(session, experiment, experiment.reason)


def _was_retracted_before(session: Session, message: Inbox) -> bool:
    """Whether a retraction overtook the result it is about."""
    query = select(Inbox.id).where(
        Inbox.campaign_id == message.campaign_id,
        Inbox.idem_key.in_([message.idem_key, message.idem_key.rpartition("-")[0]]),
        Inbox.outcome == MessageOutcome.EARLY.value,
    )
    return session.scalars(query.limit(1)).first() is not None


def _record(
    session: Session,
    experiment: Experiment,
    new: NewMeasurement,
    *,
    attempt_id: int | None,
    source: tuple[int, int],
    supersedes: int | None = None,
) -> int:
    """Records one value, given the id of its message and its place therein; returns its id."""
    _check(new)
    inbox_id, ordinal = source
    row = Measurement(
        experiment_id=experiment.id,
        attempt_id=attempt_id,
        inbox_id=inbox_id,
        ordinal=ordinal,
        property=new.property,
        value=float(new.value),
        unit=new.unit,
        sigma=None if new.sigma is None else float(new.sigma),
        method=new.method,
        supersedes=supersedes,
        created_at=now(),
    )
    session.add(row)
    session.flush()
    events.append(
        session,
        experiment.campaign_id,
        EventKind.MEASURED,
        experiment_id=experiment.id,
        measurement_id=row.id,
        property=row.property,
        value=row.value,
        unit=row.unit,
        sigma=row.sigma,
    )
    return row.id


def _check(new: NewMeasurement) -> None:
    """Refuses a value that cannot be meant."""
    unit = unit_of(new.property)
    if unit is not None and new.unit != unit:
        raise UnitError(
            f"The ledger keeps {new.property} in {unit!r}, not in {new.unit!r}.",
            hint="Convert it with `cloudseed.units.convert`.",
            property=new.property,
            unit=new.unit,
        )
    if not math.isfinite(new.value) or (new.sigma is not None and not 0 <= new.sigma < math.inf):
        raise LedgerError(
            f"The value {new.value} with uncertainty {new.sigma} is no measurement of "
            f"{new.property}.",
            hint="Value and uncertainty are finite, and the uncertainty is not negative.",
            property=new.property,
        )


def _keep_aside(session: Session, first: Inbox, key: str, raw: bytes, sha: str) -> None:
    """Keeps a message that contradicts the first of its id, once."""
    known = session.scalar(
        select(InboxConflict.id).where(
            InboxConflict.inbox_id == first.id,
            InboxConflict.idem_key == key,
            InboxConflict.sha == sha,
        )
    )
    if known is not None:
        return
    session.add(InboxConflict(inbox_id=first.id, idem_key=key, raw=raw, sha=sha, received_at=now()))
    events.append(
        session,
        first.campaign_id,
        EventKind.CONFLICT,
        inbox_id=first.id,
        lab=first.lab,
        message_id=first.message_id,
        key=key,
        sha=sha,
        first_key=first.idem_key,
        first_sha=first.sha,
    )
