"""A choice in, measurements out: the whole of this part on one page.

A lab says what it can do (`describe`), checks a request without side effects (`validate`), takes
it under an idempotency key (`submit`), and answers in messages (`poll`). A message's bytes are what
the ledger stores; `Outcome.from_json` says what they mean. Messages may come twice, late or out of
order: their id makes each count once. These six methods make a `LabAdapter`; `OperableLab` adds
what an operator wants of it, and `BaseLab` gives those methods to a lab that has only the six. A
lab that takes no calls fetches its work through `PullLab`. `records.py` has what comes back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence  # noqa: TC003 - the gateway reads the types
from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from cloudseed.crystal import Cell
from cloudseed.lab_adapters.records import (
    EFFECTS,
    Effect,
    FailureKind,
    Instrument,
    LabMessage,
    Measurement,
    Outcome,
    OutcomeKind,
    Quality,
    RawData,
)

__all__ = [
    "EFFECTS",
    "DeliveryClass",
    "Effect",
    "Estimate",
    "EventPage",
    "ExperimentRequest",
    "FailureKind",
    "Feature",
    "Health",
    "Instrument",
    "JobState",
    "JobStatus",
    "LabAdapter",
    "LabDescription",
    "LabEvent",
    "LabMessage",
    "Lease",
    "Measurement",
    "OperableLab",
    "Outcome",
    "OutcomeKind",
    "Precursor",
    "PullLab",
    "Quality",
    "RawData",
    "SampleState",
    "Validation",
    "recipe_hash",
]


class DeliveryClass(StrEnum):
    """What a lab promises about submissions after a crash.

    A: it honours the key, submitting twice is safe.
    B: it can be asked by our key whether it has a submission; after a crash, ask first.
    C: neither; after a crash in mid-send the experiment is in doubt and waits for a person.
    """

    A = "A"
    B = "B"
    C = "C"


class Feature(StrEnum):
    """What a lab can do beyond the six methods: `cancel`, `events`, `safe_stop`.

    `recipes`: it follows the recipe that a request carries, and none of its own instead of it.
    """

    CANCEL = "cancel"
    EVENTS = "events"
    RECIPES = "recipes"
    SAFE_STOP = "safe_stop"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A spread: half of all experiments take at most `p50`, all but one in twenty `p95`."""

    p50: float
    p95: float
    unit: str


@dataclass(frozen=True, slots=True)
class Precursor:
    """A substance on the lab's shelf.

    Attributes:
        formula: As it is weighed, with its water: "Ba(OH)2·8H2O".
        grams: What is left; None if it is not counted.
        assay: Share of it that is the formula.
        price: Per gram, in one currency; None if unknown.
        melting: Where it melts or decomposes, K; None if unknown.
        enthalpy: Of formation at 298 K, kJ per mole of the formula; None if unknown.
        entropy: At 298 K, J/K per mole of the formula; None if unknown.
    """

    formula: str
    grams: float | None = None
    assay: float = 1.0
    price: float | None = None
    melting: float | None = None
    enthalpy: float | None = None
    entropy: float | None = None


@dataclass(frozen=True, slots=True)
class LabDescription:
    """What a lab can do.

    Attributes:
        name: Name of the lab, unique within a campaign.
        properties: Measurable property -> unit.
        concurrency: How many samples it works on at once.
        delivery: Its delivery class.
        simulated: Whether results are computed rather than measured.
        elements: Symbols it can handle; None for no limit.
        temperatures: Lowest and highest temperature it reaches, K; None if it heats nothing.
        largest_cell: Most atoms in a cell that it takes; None for no limit.
        shelf: The precursors it has; None if it does not tell.
        gases: The atmospheres that its furnace can have; None if it does not tell.
        duration: Time an experiment takes; None if unknown.
        cost: What an experiment costs; None if unknown.
        features: What it can do beyond the six methods.
        durations: Property -> time that measuring it adds, where the lab tells.
        costs: Property -> what measuring it adds to the cost, where the lab tells.
    """

    name: str
    properties: Mapping[str, str]
    concurrency: int
    delivery: DeliveryClass
    simulated: bool
    elements: frozenset[str] | None = None
    temperatures: tuple[float, float] | None = None
    largest_cell: int | None = None
    shelf: tuple[Precursor, ...] | None = None
    duration: Estimate | None = None
    cost: Estimate | None = None
    features: frozenset[Feature] = frozenset()
    gases: tuple[str, ...] | None = None
    durations: Mapping[str, Estimate] = field(default_factory=dict)
    costs: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExperimentRequest:
    """One material to make and measure.

    Attributes:
        key: Idempotency key: the same key always means the same request.
        label: Formula, for people and for look-up tables.
        candidate: The candidate's key.
        cell: The structure as predicted.
        properties: What to measure.
        recipe: How to make it, where the campaign compiles that; plain JSON values.
    """

    key: str
    label: str
    candidate: str
    cell: Cell
    properties: tuple[str, ...]
    recipe: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, without a recipe where there is none."""
        data: dict[str, Any] = {
            "key": self.key,
            "label": self.label,
            "candidate": self.candidate,
            "cell": self.cell.to_json(),
            "properties": list(self.properties),
        }
        return data if self.recipe is None else data | {"recipe": dict(self.recipe)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExperimentRequest:
        """Reads what `to_json` wrote."""
        return cls(
            key=str(data["key"]),
            label=str(data["label"]),
            candidate=str(data["candidate"]),
            cell=Cell.from_json(data["cell"]),
            properties=tuple(str(p) for p in data["properties"]),
            recipe=None if data.get("recipe") is None else dict(data["recipe"]),
        )


@dataclass(frozen=True, slots=True)
class Validation:
    """A lab's answer to "could you do this?".

    Attributes:
        accepted: Whether it could.
        reasons: Why not, one clause each.
        needs_approval: Whether a person must agree first.
        recipe: What it would do, compiled; plain JSON values. An approval is bound to its hash.
        failure: Which kind of rejection, where the lab can tell.
    """

    accepted: bool
    reasons: tuple[str, ...] = ()
    needs_approval: bool = False
    recipe: Mapping[str, Any] | None = None
    failure: FailureKind | None = None


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a recipe, whatever the order of its keys."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class JobState(StrEnum):
    """Where a submission stands in the lab.

    queued -> running -> finished
       |         |-----> held -> running      a person is needed
       '---------'-----> cancelled
    unknown: the lab cannot say, or has never had it
    """

    QUEUED = "queued"
    RUNNING = "running"
    HELD = "held"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class SampleState(StrEnum):
    """Where the sample is, which outlives its job.

    none -> made -> measured -> stored | consumed; at any time lost.
    """

    NONE = "none"
    MADE = "made"
    MEASURED = "measured"
    STORED = "stored"
    CONSUMED = "consumed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What a lab knows of a submission: under which handle, in which state, and its sample."""

    key: str
    handle: str | None
    state: JobState
    sample: SampleState | None = None


@dataclass(frozen=True, slots=True)
class LabEvent:
    """Something that happened in the lab, with the result's message where there is one."""

    status: JobStatus
    at: datetime
    message: LabMessage | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in order, and the cursor that the next call continues from."""

    events: tuple[LabEvent, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Health:
    """How a lab is.

    Attributes:
        ready: Whether it takes work.
        reason: Why not, one sentence.
        clock: The lab's own time, UTC; None if it has none of its own.
        details: Anything else; plain JSON values.
    """

    ready: bool
    reason: str = ""
    clock: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class LabAdapter(Protocol):
    """A lab, simulated or real: the six methods that every lab has."""

    def describe(self) -> LabDescription:
        """Returns what the lab can do."""
        ...

    def validate(self, request: ExperimentRequest) -> Validation:
        """Says whether the lab could do this, without side effects."""
        ...

    def submit(self, request: ExperimentRequest) -> str:
        """Hands over a request and returns the lab's handle.

        A class A lab returns the same handle for the same key, however often it is called, and
        the first result of a key stands: to try again after a failure takes a new key.

        Raises:
            LabError: If the lab cannot be reached; it may or may not have the request.
        """
        ...

    def lookup(self, key: str) -> str | None:
        """Returns the handle under which the lab has a key, or None if it surely has not.

        Raises:
            LabError: If the lab cannot say.
        """
        ...

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        """Returns what the lab has to say about these submissions, possibly again."""
        ...

    def close(self, *, stop_jobs: bool = False) -> None:
        """Lets go of the lab.

        Args:
            stop_jobs: Whether what runs there is to stop too. A lab that lives in this process may
                stop it in either case; nothing that was accepted is lost.
        """
        ...


@runtime_checkable
class OperableLab(LabAdapter, Protocol):
    """A lab with all that an operator wants of it; `BaseLab` has working defaults."""

    def events(self, cursor: str | None = None) -> EventPage:
        """Returns what happened after a cursor, or from the beginning; the same call again repeats.

        Raises:
            LabError: If the lab keeps no feed (`Feature.EVENTS`) or does not know the cursor.
        """
        ...

    def results(self, handle: str) -> tuple[Outcome, ...]:
        """Returns the outcomes of a submission so far, the first one first."""
        ...

    def cancel(self, handle: str) -> JobState:
        """Asks to stop a submission and returns its state then.

        What was cancelled ends in an outcome of failure `stopped`; what had ended stays as it was.

        Raises:
            LabError: If the lab cannot cancel (`Feature.CANCEL`) or be reached.
        """
        ...

    def safe_stop(self, reason: str) -> None:
        """Has the lab come to rest and take nothing more until a person lets it.

        This is no safety function: interlocks belong in the instrument.
        """
        ...

    def health(self) -> Health:
        """Says whether the lab takes work; never raises."""
        ...

    def reconcile(self, keys: Sequence[str]) -> Sequence[JobStatus]:
        """Says what the lab knows of each key, in the same order: what to ask after a crash.

        Raises:
            LabError: If the lab cannot say.
        """
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that a worker holds until a time: the token is its right to report."""

    handle: str
    request: ExperimentRequest
    token: str
    until: datetime


@runtime_checkable
class PullLab(Protocol):
    """The side of a lab that fetches its work, for labs that take no calls from outside."""

    def lease(self, worker: str, count: int, seconds: float) -> Sequence[Lease]:
        """Hands out up to `count` jobs; one whose lease ran out may be handed to another."""
        ...

    def heartbeat(self, token: str, seconds: float) -> datetime:
        """Holds a job for longer and returns until when.

        Raises:
            LabError: If the lease ran out and another worker has the job, or it was cancelled.
        """
        ...

    def complete(self, token: str, outcome: Outcome) -> None:
        """Reports a job's outcome; the same report again is taken and changes nothing.

        Raises:
            LabError: If the job has another outcome already, or another worker has it.
        """
        ...
