"""What is known of a result besides its values: the same in every export and in `explain`.

The ledger keeps it in an experiment's details, as `effects.record` wrote them. What a lab did not
tell is None everywhere, never a guess.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cloudseed.loop.amending import CORRECTED
from cloudseed.loop.safety.approvals import made_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.db import CampaignRow, ExperimentRow, Ledger
    from cloudseed.loop.results import Result

    Kind = Literal["text", "whole", "number", "flag"]

__all__ = ["COLUMNS", "READING_COLUMNS", "Reading", "Told", "told_by", "told_of"]

COLUMNS: Mapping[str, Kind] = {
    "lab": "text",
    "attempts": "whole",
    "simulated": "flag",
    "instrument": "text",
    "firmware": "text",
    "calibration age (s)": "number",
    "started": "text",
    "ended": "text",
    "duration (s)": "number",
    "cost": "number",
    "failures": "text",
    "recipe asked for": "text",
    "recipe executed": "text",
}
"""Columns that an experiment has in a table, and what they hold."""

READING_COLUMNS: Mapping[str, Kind] = {
    "method": "text",
    "sigma method": "text",
    "readings": "whole",
    "quality": "text",
    "raw data": "text",
    "raw data sha256": "text",
}
"""What each property has besides value and uncertainty."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a value was obtained.

    Attributes:
        method: How the value was.
        sigma_method: How its uncertainty was.
        n: Readings behind it.
        quality: What the lab thinks of it: "good", "suspect", or "bad" for one that does not count;
            None where nobody measured it.
        raw: Address of the instrument's own data.
        raw_sha256: Its digest.
        refused: The value and its unit where it is bad.
    """

    method: str | None = None
    sigma_method: str | None = None
    n: int | None = None
    quality: str | None = None
    raw: str | None = None
    raw_sha256: str | None = None
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, without what is not known."""
        return _known(asdict(self))

    @property
    def cells(self) -> tuple[Any, ...]:
        """What `READING_COLUMNS` hold."""
        return (
            self.method,
            self.sigma_method,
            self.n,
            self.quality,
            self.raw,
            self.raw_sha256,
        )


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of an experiment besides its values.

    Attributes:
        lab: Where it was made.
        attempts: How many attempts the lab had.
        simulated: Whether the values were computed: as the result says, or else as the lab said
            when the campaign was made; None where nothing came.
        instrument: Make, model, serial number.
        firmware: Version of its firmware or program.
        calibration_age: Seconds since it was last calibrated.
        started: When the work began, UTC, ISO 8601.
        ended: When it ended.
        duration: Seconds that the lab spent.
        cost: In the currency of the lab's description.
        failures: What the lab told of failures, attempt by attempt.
        asked: The recipe that the request carried.
        recipe: The recipe as executed.
        readings: Property -> how its value was obtained.
    """

    lab: str
    attempts: int
    simulated: bool | None = None
    instrument: str | None = None
    firmware: str | None = None
    calibration_age: float | None = None
    started: str | None = None
    ended: str | None = None
    duration: float | None = None
    cost: float | None = None
    failures: tuple[str, ...] = ()
    asked: Mapping[str, Any] | None = None
    recipe: Mapping[str, Any] | None = None
    readings: Mapping[str, Reading] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """What is known, as lines to read."""
        found = [
            f"{head}: {_shown(value)}"
            for head, value in zip(COLUMNS, self.cells, strict=True)
            if value is not None
        ]
        for name, each in self.readings.items():
            facts = [
                f"{head} {value}"
                for head, value in zip(READING_COLUMNS, each.cells, strict=True)
                if value is not None
            ]
            if each.refused is not None:
                facts.append(f"not used: {each.refused}")
            found.append(f"{name.replace('_', ' ')}: {', '.join(facts)}")
        return found

    @property
    def cells(self) -> tuple[Any, ...]:
        """What `COLUMNS` hold."""
        return (
            self.lab,
            self.attempts,
            self.simulated,
            self.instrument,
            self.firmware,
            self.calibration_age,
            self.started,
            self.ended,
            self.duration,
            self.cost,
            " ".join(self.failures) or None,
            _text(self.asked),
            _text(self.recipe),
        )

    def reading(self, name: str) -> Reading:
        """Returns how a property's value was obtained; all None where it was not measured."""
        return self.readings.get(name, Reading())

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, without what is not known."""
        data = asdict(self)
        data |= {
            "failures": list(self.failures),
            "readings": {name: each.to_json() for name, each in self.readings.items()},
        }
        return _known(data)


def told_of(ledger: Ledger, campaign: CampaignRow, result: Result) -> Told:
    """Returns what is known of a result besides its values."""
    return told_by(ledger, campaign, result.experiment, result.methods)


def told_by(
    ledger: Ledger, campaign: CampaignRow, ran: ExperimentRow, methods: Mapping[str, str]
) -> Told:
    """Returns what is known of an experiment besides its values.

    Args:
        ledger: The record.
        campaign: Whose experiment it is.
        ran: The experiment, with its request.
        methods: Property -> how its value was obtained, of values that stand.
    """
    details = ledger.details(ran.id)
    came = bool(methods) or "simulated" in details
    instrument = details.get("instrument") or {}
    return Told(
        lab=ran.lab,
        attempts=ran.attempt,
        simulated=details.get("simulated", _said(campaign, ran.lab) if came else None),
        instrument=instrument.get("name"),
        firmware=instrument.get("firmware") or None,
        calibration_age=instrument.get("calibration_age"),
        **{name: details.get(name) for name in ("started", "ended", "duration", "cost", "recipe")},
        failures=tuple(details.get("failures", ())),
        asked=ran.request.get("recipe"),
        readings=_readings(methods, details.get("readings", ())),
    )


def _said(campaign: CampaignRow, lab: str) -> bool | None:
    """Returns whether a lab said that it simulates; None where the campaign never met it."""
    return next((bool(m["simulated"]) for m in made_on(campaign) if m.get("name") == lab), None)


def _readings(methods: Mapping[str, str], told: Sequence[Mapping[str, Any]]) -> dict[str, Reading]:
    """Returns how each value was obtained that stands, and each that the lab calls bad.

    What a person put right has nothing left of the reading that it replaced.
    """
    more = {str(each["property"]): each for each in told}
    found = {}
    for name in dict.fromkeys([*methods, *more]):
        each = more.get(name, {}) if methods.get(name) != CORRECTED else {}
        stands, raw = name in methods, each.get("raw") or {}
        found[name] = Reading(
            method=(methods[name] if stands else each.get("method")) or None,
            sigma_method=each.get("sigma_method"),
            n=each.get("n"),
            quality=each.get("quality", "good"),
            raw=raw.get("uri"),
            raw_sha256=raw.get("sha256"),
            refused=None if stands else f"{each.get('value')} {each.get('unit')}".strip(),
        )
    return found


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _text(recipe: Mapping[str, Any] | None) -> str | None:
    return None if recipe is None else json.dumps(recipe, sort_keys=True)


def _known(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}
