"""The ledger in SQL: each method one transaction over the functions of the sibling modules."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from cloudseed.db import (
    campaigns,
    candidates,
    charges,
    claiming,
    consistency,
    controls,
    decisions,
    events,
    experiments,
    history,
    inbox,
    leases,
    outbox,
    overview,
    safety,
    schema,
    verify,
    withdrawals,
)
from cloudseed.db.engine import Database, locate
from cloudseed.db.listening import Listener
from cloudseed.db.states import Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

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
    from cloudseed.db.states import ExperimentState
    from cloudseed.db.verify import Progress

__all__ = ["SqlLedger", "open_ledger"]


def open_ledger(url: str, *, create: bool = True) -> SqlLedger:
    """Opens a ledger, and makes it first where there is none.

    Args:
        url: `sqlite:///path/to/file.db`, `postgresql://user@host/database`, or a path.
        create: Whether an empty or missing database is given its tables.

    Raises:
        SchemaError: If the database has another schema version, or another program's tables.
        StorageError: If it cannot be reached or written.
    """
    location = locate(url)
    database = Database(location, create=create and not location.read_only)
    try:
        if create and schema.state_of(database) is schema.SchemaState.EMPTY:
            schema.bring_to_head(database)
        schema.require_current(database)
        database.use_wal()
    except BaseException:
        database.close()
        raise
    return SqlLedger(database)


class SqlLedger:
    """A `Ledger` in SQLite or PostgreSQL; `open_ledger` makes it.

    It may be shared by threads. Methods are told in `cloudseed.db.protocols.Ledger`.

    Args:
        database: A database at this program's schema.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"SqlLedger({self._database.name!r})"

    def __enter__(self) -> SqlLedger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def create_campaign(self, name: str, config: Mapping[str, Any]) -> CampaignRow:
        """Records a new campaign."""
        with self._database.writing() as session:
            return campaigns.create(session, name, config)

    def campaign(self, name: str) -> CampaignRow | None:
        """Returns a campaign by name."""
        with self._database.reading() as session:
            return campaigns.by_name(session, name)

    def campaigns(self) -> list[CampaignRow]:
        """Returns all campaigns, newest last."""
        with self._database.reading() as session:
            return campaigns.all_rows(session)

    @contextmanager
    def claim(self, campaign_id: int) -> Iterator[Claim]:
        """Excludes other engines for as long as the context lasts."""
        with claiming.claimed(self._database, campaign_id) as claim:
            yield claim

    def heartbeat(self, claim: Claim, stage: str = "") -> None:
        """Leaves a sign of life and renews the lease."""
        with self._database.writing("heartbeat") as session:
            leases.renew(session, claim, stage)

    def lease(self, campaign_id: int) -> LeaseRow:
        """Returns who drives a campaign."""
        with self._database.reading() as session:
            return leases.read(session, campaign_id)

    def wish(self, campaign_id: int, wish: Wish, reason: str = "") -> None:
        """Tells the campaign's engine, now or later, what is wished of it."""
        with self._database.writing() as session:
            controls.wish(session, campaign_id, wish, reason)

    def let_go_on(self, campaign_id: int, word: Mapping[str, Any], reason: str) -> bool:
        """Records a person's word and takes back what was wished; returns whether it was held."""
        with self._database.writing() as session:
            safety.record_word(session, campaign_id, None, word)
            held = controls.wished(session, campaign_id)[0] is not Wish.RUN
            if held:
                controls.wish(session, campaign_id, Wish.RUN, reason)
            return held

    def wished(self, campaign_id: int) -> tuple[Wish, str]:
        """Returns what is wished, and why."""
        with self._database.reading() as session:
            return controls.wished(session, campaign_id)

    @contextmanager
    def listening(self, campaign_id: int) -> Iterator[Callable[[float], bool]]:
        """Gives what waits so many seconds, or until people tell the engine something."""
        with closing(Listener(self._database, campaign_id)) as listener:
            yield listener.wait

    def record_encoder(self, claim: Claim, name: str, encoder_id: str) -> None:
        """Records that the campaign goes on with another encoder."""
        with self._database.writing() as session:
            campaigns.record_encoder(session, claim, name, encoder_id)

    def encoder_changes(self, campaign_id: int) -> list[tuple[str, str]]:
        """Returns name and id of each encoder that a campaign was changed to, oldest first."""
        with self._database.reading() as session:
            return campaigns.encoder_changes(session, campaign_id)

    def record_health(
        self, claim: Claim, lab: str, *, failures: int, error: str = "", closed_for: float = 0.0
    ) -> None:
        """Records how a lab answers."""
        with self._database.writing() as session:
            controls.record_health(
                session, claim, lab, failures=failures, error=error, closed_for=closed_for
            )

    def health(self, campaign_id: int) -> dict[str, LabHealthRow]:
        """Returns the health of each lab that has ever failed, by name."""
        with self._database.reading() as session:
            return controls.health(session, campaign_id)

    def spent(self, campaign_id: int) -> dict[str, Spending]:
        """Returns what is spent and reserved, by resource."""
        with self._database.reading() as session:
            return charges.spent(session, campaign_id)

    def due(self, campaign_id: int) -> dict[int, datetime]:
        """Returns, by experiment id, when each planned one may be sent, UTC."""
        with self._database.reading() as session:
            return outbox.next_due(session, campaign_id)

    def set_status(self, claim: Claim, status: str, reason: str = "") -> None:
        """Sets the campaign's status."""
        with self._database.writing("status") as session:
            campaigns.set_status(session, claim, status, reason)

    def add_candidates(self, claim: Claim, new: Iterable[NewCandidate]) -> int:
        """Records candidates whose keys are new, in order, as they come; returns how many were."""
        with self._database.writing("candidates") as session:
            return candidates.add(session, claim, new)

    def candidates(self, campaign_id: int, *, tried_only: bool = False) -> list[CandidateRow]:
        """Returns the pool, or what experiments were planned of, in order of position."""
        with self._database.reading() as session:
            return candidates.rows(session, campaign_id, tried_only=tried_only)

    def candidates_named(self, campaign_id: int, what: str) -> list[CandidateRow]:
        """Returns what has this key or this formula, in order of position."""
        with self._database.reading() as session:
            return candidates.rows(session, campaign_id, named=what)

    def candidates_by_id(self, ids: Iterable[int]) -> list[CandidateRow]:
        """Returns candidates by id, in order of id."""
        with self._database.reading() as session:
            return candidates.by_id(session, ids)

    def count_candidates(self, campaign_id: int) -> int:
        """Returns the size of the pool."""
        with self._database.reading() as session:
            return candidates.count(session, campaign_id)

    def papers(self, candidate_id: int) -> Mapping[str, Any]:
        """Returns a candidate's provenance."""
        with self._database.reading() as session:
            return candidates.papers(session, candidate_id)

    def root(self, sha: str) -> Mapping[str, Any]:
        """Returns a geometry root's JSON form."""
        with self._database.reading() as session:
            return candidates.root(session, sha)

    def put_embeddings(
        self, encoder_id: str, strings: Sequence[str], vectors: npt.NDArray[np.float32]
    ) -> None:
        """Caches embeddings; strings already there are left alone."""
        with self._database.writing() as session:
            candidates.put_embeddings(session, encoder_id, strings, vectors)

    def get_embeddings(
        self, encoder_id: str, strings: Sequence[str]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Returns those of the strings' embeddings that are cached."""
        with self._database.reading() as session:
            return candidates.get_embeddings(session, encoder_id, strings)

    def record_decision(self, claim: Claim, decision: NewDecision) -> DecisionRow:
        """Commits a decision, its proposals and experiments, all or nothing."""
        with self._database.writing("decide") as session:
            return decisions.record(session, claim, decision)

    def decisions(self, campaign_id: int) -> list[DecisionRow]:
        """Returns decisions in order of step."""
        with self._database.reading() as session:
            return decisions.rows(session, campaign_id)

    def proposals(self, decision_id: int, *, chosen_only: bool = False) -> list[ProposalRow]:
        """Returns a decision's scored candidates in order of rank; all, or only the chosen."""
        with self._database.reading() as session:
            return decisions.proposals(session, decision_id, chosen_only=chosen_only)

    def experiments(
        self, campaign_id: int, states: Sequence[ExperimentState] | None = None
    ) -> list[ExperimentRow]:
        """Returns experiments in order of planning."""
        with self._database.reading() as session:
            return experiments.rows(session, campaign_id, states)

    def experiments_of(self, campaign_id: int, keys: Collection[str]) -> dict[str, ExperimentRow]:
        """Returns the experiments that have these idempotency keys, by key."""
        with self._database.reading() as session:
            return experiments.of_keys(session, campaign_id, keys)

    def next_to_send(
        self,
        claim: Claim,
        experiment_id: int | None = None,
        *,
        lab: str | None = None,
        reserve: Sequence[NewCharge] = (),
        request: Mapping[str, Any] | None = None,
    ) -> OutboxItem | None:
        """Takes the oldest planned experiment, moves it to `sending`, opens an attempt."""
        with self._database.writing("take") as session:
            return experiments.next_to_send(
                session, claim, experiment_id, lab=lab, reserve=reserve, request=request
            )

    def unacknowledged(self, claim: Claim) -> list[OutboxItem]:
        """Returns what is in state `sending`: sent or not, a crash hides which."""
        with self._database.writing() as session:
            return experiments.unacknowledged(session, claim)

    def acknowledge(self, claim: Claim, item: OutboxItem, handle: str) -> None:
        """Records the lab's handle: `sending` or `in_doubt` becomes `running`."""
        with self._database.writing("acknowledge") as session:
            experiments.acknowledge(session, claim, item, handle)

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
        """Moves an experiment to another state; an open attempt closes where it must."""
        with self._database.writing("transition") as session:
            experiments.transition(
                session, claim, experiment_id, state, reason, delay=delay, unsent=unsent, told=told
            )

    def hold(self, claim: Claim, experiment_id: int, reason: str) -> bool:
        """Notes why a planned experiment is not sent; returns whether that is news."""
        with self._database.writing() as session:
            return experiments.hold(session, claim, experiment_id, reason)

    def sendings(self, campaign_id: int, after: int = 0) -> list[SendingRow]:
        """Returns attempts whose id is greater than `after`, in order."""
        with self._database.reading() as session:
            return experiments.sendings(session, campaign_id, after)

    def resolve(
        self,
        campaign_id: int,
        experiment_id: int,
        state: ExperimentState,
        *,
        handle: str | None = None,
        reason: str,
    ) -> None:
        """Ends a doubt by what a person has seen; needs no claim."""
        with self._database.writing("resolve") as session:
            experiments.resolve(
                session, campaign_id, experiment_id, state, handle=handle, reason=reason
            )

    def receive(self, claim: Claim, lab: str, message_id: str, key: str, raw: bytes) -> bool:
        """Commits a raw message to the inbox; False if it was there before."""
        with self._database.writing("receive") as session:
            return inbox.receive(session, claim, lab=lab, message_id=message_id, key=key, raw=raw)

    def tell(self, campaign_id: int, message_id: str, key: str, raw: bytes) -> int:
        """Commits what a person says of an experiment; needs no claim; returns its inbox id."""
        with self._database.writing() as session:
            return inbox.tell(session, campaign_id, message_id=message_id, key=key, raw=raw)

    def correct(
        self, claim: Claim, inbox_id: int, measurements: Sequence[NewMeasurement], reason: str
    ) -> None:
        """Turns one inbox message into values that replace those of the same properties."""
        with self._database.writing() as session:
            inbox.correct(session, claim, inbox_id, measurements, reason=reason)

    def unprocessed(self, campaign_id: int) -> list[tuple[int, str, bytes]]:
        """Returns (inbox id, idempotency key, raw) of messages not yet turned into outcomes."""
        with self._database.reading() as session:
            return inbox.unprocessed(session, campaign_id)

    def told_by(self, inbox_ids: Iterable[int]) -> dict[int, str]:
        """Returns who each message is from: a lab's name, or `PERSON`."""
        with self._database.reading() as session:
            return inbox.told_by(session, inbox_ids)

    def arrivals(self, experiment_id: int) -> int:
        """Returns how many sendings of an experiment a lab has acknowledged."""
        with self._database.reading() as session:
            return experiments.arrivals(session, experiment_id)

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
        """Turns one inbox message into a state and measurements, in one transaction."""
        with self._database.writing("settle") as session:
            inbox.settle(
                session,
                claim,
                inbox_id,
                state,
                measured=measurements,
                reason=reason,
                details=details,
                costs=costs,
                delay=delay,
            )

    def measurements(self, campaign_id: int) -> list[MeasurementRow]:
        """Returns the measurements that stand, in order of recording."""
        with self._database.reading() as session:
            return inbox.measurements(session, campaign_id)

    def details(self, experiment_id: int) -> Mapping[str, Any]:
        """Returns the details that the settled result came with; empty if there are none."""
        with self._database.reading() as session:
            return experiments.details(session, experiment_id)

    def details_of(self, ids: Iterable[int]) -> dict[int, Mapping[str, Any]]:
        """Returns the details of some experiments, by id."""
        with self._database.reading() as session:
            return experiments.details_of(session, ids)

    def details_with(self, campaign_id: int, name: str) -> dict[int, Mapping[str, Any]]:
        """Returns the details in which something of that name is told, by experiment id."""
        with self._database.reading() as session:
            return experiments.details_with(session, campaign_id, name)

    def events(self, campaign_id: int, after: int = 0) -> list[EventRow]:
        """Returns the event log, oldest first."""
        with self._database.reading() as session:
            return events.rows(session, campaign_id, after)

    def newest_event(self, campaign_id: int) -> int:
        """Returns the id of the log's last line; 0 before the first."""
        with self._database.reading() as session:
            return events.newest(session, campaign_id)

    def record_check(
        self, claim: Claim, experiment_id: int | None, data: Mapping[str, Any]
    ) -> None:
        """Records a safety check with its verdict."""
        with self._database.writing() as session:
            safety.record_check(session, claim, experiment_id, data)

    def record_word(
        self, campaign_id: int, experiment_id: int | None, data: Mapping[str, Any]
    ) -> None:
        """Records what a person said of a campaign or an experiment; needs no claim."""
        with self._database.writing() as session:
            safety.record_word(session, campaign_id, experiment_id, data)

    def safety_log(self, campaign_id: int, after: int = 0) -> list[EventRow]:
        """Returns checks, people's words and wishes, oldest first."""
        with self._database.reading() as session:
            return safety.log(session, campaign_id, after)

    def overview(self, campaign_id: int) -> Overview:
        """Returns a campaign in a few numbers, fast however many experiments it has."""
        with self._database.reading() as session:
            return overview.read(session, campaign_id)

    def values(
        self, campaign_id: int, properties: Sequence[str]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Returns ids of experiments with values that stand, n in order, and the values, n x m."""
        with self._database.reading() as session:
            return overview.values(session, campaign_id, properties)

    def experiments_by_id(self, ids: Iterable[int]) -> list[ExperimentRow]:
        """Returns experiments by id, in order of planning."""
        with self._database.reading() as session:
            return experiments.by_id(session, ids)

    def measurements_of(self, experiment_ids: Iterable[int]) -> list[MeasurementRow]:
        """Returns the measurements of some experiments that stand, in order of recording."""
        with self._database.reading() as session:
            return inbox.measurements_of(session, experiment_ids)

    def decisions_by_id(
        self, campaign_id: int, ids: Iterable[int], *, newest: int = 0
    ) -> list[DecisionRow]:
        """Returns decisions by id, and so many of the newest, in order of step."""
        with self._database.reading() as session:
            return decisions.by_id(session, campaign_id, ids, newest=newest)

    def events_of(self, experiment_id: int) -> list[EventRow]:
        """Returns the lines of the log that tell of one experiment, oldest first."""
        with self._database.reading() as session:
            return history.events_of(session, experiment_id)

    def states_before(self, decision_id: int) -> dict[int, ExperimentState]:
        """Returns the state of every experiment planned before a decision, as it was then."""
        with self._database.reading() as session:
            return history.states_before(session, decision_id)

    def pool_before(self, decision_id: int) -> int:
        """Returns how many candidates the pool held when a decision was made."""
        with self._database.reading() as session:
            return history.pool_before(session, decision_id)

    def measured(self, ids: Iterable[int]) -> list[MeasurementRow]:
        """Returns measurements by id, in order of recording, whether or not they still stand."""
        with self._database.reading() as session:
            return history.measured(session, ids)

    def amendments(self, campaign_id: int) -> list[AmendmentRow]:
        """Returns what was retracted or corrected, oldest first."""
        with self._database.reading() as session:
            return withdrawals.amendments(session, campaign_id)

    def verify(self, progress: Progress = lambda *_: None) -> list[str]:
        """Returns what the ledger contradicts itself in, one sentence each; empty if sound."""
        with self._database.reading() as session:
            return list(verify.contradictions(session, progress))

    def notices(self) -> list[str]:
        """Returns what is no contradiction but may want a look, one sentence each."""
        with self._database.reading() as session:
            return list(consistency.notices(session))

    def close(self) -> None:
        """Lets go of the database."""
        self._database.close()
