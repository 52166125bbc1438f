"""Plan: fit, rank, and commit the next decision with its experiments in one transaction."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.db import NewDecision, NewExperiment, ProposalRow
from cloudseed.lab_adapters import ExperimentRequest
from cloudseed.loop.alarm import misled
from cloudseed.loop.budgets import hint_price, money
from cloudseed.loop.calibrating import widths
from cloudseed.loop.effects import failures_of, leaves_pool, teaches
from cloudseed.loop.fingerprints import Arguments, replay_record
from cloudseed.loop.patience import is_closed
from cloudseed.loop.ranks import kept_ranks, spacing, stands_for_all
from cloudseed.loop.results import that_count
from cloudseed.loop.volumes import volume_of
from cloudseed.surrogate import (
    EXPLORED,
    CheapSource,
    Observations,
    decide,
    decision_seed,
    expected_hits,
    is_feasible,
    knows_the_best,
    merit,
    probability_of_best,
    start,
    with_derived,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudseed.db import (
        CampaignRow,
        CandidateRow,
        DecisionRow,
        ExperimentRow,
        Ledger,
        MeasurementRow,
    )
    from cloudseed.lab_adapters import FailureKind
    from cloudseed.loop.context import Context
    from cloudseed.loop.pool import Pool
    from cloudseed.loop.results import Result
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.surrogate import Choice, Problem

__all__ = [
    "ALARM",
    "Situation",
    "choose",
    "idempotency_key",
    "plan",
    "situation",
    "situation_of",
]

ALARM = "alarm: the model had the order of its last {} predictions wrong; half the batch explores"


@dataclass(frozen=True, slots=True)
class Situation:
    """What a decision is made on.

    Attributes:
        observations: What was measured, and what could not be.
        observed: Ids of the measurements.
        available: Rows of the pool that may be chosen, in order.
        pending: Rows of the pool that are planned or running.
        pending_ids: The candidates' ids of those.
        screened: Rows that cheap labs are not to be asked of again; None where all labs measure
            alike.
    """

    observations: Observations
    observed: tuple[int, ...]
    available: tuple[int, ...]
    pending: tuple[int, ...]
    pending_ids: tuple[int, ...]
    screened: tuple[int, ...] | None = None


def situation(
    ledger: Ledger,
    campaign_id: int,
    pool: Pool,
    problem: Problem,
    sources: Callable[[str], int] | None = None,
) -> Situation:
    """Reads from the ledger what the next decision is made on."""
    return situation_of(
        ledger.experiments(campaign_id),
        ledger.measurements(campaign_id),
        pool,
        problem,
        failures=failures_of(ledger, campaign_id),
        sources=sources,
    )


def situation_of(
    experiments: Sequence[ExperimentRow],
    measurements: Sequence[MeasurementRow],
    pool: Pool,
    problem: Problem,
    *,
    failures: Mapping[int, Sequence[FailureKind]] = MappingProxyType({}),
    sources: Callable[[str], int] | None = None,
) -> Situation:
    """Returns what a decision is made on, given what is recorded.

    Args:
        experiments: Every experiment, in the order of planning.
        measurements: What stands, in the order of recording.
        pool: The candidates.
        problem: What is sought.
        failures: What labs told of failures, by experiment id.
        sources: Lab -> number of the source that its values come from; None where all measure
            alike.
    """
    properties = problem.properties
    values: dict[int, dict[str, float]] = {}
    sigmas: dict[int, dict[str, float]] = {}
    for row in measurements:
        if row.property in problem.measured:
            values.setdefault(row.experiment_id, {})[row.property] = row.value
            known = np.nan if row.sigma is None else row.sigma
            sigmas.setdefault(row.experiment_id, {})[row.property] = known
    measured = [e for e in experiments if e.id in values]
    columns = {
        name: np.array([values[e.id].get(name, np.nan) for e in measured])
        for name in problem.measured
    }
    if measured:
        columns = with_derived(problem.derived, columns)
    pending = [e.candidate_id for e in experiments if not e.state.terminal]
    hints = {e.id for e in experiments if sources is not None and sources(e.lab)}
    gone = {
        pool.position[e.candidate_id]
        for e in experiments
        if leaves_pool(e.state, failures.get(e.id, ()), hints=e.id in hints)
    }
    screened = {
        pool.position[e.candidate_id]
        for e in experiments
        if e.id in hints and leaves_pool(e.state, failures.get(e.id, ()))
    }
    observations = Observations(
        rows=np.array([pool.position[e.candidate_id] for e in measured], dtype=np.int64),
        values=np.column_stack([columns.get(n, np.empty(0)) for n in properties]),
        properties=properties,
        infeasible=np.array(
            [
                pool.position[e.candidate_id]
                for e in experiments
                if teaches(e.state, failures.get(e.id, ()), hints=e.id in hints)
            ],
            dtype=np.int64,
        ),
        # A formula has no uncertainty of its own: noise is fitted.
        sigma=np.array(
            [[sigmas[e.id].get(n, np.nan) for n in properties] for e in measured]
        ).reshape(-1, len(properties)),
        source=None
        if sources is None
        else np.array([sources(e.lab) for e in measured], dtype=np.int64),
    )
    return Situation(
        observations=observations,
        observed=tuple(row.id for row in measurements),
        available=tuple(row for row in range(len(pool.rows)) if row not in gone),
        pending=tuple(pool.position[i] for i in pending),
        pending_ids=tuple(pending),
        screened=None if sources is None else tuple(sorted(screened)),
    )


def choose(
    spec: CampaignSpec,
    pool: Pool,
    state: Situation,
    *,
    step: int,
    batch: int,
    asked: int,
    exploration: float = 0.0,
    widths: Mapping[str, float] = MappingProxyType({}),
    price: float | None = None,
) -> Choice:
    """Chooses rows of the pool: by coverage and heads first, by the model after `spec.initial`.

    Args:
        spec: The campaign.
        pool: Its candidates.
        state: What is known.
        step: Number of the decision, which seeds its randomness.
        batch: How many to choose.
        asked: Experiments planned so far.
        exploration: Share of the batch that covers the pool instead.
        widths: Property -> what its standard deviations are multiplied by.
        price: What a value of a cheap lab costs over one that counts; None where there is no such
            lab, or none that can be asked.
    """
    cheap = None
    if state.screened is not None:
        done = np.array(state.screened, dtype=np.int64)
        cheap = CheapSource(done, math.inf if price is None else price)
    available, pending = np.array(state.available), np.array(state.pending, dtype=np.int64)
    features = pool.blocks(spec.decide.features)
    seed = decision_seed(spec.seed, step)
    guesses = pool.guesses(spec)
    if asked < spec.initial:
        return start(
            features,
            state.observations,
            available=available,
            pending=pending,
            problem=spec.problem,
            batch=batch,
            seed=seed,
            guesses=guesses,
            cheap=cheap,
        )
    return decide(
        features,
        state.observations,
        available=available,
        pending=pending,
        problem=spec.problem,
        batch=batch,
        seed=seed,
        hints=pool.hints(spec.problem),
        exploration=exploration,
        strategy=spec.decide.strategy,
        costs=spec.decide.cost.of([row.scope for row in pool.rows]),
        memory=pool.memory,
        widths=widths,
        guesses=guesses,
        models=spec.surrogate.settings,
        cheap=cheap,
    )


def plan(context: Context, batch: int) -> DecisionRow:
    """Makes the next decision, of at most `batch` experiments, and commits it with them."""
    ledger, campaign = context.ledger, context.campaign
    spec, pool = context.spec, context.pool
    state = situation(ledger, campaign.id, pool, spec.problem, spec.sources)
    before = Counter(e.candidate_id for e in ledger.experiments(campaign.id))
    asked = before.total()
    earlier = ledger.decisions(campaign.id)
    step = len(earlier)
    looks_back = spec.decide.alarm or spec.decide.recalibrate
    results: Sequence[Result] = context.results() if looks_back else []
    # A model of what counts is not judged by what only hints at it.
    results = that_count(results, spec.sources)
    alarm = misled(results, spec.problem, spec.decide.alarm)
    exploration = max(spec.decide.exploration, EXPLORED if alarm else 0.0)
    arguments: Arguments = {
        "batch": batch,
        "asked": asked,
        "exploration": exploration,
        "widths": widths(results, earlier, spec.decide.recalibrate),
    }
    if spec.sources is not None:
        hinting = [name for name in context.labs if spec.hints(name)]
        away = all(is_closed(context, name) for name in hinting)
        arguments["price"] = None if away else hint_price(spec, ledger.spent(campaign.id))
    choice = choose(spec, pool, state, step=step, **arguments)
    notes = list(choice.notes)
    if alarm and choice.scores is not None:
        notes.append(ALARM.format(spec.decide.alarm))
    decision = NewDecision(
        step=step,
        method=choice.method,
        seed=decision_seed(spec.seed, step),
        pool_sha=pool.sha,
        pending=state.pending_ids,
        observed=state.observed,
        encoder_id=pool.encoder_id,
        model={
            **choice.model,
            **_outlook(spec, choice, state.observations),
            "replay": replay_record(pool, state.observations, choice, arguments),
        },
        notes=tuple(notes),
        proposals=_proposals(pool, choice),
        experiments=[
            _experiment(context, pool.rows[row], before[pool.rows[row].id], source)
            for row, source in zip(choice.picks, choice.sources or repeat(0), strict=False)
        ],
    )
    return ledger.record_decision(context.claim, decision)


def _outlook(spec: CampaignSpec, choice: Choice, known: Observations) -> dict[str, object]:
    """Returns what is still expected, as far as the campaign stops by it."""
    stop, problem = spec.stop, spec.problem
    # What heads alone say of the rest is no reason to stop.
    scores = choice.scores if choice.model.get("surrogates") else None
    found: dict[str, object] = {}
    if scores is not None and stop.expected_hits is not None:
        found["expected_hits"] = expected_hits(scores, stop.expected_hits.next)
    if scores is not None and stop.regret is not None and knows_the_best(choice.model, problem):
        values = known.counting.values.tolist()
        rows = [dict(zip(known.properties, row, strict=True)) for row in values]
        reached = [merit(problem, row) for row in rows if is_feasible(problem, row)]
        best = max((m for m in reached if m is not None), default=None)
        if best is not None:
            found["probability_of_best"] = probability_of_best(
                scores, problem, best, stop.regret.epsilon
            )
    return {"outlook": found} if found else {}


def idempotency_key(campaign: CampaignRow, candidate: CandidateRow, before: int = 0) -> str:
    """Returns the key under which this candidate is made in this campaign, once.

    Args:
        campaign: The campaign.
        candidate: What is made.
        before: How many experiments on it were planned before, and came to nothing: each has a key
            of its own, for a lab that was asked to forget one would answer with the old end.
    """
    text = f"{campaign.name}\n{campaign.config_sha}\n{campaign.created_at.isoformat()}"
    again = f"\n{before}" if before else ""
    return hashlib.sha256(f"{text}\n{candidate.key}{again}".encode()).hexdigest()[:32]


def _experiment(
    context: Context, candidate: CandidateRow, before: int, source: int
) -> NewExperiment:
    crystal = context.shelf.crystal(candidate)
    origins = context.ledger.papers(candidate.id).get("origins") or [{"operation": ""}]
    operation = str(origins[0]["operation"])
    cell = crystal.build(volume_of(crystal, operation, context.shelf.parent(candidate)))
    key = idempotency_key(context.campaign, candidate, before)
    request = ExperimentRequest(
        key=key,
        label=candidate.formula,
        candidate=candidate.key,
        cell=cell,
        properties=context.spec.problem.measured,
    )
    spec, labs = context.spec, list(context.labs)
    others: tuple[str, ...] = ()
    if spec.sources is not None:
        others = tuple(name for name in labs if spec.sources(name) != source)
        labs = sorted((n for n in labs if n not in others), key=lambda name: money(spec, name))
    return NewExperiment(candidate.id, key, labs[0], request.to_json(), others)


def _proposals(pool: Pool, choice: Choice) -> Sequence[ProposalRow]:
    """Returns every scored candidate of a small pool.

    Of a large one they are the best, the chosen, and an even sample of all.
    """
    picks = set(choice.picks)
    if choice.scores is None:
        return [
            ProposalRow(pool.rows[row].id, rank, None, None, {}, chosen=True)
            for rank, row in enumerate(choice.picks)
        ]
    scores = choice.scores
    keep, every = kept_ranks(len(scores.rows)), spacing(len(scores.rows))
    rows = []
    for rank, row in enumerate(scores.rows.tolist()):
        if rank >= keep and row not in picks and not stands_for_all(rank, every):
            continue
        prediction = {
            name: (float(scores.mean[rank, j]), float(scores.sd[rank, j]))
            for j, name in enumerate(scores.properties)
        }
        rows.append(
            ProposalRow(
                candidate_id=pool.rows[row].id,
                rank=rank,
                acquisition=float(scores.acquisition[rank]),
                feasible=float(scores.feasible[rank]),
                prediction=prediction,
                chosen=row in picks,
            )
        )
    return rows
