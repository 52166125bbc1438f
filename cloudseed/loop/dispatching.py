"""Dispatch: claim what is planned, send it, record the lab's handle."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudseed.db import ExperimentState
from cloudseed.errors import LabError
from cloudseed.lab_adapters import DeliveryClass, ExperimentRequest
from cloudseed.loop.collecting import attempt_key

if TYPE_CHECKING:
    from cloudseed.db import OutboxItem
    from cloudseed.loop.context import Context

__all__ = ["dispatch", "recover"]

log = logging.getLogger(__name__)


def dispatch(context: Context) -> int:
    """Sends planned experiments while there is room in the lab; returns how many it took.

    Raises:
        LabError: If the lab cannot be reached; what was not sent is sent later.
    """
    ledger = context.ledger
    running = len(ledger.experiments(context.campaign.id, [ExperimentState.RUNNING]))
    sent = 0
    while running + sent < context.in_flight:
        item = ledger.next_to_send(context.claim)
        if item is None:
            break
        sent += _send(context, item)
    return sent


def recover(context: Context) -> None:
    """Clears up what a crash left between sending and recording the lab's handle.

    A lab that honours keys (class A) simply gets the request again; one that can be asked (class B)
    is asked first; with one that can do neither (class C) the experiment is in doubt until a
    person has looked.

    Raises:
        LabError: If the lab cannot be reached.
    """
    delivery = context.lab.describe().delivery
    for item in context.ledger.unacknowledged(context.claim):
        if delivery is DeliveryClass.A:
            _send(context, item)
        elif delivery is DeliveryClass.B:
            _ask(context, item)
        else:
            _doubt(context, item)


def _send(context: Context, item: OutboxItem) -> bool:
    """Sends one experiment; returns whether the lab took it."""
    experiment, lab = item.experiment, context.lab
    request = ExperimentRequest.from_json(experiment.request)
    request = replace(request, key=attempt_key(experiment))
    verdict = lab.validate(request)
    if not verdict.accepted:
        _move(context, item, ExperimentState.REFUSED, "; ".join(verdict.reasons))
        return False
    try:
        handle = lab.submit(request)
    except LabError:
        # Classes A and B stay in `sending`, which `recover` clears up.
        if lab.describe().delivery is DeliveryClass.C:
            _doubt(context, item)
        raise
    context.ledger.acknowledge(context.claim, item, handle)
    log.info("sent", extra={"experiment": experiment.id, "handle": handle})
    return True


def _ask(context: Context, item: OutboxItem) -> None:
    handle = context.lab.lookup(attempt_key(item.experiment))
    if handle is not None:
        context.ledger.acknowledge(context.claim, item, handle)
    else:
        _move(context, item, ExperimentState.PLANNED, "the lab surely has it not")


def _doubt(context: Context, item: OutboxItem) -> None:
    reason = "a crash hides whether the lab got it, and the lab cannot be asked"
    _move(context, item, ExperimentState.IN_DOUBT, reason)


def _move(context: Context, item: OutboxItem, state: ExperimentState, reason: str) -> None:
    context.ledger.transition(context.claim, item.experiment.id, state, reason)
