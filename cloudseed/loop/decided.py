"""Decisions as they stand in the ledger: for `cloudseed decision list` and `show`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudseed.loop.amending import doubts, ends

if TYPE_CHECKING:
    from cloudseed.db import CandidateRow, DecisionRow, ExperimentRow, Ledger, ProposalRow

__all__ = ["Decided", "Pick", "list_decisions", "show_decision"]


@dataclass(frozen=True, slots=True)
class Pick:
    """A candidate at a decision.

    Attributes:
        candidate: The candidate.
        proposal: Its rank and scores; None where the decision recorded none.
        experiment: What was asked for; None for what was not chosen.
    """

    candidate: CandidateRow
    proposal: ProposalRow | None
    experiment: ExperimentRow | None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        told: dict[str, Any] = {"formula": self.candidate.formula, "key": self.candidate.key}
        if self.experiment is not None:
            told |= {
                "experiment": self.experiment.id,
                "state": self.experiment.state.value,
                "lab": self.experiment.lab,
            }
        if self.proposal is not None:
            told |= {
                "rank": self.proposal.rank + 1,
                "acquisition": self.proposal.acquisition,
                "feasible": self.proposal.feasible,
                "predicted": {
                    name: {"mean": mean, "sd": sd}
                    for name, (mean, sd) in self.proposal.prediction.items()
                },
            }
        return told


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision with what it chose, what it nearly chose, and what it stands on.

    Attributes:
        decision: The decision.
        chosen: What it asked for, in order.
        runners_up: The best of what it did not choose, best first.
        ranks: How many ranks are recorded.
        doubts: What it was made on and was retracted or corrected since.
    """

    decision: DecisionRow
    chosen: tuple[Pick, ...]
    runners_up: tuple[Pick, ...]
    ranks: int
    doubts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        made = self.decision
        return {
            "round": made.step + 1,
            "at": made.created_at.isoformat(),
            "method": made.method,
            "seed": made.seed,
            "known": len(made.observed),
            "pending": len(made.pending),
            "pool_sha": made.pool_sha,
            "encoder_id": made.encoder_id,
            "model": dict(made.model),
            "notes": list(made.notes),
            "ranks_recorded": self.ranks,
            "chosen": [pick.to_json() for pick in self.chosen],
            "runners_up": [pick.to_json() for pick in self.runners_up],
            "doubts": list(self.doubts),
        }


def list_decisions(ledger: Ledger, campaign_id: int) -> list[dict[str, Any]]:
    """Returns every decision in a few plain values, first to last."""
    experiments = ledger.experiments(campaign_id)
    candidates = {c.id: c for c in ledger.candidates(campaign_id, tried_only=True)}
    amended, ended = ledger.amendments(campaign_id), ends(experiments)
    chosen: dict[int, list[str]] = {}
    for experiment in experiments:
        formula = candidates[experiment.candidate_id].formula
        chosen.setdefault(experiment.decision_id, []).append(formula)
    return [
        {
            "round": decision.step + 1,
            "at": decision.created_at.isoformat(),
            "method": decision.method,
            "known": len(decision.observed),
            "pending": len(decision.pending),
            "chosen": chosen.get(decision.id, []),
            "doubts": list(doubts(decision, amended, ended)),
        }
        for decision in ledger.decisions(campaign_id)
    ]


def show_decision(
    ledger: Ledger, campaign_id: int, decision: DecisionRow, *, next_best: int = 5
) -> Decided:
    """Returns a decision with what it chose and nearly chose.

    Args:
        ledger: The record.
        campaign_id: Whose decision it is.
        decision: The decision.
        next_best: How many of those that were not chosen to tell.
    """
    experiments = ledger.experiments(campaign_id)
    proposals = ledger.proposals(decision.id)
    asked = [e for e in experiments if e.decision_id == decision.id]
    of_candidate = {p.candidate_id: p for p in proposals}
    missed = [p for p in proposals if not p.chosen][:next_best]
    wanted = {e.candidate_id for e in asked} | {p.candidate_id for p in missed}
    rows = {row.id: row for row in ledger.candidates_by_id(sorted(wanted))}
    return Decided(
        decision=decision,
        chosen=tuple(
            Pick(rows[e.candidate_id], of_candidate.get(e.candidate_id), e) for e in asked
        ),
        runners_up=tuple(Pick(rows[p.candidate_id], p, None) for p in missed),
        ranks=len(proposals),
        doubts=tuple(doubts(decision, ledger.amendments(campaign_id), ends(experiments))),
    )
