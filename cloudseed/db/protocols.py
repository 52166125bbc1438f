"""What was known, decided, sent and measured: the whole of this part on one page.

A `Ledger` holds campaigns. Each of its writing methods is one transaction that also appends to the
event log. An engine first claims its campaign (`claim`), which excludes other engines and hands it
an epoch; a write with a stale epoch is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt

__all__ = [
    "PERSON",
    "AmendmentRow",
    "CampaignRow",
    "CandidateRow",
    "Claim",
    "DecisionRow",
    "EventRow",
    "ExperimentRow",
    "ExperimentState",
    "LabHealthRow",
    "LeaseRow",
    "Ledger",
    "MeasurementRow",
    "NewCandidate",
    "NewCharge",
    "NewDecision",
    "NewExperiment",
    "NewMeasurement",
    "OutboxItem",
    "Overview",
    "ProposalRow",
    "Spending",
    "Wish",
]

PERSON = "a person"
"""Who a message is from that no lab sent, in the place of the lab's name."""


class ExperimentState(StrEnum):
    """The life of an experiment.

        planned ──> sending ──> running ──> measured ──> retracted
           │           │  ╲        ├──────> infeasible
           │           │   ╲       ├──────> refused
           │           │    ╲      ├──────> failed
           │           │     ╲     └──────> planned     (another attempt)
           │           │      └──> in_doubt ──> running | planned | failed
           │           └─────────> planned              (the lab surely has it not)
           └─────────────────────> cancelled

    An outcome may also arrive while `sending` or `in_doubt`: that the lab answers proves that it
    has the experiment. It may even arrive while `planned` again, from an attempt that was given up:
    then nothing is left to send. Terminal: measured (but for retraction), infeasible (likewise),
    refused, failed, cancelled, retracted.
    """

    PLANNED = "planned"
    SENDING = "sending"
    RUNNING = "running"
    IN_DOUBT = "in_doubt"
    MEASURED = "measured"
    INFEASIBLE = "infeasible"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRACTED = "retracted"

    @property
    def terminal(self) -> bool:
        """Whether nothing more is expected to happen."""
        return self not in _OPEN

    @property
    def successors(self) -> frozenset[ExperimentState]:
        """The states that may come next."""
        return _NEXT[self]


class Wish(StrEnum):
    """What people wish of a campaign's engine.

    run     go on
    pause   plan and send nothing; collect what comes
    drain   plan and send nothing, and stop once the labs are done
    stop    stop after this step; what is in the labs goes on there
    """

    RUN = "run"
    PAUSE = "pause"
    DRAIN = "drain"
    STOP = "stop"


_S = ExperimentState
_OUTCOMES = frozenset({_S.MEASURED, _S.INFEASIBLE, _S.REFUSED, _S.FAILED})
_OPEN = frozenset({_S.PLANNED, _S.SENDING, _S.RUNNING, _S.IN_DOUBT})
_NEXT = {
    _S.PLANNED: frozenset({_S.SENDING, _S.CANCELLED}) | _OUTCOMES,
    _S.SENDING: frozenset({_S.RUNNING, _S.IN_DOUBT, _S.PLANNED}) | _OUTCOMES,
    _S.RUNNING: frozenset({_S.PLANNED, _S.CANCELLED}) | _OUTCOMES,
    _S.IN_DOUBT: frozenset({_S.RUNNING, _S.PLANNED, _S.CANCELLED}) | _OUTCOMES,
    _S.MEASURED: frozenset({_S.RETRACTED}),
    _S.INFEASIBLE: frozenset({_S.RETRACTED}),
    _S.REFUSED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.RETRACTED: frozenset(),
}


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
    """

    candidate_id: int
    idem_key: str
    lab: str
    request: Mapping[str, Any]


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
    observed: tuple[int, ...]
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


class Ledger(Protocol):
    """The record of campaigns. Reading methods may be called by anyone at any time."""

    def create_campaign(self, name: str, config: Mapping[str, Any]) -> CampaignRow:
        """Records a new campaign.

        Raises:
            LedgerError: If the name is taken.
        """
        ...

    def campaign(self, name: str) -> CampaignRow | None:
        """Returns a campaign by name."""
        ...

    def campaigns(self) -> list[CampaignRow]:
        """Returns all campaigns, newest last."""
        ...

    def claim(self, campaign_id: int) -> AbstractContextManager[Claim]:
        """Excludes other engines for as long as the context lasts, also across processes.

        A claim of a killed process is free at once. One of an engine that has not renewed its lease
        in time, because its process is stopped or its machine out of reach, can be taken over; what
        that engine writes later is refused.

        Raises:
            CampaignRunningError: If another engine holds it.
        """
        ...

    def heartbeat(self, claim: Claim, stage: str = "") -> None:
        """Leaves a sign of life and renews the lease; `stage` says what the engine does.

        Raises:
            StaleWorkerError: If another engine has taken over.
        """
        ...

    def lease(self, campaign_id: int) -> LeaseRow:
        """Returns who drives a campaign."""
        ...

    def wish(self, campaign_id: int, wish: Wish, reason: str = "") -> None:
        """Tells the campaign's engine, now or later, what is wished of it; needs no claim."""
        ...

    def wished(self, campaign_id: int) -> tuple[Wish, str]:
        """Returns what is wished, and why."""
        ...

    def record_encoder(self, claim: Claim, name: str, encoder_id: str) -> None:
        """Records that the campaign goes on with another encoder.

        Raises:
            StaleWorkerError: If the claim is not the newest.
        """
        ...

    def encoder_changes(self, campaign_id: int) -> list[tuple[str, str]]:
        """Returns name and id of each encoder that a campaign was changed to, oldest first."""
        ...

    def record_health(
        self, claim: Claim, lab: str, *, failures: int, error: str = "", closed_for: float = 0.0
    ) -> None:
        """Records how a lab answers, and for how many seconds it is left alone."""
        ...

    def health(self, campaign_id: int) -> dict[str, LabHealthRow]:
        """Returns the health of each lab that has ever failed, by name."""
        ...

    def spent(self, campaign_id: int) -> dict[str, Spending]:
        """Returns what is spent and reserved, by resource."""
        ...

    def due(self, campaign_id: int) -> dict[int, datetime]:
        """Returns, by experiment id, when each planned one may be sent, UTC."""
        ...

    def set_status(self, claim: Claim, status: str, reason: str = "") -> None:
        """Sets the campaign's status."""
        ...

    def add_candidates(self, claim: Claim, candidates: Iterable[NewCandidate]) -> int:
        """Records candidates whose keys are new, in order, as they come; returns how many were."""
        ...

    def candidates(self, campaign_id: int, *, tried_only: bool = False) -> list[CandidateRow]:
        """Returns the pool in order of position; all, or what experiments were planned of."""
        ...

    def candidates_named(self, campaign_id: int, what: str) -> list[CandidateRow]:
        """Returns what has this key or this formula, in order of position."""
        ...

    def candidates_by_id(self, ids: Iterable[int]) -> list[CandidateRow]:
        """Returns candidates by id, in order of id."""
        ...

    def count_candidates(self, campaign_id: int) -> int:
        """Returns the size of the pool."""
        ...

    def papers(self, candidate_id: int) -> Mapping[str, Any]:
        """Returns a candidate's provenance."""
        ...

    def root(self, sha: str) -> Mapping[str, Any]:
        """Returns a geometry root's JSON form."""
        ...

    def put_embeddings(
        self, encoder_id: str, strings: Sequence[str], vectors: npt.NDArray[np.float32]
    ) -> None:
        """Caches embeddings; strings already there are left alone."""
        ...

    def get_embeddings(
        self, encoder_id: str, strings: Sequence[str]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Returns those of the strings' embeddings that are cached."""
        ...

    def record_decision(self, claim: Claim, decision: NewDecision) -> DecisionRow:
        """Commits a decision, its proposals, experiments and outbox rows, all or nothing."""
        ...

    def decisions(self, campaign_id: int) -> list[DecisionRow]:
        """Returns decisions in order of step."""
        ...

    def proposals(self, decision_id: int, *, chosen_only: bool = False) -> list[ProposalRow]:
        """Returns a decision's scored candidates in order of rank; all, or only the chosen."""
        ...

    def experiments(
        self, campaign_id: int, states: Sequence[ExperimentState] | None = None
    ) -> list[ExperimentRow]:
        """Returns experiments in order of planning."""
        ...

    def experiments_of(self, campaign_id: int, keys: Collection[str]) -> dict[str, ExperimentRow]:
        """Returns the experiments that have these idempotency keys, by key."""
        ...

    def next_to_send(
        self,
        claim: Claim,
        experiment_id: int | None = None,
        *,
        lab: str | None = None,
        reserve: Sequence[NewCharge] = (),
        request: Mapping[str, Any] | None = None,
    ) -> OutboxItem | None:
        """Takes the oldest planned experiment, moves it to `sending`, opens an attempt.

        Args:
            claim: The right to do so.
            experiment_id: This one instead of the oldest; None if it is not due.
            lab: Where it goes; by default where it was planned.
            reserve: What it may cost.
            request: The request from now on; by default as it was.
        """
        ...

    def unacknowledged(self, claim: Claim) -> list[OutboxItem]:
        """Returns what is in state `sending`: sent or not, a crash hides which."""
        ...

    def acknowledge(self, claim: Claim, item: OutboxItem, handle: str) -> None:
        """Records the lab's handle: `sending` or `in_doubt` becomes `running`."""
        ...

    def transition(
        self,
        claim: Claim,
        experiment_id: int,
        state: ExperimentState,
        reason: str = "",
        *,
        delay: float = 0.0,
        unsent: bool = False,
        told: Mapping[str, Any] | None = None,
    ) -> None:
        """Moves an experiment to another state; an open attempt closes where it must.

        Args:
            claim: The right to do so.
            experiment_id: Which.
            state: Where to.
            reason: Why.
            delay: Seconds before it may be sent, where it is planned again.
            unsent: Whether the lab surely never got the attempt, so that it cost nothing.
            told: What its details say from now on, besides what they do.

        Raises:
            TransitionError: If the lifecycle does not allow it.
        """
        ...

    def resolve(
        self,
        campaign_id: int,
        experiment_id: int,
        state: ExperimentState,
        *,
        handle: str | None = None,
        reason: str,
    ) -> None:
        """Ends a doubt by what a person has seen; needs no claim, for engines leave doubts alone.

        Args:
            campaign_id: The campaign.
            experiment_id: An experiment in doubt.
            state: `running` if the lab has it, `planned` if it surely has not, `cancelled` to give
                it up.
            handle: The lab's handle where it has it.
            reason: How the person knows.

        Raises:
            TransitionError: If it is not in doubt, or the handle does not fit the state.
        """
        ...

    def receive(self, claim: Claim, lab: str, message_id: str, key: str, raw: bytes) -> bool:
        """Commits a raw message to the inbox; False if it was there before.

        `key` is the experiment's, or that of one attempt: the same, a hyphen, its number. The same
        id with other bytes is kept aside as a conflict, and the first stands.
        """
        ...

    def tell(self, campaign_id: int, message_id: str, key: str, raw: bytes) -> int:
        """Commits what a person says of an experiment; needs no claim; returns its inbox id.

        Whoever holds the claim settles it like any other message. The same id again changes
        nothing.
        """
        ...

    def correct(
        self, claim: Claim, inbox_id: int, measurements: Sequence[NewMeasurement], reason: str
    ) -> None:
        """Turns one inbox message into values that replace those of the same properties.

        What is replaced stays in the ledger, withdrawn. If the experiment is not `measured`, or a
        property has no value that stands, the message is only marked as read, with the reason in
        the event log.
        """
        ...

    def unprocessed(self, campaign_id: int) -> list[tuple[int, str, bytes]]:
        """Returns (inbox id, idempotency key, raw) of messages not yet turned into outcomes."""
        ...

    def told_by(self, inbox_ids: Iterable[int]) -> dict[int, str]:
        """Returns who each message is from: a lab's name, or `PERSON`."""
        ...

    def arrivals(self, experiment_id: int) -> int:
        """Returns how many sendings of an experiment a lab has acknowledged."""
        ...

    def settle(
        self,
        claim: Claim,
        inbox_id: int,
        state: ExperimentState | None,
        *,
        measurements: Sequence[NewMeasurement] = (),
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        costs: Mapping[str, float] | None = None,
        delay: float = 0.0,
    ) -> None:
        """Turns one inbox message into a state and measurements, in one transaction.

        `costs` says what it did cost, by resource, as far as that is known; `delay` how many
        seconds pass before it may be sent, where it is planned again.

        With `state` None, or if the experiment has already ended, the message is only marked as
        read, with the reason in the event log.
        """
        ...

    def measurements(self, campaign_id: int) -> list[MeasurementRow]:
        """Returns the measurements that stand, in order of recording."""
        ...

    def details(self, experiment_id: int) -> Mapping[str, Any]:
        """Returns the details that the settled result came with; empty if there are none."""
        ...

    def details_with(self, campaign_id: int, name: str) -> dict[int, Mapping[str, Any]]:
        """Returns the details in which something of that name is told, by experiment id.

        Of experiments that were measured at the first attempt nothing is returned.
        """
        ...

    def events(self, campaign_id: int, after: int = 0) -> list[EventRow]:
        """Returns the event log, oldest first."""
        ...

    def newest_event(self, campaign_id: int) -> int:
        """Returns the id of the log's last line; 0 before the first."""
        ...

    def record_check(
        self, claim: Claim, experiment_id: int | None, data: Mapping[str, Any]
    ) -> None:
        """Records a safety check with its verdict."""
        ...

    def record_word(
        self, campaign_id: int, experiment_id: int | None, data: Mapping[str, Any]
    ) -> None:
        """Records what a person said of a campaign or an experiment; needs no claim."""
        ...

    def safety_log(self, campaign_id: int) -> list[EventRow]:
        """Returns checks, people's words and wishes, oldest first."""
        ...

    def overview(self, campaign_id: int) -> Overview:
        """Returns a campaign in a few numbers, fast however many experiments it has."""
        ...

    def values(
        self, campaign_id: int, properties: Sequence[str]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Returns ids of experiments with values that stand, n in order, and the values, n x m.

        NaN where a property has none; the newest where it has several.
        """
        ...

    def experiments_by_id(self, ids: Iterable[int]) -> list[ExperimentRow]:
        """Returns experiments by id, in order of planning."""
        ...

    def measurements_of(self, experiment_ids: Iterable[int]) -> list[MeasurementRow]:
        """Returns the measurements of some experiments that stand, in order of recording."""
        ...

    def decisions_by_id(
        self, campaign_id: int, ids: Iterable[int], *, newest: int = 0
    ) -> list[DecisionRow]:
        """Returns decisions by id, and so many of the newest, in order of step."""
        ...

    def events_of(self, experiment_id: int) -> list[EventRow]:
        """Returns the lines of the log that tell of one experiment, oldest first."""
        ...

    def states_before(self, decision_id: int) -> dict[int, ExperimentState]:
        """Returns the state of every experiment planned before a decision, as it was then."""
        ...

    def pool_before(self, decision_id: int) -> int:
        """Returns how many candidates the pool held when a decision was made."""
        ...

    def measured(self, ids: Sequence[int]) -> list[MeasurementRow]:
        """Returns measurements by id, in order of recording, whether or not they still stand."""
        ...

    def amendments(self, campaign_id: int) -> list[AmendmentRow]:
        """Returns what was retracted or corrected, oldest first."""
        ...

    def verify(self) -> list[str]:
        """Returns what the ledger contradicts itself in, one sentence each; empty if sound."""
        ...

    def notices(self) -> list[str]:
        """Returns what is no contradiction but may want a look, one sentence each."""
        ...

    def close(self) -> None:
        """Lets go of the database."""
        ...
