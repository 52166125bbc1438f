"""What goes into the ledger and what comes out of it: frozen, typed records.

A `...Row` is what was recorded, as a reader gets it; a `New...` is what a writer hands in to be
recorded, and has no id yet. A `ProposalRow` is both. `Claim`, `OutboxItem`, `SendingRow`,
`Spending` and `Overview` are no rows of a table: the ledger makes them of several.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from cloudseed.db.states import ExperimentState

__all__ = [
    "PERSON",
    "AmendmentRow",
    "CampaignRow",
    "CandidateRow",
    "Claim",
    "DecisionRow",
    "EventRow",
    "ExperimentRow",
    "LabHealthRow",
    "LeaseRow",
    "MeasurementRow",
    "NewCandidate",
    "NewCharge",
    "NewDecision",
    "NewExperiment",
    "NewMeasurement",
    "OutboxItem",
    "Overview",
    "ProposalRow",
    "SendingRow",
    "Spending",
]

PERSON = "a person"
"""Who a message is from that no lab sent, in the place of the lab's name."""


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """A campaign.

    Attributes:
        id: Row id.
        name: Unique within the ledger.
        config: The spec as JSON values.
        config_sha: SHA-256 of its canonical JSON.
        status: "new", "running", "stopped" or "finished".
        stop_reason: Why it is stopped or finished; "" otherwise.
        epoch: Counts claims.
        created_at: UTC.
        heartbeat_at: Last sign of life of an engine, UTC; None before the first.
    """

    id: int
    name: str
    config: Mapping[str, Any]
    config_sha: str
    status: str
    stop_reason: str
    epoch: int
    created_at: datetime
    heartbeat_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """An engine's right to write.

    Attributes:
        campaign_id: The campaign.
        epoch: The number of this claim; only the newest may write.
        unproven: The newest epoch whose engine may still live; 0 if all have surely ended. Such an
            engine cannot write, but it may still send what it had taken.
    """

    campaign_id: int
    epoch: int
    unproven: int = 0


@dataclass(frozen=True, slots=True)
class NewCandidate:
    """A candidate to record.

    Attributes:
        key: Unique within the campaign.
        formula: Reduced formula.
        scope: Its SCOPE string.
        root: The geometry root's JSON form; stored once per `root_sha`.
        root_sha: SHA-256 of it.
        colouring: Element per orbit.
        papers: Provenance as JSON values: parents, operation, probability, filters, seeds.
    """

    key: str
    formula: str
    scope: str
    root: Mapping[str, Any]
    root_sha: str
    colouring: tuple[str, ...]
    papers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """A recorded candidate; `position` is its row in the pool, from 0, in order of recording."""

    id: int
    position: int
    key: str
    formula: str
    scope: str
    root_sha: str
    colouring: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """One scored candidate at one decision.

    Attributes:
        candidate_id: The candidate.
        rank: Its rank, from 0.
        acquisition: Its acquisition value; None where nothing was modelled.
        feasible: Probability that the constraints hold; None likewise.
        prediction: Property -> [mean, standard deviation].
        chosen: Whether it was picked.
    """

    candidate_id: int
    rank: int
    acquisition: float | None
    feasible: float | None
    prediction: Mapping[str, tuple[float, float]]
    chosen: bool


@dataclass(frozen=True, slots=True)
class NewExperiment:
    """An experiment to plan.

    Attributes:
        candidate_id: What to make.
        idem_key: Idempotency key, unique in the ledger.
        lab: Name of the lab.
        request: The request as the lab will get it; JSON values.
        beside: Labs in which the candidate may have an experiment that counts already.
    """

    candidate_id: int
    idem_key: str
    lab: str
    request: Mapping[str, Any]
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewDecision:
    """A decision with everything needed to make it again.

    Attributes:
        step: Number of the decision within the campaign, from 0.
        method: Name of the method.
        seed: Seed of its randomness.
        pool_sha: Hash of the pool's keys in order.
        pending: Ids of candidates planned or running at that time.
        observed: Ids of measurements it was made on.
        encoder_id: Which encoder's embeddings.
        model: Kernel, hyperparameters, versions; JSON values.
        notes: What went otherwise than planned.
        proposals: Scored candidates.
        experiments: What to do, in order.
    """

    step: int
    method: str
    seed: int
    pool_sha: str
    pending: tuple[int, ...]
    observed: tuple[int, ...]
    encoder_id: str
    model: Mapping[str, Any]
    notes: tuple[str, ...]
    proposals: Sequence[ProposalRow]
    experiments: Sequence[NewExperiment]


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A recorded decision, without its proposals."""

    id: int
    step: int
    method: str
    seed: int
    pool_sha: str
    pending: tuple[int, ...]
    observed: Collection[int]
    encoder_id: str
    model: Mapping[str, Any]
    notes: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """An experiment as it stands.

    Attributes:
        id: Row id.
        candidate_id: What is made.
        decision_id: Which decision asked for it.
        idem_key: Idempotency key.
        lab: Name of the lab.
        state: Where it stands.
        attempt: Number of the current attempt, from 1.
        handle: The lab's handle for that attempt; None before it is known.
        reason: Why it ended as it did, where it did not end well.
        request: The request.
        created_at: When it was planned, UTC.
        finished_at: When it reached a terminal state, UTC.
    """

    id: int
    candidate_id: int
    decision_id: int
    idem_key: str
    lab: str
    state: ExperimentState
    attempt: int
    handle: str | None
    reason: str
    request: Mapping[str, Any]
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """Something to be sent, claimed by an engine.

    Attributes:
        experiment: What is sent.
        attempt_id: The attempt.
        epoch: Of the claim under which it was taken.
    """

    experiment: ExperimentRow
    attempt_id: int
    epoch: int


@dataclass(frozen=True, slots=True)
class SendingRow:
    """One sending of an experiment.

    Attributes:
        id: Of the attempt.
        lab: Where it went.
        recipe: What the request carried; None if nothing.
        arrived: Whether the lab has acknowledged it.
        open: Whether the lab has it, or may have it, still.
    """

    id: int
    lab: str
    recipe: Mapping[str, Any] | None
    arrived: bool
    open: bool


@dataclass(frozen=True, slots=True)
class NewCharge:
    """What a sending may cost of one resource.

    Attributes:
        resource: For instance "money", "instrument_time" or a consumable's name.
        amount: How much, in `unit`; finite and not negative.
        unit: For instance "EUR", "h" or "mg".
    """

    resource: str
    amount: float
    unit: str


@dataclass(frozen=True, slots=True)
class Spending:
    """What a campaign has used of one resource, in `unit`.

    Attributes:
        unit: The unit.
        settled: What ended experiments did cost.
        reserved: What open ones may cost.
    """

    unit: str
    settled: float
    reserved: float

    @property
    def committed(self) -> float:
        """What is spent if every open experiment costs what was reserved."""
        return self.settled + self.reserved


@dataclass(frozen=True, slots=True)
class LabHealthRow:
    """How a lab has answered lately.

    Attributes:
        lab: Its name.
        failures: Failures in a row.
        error: What it said last.
        failed_at: When, UTC; None if never.
        closed_until: Until when nothing is asked of it, UTC; None if it may be asked.
    """

    lab: str
    failures: int
    error: str
    failed_at: datetime | None
    closed_until: datetime | None


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """Who drives a campaign.

    Attributes:
        epoch: Of the newest claim.
        holder: Host and process; "" if nobody does.
        until: When the lease ends unless it is renewed, by the database's clock; None if nobody
            holds it.
        at: The database's clock when this was read.
        stage: What the engine does, in a few words.
    """

    epoch: int
    holder: str
    until: datetime | None
    at: datetime
    stage: str

    @property
    def held(self) -> bool:
        """Whether an engine has renewed it in time."""
        return self.until is not None and self.until > self.at


@dataclass(frozen=True, slots=True)
class NewMeasurement:
    """A value to record, in the unit of `cloudseed.units`."""

    property: str
    value: float
    unit: str
    sigma: float | None = None
    method: str = ""


@dataclass(frozen=True, slots=True)
class MeasurementRow:
    """A recorded value."""

    id: int
    experiment_id: int
    candidate_id: int
    property: str
    value: float
    unit: str
    sigma: float | None
    method: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EventRow:
    """One line of the append-only log."""

    id: int
    at: datetime
    kind: str
    experiment_id: int | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AmendmentRow:
    """A measurement, or the end of an experiment, that was taken back or replaced.

    Attributes:
        experiment_id: The experiment.
        measurement_id: What no longer stands; None where an end without a measurement was
            retracted.
        replaced_by: The measurement that stands instead; None for a retraction.
        reason: Why, in the words of whoever asked for it.
        at: When it took effect, UTC.
    """

    experiment_id: int
    measurement_id: int | None
    replaced_by: int | None
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """A campaign in a few numbers.

    Attributes:
        states: Experiments in each state that any is in.
        decisions: How many were made.
        began_at: When the first experiment was planned, UTC; None before.
        ended_at: When the last one that has ended did, UTC; None before.
    """

    states: Mapping[ExperimentState, int]
    decisions: int
    began_at: datetime | None
    ended_at: datetime | None
