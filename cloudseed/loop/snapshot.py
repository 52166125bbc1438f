"""Where a campaign stands: one picture for `status`, the live view and the stopping rules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudseed.db import ExperimentState
from cloudseed.loop.amending import doubts, ends
from cloudseed.loop.budgets import limits
from cloudseed.loop.calibrating import prospective
from cloudseed.loop.effects import wasted
from cloudseed.loop.results import (
    best,
    front_of,
    hits,
    improvements,
    in_order_of_arrival,
    last_gain,
    load_results,
    that_count,
)
from cloudseed.loop.waiting import why_waiting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.db import CampaignRow, DecisionRow, Ledger, Spending
    from cloudseed.loop.amounts import Amount
    from cloudseed.loop.calibrating import Prospective
    from cloudseed.loop.results import Result
    from cloudseed.loop.spec import CampaignSpec

__all__ = ["UNSUCCESSFUL", "Snapshot", "take_snapshot"]

UNSUCCESSFUL = (ExperimentState.INFEASIBLE, ExperimentState.REFUSED, ExperimentState.FAILED)
_ALIVE = 15.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a campaign stands.

    Attributes:
        name: Name of the campaign.
        status: "new", "running", "stopped" or "finished".
        stop_reason: Why it is not running.
        pool: Number of candidates.
        rounds: Decisions made.
        states: Experiment state -> count.
        measured: Experiments measured.
        budget: Experiments that may be measured.
        unsuccessful: Experiments that ended without a measurement; what cheap labs will not do is
            left to the dear ones and does not count.
        in_flight: Formulas of what runs.
        best: The best feasible result so far.
        objective: Name of the objective's property.
        rounds_since_best: Decisions since the one that found the best, or the latest hit.
        hits: How many materials were found where all are to be; None for an optimum.
        front: The Pareto front of several objectives, in order of arrival; None for one.
        hypervolume: What the front dominates; None where there is none.
        outlooks: Number of a decision -> what it still expected, as far as a rule to stop asks.
        doubted: Numbers of the decisions that were made on what was retracted or corrected since.
        prospective: Property -> how its predictions came true.
        calibration: Property -> how the last model predicted each value from all the others, as the
            decision's record has it; nothing of many values.
        elapsed: Seconds since the campaign began, to its last result where it has ended.
        remaining: Seconds that the rest will take at the present pace; None if unknown.
        waiting: Why nothing else happens right now; one clause.
        alive: Whether an engine has given a sign of life lately.
        results: Every experiment, in the order of planning.
        spending: What is spent and reserved, by resource.
        limits: What may be spent, by resource.
        stage: What the engine does, in a few words; "" once it has ended.
        wasted: Attempts that count against the budget of experiments though no value came.
    """

    name: str
    status: str
    stop_reason: str
    pool: int
    rounds: int
    states: Mapping[str, int]
    measured: int
    budget: int
    unsuccessful: int
    in_flight: Sequence[str]
    best: Result | None
    objective: str
    rounds_since_best: int
    hits: int | None
    outlooks: Mapping[int, Mapping[str, float]]
    prospective: Mapping[str, Prospective]
    elapsed: float
    remaining: float | None
    waiting: str
    alive: bool
    results: Sequence[Result] = field(repr=False)
    front: Sequence[Result] | None = None
    hypervolume: float | None = None
    spending: Mapping[str, Spending] = field(default_factory=dict)
    limits: Mapping[str, Amount] = field(default_factory=dict)
    stage: str = ""
    wasted: int = 0
    calibration: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    doubted: frozenset[int] = frozenset()

    @property
    def used(self) -> int:
        """How much of the budget of experiments is used."""
        return self.measured + self.wasted

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        found = self.best
        outlook = max((step for step in self.outlooks if step not in self.doubted), default=None)
        return {
            "name": self.name,
            "status": self.status,
            "stop_reason": self.stop_reason,
            "pool": self.pool,
            "rounds": self.rounds,
            "states": dict(self.states),
            "measured": self.measured,
            "budget": self.budget,
            "wasted": self.wasted,
            "unsuccessful": self.unsuccessful,
            "in_flight": list(self.in_flight),
            "best": None if found is None else _plain(found),
            "objective": self.objective,
            "rounds_since_best": self.rounds_since_best,
            "hits": self.hits,
            "front": None if self.front is None else [_plain(r) for r in self.front],
            "hypervolume": self.hypervolume,
            "outlook": {} if outlook is None else dict(self.outlooks[outlook]),
            "prospective": {name: p.to_json() for name, p in self.prospective.items()},
            "calibration": {name: dict(told) for name, told in self.calibration.items()},
            "elapsed_s": round(self.elapsed, 1),
            "remaining_s": None if self.remaining is None else round(self.remaining, 1),
            "waiting": self.waiting,
            "alive": self.alive,
            "stage": self.stage,
            "spending": {
                name: {
                    "unit": spent.unit,
                    "settled": spent.settled,
                    "reserved": spent.reserved,
                    "limit": self.limits[name].value if name in self.limits else None,
                }
                for name, spent in self.spending.items()
            },
        }


def _plain(result: Result) -> dict[str, Any]:
    return {
        "formula": result.candidate.formula,
        "key": result.candidate.key,
        "experiment": result.experiment.id,
        "measured": {name: value for name, (value, _) in result.measured.items()},
    }


def take_snapshot(
    ledger: Ledger,
    campaign: CampaignRow,
    spec: CampaignSpec,
    results: Sequence[Result] | None = None,
) -> Snapshot:
    """Reads the ledger and says where the campaign stands.

    Args:
        ledger: The record.
        campaign: The campaign.
        spec: Its spec.
        results: Every experiment, if they are at hand.
    """
    problem = spec.problem
    results = load_results(ledger, campaign.id, problem) if results is None else results
    decisions = ledger.decisions(campaign.id)
    now = datetime.now(UTC)
    count = that_count(results, spec.sources)
    found = best(count, problem)
    states = Counter(r.experiment.state for r in results)
    measured = states[ExperimentState.MEASURED]
    running = [r for r in results if r.experiment.state is ExperimentState.RUNNING]
    beat = campaign.heartbeat_at
    ended = campaign.status in {"finished", "stopped"}
    ends = [r.experiment.finished_at for r in results if r.experiment.finished_at is not None]
    end = max(ends, default=beat or now) if ended else now
    elapsed = (end - campaign.created_at).total_seconds()
    gain = last_gain(count, problem)
    since = len(decisions) - 1 - gain.step if gain is not None else len(decisions)
    return Snapshot(
        name=campaign.name,
        status=campaign.status,
        stop_reason=campaign.stop_reason,
        pool=ledger.count_candidates(campaign.id),
        rounds=len(decisions),
        states={state.value: count for state, count in states.items()},
        measured=measured,
        budget=spec.budget.experiments,
        unsuccessful=sum(_failed(spec, r) for r in results),
        in_flight=[r.candidate.formula for r in running],
        best=found,
        objective=problem.objective.property,
        rounds_since_best=since,
        hits=len(hits(count, problem)) if problem.objective.direction == "find" else None,
        outlooks={d.step: d.model["outlook"] for d in decisions if "outlook" in d.model},
        prospective=prospective(count, decisions, spec.decide.recalibrate),
        elapsed=max(elapsed, 0.0),
        remaining=None if ended else _remaining(results, now, spec.budget.experiments),
        waiting=why_waiting(ledger, campaign, spec, states),
        alive=not ended and beat is not None and (now - beat).total_seconds() < _ALIVE,
        results=results,
        front=front_of(count, problem) if problem.further else None,
        hypervolume=(improvements(count, problem) or [None])[-1] if problem.further else None,
        spending=ledger.spent(campaign.id),
        limits=limits(spec.budget),
        stage="" if ended else ledger.lease(campaign.id).stage,
        wasted=wasted(r.failures for r in results),
        calibration=_calibration(decisions),
        doubted=_doubted(ledger, campaign.id, decisions, results),
    )


def _doubted(
    ledger: Ledger, campaign_id: int, decisions: Sequence[DecisionRow], results: Sequence[Result]
) -> frozenset[int]:
    amended = ledger.amendments(campaign_id)
    ended = ends(r.experiment for r in results) if amended else {}
    return frozenset(d.step for d in decisions if any(doubts(d, amended, ended)))


def _failed(spec: CampaignSpec, result: Result) -> bool:
    """Whether an experiment ended without a measurement; what cheap labs will not do is none."""
    state = result.experiment.state
    passed_over = state is ExperimentState.REFUSED and spec.hints(result.experiment.lab)
    return state in UNSUCCESSFUL and not passed_over


def _calibration(decisions: Sequence[DecisionRow]) -> dict[str, Mapping[str, float]]:
    last: Mapping[str, Any] = decisions[-1].model.get("surrogates", {}) if decisions else {}
    return {name: told["left_out"] for name, told in last.items() if "left_out" in told}


def _remaining(results: Sequence[Result], now: datetime, budget: int) -> float | None:
    """Extrapolates the pace from the first experiment's planning to now."""
    done = in_order_of_arrival(results)
    if not done:
        return None
    began = min(r.experiment.created_at for r in results)
    pace = (now - began).total_seconds() / len(done)
    return max(budget - len(done), 0) * pace
