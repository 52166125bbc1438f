"""The tables.

    campaign ──┬── candidate ── structure            what could be made
               ├── decision ── proposal              what was thought of it
               ├── experiment ── attempt ── outbox   what was asked for, and each sending of it
               ├── charge                            what each sending may cost, and did
               ├── inbox ── inbox_conflict           what labs said, byte for byte
               ├── measurement ── withdrawal         what it means, and what no longer stands
               ├── decision_mark                     decisions that rest on what no longer stands
               ├── lease, control, lab_health        who drives it, what is wished, who answers
               └── event                             everything that happened, append-only
    embedding                                        a cache, of no campaign

Rows stay inside this part; the payloads of `protocols` leave it. The migrations make these tables,
and a test holds both to be the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cloudseed.db.columns import Flag, Id, Json, Moment, Real, Seed, State, Words
from cloudseed.db.states import ExperimentState, Wish

__all__ = [
    "Attempt",
    "Base",
    "Campaign",
    "Candidate",
    "Charge",
    "Control",
    "Decision",
    "DecisionMark",
    "Embedding",
    "Event",
    "Experiment",
    "Inbox",
    "InboxConflict",
    "LabHealth",
    "Lease",
    "Measurement",
    "Outbox",
    "Proposal",
    "Structure",
    "Withdrawal",
]

REPLANNABLE = ("cancelled", "failed", "refused", "retracted")
"""A candidate whose experiment ended so may get another; else it has one at most in each lab."""

_STRICT = {"sqlite_strict": True}
_LIVE_SQL = text("state NOT IN ({})".format(", ".join(f"'{s}'" for s in REPLANNABLE)))
_WAITING_SQL = text("claimed_at IS NULL AND withdrawn_at IS NULL")
_WISHES_SQL = "wish IN ({})".format(", ".join(f"'{w.value}'" for w in Wish))
_STATES_SQL = "state IN ({})".format(", ".join(f"'{s.value}'" for s in ExperimentState))


class Base(DeclarativeBase):
    """The root of the tables."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads it off the class
        int: Id,
        float: Real,
        str: Words,
        bool: Flag,
        bytes: LargeBinary,
        datetime: Moment,
        ExperimentState: State,
    }


class Structure(Base):
    """A geometry root, stored once per hash."""

    __tablename__ = "structure"
    __table_args__ = _STRICT

    sha: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[Any] = mapped_column(Json)
    created_at: Mapped[datetime]


class Campaign(Base):
    """A campaign; its row is also the lock that puts its writers in a line."""

    __tablename__ = "campaign"
    __table_args__ = (
        CheckConstraint("status IN ('new', 'running', 'stopped', 'finished')", "status"),
        _STRICT,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    config: Mapped[Any] = mapped_column(Json)
    config_sha: Mapped[str]
    status: Mapped[str]
    stop_reason: Mapped[str]
    epoch: Mapped[int]
    created_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime | None]


class Candidate(Base):
    """A candidate of a campaign's pool."""

    __tablename__ = "candidate"
    __table_args__ = (
        UniqueConstraint("campaign_id", "key"),
        UniqueConstraint("campaign_id", "position"),
        _STRICT,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    position: Mapped[int]
    key: Mapped[str]
    formula: Mapped[str]
    scope: Mapped[str]
    root_sha: Mapped[str] = mapped_column(ForeignKey("structure.sha"))
    colouring: Mapped[Any] = mapped_column(Json)
    papers: Mapped[Any] = mapped_column(Json)


class Embedding(Base):
    """A cached embedding: little-endian float32, by encoder and SHA-256 of the string."""

    __tablename__ = "embedding"
    __table_args__ = _STRICT

    encoder_id: Mapped[str] = mapped_column(primary_key=True)
    string_sha: Mapped[bytes] = mapped_column(primary_key=True)
    vector: Mapped[bytes]


class Decision(Base):
    """A decision, with what is needed to make it again."""

    __tablename__ = "decision"
    __table_args__ = (UniqueConstraint("campaign_id", "step"), _STRICT)

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    step: Mapped[int]
    method: Mapped[str]
    seed: Mapped[int] = mapped_column(Seed)
    pool_sha: Mapped[str]
    pending: Mapped[Any] = mapped_column(Json)
    observed: Mapped[Any] = mapped_column(Json)
    encoder_id: Mapped[str]
    model: Mapped[Any] = mapped_column(Json)
    notes: Mapped[Any] = mapped_column(Json)
    created_at: Mapped[datetime]


class Proposal(Base):
    """A scored candidate at a decision."""

    __tablename__ = "proposal"
    __table_args__ = _STRICT

    decision_id: Mapped[int] = mapped_column(ForeignKey("decision.id"), primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidate.id"))
    acquisition: Mapped[float | None]
    feasible: Mapped[float | None]
    prediction: Mapped[Any] = mapped_column(Json)
    chosen: Mapped[bool]


class Experiment(Base):
    """An experiment; `attempt` counts its sendings."""

    __tablename__ = "experiment"
    __table_args__ = (
        CheckConstraint(_STATES_SQL, "state"),
        Index(None, "campaign_id", "state"),
        Index(
            "uq_experiment_live_candidate",
            "candidate_id",
            "lab",
            unique=True,
            sqlite_where=_LIVE_SQL,
            postgresql_where=_LIVE_SQL,
        ),
        _STRICT,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidate.id"))
    decision_id: Mapped[int] = mapped_column(ForeignKey("decision.id"))
    idem_key: Mapped[str] = mapped_column(unique=True)
    lab: Mapped[str]
    state: Mapped[ExperimentState]
    attempt: Mapped[int]
    reason: Mapped[str]
    request: Mapped[Any] = mapped_column(Json)
    details: Mapped[Any] = mapped_column(Json, deferred=True)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class Attempt(Base):
    """One sending of an experiment; at most one is open at a time."""

    __tablename__ = "attempt"
    __table_args__ = (
        UniqueConstraint("experiment_id", "n"),
        Index(
            "uq_attempt_open",
            "experiment_id",
            unique=True,
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        _STRICT,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiment.id"))
    n: Mapped[int]
    epoch: Mapped[int]
    handle: Mapped[str | None]
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class Outbox(Base):
    """The intent to send an experiment, committed with what asks for it: a decision or a failure.

    Taken, it has an attempt; withdrawn, it never gets one. `n` is the attempt's number.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("experiment_id", "n"),
        Index(
            "ix_outbox_waiting",
            "campaign_id",
            "experiment_id",
            sqlite_where=_WAITING_SQL,
            postgresql_where=_WAITING_SQL,
        ),
        _STRICT,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiment.id"))
    n: Mapped[int]
    lab: Mapped[str]
    attempt_id: Mapped[int | None] = mapped_column(ForeignKey("attempt.id"), unique=True)
    epoch: Mapped[int | None]
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]


class Charge(Base):
    """What a sending may cost of one resource, and what it did cost once that is known."""

    __tablename__ = "charge"
    __table_args__ = (
        UniqueConstraint("experiment_id", "n", "resource"),
        Index(None, "campaign_id", "resource"),
        _STRICT,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiment.id"))
    n: Mapped[int]
    resource: Mapped[str]
    unit: Mapped[str]
    reserved: Mapped[float]
    settled: Mapped[float | None]
    reserved_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


class Lease(Base):
    """Who drives a campaign, and until when that holds without another sign of life.

    `until` is by the database's clock. `unproven` is the newest epoch whose engine may still live.
    """

    __tablename__ = "lease"
    __table_args__ = _STRICT

    campaign_id: Mapped[int] = mapped_column(
        ForeignKey("campaign.id"), primary_key=True, autoincrement=False
    )
    epoch: Mapped[int]
    holder: Mapped[str]
    until: Mapped[datetime | None]
    unproven: Mapped[int]
    stage: Mapped[str]


class Control(Base):
    """What people wish of a campaign's engine; they need no claim to say it."""

    __tablename__ = "control"
    __table_args__ = (CheckConstraint(_WISHES_SQL, "wish"), _STRICT)

    campaign_id: Mapped[int] = mapped_column(
        ForeignKey("campaign.id"), primary_key=True, autoincrement=False
    )
    wish: Mapped[str]
    reason: Mapped[str]
    asked_at: Mapped[datetime]


class LabHealth(Base):
    """How a lab has answered lately; until `closed_until` nothing is asked of it."""

    __tablename__ = "lab_health"
    __table_args__ = _STRICT

    campaign_id: Mapped[int] = mapped_column(
        ForeignKey("campaign.id"), primary_key=True, autoincrement=False
    )
    lab: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    error: Mapped[str]
    failed_at: Mapped[datetime | None]
    closed_until: Mapped[datetime | None]


class Inbox(Base):
    """A message from a lab, byte for byte; `outcome` says what became of it."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("campaign_id", "lab", "message_id"),
        Index(
            "ix_inbox_unprocessed",
            "campaign_id",
            sqlite_where=text("processed_at IS NULL"),
            postgresql_where=text("processed_at IS NULL"),
        ),
        Index(None, "idem_key"),
        _STRICT,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    lab: Mapped[str]
    message_id: Mapped[str]
    idem_key: Mapped[str]
    raw: Mapped[bytes]
    sha: Mapped[str]
    received_at: Mapped[datetime]
    processed_at: Mapped[datetime | None]
    outcome: Mapped[str | None]


class InboxConflict(Base):
    """A message with the id of an earlier one and other contents: kept, never counted."""

    __tablename__ = "inbox_conflict"
    __table_args__ = (UniqueConstraint("inbox_id", "idem_key", "sha"), _STRICT)

    id: Mapped[int] = mapped_column(primary_key=True)
    inbox_id: Mapped[int] = mapped_column(ForeignKey("inbox.id"))
    idem_key: Mapped[str]
    raw: Mapped[bytes]
    sha: Mapped[str]
    received_at: Mapped[datetime]


class Measurement(Base):
    """A value that a message brought; it stands unless superseded or its experiment retracted."""

    __tablename__ = "measurement"
    __table_args__ = (
        UniqueConstraint("inbox_id", "ordinal"),
        Index(None, "experiment_id"),
        _STRICT,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiment.id"))
    attempt_id: Mapped[int | None] = mapped_column(ForeignKey("attempt.id"))
    inbox_id: Mapped[int] = mapped_column(ForeignKey("inbox.id"))
    ordinal: Mapped[int]
    property: Mapped[str]
    value: Mapped[float]
    unit: Mapped[str]
    sigma: Mapped[float | None]
    method: Mapped[str]
    supersedes: Mapped[int | None] = mapped_column(ForeignKey("measurement.id"), unique=True)
    created_at: Mapped[datetime]


class Withdrawal(Base):
    """A measurement that no longer stands, and why; the row itself stays as it came."""

    __tablename__ = "withdrawal"
    __table_args__ = _STRICT

    measurement_id: Mapped[int] = mapped_column(
        ForeignKey("measurement.id"), primary_key=True, autoincrement=False
    )
    superseded_by: Mapped[int | None] = mapped_column(ForeignKey("measurement.id"))
    reason: Mapped[str]
    retracted_at: Mapped[datetime]


class DecisionMark(Base):
    """A decision that was made on a measurement which no longer stands."""

    __tablename__ = "decision_mark"
    __table_args__ = _STRICT

    decision_id: Mapped[int] = mapped_column(ForeignKey("decision.id"), primary_key=True)
    measurement_id: Mapped[int] = mapped_column(ForeignKey("measurement.id"), primary_key=True)
    reason: Mapped[str]
    marked_at: Mapped[datetime]


class Event(Base):
    """One line of the log; triggers refuse to change or delete it."""

    __tablename__ = "event"
    __table_args__ = (
        Index(None, "campaign_id", "id"),
        Index(None, "experiment_id"),
        {"sqlite_strict": True, "sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    experiment_id: Mapped[int | None] = mapped_column(ForeignKey("experiment.id"))
    at: Mapped[datetime]
    kind: Mapped[str]
    data: Mapped[Any] = mapped_column(Json)
