"""Whether what was decided and measured agrees with itself and with the log."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select, true
from sqlalchemy.orm import aliased

from cloudseed.db import decisions
from cloudseed.db.columns import canonical, storable
from cloudseed.db.events import EventKind
from cloudseed.db.models import (
    Campaign,
    Candidate,
    Decision,
    DecisionMark,
    Embedding,
    Event,
    Experiment,
    Inbox,
    InboxConflict,
    Measurement,
    Proposal,
    Structure,
    Withdrawal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

__all__ = ["CHECKS", "notices"]


def notices(session: Session) -> Iterator[str]:
    """Yields what is no contradiction but may want a look, one sentence each."""
    aside = session.scalars(select(func.count(InboxConflict.id))).one()
    if aside:
        yield f"{aside} messages contradict an earlier one of the same id; they are kept aside."
    waiting = session.scalars(
        select(func.count(Inbox.id)).where(Inbox.processed_at.is_(None))
    ).one()
    if waiting:
        yield f"{waiting} messages wait to be read by an engine."
    strange = session.scalars(select(func.count(Inbox.id)).where(Inbox.outcome == "stranger")).one()
    if strange:
        yield f"{strange} messages are about experiments that were never asked for."
    gone = session.scalars(select(func.count(Withdrawal.measurement_id))).one()
    if gone:
        marked = session.scalars(select(func.count(DecisionMark.decision_id.distinct()))).one()
        yield f"{gone} measurements no longer stand; {marked} decisions were made on them."


def _campaigns(session: Session) -> Iterator[str]:
    """A campaign's spec is as it was given; its status and epoch are what the log leads to."""
    status: dict[int, str] = {}
    epoch: dict[int, int] = {}
    log = (
        select(Event.campaign_id, Event.kind, Event.data)
        .where(Event.kind.in_([EventKind.STATUS.value, EventKind.CLAIMED.value]))
        .order_by(Event.id)
    )
    for campaign_id, kind, data in session.execute(log):
        if kind == EventKind.STATUS.value:
            status[campaign_id] = data["after"]
        else:
            epoch[campaign_id] = data["epoch"]
    for row in session.scalars(select(Campaign).order_by(Campaign.id)):
        if hashlib.sha256(canonical(row.config).encode()).hexdigest() != row.config_sha:
            yield f"The spec of campaign {row.id} is not as it was recorded."
        if row.status != status.get(row.id, "new"):
            yield f"Campaign {row.id} is {row.status}, but its log leads to {status.get(row.id)}."
        if row.epoch != epoch.get(row.id, 0):
            yield f"Campaign {row.id} is at epoch {row.epoch}, its log at {epoch.get(row.id, 0)}."


def _decisions(session: Session) -> Iterator[str]:
    """Decisions are numbered without gaps, stand in the log, and were made on what is there."""
    known = _by_campaign(session, select(Experiment.campaign_id, Measurement.id).join(Measurement))
    measured = {campaign_id: sorted(ids) for campaign_id, ids in known.items()}
    lines = {
        data["decision_id"]: data
        for data in session.scalars(select(Event.data).where(Event.kind == EventKind.DECIDED.value))
    }
    asked: dict[int, list[int]] = {}
    for decision_id, experiment_id in session.execute(
        select(Experiment.decision_id, Experiment.id).order_by(Experiment.id)
    ):
        asked.setdefault(decision_id, []).append(experiment_id)
    pending: dict[int, set[int]] = {}
    steps: dict[int, int] = {}
    rows = select(Decision).order_by(Decision.campaign_id, Decision.step)
    for row in session.scalars(rows.execution_options(yield_per=100)):
        if row.step != steps.get(row.campaign_id, -1) + 1:
            yield f"Decision {row.id} has number {row.step} after {steps.get(row.campaign_id)}."
        steps[row.campaign_id] = row.step
        line = lines.pop(row.id, None)
        if line is None or line["experiments"] != asked.get(row.id, []):
            yield f"Decision {row.id} asks for other experiments than its log tells."
        observed = decisions.observed_by(row)
        gone = len(observed) - observed.among(measured.get(row.campaign_id, []))
        if gone:
            yield f"Decision {row.id} was made on {gone} measurements that are not there."
        pending.setdefault(row.campaign_id, set()).update(row.pending)
    for decision_id in lines:
        yield f"The log tells of decision {decision_id}, which is not there."
    tried = _by_campaign(session, select(Experiment.campaign_id, Experiment.candidate_id))
    for campaign_id, ids in pending.items():
        lost = ids - tried.get(campaign_id, set())
        if lost:
            yield f"Campaign {campaign_id} waited for {len(lost)} candidates that were never tried."


def _by_campaign(session: Session, query: object) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for campaign_id, row_id in session.execute(query):  # type: ignore[call-overload]
        found.setdefault(campaign_id, set()).add(row_id)
    return found


def _choices(session: Session) -> Iterator[str]:
    """Where a decision recorded ranks, what it chose is what it asked for."""
    unasked = (
        select(Proposal.decision_id, Proposal.candidate_id)
        .outerjoin(
            Experiment,
            and_(
                Experiment.decision_id == Proposal.decision_id,
                Experiment.candidate_id == Proposal.candidate_id,
            ),
        )
        .where(Proposal.chosen == true(), Experiment.id.is_(None))
    )
    for decision_id, candidate_id in session.execute(unasked):
        yield f"Decision {decision_id} chose candidate {candidate_id} and did not ask for it."


def _values(session: Session) -> Iterator[str]:
    """Every measurement is as the log tells."""
    told = {}
    log = select(Event.data).where(Event.kind == EventKind.MEASURED.value)
    for data in session.scalars(log.execution_options(yield_per=1_000)):
        told[data["measurement_id"]] = (
            storable(data["property"]),
            data["value"],
            storable(data["unit"]),
            data["sigma"],
        )
    rows = select(
        Measurement.id,
        Measurement.property,
        Measurement.value,
        Measurement.unit,
        Measurement.sigma,
    ).execution_options(yield_per=1_000)
    for measurement_id, *values in session.execute(rows):
        if told.pop(measurement_id, None) != tuple(values):
            yield f"Measurement {measurement_id} is not as it was recorded."
    for measurement_id in told:
        yield f"The log tells of measurement {measurement_id}, which is not there."


def _withdrawals(session: Session) -> Iterator[str]:
    """What replaces a measurement is of the same experiment and property, and says so."""
    newer = aliased(Measurement)
    odd = (
        select(Withdrawal.measurement_id)
        .join(Measurement, Measurement.id == Withdrawal.measurement_id)
        .join(newer, newer.id == Withdrawal.superseded_by)
        .where(
            or_(
                newer.experiment_id != Measurement.experiment_id,
                newer.property != Measurement.property,
                newer.supersedes.is_distinct_from(Measurement.id),
            )
        )
    )
    for measurement_id in session.scalars(odd):
        yield f"Measurement {measurement_id} was replaced by one that is not of its kind."
    silent = (
        select(Measurement.id)
        .outerjoin(Withdrawal, Withdrawal.measurement_id == Measurement.supersedes)
        .where(Measurement.supersedes.is_not(None), Withdrawal.measurement_id.is_(None))
    )
    for measurement_id in session.scalars(silent):
        yield f"Measurement {measurement_id} replaces one that was not withdrawn."
    marks: dict[int, set[int]] = {}
    for decision_id, measurement_id in session.execute(
        select(DecisionMark.decision_id, DecisionMark.measurement_id)
    ):
        marks.setdefault(decision_id, set()).add(measurement_id)
    gone = set(session.scalars(select(Withdrawal.measurement_id)))
    if not gone and not marks:
        return
    for row in session.scalars(select(Decision).execution_options(yield_per=100)):
        observed = decisions.observed_by(row)
        if {i for i in gone if i in observed} != marks.get(row.id, set()):
            yield f"The marks of decision {row.id} are not what it was made on and was withdrawn."


def _orphans(session: Session) -> Iterator[str]:
    """Nothing is kept that nothing uses, and embeddings of one encoder have one length."""
    unused = (
        select(func.count())
        .select_from(Structure)
        .outerjoin(Candidate, Candidate.root_sha == Structure.sha)
        .where(Candidate.id.is_(None))
    )
    count = session.scalars(unused).one()
    if count:
        yield f"{count} structures belong to no candidate."
    lengths = select(
        Embedding.encoder_id,
        func.min(func.length(Embedding.vector)),
        func.max(func.length(Embedding.vector)),
    ).group_by(Embedding.encoder_id)
    for encoder_id, least, most in session.execute(lengths):
        if least != most:
            yield f"Embeddings of the encoder {encoder_id[:16]} have different lengths."


CHECKS = (_campaigns, _decisions, _choices, _values, _withdrawals, _orphans)
"""Each yields one sentence per disagreement; none if all agree."""
