"""Decisions, and the experiments they ask for."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, true

from cloudseed.db import events, outbox
from cloudseed.db.campaigns import fenced
from cloudseed.db.columns import now
from cloudseed.db.events import EventKind
from cloudseed.db.ids import Ids
from cloudseed.db.models import REPLANNABLE, Candidate, Decision, Experiment, Proposal
from cloudseed.db.rows import DecisionRow, ProposalRow
from cloudseed.db.states import ExperimentState
from cloudseed.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from cloudseed.db.rows import Claim, NewDecision, NewExperiment

__all__ = ["by_id", "observed_by", "proposals", "record", "rows"]


def record(session: Session, claim: Claim, new: NewDecision) -> DecisionRow:
    """Commits a decision with its proposals, experiments and outbox rows."""
    campaign = fenced(session, claim)
    _check_step(session, campaign.id, new.step)
    _check_experiments(session, new.experiments)
    at = now()
    decision = Decision(
        campaign_id=campaign.id,
        step=new.step,
        method=new.method,
        seed=new.seed,
        pool_sha=new.pool_sha,
        pending=[int(i) for i in new.pending],
        observed=Ids.of(new.observed).to_json(),
        encoder_id=new.encoder_id,
        model=dict(new.model),
        notes=list(new.notes),
        created_at=at,
    )
    session.add(decision)
    session.flush()
    if new.proposals:
        session.execute(insert(Proposal), [_proposal(decision.id, p) for p in new.proposals])
    planned = [_experiment(decision, e, at) for e in new.experiments]
    session.add_all(planned)
    session.flush()
    for experiment in planned:
        outbox.put(session, experiment, at)
    _check_campaign(session, decision)
    events.append(
        session,
        campaign.id,
        EventKind.DECIDED,
        decision_id=decision.id,
        step=new.step,
        method=new.method,
        proposals=len(new.proposals),
        experiments=[e.id for e in planned],
    )
    events.append_planned(
        session,
        campaign.id,
        [(e.id, {"candidate_id": e.candidate_id, "lab": e.lab}) for e in planned],
    )
    return _row(decision)


def rows(session: Session, campaign_id: int) -> list[DecisionRow]:
    """Returns decisions in order of step."""
    query = select(Decision).where(Decision.campaign_id == campaign_id).order_by(Decision.step)
    return [_row(d) for d in session.scalars(query)]


def by_id(
    session: Session, campaign_id: int, ids: Iterable[int], *, newest: int
) -> list[DecisionRow]:
    """Returns decisions by id, and so many of the newest, in order of step."""
    mine = select(Decision).where(Decision.campaign_id == campaign_id)
    last = mine.order_by(Decision.step.desc()).limit(newest)
    found = {d.id: d for d in session.scalars(mine.where(Decision.id.in_(list(ids))))}
    found |= {d.id: d for d in session.scalars(last)}
    return sorted(map(_row, found.values()), key=lambda row: row.step)


def proposals(session: Session, decision_id: int, *, chosen_only: bool) -> list[ProposalRow]:
    """Returns a decision's scored candidates in order of rank."""
    query = (
        select(
            Proposal.candidate_id,
            Proposal.rank,
            Proposal.acquisition,
            Proposal.feasible,
            Proposal.prediction,
            Proposal.chosen,
        )
        .where(Proposal.decision_id == decision_id)
        .order_by(Proposal.rank)
    )
    if chosen_only:
        query = query.where(Proposal.chosen == true())
    return [
        ProposalRow(
            candidate_id=row.candidate_id,
            rank=row.rank,
            acquisition=row.acquisition,
            feasible=row.feasible,
            prediction={name: (mean, sigma) for name, (mean, sigma) in row.prediction.items()},
            chosen=row.chosen,
        )
        for row in session.execute(query)
    ]


def _check_step(session: Session, campaign_id: int, step: int) -> None:
    """Refuses a step that was decided before."""
    taken = session.scalar(
        select(Decision.id).where(Decision.campaign_id == campaign_id, Decision.step == step)
    )
    if taken is not None:
        raise LedgerError(
            f"Step {step} has been decided already.",
            hint="Read the decisions again and go on from the last.",
            step=step,
            decision_id=taken,
        )


def _check_experiments(session: Session, new: Sequence[NewExperiment]) -> None:
    """Refuses a second experiment under one key, or on a candidate whose first still counts.

    It may count in another lab where the new one is said to stand beside that.
    """
    keys = [e.idem_key for e in new]
    ids = [e.candidate_id for e in new]
    twice = [str(x) for values in (keys, ids) for x, n in Counter(values).items() if n > 1]
    if not twice:
        used = session.scalars(select(Experiment.idem_key).where(Experiment.idem_key.in_(keys)))
        beside = {e.candidate_id: {*e.beside} - {e.lab} for e in new}
        live = session.execute(
            select(Experiment.candidate_id, Experiment.lab).where(
                Experiment.candidate_id.in_(ids),
                Experiment.state.not_in([ExperimentState(s) for s in REPLANNABLE]),
            )
        )
        again = [candidate for candidate, lab in live if lab not in beside[candidate]]
        twice = [str(x) for x in [*used, *again]]
    if twice:
        raise LedgerError(
            f"An experiment would be planned twice: {', '.join(twice[:5])}.",
            hint="A candidate may be tried again once its experiment has failed, been refused, "
            "cancelled or retracted.",
            twice=twice,
        )


def _check_campaign(session: Session, decision: Decision) -> None:
    """Refuses candidates of another campaign."""
    strangers = 0
    for table in (Proposal, Experiment):
        strangers += session.scalars(
            select(func.count())
            .select_from(table)
            .join(Candidate, Candidate.id == table.candidate_id)
            .where(
                table.decision_id == decision.id,
                Candidate.campaign_id != decision.campaign_id,
            )
        ).one()
    if strangers:
        raise LedgerError(
            f"{strangers} candidates of the decision belong to another campaign.",
            hint="Take candidate ids from this campaign's pool.",
        )


def _proposal(decision_id: int, p: ProposalRow) -> dict[str, Any]:
    return {
        "decision_id": decision_id,
        "rank": int(p.rank),
        "candidate_id": int(p.candidate_id),
        "acquisition": _number(p.acquisition),
        "feasible": _number(p.feasible),
        "prediction": {k: [float(m), float(s)] for k, (m, s) in p.prediction.items()},
        "chosen": p.chosen,
    }


def _number(value: float | None) -> float | None:
    """Returns a plain float; NaN, which SQLite cannot hold, is None."""
    return None if value is None or math.isnan(value) else float(value)


def _experiment(decision: Decision, new: NewExperiment, at: datetime) -> Experiment:
    return Experiment(
        campaign_id=decision.campaign_id,
        candidate_id=int(new.candidate_id),
        decision_id=decision.id,
        idem_key=new.idem_key,
        lab=new.lab,
        state=ExperimentState.PLANNED,
        attempt=0,
        reason="",
        request=dict(new.request),
        details={},
        created_at=at,
        finished_at=None,
    )


def observed_by(decision: Decision) -> Ids:
    """Returns the ids of the measurements that a decision was made on."""
    return Ids.stored(decision.observed)


def _row(d: Decision) -> DecisionRow:
    return DecisionRow(
        id=d.id,
        step=d.step,
        method=d.method,
        seed=d.seed,
        pool_sha=d.pool_sha,
        pending=tuple(d.pending),
        observed=observed_by(d),
        encoder_id=d.encoder_id,
        model=d.model,
        notes=tuple(d.notes),
        created_at=d.created_at,
    )
