"""What the ledger in SQL answers: each method one reading transaction over a sibling module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudseed.db import (
    campaigns,
    candidates,
    charges,
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
    verify,
    withdrawals,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt

    from cloudseed.db.engine import Database
    from cloudseed.db.rows import (
        AmendmentRow,
        CampaignRow,
        CandidateRow,
        DecisionRow,
        EventRow,
        ExperimentRow,
        LabHealthRow,
        LeaseRow,
        MeasurementRow,
        Overview,
        ProposalRow,
        SendingRow,
        Spending,
    )
    from cloudseed.db.states import ExperimentState, Wish
    from cloudseed.db.verify import Progress

__all__ = ["SqlReader"]


class SqlReader:
    """The reading half of `SqlLedger`.

    Args:
        database: Where the ledger is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def campaign(self, name: str) -> CampaignRow | None:
        """Returns a campaign by name."""
        with self._database.reading() as session:
            return campaigns.by_name(session, name)

    def campaigns(self) -> list[CampaignRow]:
        """Returns all campaigns, newest last."""
        with self._database.reading() as session:
            return campaigns.all_rows(session)

    def lease(self, campaign_id: int) -> LeaseRow:
        """Returns who drives a campaign."""
        with self._database.reading() as session:
            return leases.read(session, campaign_id)

    def wished(self, campaign_id: int) -> tuple[Wish, str]:
        """Returns what is wished, and why."""
        with self._database.reading() as session:
            return controls.wished(session, campaign_id)

    def encoder_changes(self, campaign_id: int) -> list[tuple[str, str]]:
        """Returns name and id of each encoder that a campaign was changed to, oldest first."""
        with self._database.reading() as session:
            return campaigns.encoder_changes(session, campaign_id)

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

    def get_embeddings(
        self, encoder_id: str, strings: Sequence[str]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Returns those of the strings' embeddings that are cached."""
        with self._database.reading() as session:
            return candidates.get_embeddings(session, encoder_id, strings)

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

    def sendings(self, campaign_id: int, after: int = 0) -> list[SendingRow]:
        """Returns attempts whose id is greater than `after`, in order."""
        with self._database.reading() as session:
            return experiments.sendings(session, campaign_id, after)

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
