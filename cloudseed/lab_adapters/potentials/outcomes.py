"""How a calculation ends without a value, and how a value is written down."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cloudseed.lab_adapters.protocols import (
    FailureKind,
    Measurement,
    Outcome,
    OutcomeKind,
    Quality,
)
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudseed.crystal import Cell

__all__ = ["Breakdown", "Ended", "measurement", "without_value"]


class Breakdown(StrEnum):
    """Why there is no value; `details["breakdown"]["kind"]` of an outcome.

    exploded              the cell grew beyond `max_volume_ratio`, or its energy is no number
    collapsed             the cell shrank beyond it, or two atoms came too close
    fell_apart            an atom touches no other
    not_converged         the relaxation did not come to rest within `max_steps`
    no_minimum            the energy has no minimum near the relaxed volume
    elastically_unstable  a small strain lowers the energy
    imaginary_modes       a vibration has an imaginary frequency
    unusable              the material is fine, the numbers are not: another try gives the same
    too_dear              it would take more force calculations than the owner allows
    """

    EXPLODED = "exploded"
    COLLAPSED = "collapsed"
    FELL_APART = "fell_apart"
    NOT_CONVERGED = "not_converged"
    NO_MINIMUM = "no_minimum"
    ELASTICALLY_UNSTABLE = "elastically_unstable"
    IMAGINARY_MODES = "imaginary_modes"
    UNUSABLE = "unusable"
    TOO_DEAR = "too_dear"


class Ended(Exception):  # noqa: N818
    """The calculation is over without a value.

    Args:
        kind: How it ended.
        reason: Why, one clause.
        **facts: Numbers that show it; plain JSON values.
    """

    def __init__(self, kind: Breakdown, reason: str, **facts: Any) -> None:
        super().__init__(reason)
        self.kind = kind
        self.facts = facts


def without_value(
    ended: Ended, cell: Cell | None, details: Mapping[str, Any], **more: Any
) -> Outcome:
    """Returns the outcome of a calculation that gave no value.

    What the material did is an observation of it: infeasible. What a calculation could not tell
    is final, not to be tried again, for the same calculation gives the same.
    """
    told = {**details, "breakdown": {"kind": ended.kind.value, **ended.facts}}
    common: dict[str, Any] = {"cell": cell, "details": told, "simulated": True, **more}
    reason = str(ended)
    if ended.kind is Breakdown.TOO_DEAR:
        return Outcome.failed(FailureKind.REJECTED_CAPABILITY, reason, **common)
    if ended.kind is Breakdown.UNUSABLE:
        failure = FailureKind.MEASUREMENT_INVALID
        return Outcome(OutcomeKind.FAILED_FINAL, reason=reason, failure=failure, **common)
    return Outcome.failed(FailureKind.SAMPLE_FAILED, reason, **common)


def measurement(
    name: str,
    value: float,
    sigma: float,
    method: str,
    sigma_method: str,
    *,
    suspect: bool = False,
) -> Measurement:
    """Returns a value in the property's own unit."""
    quality = Quality.SUSPECT if suspect else Quality.GOOD
    unit = unit_of(name) or ""
    return Measurement(
        name, float(value), unit, float(sigma), method, sigma_method, quality=quality
    )
