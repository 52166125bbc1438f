"""Results that a person takes back or corrects, and the decisions that were made on them.

What a person says goes to the inbox, like what a lab says, and needs no claim: an engine that runs
takes it up at its next step, and where none runs it is settled at once. Nothing is overwritten: the
old values stay, withdrawn, and every decision that was made on them is marked.
"""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudseed.db import ExperimentState, NewMeasurement
from cloudseed.errors import CampaignRunningError, TransitionError, UnitError, UsageError
from cloudseed.lab_adapters import Outcome, OutcomeKind
from cloudseed.units import convert, unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from cloudseed.db import AmendmentRow, DecisionRow, ExperimentRow, Ledger

__all__ = ["CORRECTED", "Amended", "Correction", "correct", "doubts", "ends", "retract"]

_MARK = "cloudseed correction 1"
_LONGEST = 1_000

CORRECTED = "corrected by a person"
"""The method of a value that a person put in another's place."""


@dataclass(frozen=True, slots=True)
class Amended:
    """What came of a retraction or a correction.

    Attributes:
        experiment: The experiment.
        settled: Whether it took effect; else the engine that runs takes it up at its next step.
        rounds: Rounds, from 1, that were made on what no longer stands.
    """

    experiment: int
    settled: bool
    rounds: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {
            "experiment": self.experiment,
            "settled": self.settled,
            "rounds_made_on_it": list(self.rounds),
        }


@dataclass(frozen=True, slots=True)
class Correction:
    """Values that replace those of an experiment, as a message of the inbox.

    Attributes:
        measurements: The new values, in the units of the table.
        reason: Why, and who says so.
    """

    measurements: tuple[NewMeasurement, ...]
    reason: str

    @classmethod
    def read(cls, raw: bytes) -> Correction | None:
        """Reads a message; None if it is no correction, or one that cannot be meant."""
        if _MARK.encode() not in raw[:200]:
            return None
        try:
            data = json.loads(raw)
            rows = tuple(NewMeasurement(**row) for row in data["measurements"])
            meant = data["kind"] == _MARK and all(map(_can_be_kept, rows))
            return cls(rows, str(data["reason"])) if meant else None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def to_json(self) -> bytes:
        """Returns the message."""
        rows = [
            {
                "property": m.property,
                "value": m.value,
                "unit": m.unit,
                "sigma": m.sigma,
                "method": m.method,
            }
            for m in self.measurements
        ]
        data = {"kind": _MARK, "measurements": rows, "reason": self.reason}
        return json.dumps(data, allow_nan=False).encode()


def retract(ledger: Ledger, campaign_id: int, experiment: ExperimentRow, reason: str) -> Amended:
    """Takes back an experiment's result; it no longer teaches the model.

    Args:
        ledger: The record.
        campaign_id: The campaign.
        experiment: The experiment, as it stands.
        reason: Why, and who says so.

    Raises:
        UsageError: If there is no reason.
        TransitionError: If it has no result that could be taken back.
    """
    if ExperimentState.RETRACTED not in experiment.state.successors:
        raise TransitionError(
            f"Experiment {experiment.id} is {experiment.state.value}: there is nothing to retract.",
            hint="Only what was measured or found infeasible can be retracted.",
            experiment_id=experiment.id,
        )
    outcome = Outcome(OutcomeKind.RETRACTED, reason=_reason(reason))
    return _tell(ledger, campaign_id, experiment, outcome)


def correct(
    ledger: Ledger,
    campaign_id: int,
    experiment: ExperimentRow,
    values: Mapping[str, tuple[float, str | None, float | None]],
    reason: str,
) -> Amended:
    """Replaces values that an experiment measured.

    Args:
        ledger: The record.
        campaign_id: The campaign.
        experiment: The experiment, as it stands.
        values: Property -> value, unit and standard uncertainty; the property's own unit where that
            is None. An uncertainty of None says that it is not known.
        reason: Why, and who says so.

    Raises:
        UsageError: If there is no reason or no value, or a property was not measured.
        UnitError: If a unit does not fit its property.
        TransitionError: If the experiment is not measured.
    """
    if experiment.state is not ExperimentState.MEASURED:
        raise TransitionError(
            f"Experiment {experiment.id} is {experiment.state.value}: there is nothing to correct.",
            hint="Only what is measured can be corrected.",
            experiment_id=experiment.id,
        )
    rows = [m for m in ledger.measurements(campaign_id) if m.experiment_id == experiment.id]
    measured = {row.property for row in rows}
    unknown = sorted(set(values) - measured)
    if unknown or not values:
        raise UsageError(
            f"Experiment {experiment.id} has no measurement of {', '.join(unknown)}."
            if unknown
            else "There is no value to set.",
            hint=f"It measured {', '.join(sorted(measured))}.",
        )
    correction = Correction(
        tuple(_measurement(name, *told) for name, told in values.items()), _reason(reason)
    )
    return _tell(ledger, campaign_id, experiment, correction)


def ends(experiments: Iterable[ExperimentRow]) -> dict[int, datetime]:
    """Returns when each experiment that has ended did, UTC, by id."""
    return {e.id: e.finished_at for e in experiments if e.finished_at is not None}


def doubts(
    decision: DecisionRow, amendments: Sequence[AmendmentRow], ended: Mapping[int, datetime]
) -> Iterator[str]:
    """Yields what a decision was made on and does not stand any more, one sentence each.

    Args:
        decision: The decision.
        amendments: What was retracted or corrected.
        ended: When experiments ended, of which nothing was ever measured.
    """
    told: set[tuple[int, bool]] = set()
    for row in amendments:
        if row.measurement_id is not None:
            used = row.measurement_id in decision.observed
        else:
            end = ended.get(row.experiment_id)
            used = end is not None and end < decision.created_at < row.at
        corrected = row.replaced_by is not None
        if not used or (row.experiment_id, corrected) in told:
            continue
        told.add((row.experiment_id, corrected))
        verb = "corrected" if corrected else "retracted"
        yield (
            f"The result of experiment {row.experiment_id} was {verb} on"
            f" {row.at:%Y-%m-%d %H:%M} UTC: {row.reason}"
        )


def _tell(
    ledger: Ledger,
    campaign_id: int,
    experiment: ExperimentRow,
    message: Correction | Outcome,
) -> Amended:
    """Leaves the message, and settles it where no engine will."""
    standing = ledger.measurements(campaign_id)
    changed = (
        None
        if isinstance(message, Outcome)
        else {measurement.property for measurement in message.measurements}
    )
    gone = {
        row.id
        for row in standing
        if row.experiment_id == experiment.id and (changed is None or row.property in changed)
    }
    decisions = ledger.decisions(campaign_id)
    rounds = tuple(d.step + 1 for d in decisions if any(i in d.observed for i in gone))
    inbox_id = ledger.tell(campaign_id, uuid.uuid4().hex, experiment.idem_key, message.to_json())
    try:
        with ledger.claim(campaign_id) as claim:
            if isinstance(message, Correction):
                ledger.correct(claim, inbox_id, message.measurements, message.reason)
            else:
                ledger.settle(claim, inbox_id, ExperimentState.RETRACTED, reason=message.reason)
    except CampaignRunningError:
        return Amended(experiment.id, settled=False, rounds=rounds)
    return Amended(experiment.id, settled=True, rounds=rounds)


def _measurement(name: str, value: float, unit: str | None, sigma: float | None) -> NewMeasurement:
    own = unit_of(name)
    given = unit or own
    if given is None:
        raise UnitError(f"The unit of {name} is not known.", hint="Give it after the value.")
    target = own or given
    value = convert(value, given, target)
    sigma = None if sigma is None else convert(sigma, given, target)
    if not math.isfinite(value) or (sigma is not None and not 0 <= sigma < math.inf):
        raise UsageError(
            f"{value} with uncertainty {sigma} is no measurement of {name}.",
            hint="Give finite numbers, and an uncertainty that is not negative.",
        )
    return NewMeasurement(name, value, target, sigma, CORRECTED)


def _can_be_kept(row: NewMeasurement) -> bool:
    """Whether the ledger takes a value: finite numbers in the unit of the table."""
    numbers = [row.value, *([] if row.sigma is None else [row.sigma])]
    return (
        all(isinstance(text, str) for text in (row.property, row.unit, row.method))
        and all(type(n) in {int, float} and math.isfinite(n) for n in numbers)
        and (row.sigma is None or row.sigma >= 0)
        and unit_of(row.property) in {None, row.unit}
    )


def _reason(text: str) -> str:
    stripped = " ".join(text.split())
    if not stripped:
        raise UsageError("A reason is missing.", hint="Say why, with --reason.")
    return stripped[:_LONGEST]
