"""What is known of a result besides its values: the same in every export and in `explain`.

The ledger keeps it in an experiment's details, as `effects.record` wrote them. What a lab did not
tell is None everywhere, never a guess.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cloudseed._printable import printable
from cloudseed.lab_adapters import Quality
from cloudseed.loop.amending import CORRECTED
from cloudseed.loop.safety.approvals import made_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cloudseed.db import CampaignRow, ExperimentRow, Ledger
    from cloudseed.loop.results import Result

    Kind = Literal["text", "whole", "number", "flag"]

__all__ = ["COLUMNS", "READING_COLUMNS", "Reading", "Told", "told_all", "told_by"]

_TOGETHER = 500
"""Experiments whose details are read at once."""

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
        refused: Bad readings of properties that have another, with their names, as the lab told.
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
    refused: Sequence[tuple[str, Reading]] = ()

    @property
    def lines(self) -> list[str]:
        """What is known, as lines to read, whatever characters a lab sent."""
        found = [
            f"{head}: {_shown(value)}"
            for head, value in zip(COLUMNS, self.cells, strict=True)
            if value is not None
        ]
        for name, each in (*self.readings.items(), *self.refused):
            facts = [
                f"{head} {value}"
                for head, value in zip(READING_COLUMNS, each.cells, strict=True)
                if value is not None
            ]
            if each.refused is not None:
                facts.append(f"not used: {each.refused}")
            found.append(f"{name.replace('_', ' ')}: {', '.join(facts)}")
        return [printable(line) for line in found]

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
            "refused": [{"property": name, **each.to_json()} for name, each in self.refused]
            or None,
        }
        return _known(data)


def told_all(ledger: Ledger, campaign: CampaignRow, results: Sequence[Result]) -> Iterator[Told]:
    """Yields what is known of each result besides its values; the ledger is asked once for many."""
    return told_by(ledger, campaign, [(r.experiment, r.methods) for r in results])


def told_by(
    ledger: Ledger,
    campaign: CampaignRow,
    ran: Sequence[tuple[ExperimentRow, Mapping[str, str]]],
) -> Iterator[Told]:
    """Yields what is known of experiments besides their values.

    Args:
        ledger: The record.
        campaign: Whose experiments they are.
        ran: Each experiment, with its request; and property -> how its value was obtained, of
            values that stand.
    """
    for start in range(0, len(ran), _TOGETHER):
        some = ran[start : start + _TOGETHER]
        details = ledger.details_of(experiment.id for experiment, _ in some)
        for experiment, methods in some:
            yield _told(campaign, experiment, methods, details[experiment.id])


def _told(
    campaign: CampaignRow,
    ran: ExperimentRow,
    methods: Mapping[str, str],
    details: Mapping[str, Any],
) -> Told:
    came = bool(methods) or "simulated" in details
    instrument = details.get("instrument") or {}
    readings = _readings(methods, details.get("readings", ()))
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
        readings=readings,
        refused=_refused(details.get("readings", ()), readings),
    )


def _said(campaign: CampaignRow, lab: str) -> bool | None:
    """Returns whether a lab said that it simulates; None where the campaign never met it."""
    return next((bool(m["simulated"]) for m in made_on(campaign) if m.get("name") == lab), None)


def _readings(methods: Mapping[str, str], told: Sequence[Mapping[str, Any]]) -> dict[str, Reading]:
    """Returns how each value was obtained that stands, and what a lab told of those that do not.

    What a person put right has nothing left of the reading that it replaced.
    """
    bad = {str(each["property"]): each for each in told if _is_bad(each)}
    more = bad | {str(each["property"]): each for each in told if not _is_bad(each)}
    found = {}
    for name in dict.fromkeys([*methods, *more]):
        each = more.get(name, {}) if methods.get(name) != CORRECTED else {}
        found[name] = _reading({} if name in methods and _is_bad(each) else each, methods.get(name))
    return found


def _refused(
    told: Sequence[Mapping[str, Any]], readings: Mapping[str, Reading]
) -> tuple[tuple[str, Reading], ...]:
    """Returns the bad readings of properties that have another."""
    each = [(str(r["property"]), _reading(r)) for r in told if _is_bad(r)]
    return tuple((name, reading) for name, reading in each if readings[name] != reading)


def _is_bad(each: Mapping[str, Any]) -> bool:
    return bool(each.get("quality") == Quality.BAD.value)


def _reading(each: Mapping[str, Any], method: str | None = None) -> Reading:
    raw = each.get("raw") or {}
    value = each.get("value")
    return Reading(
        method=(method if method is not None else each.get("method")) or None,
        sigma_method=each.get("sigma_method"),
        n=each.get("n"),
        quality=each.get("quality", "good"),
        raw=raw.get("uri"),
        raw_sha256=raw.get("sha256"),
        refused=None if value is None else f"{value} {each.get('unit', '')}".strip(),
    )


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _text(recipe: Mapping[str, Any] | None) -> str | None:
    return None if recipe is None else json.dumps(recipe, sort_keys=True)


def _known(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}
