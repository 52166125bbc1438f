"""What the tests of the ledger share."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cloudseed.db.rows import (
    Claim,
    ExperimentRow,
    NewCandidate,
    NewDecision,
    NewExperiment,
    ProposalRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudseed.db.ledger import SqlLedger


def candidate(key: str, **changes: Any) -> NewCandidate:
    """A candidate that differs from others by its key."""
    values: dict[str, Any] = {
        "formula": "BaTiO3",
        "scope": f"221 | a b c | {key}",
        "root": {"number": 221},
        "root_sha": "0" * 64,
        "colouring": ("Ba", "Ti", "O"),
        "papers": {"parents": ["SrTiO3"], "operation": {"swap": ["Sr", "Ba"]}},
    }
    return NewCandidate(key=key, **(values | changes))


def decision(step: int = 0, **changes: Any) -> NewDecision:
    """A decision without proposals or experiments."""
    values: dict[str, Any] = {
        "method": "log_ei",
        "seed": 7,
        "pool_sha": "f" * 64,
        "pending": (),
        "observed": (),
        "encoder_id": "cloud",
        "model": {"kernel": "rbf", "lengthscale": 0.5},
        "notes": (),
        "proposals": (),
        "experiments": (),
    }
    return NewDecision(step=step, **(values | changes))


class Lab:
    """Short ways to plan, send and answer experiments in a test."""

    def __init__(self, ledger: SqlLedger, claim: Claim) -> None:
        self.ledger = ledger
        self.claim = claim
        self.steps = len(ledger.decisions(claim.campaign_id))
        self.messages = 0

    def plan(self, *keys: str) -> list[ExperimentRow]:
        """Plans an experiment per key, on a candidate of that key."""
        campaign_id = self.claim.campaign_id
        self.ledger.add_candidates(self.claim, [candidate(k) for k in keys])
        ids = {c.key: c.id for c in self.ledger.candidates(campaign_id)}
        self.ledger.record_decision(
            self.claim,
            decision(
                self.steps,
                proposals=[
                    ProposalRow(ids[k], rank, 0.5, None, {"bulk_modulus": (100.0, 5.0)}, True)
                    for rank, k in enumerate(keys)
                ],
                experiments=[
                    NewExperiment(ids[k], f"{campaign_id}-{self.steps}-{k}", "lab", {"key": k})
                    for k in keys
                ],
            ),
        )
        self.steps += 1
        return self.ledger.experiments(campaign_id)[-len(keys) :]

    def run(self) -> ExperimentRow:
        """Sends the oldest planned experiment and has it acknowledged."""
        item = self.ledger.next_to_send(self.claim)
        assert item is not None
        self.ledger.acknowledge(self.claim, item, f"job-{item.attempt_id}")
        return self.now(item.experiment.id)

    def now(self, experiment_id: int) -> ExperimentRow:
        """Reads an experiment."""
        rows = self.ledger.experiments(self.claim.campaign_id)
        return next(e for e in rows if e.id == experiment_id)

    def hear(self, key: str, raw: bytes = b"{}") -> int:
        """Receives a new message; returns its inbox id."""
        self.messages += 1
        assert self.ledger.receive(self.claim, "lab", f"message-{self.messages}", key, raw)
        return self.ledger.unprocessed(self.claim.campaign_id)[-1][0]

    def kinds(self) -> list[str]:
        """The kinds of all events."""
        return [e.kind for e in self.ledger.events(self.claim.campaign_id)]


@contextmanager
def sql(ledger: SqlLedger) -> Iterator[Any]:
    """A connection that writes past the ledger's rules, for tests that damage it."""
    with ledger._database._writer.begin() as connection:
        yield connection
