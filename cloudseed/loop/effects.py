"""What follows from how an experiment ended: another attempt, the pool, the model, the budget.

Labs that can tell say which failure it was, and `EFFECTS` what each means. Of the others only the
outcome is known: then what is infeasible or refused leaves the pool and teaches the model, what
failed leaves the pool and teaches nothing, and neither counts against the budget of experiments.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from cloudseed.db import ExperimentState
from cloudseed.lab_adapters import (
    EFFECTS,
    FailureKind,
    Measurement,
    Outcome,
    OutcomeKind,
    Quality,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudseed.db import Ledger

__all__ = ["failures_of", "judged", "leaves_pool", "next_state", "record", "teaches", "wasted"]

_NEW_KEY = "new key"
_KEPT = "failures"

_STATES = {
    OutcomeKind.MEASURED: ExperimentState.MEASURED,
    OutcomeKind.REFUSED: ExperimentState.REFUSED,
    OutcomeKind.INFEASIBLE: ExperimentState.INFEASIBLE,
    OutcomeKind.FAILED_FINAL: ExperimentState.FAILED,
    OutcomeKind.RETRACTED: ExperimentState.RETRACTED,
}


def judged(outcome: Outcome, wanted: Sequence[str]) -> Outcome:
    """Returns the outcome without values that the lab itself calls bad.

    Where one of them was asked for, the measurement as a whole is invalid.
    """
    bad = {m.property for m in outcome.measurements if m.quality is Quality.BAD}
    good = tuple(m for m in outcome.measurements if m.quality is not Quality.BAD)
    lost = [name for name in wanted if name in bad and all(m.property != name for m in good)]
    if outcome.kind is not OutcomeKind.MEASURED or not bad:
        return outcome
    if not lost:
        return replace(outcome, measurements=good)
    kind = FailureKind.MEASUREMENT_INVALID
    return replace(
        outcome,
        kind=EFFECTS[kind].outcome,
        measurements=(),
        failure=kind,
        reason=f"the lab calls its reading of {', '.join(lost)} bad",
    )


def next_state(outcome: Outcome, tried: int, attempts: int) -> tuple[ExperimentState | None, str]:
    """Returns the state that an outcome leads to, and why; None leaves the experiment as it is.

    Args:
        outcome: What the lab says.
        tried: How many attempts the lab has had at it.
        attempts: How many it may have in all.
    """
    if outcome.kind is OutcomeKind.UNKNOWN:
        return None, outcome.reason or "the lab cannot say"
    if outcome.kind is OutcomeKind.FAILED_RETRYABLE:
        again = outcome.failure is None or EFFECTS[outcome.failure].retry == _NEW_KEY
        if again and tried < attempts:
            return ExperimentState.PLANNED, outcome.reason
        return ExperimentState.FAILED, f"{outcome.reason} (attempt {tried})"
    return _STATES[outcome.kind], outcome.reason


def record(
    outcome: Outcome, earlier: Mapping[str, Any], readings: Sequence[Measurement] | None = None
) -> dict[str, Any]:
    """Returns what an outcome tells besides its values, as JSON values for the ledger.

    Args:
        outcome: What the lab said.
        earlier: What the ledger holds of earlier attempts, whose failures are kept.
        readings: All that was read, where the outcome has lost what is bad.
    """
    told = {
        "cell": None if outcome.cell is None else outcome.cell.to_json(),
        "duration": outcome.duration,
        "cost": outcome.cost,
        "recipe": None if outcome.recipe is None else dict(outcome.recipe),
        "instrument": None if outcome.instrument is None else asdict(outcome.instrument),
        "simulated": outcome.simulated,
        "started": None if outcome.started is None else outcome.started.isoformat(),
        "ended": None if outcome.ended is None else outcome.ended.isoformat(),
        "readings": _readings(outcome.measurements if readings is None else readings),
        _KEPT: [*earlier.get(_KEPT, ()), *([outcome.failure.value] if outcome.failure else ())],
    }
    # No lab writes where the loop does.
    free = {k: v for k, v in outcome.details.items() if k not in told}
    return free | {k: v for k, v in told.items() if v is not None and v != []}


def _readings(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Returns what measurements tell that has no column of its own; of bad ones all there is."""
    found = []
    for m in measurements:
        more = m.to_json()
        if m.quality is not Quality.BAD:
            for name in ("value", "unit", "sigma", "method"):
                more.pop(name, None)
        if len(more) > 1:
            found.append(more)
    return found


def failures_of(ledger: Ledger, campaign_id: int) -> dict[int, tuple[FailureKind, ...]]:
    """Returns the failures of each experiment's attempts that labs told of, by experiment id."""
    known = {kind.value: kind for kind in FailureKind}
    return {
        number: tuple(known[name] for name in details[_KEPT] if name in known)
        for number, details in ledger.details_with(campaign_id, _KEPT).items()
    }


def leaves_pool(
    state: ExperimentState, failures: Sequence[FailureKind], *, hints: bool = False
) -> bool:
    """Whether a candidate is planned no more, given how its experiment stands.

    One whose instrument or sample failed may be chosen again; one that a person stopped may not
    without that person.

    Args:
        state: The experiment's.
        failures: What its lab told of failures.
        hints: Whether that lab's values only hint at what counts. Then the candidate is left to the
            labs whose values do, once it has ended, unless it cannot be made.
    """
    if hints and state.terminal and state is not ExperimentState.INFEASIBLE:
        return False
    if state is ExperimentState.CANCELLED:
        return False
    if state is not ExperimentState.FAILED or not failures:
        return True
    effect = EFFECTS[failures[-1]]
    return effect.leaves_pool or effect.retry != _NEW_KEY


def teaches(
    state: ExperimentState, failures: Sequence[FailureKind], *, hints: bool = False
) -> bool:
    """Whether an end without a value tells that the material cannot be made.

    What a lab that only hints will not do says nothing of the others.
    """
    if hints and state is ExperimentState.REFUSED:
        return False
    if state is ExperimentState.REFUSED and failures:
        return EFFECTS[failures[-1]].teaches
    return state in {ExperimentState.INFEASIBLE, ExperimentState.REFUSED}


def wasted(failures: Iterable[Sequence[FailureKind]]) -> int:
    """Returns how many attempts count against the budget of experiments though no value came."""
    return sum(EFFECTS[kind].spends for kinds in failures for kind in kinds)
