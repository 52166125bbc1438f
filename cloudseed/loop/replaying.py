"""Decisions made again from the ledger: the same choice, or what is different and why.

A decision is replayed with the candidates, measurements and states that it was made on, its seed,
and the embeddings as they are stored. What was corrected since does not change it, but is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import EncoderError, UsageError
from cloudseed.loop.amending import doubts, ends
from cloudseed.loop.effects import failures_of
from cloudseed.loop.encoders import in_force
from cloudseed.loop.fingerprints import Arguments, scores_sha, sigma_sha, training_sha, versions
from cloudseed.loop.planning import ALARM, choose, situation_of
from cloudseed.loop.pool import CrystalShelf, Pool, embed_all
from cloudseed.loop.ranks import kept_ranks
from cloudseed.surrogate import CloudEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cloudseed.db import CampaignRow, CandidateRow, DecisionRow, Ledger, ProposalRow
    from cloudseed.loop.planning import Situation
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.surrogate import Choice

__all__ = ["TOLERANCE", "Replay", "Replayer", "find_decision"]

_ALARMED = 0.5
"""Share of a batch that explored under the alarm when decisions did not record it."""

TOLERANCE = 1e-6
"""Largest relative difference of scores that counts as none: other processors round otherwise."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A decision made again.

    Attributes:
        round: Number of the decision, from 1.
        method: Name of the method that chose then.
        recorded: Keys of what was chosen, in order.
        made: Keys of what is chosen now, in order.
        elsewhere: Whether some of it is for a cheap lab now and was for a dear one, or otherwise.
        scores_compared: Recorded ranks that were compared.
        largest_difference: The largest relative difference among their scores.
        bit_equal: Whether all scores, recorded or not, are the same to the last bit; None where the
            decision holds no digest of them.
        differences: What is not as it was, one sentence each.
        assumed: What the ledger does not hold and was concluded instead, one sentence each.
        doubts: What the decision stands on and was retracted or corrected since.
    """

    round: int
    method: str
    recorded: tuple[str, ...]
    made: tuple[str, ...]
    elsewhere: bool
    scores_compared: int
    largest_difference: float
    bit_equal: bool | None
    differences: tuple[str, ...]
    assumed: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether the same batch was chosen, by the same scores within `TOLERANCE`."""
        same = self.recorded == self.made and not self.elsewhere
        return same and self.largest_difference <= TOLERANCE

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {
            "round": self.round,
            "same": self.same,
            "method": self.method,
            "recorded": list(self.recorded),
            "made": list(self.made),
            "scores_compared": self.scores_compared,
            "largest_difference": self.largest_difference
            if np.isfinite(self.largest_difference)
            else None,
            "bit_equal": self.bit_equal,
            "differences": list(self.differences),
            "assumed": list(self.assumed),
            "doubts": list(self.doubts),
        }


def find_decision(ledger: Ledger, campaign_id: int, number: int) -> DecisionRow:
    """Returns a decision by its round, from 1.

    Raises:
        UsageError: If the campaign has not come so far.
    """
    decisions = ledger.decisions(campaign_id)
    found = next((d for d in decisions if d.step == number - 1), None)
    if found is None:
        raise UsageError(
            f"There is no round {number}.",
            hint=f"The campaign has made {len(decisions)} decisions; the first is round 1.",
            round=number,
        )
    return found


class Replayer:
    """Makes a campaign's decisions again; reads the pool once.

    Args:
        ledger: The record.
        campaign: The campaign.
        spec: Its spec.
        folder: Where a large pool's embeddings are kept.
    """

    def __init__(
        self, ledger: Ledger, campaign: CampaignRow, spec: CampaignSpec, folder: Path | None = None
    ) -> None:
        self._ledger = ledger
        self._campaign = campaign
        self._spec = spec
        self._folder = folder
        self._candidates = ledger.candidates(campaign.id)
        self._experiments = ledger.experiments(campaign.id)
        self._ended = ends(self._experiments)
        self._amendments = ledger.amendments(campaign.id)
        self._failures = failures_of(ledger, campaign.id)
        self._pools: dict[str, Pool] = {}

    def replay(self, decision: DecisionRow) -> Replay:
        """Makes one decision again.

        Raises:
            EncoderError: If its embeddings are not stored, and the encoder is another by now.
        """
        record = decision.model.get("replay", {})
        pool = self._pool(decision)
        state = self._situation(decision, pool)
        differences = _changed(decision, record, pool, state)
        arguments, assumed = self._arguments(decision, record)
        spec = in_force(self._ledger, self._campaign, self._spec, decision.encoder_id)
        choice = choose(spec, pool, state, step=decision.step, **arguments)
        proposals = self._ledger.proposals(decision.id)
        compared, largest = _compare(pool, choice, proposals)
        recorded = self._recorded(decision)
        made = tuple(pool.rows[row].key for row in choice.picks)
        digest = record.get("scores_sha")
        bit_equal = (
            None if not digest or choice.scores is None else scores_sha(choice.scores) == digest
        )
        if recorded != made:
            differences.append(_other_batch(recorded, made))
        elsewhere = choice.sources != tuple(decision.model.get("sources", ()))
        if elsewhere:
            differences.append("Picks are for other labs: cheap and dear ones are taken otherwise.")
        if largest > TOLERANCE:
            differences.append(
                f"The scores differ by up to {largest:.1e} of their size."
                if np.isfinite(largest)
                else "The candidates have another order."
            )
        if differences:
            differences.extend(_other_versions(record))
        return Replay(
            round=decision.step + 1,
            method=decision.method,
            recorded=recorded,
            made=made,
            elsewhere=elsewhere,
            scores_compared=compared,
            largest_difference=largest,
            bit_equal=bit_equal,
            differences=tuple(differences),
            assumed=tuple(assumed),
            doubts=tuple(doubts(decision, self._amendments, self._ended)),
        )

    def _pool(self, decision: DecisionRow) -> Pool:
        """Returns the pool as it was, with the embeddings that the decision was made on."""
        size = self._ledger.pool_before(decision.id)
        whole = self._pools.get(decision.encoder_id)
        if whole is None:
            features = self._features(decision.encoder_id, self._candidates)
            shelf = CrystalShelf(self._ledger)
            whole = Pool(self._candidates, features, decision.encoder_id, shelf=shelf)
            self._pools[decision.encoder_id] = whole
        if size == len(whole.rows):
            return whole
        rows, features = whole.rows[:size], whole.features[:size]
        return Pool(rows, features, whole.encoder_id, shelf=whole.shelf)

    def _features(self, encoder_id: str, rows: Sequence[CandidateRow]) -> Any:
        strings = [row.scope for row in rows]
        cached = self._ledger.get_embeddings(encoder_id, strings)
        if all(string in cached for string in strings):
            return np.stack([cached[string] for string in strings])
        name = in_force(self._ledger, self._campaign, self._spec, encoder_id).encoder
        encoder = CloudEncoder.load(name)
        if encoder.id != encoder_id:
            raise EncoderError(
                f"The decision was made on embeddings of another {name!r} encoder.",
                hint="Install the cloudseed that made it, or restore the embeddings.",
                wanted=encoder_id,
                found=encoder.id,
            )
        return embed_all(encoder, strings, self._ledger, self._folder)

    def _situation(self, decision: DecisionRow, pool: Pool) -> Situation:
        """Returns what the decision was made on: states as they were, values by their ids."""
        states = self._ledger.states_before(decision.id)
        experiments = [replace(e, state=states[e.id]) for e in self._experiments if e.id in states]
        measurements = self._ledger.measured(decision.observed)
        return situation_of(
            experiments,
            measurements,
            pool,
            self._spec.problem,
            failures=self._failures,
            sources=self._spec.sources,
        )

    def _recorded(self, decision: DecisionRow) -> tuple[str, ...]:
        key_of = {row.id: row.key for row in self._candidates}
        return tuple(
            key_of[e.candidate_id] for e in self._experiments if e.decision_id == decision.id
        )

    def _arguments(
        self, decision: DecisionRow, record: dict[str, Any]
    ) -> tuple[Arguments, list[str]]:
        """Returns what was asked for, and what of it the ledger does not hold."""
        known: Any = record.get("arguments")
        if known is not None:
            return known, []
        chosen = [e for e in self._experiments if e.decision_id == decision.id]
        earlier = [e for e in self._experiments if chosen and e.id < chosen[0].id]
        alarm = ALARM.format(self._spec.decide.alarm) in decision.notes
        exploration = max(self._spec.decide.exploration, _ALARMED if alarm else 0.0)
        concluded: Arguments = {
            "batch": max(len(chosen), 1),
            "asked": len(earlier),
            "exploration": exploration,
            "widths": {},
        }
        return concluded, ["An older cloudseed kept no arguments: they follow from its batch."]


def _changed(
    decision: DecisionRow, record: dict[str, Any], pool: Pool, state: Situation
) -> list[str]:
    """Returns what of a decision's ground is not as it was."""
    found = []
    if pool.sha != decision.pool_sha:
        found.append("The pool is not the one that it was made on.")
    if tuple(state.pending_ids) != tuple(decision.pending):
        found.append("The log tells of other pending experiments than the decision.")
    if len(state.observed) != len(decision.observed):
        lost = len(decision.observed) - len(state.observed)
        found.append(f"{lost} of its measurements are no longer in the ledger.")
    known = record.get("training_sha")
    if known and known != training_sha(pool, state.observations):
        found.append("The values that it was fitted to are not those of then.")
    known = record.get("sigma_sha")
    if known and known != sigma_sha(state.observations):
        found.append("The uncertainties that it was fitted to are not those of then.")
    return found


def _compare(pool: Pool, choice: Choice, proposals: Sequence[ProposalRow]) -> tuple[int, float]:
    """Returns how many recorded ranks were compared, and their largest relative difference.

    The difference is infinite where another candidate has the rank.
    """
    scores = choice.scores
    scored = [p for p in proposals if p.acquisition is not None]
    if scores is None:
        return 0, np.inf if scored else 0.0
    if len(scored) < min(kept_ranks(len(scores.rows)), len(scores.rows)):
        return len(scored), np.inf
    largest = 0.0
    for proposal in scored:
        rank = proposal.rank
        if rank >= len(scores.rows) or pool.rows[scores.rows[rank]].id != proposal.candidate_id:
            return len(scored), np.inf
        assert proposal.acquisition is not None, "only scored ones are compared"
        pairs = [(proposal.acquisition, scores.acquisition[rank])]
        if proposal.feasible is not None:
            pairs.append((proposal.feasible, scores.feasible[rank]))
        for place, name in enumerate(scores.properties):
            mean, sd = proposal.prediction.get(name, (np.inf, np.inf))
            pairs += [(mean, scores.mean[rank, place]), (sd, scores.sd[rank, place])]
        for then, now in pairs:
            largest = max(largest, abs(float(now) - then) / max(abs(then), 1.0))
    return len(scored), float(largest)


def _other_batch(recorded: tuple[str, ...], made: tuple[str, ...]) -> str:
    if set(recorded) == set(made):
        return "The same candidates are chosen, in another order."
    shared = len(set(recorded) & set(made))
    return f"Another batch is chosen: {shared} of {len(recorded)} candidates are the same."


def _other_versions(record: dict[str, Any]) -> list[str]:
    then, now = record.get("versions", {}), versions()
    return [
        f"It was made with {name} {then[name]}; here is {now.get(name) or 'none'}."
        for name in sorted(then)
        if then[name] != now.get(name)
    ]
