"""A choice in, measurements out: the whole of this part on one page.

A lab says what it can do (`describe`), checks a request without side effects (`validate`), takes
it under an idempotency key (`submit`), and answers in messages (`poll`). A message's bytes are what
the ledger stores; `Outcome.from_json` says what they mean. Messages may come twice, late or out of
order: their id makes each count once.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from cloudseed.crystal import Cell
from cloudseed.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DeliveryClass",
    "ExperimentRequest",
    "LabAdapter",
    "LabDescription",
    "LabMessage",
    "Measurement",
    "Outcome",
    "OutcomeKind",
    "Validation",
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
        typical_duration: Seconds an experiment usually takes; None if unknown.
    """

    name: str
    properties: Mapping[str, str]
    concurrency: int
    delivery: DeliveryClass
    simulated: bool
    elements: frozenset[str] | None = None
    typical_duration: float | None = None


@dataclass(frozen=True, slots=True)
class ExperimentRequest:
    """One material to make and measure.

    Attributes:
        key: Idempotency key: the same key always means the same request.
        label: Formula, for people and for look-up tables.
        candidate: The candidate's key.
        cell: The structure as predicted.
        properties: What to measure.
    """

    key: str
    label: str
    candidate: str
    cell: Cell
    properties: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {
            "key": self.key,
            "label": self.label,
            "candidate": self.candidate,
            "cell": self.cell.to_json(),
            "properties": list(self.properties),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExperimentRequest:
        """Reads what `to_json` wrote."""
        return cls(
            key=str(data["key"]),
            label=str(data["label"]),
            candidate=str(data["candidate"]),
            cell=Cell.from_json(data["cell"]),
            properties=tuple(str(p) for p in data["properties"]),
        )


@dataclass(frozen=True, slots=True)
class Validation:
    """A lab's answer to "could you do this?".

    Attributes:
        accepted: Whether it could.
        reasons: Why not, one clause each.
    """

    accepted: bool
    reasons: tuple[str, ...] = ()


class OutcomeKind(StrEnum):
    """How an experiment ended, or that nobody knows.

    measured           values came back
    refused            the lab will not do it: plan something else
    infeasible         the material cannot be made: an observation in its own right
    failed_retryable   the instrument failed: the same experiment may be tried again
    failed_final       it failed and will again
    unknown            the lab cannot say; a lost heartbeat is this, never a failure
    retracted          an earlier result is withdrawn
    """

    MEASURED = "measured"
    REFUSED = "refused"
    INFEASIBLE = "infeasible"
    FAILED_RETRYABLE = "failed_retryable"
    FAILED_FINAL = "failed_final"
    UNKNOWN = "unknown"
    RETRACTED = "retracted"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured value.

    Attributes:
        property: Name of the property.
        value: Its value, in `unit`.
        unit: Unit of value and sigma.
        sigma: Standard uncertainty; None if unknown.
        method: How it was obtained.
    """

    property: str
    value: float
    unit: str
    sigma: float | None = None
    method: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a message means.

    Attributes:
        kind: How it ended.
        measurements: The values, where measured.
        reason: Why, where not; one sentence.
        cell: The structure as made or relaxed, if the lab knows it.
        duration: Seconds that the lab spent; None if unknown.
        details: Anything else worth keeping; plain JSON values.
    """

    kind: OutcomeKind
    measurements: tuple[Measurement, ...] = ()
    reason: str = ""
    cell: Cell | None = None
    duration: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Returns the canonical bytes of this outcome."""
        data = {
            "kind": self.kind.value,
            "measurements": [asdict(m) for m in self.measurements],
            "reason": self.reason,
            "cell": None if self.cell is None else self.cell.to_json(),
            "duration": self.duration,
            "details": dict(self.details),
        }
        return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> Outcome:
        """Reads what `to_json` wrote.

        Raises:
            LabError: If the bytes are no outcome, or a value or sigma is not a finite number.
        """
        try:
            data = json.loads(raw)
            measurements = tuple(Measurement(**m) for m in data["measurements"])
            outcome = cls(
                kind=OutcomeKind(data["kind"]),
                measurements=measurements,
                reason=str(data["reason"]),
                cell=None if data["cell"] is None else Cell.from_json(data["cell"]),
                duration=data["duration"],
                details=data["details"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise LabError("The lab sent a message that is no outcome.") from error
        for m in outcome.measurements:
            if not math.isfinite(m.value):
                raise LabError(f"The lab measured {m.property} as {m.value}.")
            if m.sigma is not None and not (math.isfinite(m.sigma) and m.sigma >= 0):
                raise LabError(f"The lab gave {m.property} the uncertainty {m.sigma}.")
        return outcome


@dataclass(frozen=True, slots=True)
class LabMessage:
    """Something a lab says about a submission.

    Attributes:
        message_id: The lab's own id, the same each time the message is delivered.
        key: The request's idempotency key.
        raw: The bytes as received; `Outcome.from_json` reads them.
    """

    message_id: str
    key: str
    raw: bytes


@runtime_checkable
class LabAdapter(Protocol):
    """A lab, simulated or real."""

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
