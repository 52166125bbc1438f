"""What a campaign has reached after each experiment, beside what random choice would have.

The random campaign draws from what the last decision predicted of the pool, as the ledger keeps it,
and from what was measured since. No model is fitted for it, so that the status stays quick. Of a
large pool the ledger keeps an even sample, which stands for the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.db import ExperimentState
from cloudseed.loop.ranks import sample_of, spacing
from cloudseed.loop.results import (
    improvements,
    in_order_of_arrival,
    load_results,
    that_count,
)
from cloudseed.surrogate import Scores, with_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.db import CampaignRow, DecisionRow, Ledger, ProposalRow
    from cloudseed.loop.results import Result
    from cloudseed.loop.snapshot import Snapshot
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.surrogate import Problem, RandomCurve

__all__ = ["Track", "Tracker", "known_scores"]

DRAWS = 300
"""Random campaigns that are simulated: a tenth of a second."""

AHEAD = 5
"""Random campaigns go on for so many budgets, to tell how much longer they would need."""

MOST = 2_000
"""Experiments of a random campaign at most, unless more are made."""

MOST_READ = 10_000
"""Experiments up to which results are read where a snapshot leaves them out: some seconds."""

_MADE = frozenset(
    {
        ExperimentState.MEASURED,
        ExperimentState.INFEASIBLE,
        ExperimentState.REFUSED,
        ExperimentState.FAILED,
    }
)
"""How an experiment ends that random choice would have spent too."""


@dataclass(frozen=True, slots=True)
class Track:
    """How far a campaign has come.

    Attributes:
        what: What is counted, in words.
        larger: Whether more of it is better.
        reached: What was reached after 1, 2, ... k measured experiments; None before anything
            feasible was.
        experiments: Experiments that ended, measured or not; random choice is given as many.
        random: What random choice is expected to reach; None where nothing was modelled yet.
        hits: Materials to find that are expected in the pool, found ones included; None where an
            optimum is sought, or nothing was modelled.
    """

    what: str
    larger: bool
    reached: tuple[float | None, ...]
    experiments: int
    random: RandomCurve | None = None
    hits: float | None = None

    @property
    def enhancement(self) -> float | None:
        """Materials found over those that random choice would have found by now.

        None where an optimum is sought, or nothing was modelled.
        """
        count = self.experiments
        if self.hits is None or self.random is None or not self.reached:
            return None
        if count > len(self.random.expected):
            return None
        expected = float(self.random.expected[count - 1])
        return (self.reached[-1] or 0.0) / expected if expected > 0 else None

    @property
    def acceleration(self) -> tuple[float, bool] | None:
        """Experiments by which half of all random campaigns get as far, over those that were made.

        And whether it is only a lower bound, where fewer get there in as many as were simulated.
        None where all that satisfies is sought, for which it is the same as `enhancement`, or
        nothing was reached or modelled.
        """
        best = self.reached[-1] if self.reached else None
        if self.hits is not None or self.random is None or best is None:
            return None
        half = self.random.median
        there = np.flatnonzero(half >= best if self.larger else half <= best)
        if len(there):
            return (int(there[0]) + 1) / self.experiments, False
        return len(half) / self.experiments, True

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; None where random choice has found nothing."""
        found = self.random
        bands = (
            {}
            if found is None
            else {
                "random": _plain(found.expected),
                "random_lower": _plain(found.lower),
                "random_upper": _plain(found.upper),
            }
        )
        times, is_bound = self.acceleration or (None, None)
        found_of = (self.reached[-1] or 0.0) / self.hits if self.hits and self.reached else None
        return {
            "what": self.what,
            "reached": list(self.reached),
            "experiments": self.experiments,
            **bands,
            "expected_in_pool": self.hits,
            "discovery_yield": found_of,
            "enhancement": self.enhancement,
            "acceleration": times,
            "acceleration_is_lower_bound": is_bound,
        }


class Tracker:
    """Tells how far a campaign has come, and draws random campaigns once per decision.

    Of several objectives without a given reference both volumes count from that of the last
    decision until the next: the front of the moment has another, and drawing again takes seconds.

    Args:
        ledger: The record.
        campaign: The campaign.
        spec: What is asked for.
    """

    def __init__(self, ledger: Ledger, campaign: CampaignRow, spec: CampaignSpec) -> None:
        self._ledger = ledger
        self._id = campaign.id
        self._spec = spec
        self._rounds = -1
        self._read: tuple[int, Sequence[Result]] = (-1, ())
        self._reference: tuple[float, ...] | None = None
        self._hits: float | None = None
        self._random: RandomCurve | None = None

    def track(self, now: Snapshot) -> Track | None:
        """Returns the track; None before the first measurement, and for a very large campaign."""
        results = now.results or self._results(now)
        if not now.measured or not results:
            return None
        counted = that_count(results, self._spec.sources)
        arrived = in_order_of_arrival(counted)
        problem = with_reference(self._spec.problem, [r.values for r in arrived])
        made = sum(r.experiment.state in _MADE for r in counted)
        if now.rounds != self._rounds:
            self._rounds, self._reference = now.rounds, problem.reference
            scores, hits = self._known(counted, problem)
            self._random = self._drawn(scores, problem, made)
            self._hits = hits if problem.objective.direction == "find" else None
        if self._random is not None:
            problem = replace(problem, reference=self._reference)
        finds = problem.objective.direction == "find"
        return Track(
            what=_what(problem),
            larger=finds or bool(problem.further) or problem.objective.direction == "max",
            reached=tuple(improvements(counted, problem)),
            experiments=made,
            random=self._random,
            hits=self._hits,
        )

    def _results(self, now: Snapshot) -> Sequence[Result]:
        """Returns what a snapshot of a large campaign leaves out, read once per decision."""
        if sum(now.states.values()) > MOST_READ:
            return ()
        if now.measured and now.rounds != self._read[0]:
            read = load_results(self._ledger, self._id, self._spec.problem)
            self._read = now.rounds, read
        return self._read[1]

    def _known(
        self, results: Sequence[Result], problem: Problem
    ) -> tuple[Scores | None, float | None]:
        """Returns scores that stand for the pool, and how many hits it is expected to hold."""
        decision = self._modelled()
        if decision is None:
            return None, None
        scored = int(decision.model.get("scored", 0))
        sample = sample_of(self._ledger.proposals(decision.id), scored)
        if sample is None:
            return None, None
        every = spacing(scored)
        ended = [r for r in results if r.experiment.state in _MADE]
        # What is measured has no more weight than what each of the sample stands for.
        scores = known_scores(ended[every // 2 :: every], sample, problem)
        if scores is None:
            return None, None
        if every == 1:
            return scores, float(scores.feasible.sum())
        tried = {r.candidate.id for r in ended}
        left = sum(p.feasible or 0.0 for p in sample if p.candidate_id not in tried)
        return scores, every * left + len({r.candidate.id for r in ended if r.feasible})

    def _modelled(self) -> DecisionRow | None:
        """Returns the last decision that a model made."""
        made = self._ledger.decisions(self._id)
        return next((d for d in reversed(made) if d.model.get("surrogates")), None)

    def _drawn(self, scores: Scores | None, problem: Problem, made: int) -> RandomCurve | None:
        from cloudseed.surrogate import decision_seed, expected_random_best  # they load scipy

        whole = scores is not None and all(
            o.property in scores.properties for o in problem.objectives
        )
        if scores is None or not whole or (problem.further and problem.reference is None):
            return None
        # Some of those under way at this decision end before the next.
        under_way = self._spec.batch
        count = max(min(AHEAD * self._spec.budget.experiments, MOST), made + under_way)
        seed = decision_seed(self._spec.seed, self._rounds)
        return expected_random_best(scores, problem, count=count, seed=seed, draws=DRAWS)


def known_scores(
    results: Sequence[Result], proposals: Sequence[ProposalRow], problem: Problem
) -> Scores | None:
    """Joins what was measured, which is certain, with what a decision predicted of the rest.

    What could not be made or measured is not feasible. What was retracted or cancelled counts as
    not tried.

    Args:
        results: Every experiment.
        proposals: What the decision said of each candidate that it scored.
        problem: What is sought.

    Returns:
        The scores; `rows` number the candidates as they come here. None where nothing was
        predicted.
    """
    predicted = {p.candidate_id: p for p in proposals if p.feasible is not None}
    names = tuple(
        n for n in problem.properties if all(n in p.prediction for p in predicted.values())
    )
    if not predicted or not names:
        return None
    ended = {r.candidate.id: r for r in results if r.experiment.state in _MADE}
    rows = [_measured(r, names) for r in ended.values()]
    rows += [
        ([p.prediction[n] for n in names], float(p.feasible or 0.0))
        for key, p in predicted.items()
        if key not in ended
    ]
    table = np.array([moments for moments, _ in rows], dtype=np.float64)
    return Scores(
        rows=np.arange(len(rows)),
        mean=table[:, :, 0],
        sd=table[:, :, 1],
        acquisition=np.zeros(len(rows)),
        feasible=np.array([chance for _, chance in rows]),
        properties=names,
    )


def _measured(result: Result, names: Sequence[str]) -> tuple[list[tuple[float, float]], float]:
    values: Mapping[str, float | None] = result.values
    found = [math.nan if (v := values.get(n)) is None else v for n in names]
    counts = result.feasible is not False and not any(map(math.isnan, found))
    return [(v, 0.0) for v in found], float(counts)


def _what(problem: Problem) -> str:
    goal = problem.objective
    if problem.further:
        return "hypervolume of the front"
    if goal.direction == "find":
        return "materials found"
    name = goal.property.replace("_", " ")
    return f"best {name}" if goal.target is None else f"distance from the target {name}"


def _plain(values: Sequence[float] | np.ndarray[Any, Any]) -> list[float | None]:
    return [None if math.isnan(v) else float(v) for v in values]
