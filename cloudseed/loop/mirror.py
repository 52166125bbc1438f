"""A campaign's record in memory, kept up to date by what the log tells.

An engine asks the same of its ledger again and again: every experiment, every value, every
decision. The log says which experiments have changed since it last asked, so that only those are
read again; what a step costs then does not grow with the campaign.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cloudseed.loop.effects import failures_of
from cloudseed.loop.results import joined, standing
from cloudseed.loop.safety.log import SafetyLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudseed.db import (
        CandidateRow,
        DecisionRow,
        ExperimentRow,
        ExperimentState,
        Ledger,
        MeasurementRow,
        ProposalRow,
    )
    from cloudseed.loop.results import Result
    from cloudseed.surrogate import Problem

__all__ = ["Mirror", "safety_of"]

AGAIN = 200
"""Newest lines of the safety log that are read again each time.

What a person says may get its number before lines of the engine that are committed first.
"""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Mirror:
    """A ledger of which one campaign is mirrored; all else is asked of the ledger itself.

    Experiments come without their requests, which would fill the memory; by their states or keys
    they come whole.

    Args:
        ledger: The record.
        campaign_id: The campaign.
    """

    def __init__(self, ledger: Ledger, campaign_id: int) -> None:
        self._ledger = ledger
        self._id = campaign_id
        self._seen: int | None = None
        self._experiments: dict[int, ExperimentRow] = {}
        self._measurements: dict[int, MeasurementRow] = {}
        self._of: dict[int, list[int]] = {}
        self._decisions: dict[int, DecisionRow] = {}
        self._chosen: dict[tuple[int, int], ProposalRow] = {}
        self._candidates: dict[int, CandidateRow] = {}
        self._results: dict[int, Result] = {}
        self._judged_by: Problem | None = None
        self._safety = SafetyLog()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def experiments(
        self, campaign_id: int, states: Sequence[ExperimentState] | None = None
    ) -> list[ExperimentRow]:
        """Returns experiments in order of planning."""
        if campaign_id != self._id or states is not None:
            return self._ledger.experiments(campaign_id, states)
        self._refresh()
        return list(self._experiments.values())

    def measurements(self, campaign_id: int) -> list[MeasurementRow]:
        """Returns the measurements that stand, in order of recording."""
        if campaign_id != self._id:
            return self._ledger.measurements(campaign_id)
        self._refresh()
        return list(self._measurements.values())

    def decisions(self, campaign_id: int) -> list[DecisionRow]:
        """Returns decisions in order of step."""
        if campaign_id != self._id:
            return self._ledger.decisions(campaign_id)
        self._refresh()
        return list(self._decisions.values())

    def safety(self, campaign_id: int) -> SafetyLog:
        """Returns the safety log with its index; it changes when it is next asked for."""
        if campaign_id != self._id:
            return SafetyLog(self._ledger.safety_log(campaign_id))
        known = self._safety.lines
        last = known[-AGAIN - 1].id if len(known) > AGAIN else 0
        self._safety.take(self._ledger.safety_log(campaign_id, last))
        return self._safety

    def results(self, problem: Problem) -> list[Result]:
        """Returns what `load_results` does; only what has changed is joined anew."""
        self._refresh()
        judged_by = standing(problem, list(self._decisions.values()))
        if judged_by != self._judged_by:
            self._results.clear()
            self._judged_by = judged_by
        missing = [e for e in self._experiments.values() if e.id not in self._results]
        if missing:
            failures = failures_of(self._ledger, self._id)
            for e in missing:
                self._results[e.id] = joined(
                    e,
                    self._candidates[e.candidate_id],
                    self._decisions[e.decision_id].step,
                    [self._measurements[i] for i in self._of.get(e.id, ())],
                    self._chosen.get((e.decision_id, e.candidate_id)),
                    failures.get(e.id, ()),
                    judged_by,
                )
        return [self._results[number] for number in self._experiments]

    def _refresh(self) -> None:
        """Reads what has changed since the last look."""
        if self._seen is None:
            self._seen = self._ledger.newest_event(self._id)
            self._take_decisions(self._ledger.decisions(self._id))
            experiments = self._ledger.experiments(self._id)
            self._take(experiments, self._ledger.measurements(self._id))
            return
        events = self._ledger.events(self._id, self._seen)
        if not events:
            return
        made = [event.data["decision_id"] for event in events if "decision_id" in event.data]
        if new := [number for number in made if number not in self._decisions]:
            self._take_decisions(self._ledger.decisions_by_id(self._id, new))
        touched = sorted({e.experiment_id for e in events if e.experiment_id is not None})
        for start in range(0, len(touched), 500):
            some = touched[start : start + 500]
            self._take(
                self._ledger.experiments_by_id(some), self._ledger.measurements_of(some), some
            )
        self._seen = events[-1].id

    def _take_decisions(self, decisions: Iterable[DecisionRow]) -> None:
        for decision in decisions:
            self._decisions[decision.id] = decision
            for proposal in self._ledger.proposals(decision.id, chosen_only=True):
                self._chosen[decision.id, proposal.candidate_id] = proposal

    def _take(
        self,
        experiments: Sequence[ExperimentRow],
        measurements: Sequence[MeasurementRow],
        touched: Sequence[int] = (),
    ) -> None:
        """Takes in experiments as they stand now, with the values of theirs that stand."""
        new = {e.candidate_id for e in experiments} - self._candidates.keys()
        if new:
            self._candidates |= {row.id: row for row in self._ledger.candidates_by_id(new)}
        for experiment in experiments:
            self._experiments[experiment.id] = replace(experiment, request=_NOTHING)
        left = {row.id for row in measurements}
        for number in touched:
            self._results.pop(number, None)
            for known in self._of.pop(number, ()):
                if known not in left:
                    self._measurements.pop(known, None)
        for row in measurements:
            self._measurements[row.id] = row
            self._of.setdefault(row.experiment_id, []).append(row.id)


def safety_of(ledger: Ledger, campaign_id: int) -> SafetyLog:
    """Returns a campaign's safety log with its index: a mirror's own, or one made for now."""
    if isinstance(ledger, Mirror):
        return ledger.safety(campaign_id)
    return SafetyLog(ledger.safety_log(campaign_id))
