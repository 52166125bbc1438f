"""Experiments: the states they pass, and their sendings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_, cast, func, select

from cloudseed.db import charges, events, outbox
from cloudseed.db.campaigns import fenced, locked
from cloudseed.db.columns import now
from cloudseed.db.events import EventKind
from cloudseed.db.listening import hint
from cloudseed.db.models import Attempt, Campaign, Experiment, Outbox
from cloudseed.db.rows import ExperimentRow, OutboxItem, SendingRow
from cloudseed.db.states import ExperimentState
from cloudseed.errors import LedgerError, TransitionError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from cloudseed.db.rows import Claim, NewCharge

__all__ = [
    "acknowledge",
    "arrivals",
    "by_id",
    "details",
    "details_of",
    "details_with",
    "hold",
    "move",
    "next_to_send",
    "of_keys",
    "resolve",
    "rows",
    "sendings",
    "transition",
    "unacknowledged",
]

_S = ExperimentState
SENT = frozenset({_S.SENDING, _S.RUNNING, _S.IN_DOUBT})
"""States in which an attempt is open: the lab has it, or may have it."""


def rows(
    session: Session, campaign_id: int, states: Sequence[ExperimentState] | None = None
) -> list[ExperimentRow]:
    """Returns experiments in order of planning."""
    query = _with_attempt().where(Experiment.campaign_id == campaign_id)
    if states is not None:
        query = query.where(Experiment.state.in_(states))
    return [_row(experiment, attempt) for experiment, attempt in session.execute(query)]


def by_id(session: Session, ids: Iterable[int]) -> list[ExperimentRow]:
    """Returns experiments by id, in order of planning."""
    query = _with_attempt().where(Experiment.id.in_(list(ids)))
    return [_row(experiment, attempt) for experiment, attempt in session.execute(query)]


def of_keys(session: Session, campaign_id: int, keys: Collection[str]) -> dict[str, ExperimentRow]:
    """Returns the experiments that have these keys, by key."""
    wanted = list(keys)
    found: dict[str, ExperimentRow] = {}
    for i in range(0, len(wanted), 500):
        query = _with_attempt().where(
            Experiment.campaign_id == campaign_id, Experiment.idem_key.in_(wanted[i : i + 500])
        )
        found |= {e.idem_key: _row(e, attempt) for e, attempt in session.execute(query)}
    return found


def next_to_send(
    session: Session,
    claim: Claim,
    experiment_id: int | None = None,
    *,
    lab: str | None = None,
    reserve: Sequence[NewCharge] = (),
    request: Mapping[str, Any] | None = None,
) -> OutboxItem | None:
    """Takes a waiting outbox row, moves its experiment to `sending`, opens an attempt."""
    campaign = fenced(session, claim)
    intent = outbox.waiting(session, campaign.id, experiment_id)
    if intent is None:
        return None
    experiment = session.get_one(Experiment, intent.experiment_id)
    at = now()
    attempt = Attempt(
        experiment_id=experiment.id,
        n=intent.n,
        epoch=claim.epoch,
        handle=None,
        opened_at=at,
        closed_at=None,
    )
    session.add(attempt)
    session.flush()
    intent.attempt_id, intent.epoch, intent.claimed_at = attempt.id, claim.epoch, at
    experiment.attempt = attempt.n
    if lab is not None:
        intent.lab = experiment.lab = lab
    if request is not None:
        experiment.request = dict(request)
    charges.reserve(session, experiment, reserve)
    move(session, experiment, _S.SENDING, lab=experiment.lab)
    return OutboxItem(_row(experiment, attempt), attempt.id, attempt.epoch)


def unacknowledged(session: Session, claim: Claim) -> list[OutboxItem]:
    """Returns what is in state `sending`: sent or not, a crash hides which."""
    campaign = fenced(session, claim)
    query = _with_attempt().where(
        Experiment.campaign_id == campaign.id, Experiment.state == _S.SENDING
    )
    return [
        OutboxItem(_row(experiment, attempt), attempt.id, attempt.epoch)
        for experiment, attempt in session.execute(query)
        if attempt is not None
    ]


def resolve(
    session: Session,
    campaign_id: int,
    experiment_id: int,
    state: ExperimentState,
    *,
    handle: str | None,
    reason: str,
) -> None:
    """Ends a doubt by what a person has seen; no engine touches what is in doubt."""
    experiment = _of(session, locked(session, campaign_id), experiment_id)
    if experiment.state is not _S.IN_DOUBT:
        raise TransitionError(
            f"Experiment {experiment_id} is {experiment.state}, not in doubt.",
            hint="`cloudseed experiments list --state in_doubt` shows those that are.",
            experiment_id=experiment_id,
        )
    if (handle is not None) != (state is _S.RUNNING):
        raise TransitionError(
            "The handle of an experiment is needed where the lab has it, and only there.",
            hint="Give the handle and `running`, or no handle and `planned` or `cancelled`.",
            experiment_id=experiment_id,
        )
    attempt = open_attempt(session, experiment)
    if handle is not None and attempt is not None:
        _record_handle(session, experiment, attempt, handle)
    move(session, experiment, state, reason=reason, unsent=state is _S.PLANNED, by="a person")
    hint(session, campaign_id)


def acknowledge(session: Session, claim: Claim, item: OutboxItem, handle: str) -> None:
    """Records the lab's handle: `sending` or `in_doubt` becomes `running`.

    Said again, it changes nothing; an experiment that ended meanwhile keeps its end.
    """
    experiment = owned(session, claim, item.experiment.id)
    attempt = session.get_one(Attempt, item.attempt_id)
    known = attempt.handle
    if attempt.n != experiment.attempt or known not in {None, handle}:
        raise TransitionError(
            f"Attempt {attempt.n} of experiment {experiment.id} cannot get the handle {handle!r}: "
            f"it has {known!r}, and the newest attempt is {experiment.attempt}.",
            hint="The lab gave two handles for one key; ask it which one runs.",
            experiment_id=experiment.id,
        )
    if known is None:
        _record_handle(session, experiment, attempt, handle)
    if experiment.state in {_S.SENDING, _S.IN_DOUBT}:
        move(session, experiment, _S.RUNNING)
    elif experiment.state is _S.PLANNED:
        raise TransitionError(
            f"Experiment {experiment.id} was given back to be sent again, yet the lab has it.",
            hint="Ask the lab by key before sending it again.",
            experiment_id=experiment.id,
        )


def transition(
    session: Session,
    claim: Claim,
    experiment_id: int,
    state: ExperimentState,
    reason: str,
    *,
    delay: float = 0.0,
    unsent: bool = False,
    told: Mapping[str, Any] | None = None,
) -> None:
    """Moves an experiment to another state."""
    experiment = owned(session, claim, experiment_id)
    if state is _S.SENDING:
        raise TransitionError(
            "An experiment is sent by taking it from the outbox.",
            hint="Call `next_to_send`.",
            experiment_id=experiment_id,
        )
    if told is not None:
        experiment.details = {**experiment.details, **told}
    move(session, experiment, state, reason=reason, delay=delay, unsent=unsent)


def hold(session: Session, claim: Claim, experiment_id: int, reason: str) -> bool:
    """Notes why a planned experiment is not sent; returns whether that is news."""
    experiment = owned(session, claim, experiment_id)
    if experiment.state is not _S.PLANNED:
        raise TransitionError(
            f"Experiment {experiment_id} is {experiment.state}, and only what is planned waits.",
            hint="Look at it again: it has moved on.",
            experiment_id=experiment_id,
        )
    if experiment.reason == reason:
        return False
    experiment.reason = reason
    events.append(
        session,
        experiment.campaign_id,
        EventKind.HELD,
        experiment_id=experiment_id,
        reason=reason,
    )
    return True


def sendings(session: Session, campaign_id: int, after: int) -> list[SendingRow]:
    """Returns attempts whose id is greater than `after`, in order, with the lab that each went to.

    The recipe is the one that the experiment was last sent with.
    """
    query = (
        select(Attempt, Outbox.lab, Experiment.request)
        .join(Outbox, Outbox.attempt_id == Attempt.id)
        .join(Experiment, Experiment.id == Attempt.experiment_id)
        .where(Experiment.campaign_id == campaign_id, Attempt.id > after)
        .order_by(Attempt.id)
    )
    return [
        SendingRow(
            id=attempt.id,
            lab=lab,
            recipe=request.get("recipe"),
            arrived=attempt.handle is not None,
            open=attempt.closed_at is None,
        )
        for attempt, lab, request in session.execute(query)
    ]


def arrivals(session: Session, experiment_id: int) -> int:
    """Returns how many sendings of an experiment a lab has acknowledged."""
    query = select(func.count(Attempt.id)).where(
        Attempt.experiment_id == experiment_id, Attempt.handle.is_not(None)
    )
    return session.scalar(query) or 0


def owned(session: Session, claim: Claim, experiment_id: int) -> Experiment:
    """Returns an experiment of the claimed campaign, which is locked thereby.

    Raises:
        StaleWorkerError: If the claim is not the newest.
        LedgerError: If the campaign has no such experiment.
    """
    return _of(session, fenced(session, claim), experiment_id)


def _of(session: Session, campaign: Campaign, experiment_id: int) -> Experiment:
    """Returns an experiment of a locked campaign."""
    experiment = session.get(Experiment, experiment_id)
    if experiment is None or experiment.campaign_id != campaign.id:
        raise LedgerError(
            f"The campaign {campaign.name!r} has no experiment with id {experiment_id}.",
            hint="`cloudseed status` lists its experiments.",
            experiment_id=experiment_id,
        )
    return experiment


def move(
    session: Session,
    experiment: Experiment,
    state: ExperimentState,
    *,
    reason: str = "",
    delay: float = 0.0,
    unsent: bool = False,
    **data: Any,
) -> None:
    """Changes a state and logs it; closes the attempt unless the lab may still have it.

    What becomes `planned` again gets an outbox row, due after `delay` seconds; what leaves
    `planned` unsent loses its own.

    Raises:
        TransitionError: If the lifecycle does not allow it.
    """
    before = experiment.state
    if state not in before.successors:
        raise TransitionError(
            f"Experiment {experiment.id} is {before} and cannot become {state}.",
            hint="From there it may become " + (", ".join(sorted(before.successors)) or "nothing"),
            experiment_id=experiment.id,
            before=before.value,
            after=state.value,
        )
    at = now()
    if state not in SENT:
        attempt = open_attempt(session, experiment)
        if attempt is not None:
            attempt.closed_at = at
        charges.release(session, experiment, at, unused=unsent)
    if before is _S.PLANNED and state is not _S.SENDING:
        outbox.withdraw(session, experiment, at)
    if state is _S.PLANNED:
        outbox.put(session, experiment, at, delay=delay)
    experiment.state = state
    experiment.reason = reason
    if state.terminal and experiment.finished_at is None:
        experiment.finished_at = at
    events.append(
        session,
        experiment.campaign_id,
        EventKind.MOVED,
        experiment_id=experiment.id,
        before=before.value,
        after=state.value,
        attempt=experiment.attempt,
        reason=reason,
        **data,
    )


def open_attempt(session: Session, experiment: Experiment) -> Attempt | None:
    """Returns the attempt that is not closed, if any."""
    return session.scalar(
        select(Attempt).where(Attempt.experiment_id == experiment.id, Attempt.closed_at.is_(None))
    )


def _record_handle(session: Session, experiment: Experiment, attempt: Attempt, handle: str) -> None:
    """Notes under which name the lab has an attempt."""
    attempt.handle = handle
    intent = session.scalars(select(Outbox).where(Outbox.attempt_id == attempt.id)).one()
    intent.acknowledged_at = now()
    events.append(
        session,
        experiment.campaign_id,
        EventKind.ACKNOWLEDGED,
        experiment_id=experiment.id,
        attempt=attempt.n,
        handle=handle,
    )


def details(session: Session, experiment_id: int) -> Mapping[str, Any]:
    """Returns the details that the settled result came with; empty if there are none."""
    found: Mapping[str, Any] | None = session.scalar(
        select(Experiment.details).where(Experiment.id == experiment_id)
    )
    if found is None:
        raise LedgerError(
            f"There is no experiment with id {experiment_id}.",
            hint="`cloudseed status` lists the experiments.",
            experiment_id=experiment_id,
        )
    return found


def details_of(session: Session, ids: Iterable[int]) -> dict[int, Mapping[str, Any]]:
    """Returns the details of some experiments, by id."""
    query = select(Experiment.id, Experiment.details).where(Experiment.id.in_(list(ids)))
    return {row.id: row.details for row in session.execute(query)}


def details_with(session: Session, campaign_id: int, name: str) -> dict[int, Mapping[str, Any]]:
    """Returns the details in which something of that name is told, by experiment id.

    Only of experiments that did not just go well: of those that failed, ended without a value, or
    took more than one attempt.
    """
    again = select(Attempt.experiment_id).where(Attempt.n > 1)
    found: dict[int, Mapping[str, Any]] = {}
    for which in (
        Experiment.state.in_([s for s in _S if s is not _S.MEASURED]),
        Experiment.id.in_(again),
    ):
        query = select(Experiment.id, Experiment.details).where(
            Experiment.campaign_id == campaign_id,
            which,
            cast(Experiment.details, Text).contains(f'"{name}":', autoescape=True),
        )
        found |= {number: told for number, told in session.execute(query) if name in told}
    return dict(sorted(found.items()))


def _with_attempt() -> Select[Experiment, Attempt | None]:
    """Experiments with their newest attempt, in order of planning."""
    newest = and_(Attempt.experiment_id == Experiment.id, Attempt.n == Experiment.attempt)
    return select(Experiment, Attempt).outerjoin(Attempt, newest).order_by(Experiment.id)


def _row(experiment: Experiment, attempt: Attempt | None) -> ExperimentRow:
    return ExperimentRow(
        id=experiment.id,
        candidate_id=experiment.candidate_id,
        decision_id=experiment.decision_id,
        idem_key=experiment.idem_key,
        lab=experiment.lab,
        state=experiment.state,
        attempt=experiment.attempt,
        handle=None if attempt is None else attempt.handle,
        reason=experiment.reason,
        request=experiment.request,
        created_at=experiment.created_at,
        finished_at=experiment.finished_at,
    )
