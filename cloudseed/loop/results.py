"""What a campaign has found so far, joined from the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.db import ExperimentState
from cloudseed.loop.effects import failures_of
from cloudseed.surrogate import (
    as_optimum,
    best_so_far,
    bounded,
    fronts_away,
    is_feasible,
    merit,
    on_front,
    with_derived,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from cloudseed.db import (
        CandidateRow,
        DecisionRow,
        ExperimentRow,
        Ledger,
        MeasurementRow,
        ProposalRow,
    )
    from cloudseed.lab_adapters import FailureKind
    from cloudseed.surrogate import Problem

__all__ = [
    "Result",
    "best",
    "front_of",
    "hits",
    "improvements",
    "in_order_of_arrival",
    "joined",
    "last_gain",
    "load_results",
    "ranked",
    "standing",
    "that_count",
]


@dataclass(frozen=True, slots=True)
class Result:
    """One experiment with what was predicted and what came.

    Attributes:
        experiment: The experiment as it stands.
        candidate: What was made.
        step: Number of the decision that asked for it, from 0.
        measured: Property -> (value, standard uncertainty or None), in the units of the table.
        predicted: Property -> (mean, standard deviation) at the time of the decision; empty where
            no model chose.
        chance: Predicted probability that every constraint holds; None where no model chose.
        feasible: Whether every constraint holds; None where that was not measured.
        at: When the result was recorded, UTC; None while it is open.
        failures: What the lab told of failures, attempt by attempt.
        methods: Property -> how its value was obtained, "" where the lab did not say; what was
            computed from values has none.
    """

    experiment: ExperimentRow
    candidate: CandidateRow
    step: int
    measured: Mapping[str, tuple[float, float | None]]
    predicted: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    chance: float | None = None
    feasible: bool | None = None
    at: datetime | None = None
    failures: Sequence[FailureKind] = ()
    methods: Mapping[str, str] = field(default_factory=dict)

    @property
    def space_group(self) -> int:
        """International number of the candidate's space group as proposed."""
        return int(self.candidate.key.split(" ", 1)[0])

    @property
    def values(self) -> dict[str, float | None]:
        """Measured values by property, in the property's own unit."""
        return {name: value for name, (value, _) in self.measured.items()}

    def value(self, name: str) -> float | None:
        """Returns a measured value, or None."""
        found = self.measured.get(name)
        return None if found is None else found[0]


def standing(problem: Problem, decisions: Sequence[DecisionRow]) -> Problem:
    """Returns what results are judged by.

    Of a share of the pool it is the bound that the last decision by a model put in its place; as
    long as there is none, nothing is known to belong to the share.
    """
    if problem.objective.share is None:
        return problem
    known = [d.model["threshold"] for d in decisions if "threshold" in d.model]
    return bounded(problem, known[-1]) if known else problem


def load_results(ledger: Ledger, campaign_id: int, problem: Problem) -> list[Result]:
    """Returns every experiment in the order of planning."""
    candidates = {row.id: row for row in ledger.candidates(campaign_id, tried_only=True)}
    experiments = ledger.experiments(campaign_id)
    made = ledger.decisions(campaign_id)
    problem = standing(problem, made)
    decisions = {row.id: row.step for row in made}
    by_experiment: dict[int, list[MeasurementRow]] = {}
    for row in ledger.measurements(campaign_id):
        by_experiment.setdefault(row.experiment_id, []).append(row)
    predictions = {
        (decision, proposal.candidate_id): proposal
        for decision in decisions
        for proposal in ledger.proposals(decision, chosen_only=True)
    }
    failures = failures_of(ledger, campaign_id)
    return [
        joined(
            experiment,
            candidates[experiment.candidate_id],
            decisions[experiment.decision_id],
            by_experiment.get(experiment.id, []),
            predictions.get((experiment.decision_id, experiment.candidate_id)),
            failures.get(experiment.id, ()),
            problem,
        )
        for experiment in experiments
    ]


def joined(  # noqa: PLR0917  one argument per table
    experiment: ExperimentRow,
    candidate: CandidateRow,
    step: int,
    rows: Sequence[MeasurementRow],
    proposal: ProposalRow | None,
    failures: Sequence[FailureKind],
    problem: Problem,
) -> Result:
    """Returns one experiment with what was predicted and what came."""
    measured = _measured(rows, problem)
    return Result(
        experiment=experiment,
        candidate=candidate,
        step=step,
        measured=measured,
        predicted={} if proposal is None else proposal.prediction,
        chance=None if proposal is None else proposal.feasible,
        feasible=_feasible(measured, problem),
        at=max((row.created_at for row in rows), default=None),
        failures=failures,
        methods={row.property: row.method for row in rows},
    )


def _measured(
    rows: Sequence[MeasurementRow], problem: Problem
) -> dict[str, tuple[float, float | None]]:
    """Returns what one experiment gave, with what can be computed from it."""
    found: dict[str, tuple[float, float | None]] = {
        row.property: (row.value, row.sigma) for row in rows
    }
    if rows and problem.derived:
        columns = {name: np.array([value]) for name, (value, _) in found.items()}
        for name, column in with_derived(problem.derived, columns).items():
            if name not in found and np.isfinite(column[0]):
                found[name] = (float(column[0]), None)
    return found


def _feasible(measured: Mapping[str, tuple[float, float | None]], problem: Problem) -> bool | None:
    if problem.objective.share is not None:
        return None
    if not measured or any(c.property not in measured for c in problem.constraints):
        return None
    return is_feasible(problem, {name: value for name, (value, _) in measured.items()})


def that_count(results: Sequence[Result], sources: Callable[[str], int] | None) -> Sequence[Result]:
    """Returns the results whose values count, not those that only hint at them.

    Args:
        results: Any results.
        sources: Lab -> 0 where its values count; None where those of all labs do.
    """
    return results if sources is None else [r for r in results if not sources(r.experiment.lab)]


def in_order_of_arrival(results: Sequence[Result]) -> list[Result]:
    """Returns the measured results in the order in which they were recorded."""
    done = [r for r in results if r.experiment.state is ExperimentState.MEASURED and r.at]
    return sorted(done, key=lambda r: (r.at, r.experiment.id))


def ranked(
    results: Sequence[Result],
    problem: Problem,
    sources: Callable[[str], int] | None = None,
) -> list[Result]:
    """Returns measured results, feasible ones first, then by the objective.

    Of several objectives the front comes first, then the front of the others, and so on.

    Args:
        results: Any results.
        problem: What is sought.
        sources: As in `that_count`: those that count come first, ranked, then the others.
    """
    if sources is not None:
        count = that_count(results, sources)
        hints = [r for r in results if sources(r.experiment.lab)]
        return ranked(count, problem) + ranked(hints, problem)
    problem = as_optimum(problem)
    merits = [(r, merit(problem, r.values)) for r in results]
    done = [(r, found) for r, found in merits if found is not None]
    if problem.further:
        away = fronts_away(problem, [r.values for r, _ in done])
        places = sorted(
            range(len(done)), key=lambda i: (done[i][0].feasible is False, away[i], -done[i][1])
        )
        return [done[i][0] for i in places]
    return [r for r, _ in sorted(done, key=lambda pair: (pair[0].feasible is False, -pair[1]))]


def hits(results: Sequence[Result], problem: Problem) -> list[Result]:
    """Returns what was to be found and was, in order of arrival; nothing for an optimum."""
    if problem.objective.direction != "find":
        return []
    return [r for r in in_order_of_arrival(results) if r.feasible]


def front_of(results: Sequence[Result], problem: Problem) -> list[Result]:
    """Returns the Pareto front of what was measured, in order of arrival; [] for one objective."""
    if not problem.further:
        return []
    arrived = in_order_of_arrival(results)
    on = on_front(problem, [r.values for r in arrived])
    return [r for r, is_on in zip(arrived, on, strict=True) if is_on]


def last_gain(results: Sequence[Result], problem: Problem) -> Result | None:
    """Returns the result that last brought something.

    That is the best, or the latest decision's hit or member of the front.
    """
    if problem.further:
        return max(front_of(results, problem), key=lambda r: r.step, default=None)
    if problem.objective.direction == "find":
        return max(hits(results, problem), key=lambda r: r.step, default=None)
    return best(results, problem)


def best(results: Sequence[Result], problem: Problem) -> Result | None:
    """Returns the best feasible result, or None; of a front the one that leads its table."""
    top = next(iter(ranked(results, problem)), None)
    return top if top is not None and top.feasible is not False else None


def improvements(results: Sequence[Result], problem: Problem) -> list[float | None]:
    """Returns what was reached after each measured experiment, in order of arrival.

    The best feasible value of the objective, the smallest distance from its target, or how many
    materials were found. Of several objectives the hypervolume of the front.
    """
    arrived = in_order_of_arrival(results)
    if problem.objective.direction == "find":
        return [float(count) for count in accumulate(r.feasible is True for r in arrived)]
    return best_so_far(problem, [r.values for r in arrived])
