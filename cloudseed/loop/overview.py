"""Where a large campaign stands, without reading all of its experiments.

`take_snapshot` builds every result, which an engine wants for its rules and which takes long at
100,000 experiments. Who asks for the status wants counts, what runs and the best: those come from a
few queries and arrays, and the rest of the picture from the experiments that matter to it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cloudseed.db import ExperimentState
from cloudseed.loop.effects import failures_of, wasted
from cloudseed.loop.snapshot import UNSUCCESSFUL, Snapshot, take_snapshot
from cloudseed.loop.waiting import why_waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.db import (
        CampaignRow,
        CandidateRow,
        DecisionRow,
        ExperimentRow,
        Ledger,
        MeasurementRow,
        Overview,
    )
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.surrogate import Problem

    Flags = npt.NDArray[np.bool_]

__all__ = ["FEW", "RECENT", "overview"]

FEW = 1_000
"""Experiments up to which every result is read all the same: it takes a fraction of a second."""

RECENT = 100
"""Newest results by which it is told how predictions of a large campaign came true."""

_NEWEST = 2
"""Decisions read for what they still expect."""


def overview(ledger: Ledger, campaign: CampaignRow, spec: CampaignSpec) -> Snapshot:
    """Says where a campaign stands; of a large one without `results`.

    How predictions came true is told of all results, or of a large campaign by the newest.
    A front of several objectives and a share of the pool are judged together, not one by one, and
    of several sources some count: there every result is read, however many there are.
    """
    told = ledger.overview(campaign.id)
    alike = spec.sources is None
    if sum(told.states.values()) <= FEW or not (alike and _one_by_one(spec.problem)):
        return take_snapshot(ledger, campaign, spec)
    ids, values = ledger.values(campaign.id, spec.problem.properties)
    merit, holds, fails = _judged(spec.problem, values)
    find = spec.problem.objective.direction == "find"
    hits = ids[holds & (merit > 0)] if find else ids[:0]
    worth = np.where(np.isnan(merit) | fails, -np.inf, merit)
    best = [int(ids[np.argmax(worth)])] if len(ids) and np.isfinite(worth).any() else []
    running = ledger.experiments(campaign.id, [ExperimentState.RUNNING])
    # Experiments are numbered in the order of their decisions: the last hit has the latest round.
    latest = [int(hits[-1])] if len(hits) else []
    recent = ids[-RECENT:].tolist()
    excerpt = _Excerpt(ledger, [*best, *latest, *recent, *(e.id for e in running)])
    now = take_snapshot(cast("Ledger", excerpt), campaign, spec)
    since = now.rounds_since_best + told.decisions - now.rounds
    return replace(
        now,
        **_counts(ledger, campaign, spec, told),
        rounds_since_best=since,
        hits=len(hits) if find else None,
        results=(),
    )


def _counts(
    ledger: Ledger, campaign: CampaignRow, spec: CampaignSpec, told: Overview
) -> dict[str, Any]:
    """Returns the parts of a snapshot that count all experiments."""
    states: Counter[ExperimentState] = Counter(told.states)
    measured = states[ExperimentState.MEASURED]
    now = datetime.now(UTC)
    ended = campaign.status in {"finished", "stopped"}
    end = (told.ended_at or campaign.heartbeat_at or now) if ended else now
    remaining = None
    if measured and told.began_at is not None and not ended:
        pace = (now - told.began_at).total_seconds() / measured
        remaining = max(spec.budget.experiments - measured, 0) * pace
    return {
        "rounds": told.decisions,
        "states": {state.value: count for state, count in states.items()},
        "measured": measured,
        "unsuccessful": sum(states[s] for s in UNSUCCESSFUL),
        "wasted": wasted(failures_of(ledger, campaign.id).values()),
        "elapsed": max((end - campaign.created_at).total_seconds(), 0.0),
        "remaining": remaining,
        "waiting": why_waiting(ledger, campaign, spec, states),
    }


def _one_by_one(problem: Problem) -> bool:
    """Whether each result can be judged by itself, by one number that was measured."""
    return not problem.further and not problem.derived and problem.objective.share is None


def _judged(
    problem: Problem, values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], Flags, Flags]:
    """Judges results as `merit` and `is_feasible` do, all at once.

    Args:
        problem: What is sought.
        values: A row per result and a column per property, NaN where it was not measured.

    Returns:
        Merits, NaN where unknown; whether all constraints are known to hold; whether one is known
        not to, all being measured.
    """
    place = {name: column for column, name in enumerate(problem.properties)}
    holds = np.ones(len(values), dtype=bool)
    known = np.ones(len(values), dtype=bool)
    for c in problem.constraints:
        column = values[:, place[c.property]]
        known &= ~np.isnan(column)
        holds &= column <= c.bound if c.relation == "<=" else column >= c.bound
    goal = problem.objective
    if goal.direction == "find":
        merit = np.where(known, holds.astype(np.float64), np.nan)
    else:
        value = values[:, place[goal.property]]
        merit = value if goal.direction == "max" else -value
        if goal.target is not None:
            merit = -np.abs(value - goal.target)
    return merit, holds, known & ~holds


class _Excerpt:
    """A ledger in which a campaign has only some of its experiments."""

    def __init__(self, ledger: Ledger, ids: Sequence[int]) -> None:
        self._ledger = ledger
        self._ids = sorted(set(ids))
        self._experiments = ledger.experiments_by_id(self._ids)
        self._decisions: list[DecisionRow] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def experiments(
        self, _: int, states: Sequence[ExperimentState] | None = None
    ) -> list[ExperimentRow]:
        return [e for e in self._experiments if states is None or e.state in states]

    def candidates(self, _: int, *, tried_only: bool = False) -> list[CandidateRow]:
        del tried_only
        return self._ledger.candidates_by_id(e.candidate_id for e in self._experiments)

    def measurements(self, _: int) -> list[MeasurementRow]:
        return self._ledger.measurements_of(self._ids)

    def decisions(self, campaign_id: int) -> list[DecisionRow]:
        if self._decisions is None:
            wanted = {e.decision_id for e in self._experiments}
            self._decisions = self._ledger.decisions_by_id(campaign_id, wanted, newest=_NEWEST)
        return self._decisions
