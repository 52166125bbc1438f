"""One experiment explained: why this one, what nearly was, what was predicted and what came."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudseed.errors import UsageError
from cloudseed.loop.decided import Decided, show_decision
from cloudseed.loop.pool_files import explain as papers_lines
from cloudseed.loop.told import told_by
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.db import (
        AmendmentRow,
        CampaignRow,
        CandidateRow,
        EventRow,
        ExperimentRow,
        Ledger,
        MeasurementRow,
        ProposalRow,
    )
    from cloudseed.loop.told import Told

__all__ = ["Explanation", "Verdict", "explain_experiment", "find_experiment"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was predicted of a property, and what came.

    Attributes:
        property: The property.
        predicted: Mean and standard deviation at the decision; None where no model chose.
        measured: Value and its standard uncertainty; None while there is none.
        z: (measured - mean) by the root of both variances; None where either is missing.
    """

    property: str
    predicted: tuple[float, float] | None
    measured: tuple[float, float | None] | None
    z: float | None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {
            "property": self.property,
            "unit": unit_of(self.property),
            "predicted": None if self.predicted is None else list(self.predicted),
            "measured": None if self.measured is None else list(self.measured),
            "z": self.z,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that the ledger holds of one experiment.

    Attributes:
        experiment: The experiment.
        candidate: What was to be made.
        decided: The decision that asked for it.
        proposal: Its rank and scores there; None where the decision recorded none.
        papers: The candidate's provenance.
        verdicts: Predicted against measured, by property.
        events: Its life, oldest first.
        amendments: What of it was retracted or corrected.
        later: Rounds that were made on its result.
        told: What is known of its result besides the values.
    """

    experiment: ExperimentRow
    candidate: CandidateRow
    decided: Decided
    proposal: ProposalRow | None
    papers: Mapping[str, Any]
    verdicts: tuple[Verdict, ...]
    events: tuple[EventRow, ...]
    amendments: tuple[AmendmentRow, ...]
    later: tuple[int, ...]
    told: Told

    @property
    def role(self) -> str:
        """What it was picked for: "value", "covering" or "bold"; "" where that is not recorded."""
        roles = self.decided.decision.model.get("roles", [])
        asked = [p.candidate.id for p in self.decided.chosen]
        # Roles stand in the order of the experiments.
        place = asked.index(self.candidate.id)
        return str(roles[place]) if len(roles) == len(asked) else ""

    @property
    def why(self) -> str:
        """Why this candidate was chosen, in one sentence."""
        made, proposal = self.decided.decision, self.proposal
        where = f"round {made.step + 1}"
        if proposal is None or proposal.acquisition is None:
            return f"Chosen in {where} by {made.method}, before any model: to cover the pool."
        scored = made.model.get("scored", self.decided.ranks)
        sure = "" if proposal.feasible is None else f", P(feasible) {proposal.feasible:.3f}"
        if self.role == "covering":
            return (
                f"Chosen in {where} to cover the pool, not for its value: rank"
                f" {proposal.rank + 1} of {scored}{sure}."
            )
        beyond = ", as likely to lie far beyond the threshold" if self.role == "bold" else ""
        return (
            f"Chosen in {where} by {made.method}{beyond}: rank {proposal.rank + 1} of {scored},"
            f" acquisition {proposal.acquisition:.4g}{sure}."
        )

    @property
    def lineage(self) -> list[str]:
        """Parents, substitutions, filters: the candidate's papers as lines."""
        if "origins" not in self.papers:
            return [f"{self.candidate.formula}   {self.candidate.key}"]
        return papers_lines(dict(self.papers))

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {
            "experiment": self.experiment.id,
            "formula": self.candidate.formula,
            "key": self.candidate.key,
            "scope": self.candidate.scope,
            "state": self.experiment.state.value,
            "reason": self.experiment.reason,
            "lab": self.experiment.lab,
            "attempt": self.experiment.attempt,
            "why": self.why,
            "role": self.role,
            "decision": self.decided.to_json(),
            "papers": dict(self.papers),
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "events": [
                {"at": event.at.isoformat(), "kind": event.kind, **event.data}
                for event in self.events
            ],
            "amendments": [
                {
                    "at": row.at.isoformat(),
                    "kind": "retracted" if row.replaced_by is None else "corrected",
                    "measurement": row.measurement_id,
                    "replaced_by": row.replaced_by,
                    "reason": row.reason,
                }
                for row in self.amendments
            ],
            "rounds_made_on_it": list(self.later),
            "record": self.told.to_json(),
        }


def find_experiment(ledger: Ledger, campaign_id: int, what: str) -> ExperimentRow:
    """Returns an experiment of a campaign.

    Args:
        ledger: The record.
        campaign_id: The campaign.
        what: Its number; or its candidate's key or formula, where only one has it.

    Raises:
        UsageError: If the campaign has no such experiment, or several.
    """
    experiments = ledger.experiments(campaign_id)
    if what.isdecimal():
        found = [e for e in experiments if e.id == int(what)]
    else:
        rows = ledger.candidates(campaign_id, tried_only=True)
        ids = {r.id for r in rows if r.key == what} or {r.id for r in rows if r.formula == what}
        found = [e for e in experiments if e.candidate_id in ids]
    if len(found) == 1:
        return found[0]
    if found:
        numbers = ", ".join(str(e.id) for e in found[:8])
        raise UsageError(
            f"The campaign has {len(found)} experiments on {what!r}.",
            hint=f"Give one's number: {numbers}.",
        )
    raise UsageError(
        f"The campaign has no experiment {what!r}.",
        hint="Give the number, key or formula that `cloudseed export` writes.",
    )


def explain_experiment(
    ledger: Ledger, campaign: CampaignRow, experiment: ExperimentRow, *, next_best: int = 5
) -> Explanation:
    """Returns everything that the ledger holds of an experiment.

    Args:
        ledger: The record.
        campaign: Whose experiment it is.
        experiment: The experiment, with its request.
        next_best: How many of those that were not chosen beside it to tell.
    """
    decisions = ledger.decisions(campaign.id)
    decision = next(d for d in decisions if d.id == experiment.decision_id)
    decided = show_decision(ledger, campaign.id, decision, next_best=next_best)
    pick = next(p for p in decided.chosen if p.candidate.id == experiment.candidate_id)
    events = ledger.events_of(experiment.id)
    ids = [e.data["measurement_id"] for e in events if "measurement_id" in e.data]
    amended = [a for a in ledger.amendments(campaign.id) if a.experiment_id == experiment.id]
    replaced = {a.measurement_id for a in amended if a.replaced_by is not None}
    rows = [row for row in ledger.measured(ids) if row.id not in replaced]
    used = set(ids)
    return Explanation(
        experiment=experiment,
        candidate=pick.candidate,
        decided=decided,
        proposal=pick.proposal,
        papers=ledger.papers(experiment.candidate_id),
        verdicts=_verdicts(rows, pick.proposal),
        events=tuple(events),
        amendments=tuple(amended),
        later=tuple(d.step + 1 for d in decisions if any(i in d.observed for i in used)),
        told=next(told_by(ledger, campaign, [(experiment, {m.property: m.method for m in rows})])),
    )


def _verdicts(rows: Sequence[MeasurementRow], proposal: ProposalRow | None) -> tuple[Verdict, ...]:
    predicted = {} if proposal is None else proposal.prediction
    measured = {row.property: (row.value, row.sigma) for row in rows}
    verdicts = []
    for name in dict.fromkeys([*measured, *predicted]):
        thought, came = predicted.get(name), measured.get(name)
        z = None
        if thought is not None and came is not None:
            spread = math.hypot(thought[1], came[1] or 0.0)
            z = (came[0] - thought[0]) / spread if spread > 0 else None
        verdicts.append(Verdict(name, thought, came, z))
    return tuple(verdicts)
