"""Collect: read labs, commit raw messages to the inbox, turn them into outcomes, each once."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from cloudseed._failpoints import passing
from cloudseed.db import PERSON, ExperimentState, NewMeasurement
from cloudseed.errors import CloudseedError, LabError
from cloudseed.lab_adapters import Outcome, OutcomeKind
from cloudseed.loop.amending import Correction
from cloudseed.loop.budgets import actual
from cloudseed.loop.descriptions import currency
from cloudseed.loop.effects import judged, next_state, record
from cloudseed.loop.patience import asking, is_closed, pause
from cloudseed.units import convert, unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.db import ExperimentRow
    from cloudseed.lab_adapters import LabAdapter
    from cloudseed.loop.context import Context

__all__ = ["attempt_key", "collect"]

log = logging.getLogger(__name__)

RETRY_PAUSE = 2.0
"""Seconds before an experiment whose instrument failed is tried again the first time."""


def attempt_key(experiment: ExperimentRow) -> str:
    """Returns the key under which the lab gets the current attempt.

    Another attempt is another submission: a lab that honours keys would answer the old one with the
    old failure.
    """
    return f"{experiment.idem_key}-{experiment.attempt}"


def collect(context: Context) -> int:
    """Takes in what the labs have to say; returns the number of messages turned into outcomes.

    Raises:
        LabError: If a lab cannot be reached, once the others were heard; what it has to say is
            asked for again later.
    """
    ledger, campaign = context.ledger, context.campaign.id
    running = ledger.experiments(campaign, [ExperimentState.RUNNING])
    trouble: LabError | None = None
    for name, lab in context.labs.items():
        handles = [e.handle for e in running if e.lab == name and e.handle is not None]
        if not handles or is_closed(context, name):
            continue
        try:
            _hear(context, name, lab, handles)
        except LabError as error:
            trouble = trouble or error
    messages = ledger.unprocessed(campaign)
    if messages:
        stems = [key.rpartition("-")[0] for _, key, _ in messages]
        known = ledger.experiments_of(campaign, {*stems, *(key for _, key, _ in messages)})
        senders = ledger.told_by(inbox_id for inbox_id, _, _ in messages)
        for (inbox_id, key, raw), stem in zip(messages, stems, strict=True):
            found = known.get(key) or known.get(stem)
            _settle(context, inbox_id, found, raw, senders[inbox_id])
    if trouble is not None and not messages:
        raise trouble
    return len(messages)


def _hear(context: Context, name: str, lab: LabAdapter, handles: Sequence[str]) -> None:
    """Commits what a lab says about its submissions, byte for byte."""
    passing("poll.before")
    with asking(context, name):
        messages = lab.poll(handles)
    passing("poll.after")
    for message in messages:
        context.ledger.receive(context.claim, name, message.message_id, message.key, message.raw)


def _settle(
    context: Context, inbox_id: int, experiment: ExperimentRow | None, raw: bytes, sender: str
) -> None:
    ledger, claim = context.ledger, context.claim
    if experiment is None:
        ledger.settle(claim, inbox_id, None, reason="a result for an unknown experiment")
        return
    if not experiment.attempt:
        ledger.settle(claim, inbox_id, None, reason="a result of what was never sent")
        return
    if sender == PERSON and (correction := Correction.read(raw)) is not None:
        ledger.correct(claim, inbox_id, correction.measurements, correction.reason)
        return
    try:
        if b"\\u0000" in raw:
            raise LabError("The lab's message has a null character, which databases do not keep.")
        whole = Outcome.from_json(raw)
        outcome = judged(whole, experiment.request["properties"])
        measurements = _measurements(outcome, experiment)
    except Exception as error:
        log.warning("unreadable message", extra={"inbox": inbox_id, "why": repr(error)})
        why = error.message if isinstance(error, CloudseedError) else "it cannot be read"
        # What a person says never fails an experiment.
        state = None if sender == PERSON else ExperimentState.FAILED
        ledger.settle(claim, inbox_id, state, reason=why)
        return
    tried = experiment.attempt
    if outcome.kind is OutcomeKind.FAILED_RETRYABLE:
        # A sending that never arrived was no attempt.
        tried = ledger.arrivals(experiment.id) or tried
    state, reason = next_state(outcome, tried, context.spec.attempts)
    earlier = ledger.details(experiment.id) if experiment.attempt > 1 else {}
    costs, doubt = _costs(context, experiment, outcome)
    again = state is ExperimentState.PLANNED
    ledger.settle(
        claim,
        inbox_id,
        state,
        measurements=measurements,
        reason=reason,
        details=record(outcome, earlier, whole.measurements) | doubt,
        costs=costs,
        delay=pause(experiment.attempt, first=RETRY_PAUSE) if again else 0.0,
    )
    log.info(
        "outcome", extra={"experiment": experiment.id, "kind": outcome.kind.value, "why": reason}
    )


def _costs(
    context: Context, experiment: ExperimentRow, outcome: Outcome
) -> tuple[dict[str, float], dict[str, str]]:
    """Returns what it did cost, and a note where the lab's price cannot be read.

    Then what was reserved is taken for the price: what was measured stands.
    """
    try:
        return actual(context.spec, experiment.lab, outcome, currency(context, experiment.lab)), {}
    except Exception as error:
        log.warning("unreadable price", extra={"experiment": experiment.id, "why": repr(error)})
        why = error.message if isinstance(error, CloudseedError) else "The price cannot be read."
        return {}, {"cost_doubt": f"{why} What was reserved counts as spent."}


def _measurements(outcome: Outcome, experiment: ExperimentRow) -> Sequence[NewMeasurement]:
    """Returns the values in the units of the table.

    Raises:
        UnitError: If a unit does not fit its property.
        LabError: If a property that was asked for is missing, or a number is infinite in that unit.
    """
    if outcome.kind is not OutcomeKind.MEASURED:
        return ()
    found = {m.property for m in outcome.measurements}
    missing = [p for p in experiment.request["properties"] if p not in found]
    if missing:
        raise LabError(f"The lab's result lacks {', '.join(missing)}.")
    rows = []
    for m in outcome.measurements:
        unit = unit_of(m.property)
        target = m.unit if unit is None else unit
        sigma = None if m.sigma is None else convert(m.sigma, m.unit, target)
        value = convert(m.value, m.unit, target)
        if not math.isfinite(value + (sigma or 0.0)):
            raise LabError(f"The lab's value of {m.property} is too large to be kept in {target}.")
        rows.append(NewMeasurement(m.property, value, target, sigma, m.method))
    return rows
