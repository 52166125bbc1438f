"""The ledger in SQL: each method one transaction over the functions of the sibling modules.

`reading` has the methods that only ask.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from cloudseed.db import (
    campaigns,
    candidates,
    claiming,
    controls,
    decisions,
    experiments,
    inbox,
    leases,
    safety,
    schema,
)
from cloudseed.db.engine import Database, locate
from cloudseed.db.listening import Listener
from cloudseed.db.reading import SqlReader
from cloudseed.db.states import Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

    from cloudseed.db.rows import (
        CampaignRow,
        Claim,
        DecisionRow,
        NewCandidate,
        NewCharge,
        NewDecision,
        NewMeasurement,
        OutboxItem,
    )
    from cloudseed.db.states import ExperimentState

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


class SqlLedger(SqlReader):
    """A `Ledger` in SQLite or PostgreSQL; `open_ledger` makes it.

    It may be shared by threads. Methods are told in `cloudseed.db.protocols.Ledger`.

    Args:
        database: A database at this program's schema.
    """

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

    @contextmanager
    def claim(self, campaign_id: int) -> Iterator[Claim]:
        """Excludes other engines for as long as the context lasts."""
        with claiming.claimed(self._database, campaign_id) as claim:
            yield claim

    def heartbeat(self, claim: Claim, stage: str = "") -> None:
        """Leaves a sign of life and renews the lease."""
        with self._database.writing("heartbeat") as session:
            leases.renew(session, claim, stage)

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

    @contextmanager
    def listening(self, campaign_id: int) -> Iterator[Callable[[float], bool]]:
        """Gives what waits so many seconds, or until people tell the engine something."""
        with closing(Listener(self._database, campaign_id)) as listener:
            yield listener.wait

    def record_encoder(self, claim: Claim, name: str, encoder_id: str) -> None:
        """Records that the campaign goes on with another encoder."""
        with self._database.writing() as session:
            campaigns.record_encoder(session, claim, name, encoder_id)

    def record_health(
        self, claim: Claim, lab: str, *, failures: int, error: str = "", closed_for: float = 0.0
    ) -> None:
        """Records how a lab answers."""
        with self._database.writing() as session:
            controls.record_health(
                session, claim, lab, failures=failures, error=error, closed_for=closed_for
            )

    def set_status(self, claim: Claim, status: str, reason: str = "") -> None:
        """Sets the campaign's status."""
        with self._database.writing("status") as session:
            campaigns.set_status(session, claim, status, reason)

    def add_candidates(self, claim: Claim, new: Iterable[NewCandidate]) -> int:
        """Records candidates whose keys are new, in order, as they come; returns how many were."""
        with self._database.writing("candidates") as session:
            return candidates.add(session, claim, new)

    def put_embeddings(
        self, encoder_id: str, strings: Sequence[str], vectors: npt.NDArray[np.float32]
    ) -> None:
        """Caches embeddings; strings already there are left alone."""
        with self._database.writing() as session:
            candidates.put_embeddings(session, encoder_id, strings, vectors)

    def record_decision(self, claim: Claim, decision: NewDecision) -> DecisionRow:
        """Commits a decision, its proposals and experiments, all or nothing."""
        with self._database.writing("decide") as session:
            return decisions.record(session, claim, decision)

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

    def close(self) -> None:
        """Lets go of the database."""
        self._database.close()
