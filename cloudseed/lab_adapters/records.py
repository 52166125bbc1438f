"""What a lab sends back: measurements, outcomes, failures, and the message that carries them.

An outcome's JSON leaves out what a lab does not tell, so that messages of earlier versions stay
readable, and those that say nothing new keep their bytes.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from types import NoneType
from typing import TYPE_CHECKING, Any

from cloudseed.crystal import Cell
from cloudseed.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "EFFECTS",
    "Effect",
    "FailureKind",
    "Instrument",
    "LabMessage",
    "Measurement",
    "Outcome",
    "OutcomeKind",
    "Quality",
    "RawData",
]


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


class FailureKind(StrEnum):
    """Why there is no value; `EFFECTS` says what follows from each.

    transport             the words did not get through; the lab may or may not have them
    rejected_invalid      the request makes no sense
    rejected_capability   this lab cannot do it
    rejected_stock        a precursor is used up
    rejected_safety       it may not be done
    sample_failed         the material did not form: a real observation
    measurement_invalid   the sample is there, the reading is worthless
    sample_lost           dropped, mixed up or contaminated
    instrument_fault      the instrument broke down
    stopped               a person or a safety function stopped it
    unknown               nobody can say
    """

    TRANSPORT = "transport"
    REJECTED_INVALID = "rejected_invalid"
    REJECTED_CAPABILITY = "rejected_capability"
    REJECTED_STOCK = "rejected_stock"
    REJECTED_SAFETY = "rejected_safety"
    SAMPLE_FAILED = "sample_failed"
    MEASUREMENT_INVALID = "measurement_invalid"
    SAMPLE_LOST = "sample_lost"
    INSTRUMENT_FAULT = "instrument_fault"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Effect:
    """What follows from a failure.

    Attributes:
        outcome: The outcome that carries it.
        retry: "same key": send again; "new key": another attempt; "person": someone must decide;
            "no": never.
        leaves_pool: Whether the candidate is planned no more.
        teaches: Whether the model of what can be made learns from it.
        spends: Whether it counts against the budget of experiments.
    """

    outcome: OutcomeKind
    retry: str
    leaves_pool: bool
    teaches: bool
    spends: bool


EFFECTS: Mapping[FailureKind, Effect] = {
    FailureKind.TRANSPORT: Effect(OutcomeKind.UNKNOWN, "same key", False, False, False),
    FailureKind.REJECTED_INVALID: Effect(OutcomeKind.REFUSED, "no", True, False, False),
    FailureKind.REJECTED_CAPABILITY: Effect(OutcomeKind.REFUSED, "no", True, False, False),
    FailureKind.REJECTED_STOCK: Effect(OutcomeKind.REFUSED, "person", True, False, False),
    FailureKind.REJECTED_SAFETY: Effect(OutcomeKind.REFUSED, "no", True, False, False),
    FailureKind.SAMPLE_FAILED: Effect(OutcomeKind.INFEASIBLE, "no", True, True, True),
    FailureKind.MEASUREMENT_INVALID: Effect(
        OutcomeKind.FAILED_RETRYABLE, "new key", False, False, True
    ),
    FailureKind.SAMPLE_LOST: Effect(OutcomeKind.FAILED_RETRYABLE, "new key", False, False, True),
    FailureKind.INSTRUMENT_FAULT: Effect(
        OutcomeKind.FAILED_RETRYABLE, "new key", False, False, False
    ),
    FailureKind.STOPPED: Effect(OutcomeKind.FAILED_FINAL, "person", False, False, False),
    FailureKind.UNKNOWN: Effect(OutcomeKind.UNKNOWN, "person", False, False, False),
}
"""What each failure means for retry, pool, model and budget."""


class Quality(StrEnum):
    """What a lab thinks of a value: good, suspect (use with care) or bad (do not use)."""

    GOOD = "good"
    SUSPECT = "suspect"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class RawData:
    """Where the instrument's own file is.

    Attributes:
        uri: Its address.
        sha256: Its digest in hexadecimal, so that it can be told from another.
    """

    uri: str
    sha256: str

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or not set(self.sha256) <= set("0123456789abcdef"):
            raise LabError(
                f"{self.sha256!r} is no SHA-256 digest.", hint="Give 64 hexadecimal digits."
            )


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured value.

    Attributes:
        property: Name of the property.
        value: Its value, in `unit`.
        unit: Unit of value and sigma.
        sigma: Standard uncertainty; None if unknown.
        method: How the value was obtained.
        sigma_method: How the uncertainty was: repeats, calibration, an estimate.
        n: Number of readings behind it; None if unknown.
        quality: What the lab thinks of it.
        raw: The instrument's own data.
    """

    property: str
    value: float
    unit: str
    sigma: float | None = None
    method: str = ""
    sigma_method: str = ""
    n: int | None = None
    quality: Quality = Quality.GOOD
    raw: RawData | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, without what is not told."""
        data = asdict(self)
        for name in ("sigma_method", "n", "raw"):
            if not data[name]:
                del data[name]
        if self.quality is Quality.GOOD:
            del data["quality"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """Reads what `to_json` wrote.

        Raises:
            LabError: If a number is not finite, or there are fewer than one reading.
        """
        values = dict(data)
        for name in ("property", "unit", "method", "sigma_method"):
            _expect(values.get(name, ""), str, name)
        for name in ("value", "sigma", "n"):
            _expect(values.get(name, 0), (int, float, NoneType), name)
        if values.get("raw") is not None:
            values["raw"] = RawData(**values["raw"])
        values["quality"] = Quality(values.get("quality", Quality.GOOD))
        found = cls(**values)
        if not math.isfinite(found.value):
            raise LabError(f"The lab measured {found.property} as {found.value}.")
        if found.sigma is not None and not (math.isfinite(found.sigma) and found.sigma >= 0):
            raise LabError(f"The lab gave {found.property} the uncertainty {found.sigma}.")
        if found.n is not None and found.n < 1:
            raise LabError(f"The lab gave {found.property} {found.n} readings.")
        return found


@dataclass(frozen=True, slots=True)
class Instrument:
    """What did the work.

    Attributes:
        name: Make, model, serial number.
        firmware: Version of its firmware or program.
        calibration_age: Seconds since it was last calibrated; None if unknown.
    """

    name: str
    firmware: str = ""
    calibration_age: float | None = None


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
        failure: Which failure it was, where the lab can tell.
        recipe: The recipe as executed; plain JSON values.
        instrument: What did the work.
        simulated: Whether the values were computed; None if the lab does not say.
        started: When the work began, UTC.
        ended: When it ended, UTC.
        cost: What it cost, in the currency of the lab's description.
    """

    kind: OutcomeKind
    measurements: tuple[Measurement, ...] = ()
    reason: str = ""
    cell: Cell | None = None
    duration: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    failure: FailureKind | None = None
    recipe: Mapping[str, Any] | None = None
    instrument: Instrument | None = None
    simulated: bool | None = None
    started: datetime | None = None
    ended: datetime | None = None
    cost: float | None = None

    @classmethod
    def failed(cls, failure: FailureKind, reason: str, **more: Any) -> Outcome:
        """Returns the outcome that carries a failure."""
        return cls(EFFECTS[failure].outcome, reason=reason, failure=failure, **more)

    def to_json(self) -> bytes:
        """Returns the canonical bytes of this outcome."""
        data: dict[str, Any] = {
            "kind": self.kind.value,
            "measurements": [m.to_json() for m in self.measurements],
            "reason": self.reason,
            "cell": None if self.cell is None else self.cell.to_json(),
            "duration": self.duration,
            "details": dict(self.details),
        }
        told = {
            "failure": None if self.failure is None else self.failure.value,
            "recipe": None if self.recipe is None else dict(self.recipe),
            "instrument": None if self.instrument is None else asdict(self.instrument),
            "simulated": self.simulated,
            "started": _text(self.started),
            "ended": _text(self.ended),
            "cost": self.cost,
        }
        data |= {name: value for name, value in told.items() if value is not None}
        return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> Outcome:
        """Reads what `to_json` wrote, in this version or an earlier one.

        Raises:
            LabError: If the bytes are no outcome, a number is not finite, or a time has no zone.
        """
        try:
            data = dict(json.loads(raw))
            data["kind"] = OutcomeKind(data["kind"])
            data["measurements"] = tuple(Measurement.from_json(m) for m in data["measurements"])
            data["reason"] = str(data["reason"])
            _expect(data.setdefault("details", {}), dict, "details")
            _expect(data.get("recipe"), (dict, NoneType), "recipe")
            _expect(data.get("simulated"), (bool, NoneType), "simulated")
            # NaN is no part of JSON, and databases do not keep it.
            told = [data.get(name) for name in ("details", "recipe", "instrument")]
            json.dumps(told, allow_nan=False)
            data["cell"] = None if data["cell"] is None else Cell.from_json(data["cell"])
            if data.get("failure") is not None:
                data["failure"] = FailureKind(data["failure"])
            if data.get("instrument") is not None:
                data["instrument"] = Instrument(**data["instrument"])
            for name in ("started", "ended"):
                data[name] = _time(data.get(name))
            known = {f.name for f in fields(cls)}
            outcome = cls(**{name: value for name, value in data.items() if name in known})
            _check_numbers(outcome)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise LabError("The lab sent a message that is no outcome.") from error
        return outcome


def _expect(value: Any, kinds: type | tuple[type, ...], name: str) -> None:
    numbers = isinstance(kinds, tuple) and float in kinds
    if not isinstance(value, kinds) or (numbers and isinstance(value, bool)):
        raise TypeError(f"{name} is {value!r}")


def _text(time: datetime | None) -> str | None:
    if time is None:
        return None
    if time.tzinfo is None:
        raise LabError("A lab's times need a time zone.", hint="Use datetime.now(UTC).")
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise LabError(f"The lab sent the time {text}, without a time zone.")
    return time.astimezone(UTC)


def _check_numbers(outcome: Outcome) -> None:
    for name in ("duration", "cost"):
        value = getattr(outcome, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise LabError(f"The lab gave its result the {name} {value}.")


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
