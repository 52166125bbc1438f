"""What was known, decided, sent and measured: what this part does, on one page.

A `Ledger` holds campaigns. Each of its writing methods is one transaction that also appends to the
event log. An engine first claims its campaign (`claim`), which excludes other engines and hands it
an epoch; a write with a stale epoch is refused. `rows` has the records that go in and come out,
`states` the life of an experiment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt

    from cloudseed.db.rows import (
        AmendmentRow,
        CampaignRow,
        CandidateRow,
        Claim,
        DecisionRow,
        EventRow,
        ExperimentRow,
        LabHealthRow,
        LeaseRow,
        MeasurementRow,
        NewCandidate,
        NewCharge,
        NewDecision,
        NewMeasurement,
        OutboxItem,
        Overview,
        ProposalRow,
        SendingRow,
        Spending,
    )
    from cloudseed.db.states import ExperimentState, Wish

__all__ = ["Ledger"]


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

    def let_go_on(self, campaign_id: int, word: Mapping[str, Any], reason: str) -> bool:
        """Records a person's word that a campaign may go on, with the wish to, or neither.

        Returns:
            Whether something else was wished.
        """
        ...

    def wished(self, campaign_id: int) -> tuple[Wish, str]:
        """Returns what is wished, and why."""
        ...

    def listening(self, campaign_id: int) -> AbstractContextManager[Callable[[float], bool]]:
        """Gives what waits so many seconds, or until people tell the campaign's engine something.

        It returns whether they may have. That is a hint, which can be lost, and which not every
        database gives: look at the ledger whatever it returns.
        """
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

    def hold(self, claim: Claim, experiment_id: int, reason: str) -> bool:
        """Notes why a planned experiment is not sent; returns whether that is news.

        Raises:
            TransitionError: If it is not planned.
        """
        ...

    def sendings(self, campaign_id: int, after: int = 0) -> list[SendingRow]:
        """Returns attempts whose id is greater than `after`, in order, with where each went."""
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

    def details_of(self, ids: Iterable[int]) -> dict[int, Mapping[str, Any]]:
        """Returns the details of some experiments, up to some thousands, by id."""
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

    def safety_log(self, campaign_id: int, after: int = 0) -> list[EventRow]:
        """Returns checks, people's words and wishes whose id is greater than `after`, in order."""
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

    def measured(self, ids: Iterable[int]) -> list[MeasurementRow]:
        """Returns measurements by id, in order of recording, whether or not they still stand."""
        ...

    def amendments(self, campaign_id: int) -> list[AmendmentRow]:
        """Returns what was retracted or corrected, oldest first."""
        ...

    def verify(self, progress: Callable[[str, int, int], None] = ...) -> list[str]:
        """Returns what the ledger contradicts itself in, one sentence each; empty if sound.

        Args:
            progress: Told a name, how many checks are done, and how many there are.
        """
        ...

    def notices(self) -> list[str]:
        """Returns what is no contradiction but may want a look, one sentence each."""
        ...

    def close(self) -> None:
        """Lets go of the database."""
        ...
