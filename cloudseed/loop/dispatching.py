"""Dispatch: claim what is planned, send it where it fits, record the lab's handle."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudseed._failpoints import passing
from cloudseed.db import ExperimentState
from cloudseed.errors import LabError
from cloudseed.lab_adapters import DeliveryClass, ExperimentRequest, FailureKind, Outcome
from cloudseed.loop.budgets import overspent
from cloudseed.loop.collecting import attempt_key
from cloudseed.loop.descriptions import ask_again, described
from cloudseed.loop.effects import record
from cloudseed.loop.patience import asking, is_closed
from cloudseed.loop.routing import choose, traffic
from cloudseed.loop.safety.checks import Verdict
from cloudseed.loop.safety.gate import changed_since, check, refuse_changed, waits
from cloudseed.loop.synthesis import held

if TYPE_CHECKING:
    from cloudseed.db import ExperimentRow, OutboxItem
    from cloudseed.lab_adapters import LabAdapter
    from cloudseed.loop.context import Context
    from cloudseed.loop.routing import Route, Traffic

__all__ = ["dispatch", "recover"]

log = logging.getLogger(__name__)

FRESH = 10.0
"""Seconds after which the claim is looked at again before something is sent on it."""


def dispatch(context: Context) -> int:
    """Sends planned experiments while there is room in the labs; returns how many it dealt with.

    Raises:
        LabError: If a lab cannot be reached; what was not sent is sent later.
    """
    ledger, campaign = context.ledger, context.campaign.id
    planned = ledger.experiments(campaign, [ExperimentState.PLANNED])
    if not planned:
        return 0
    due, moment = ledger.due(campaign), datetime.now(UTC)
    now = traffic(context)
    done = 0
    for experiment in planned:
        if now.room <= 0:
            break
        if due[experiment.id] > moment or waits(context, experiment):
            continue
        request = _request(experiment, experiment.attempt + 1)
        if why := _in_vain(context, experiment, now):
            ledger.transition(context.claim, experiment.id, ExperimentState.CANCELLED, why)
            done += 1
            continue
        route = choose(context, request, now, experiment.lab)
        if route.refused:
            _refuse(context, experiment, route.refused, route.failure)
            done += 1
        elif route.held:
            done += held(context, experiment, route.held)
        elif route.lab:
            assert route.request is not None
            verdict = _checked(context, experiment, route.request, route)
            if verdict is not Verdict.ALLOWED:
                done += verdict is Verdict.REFUSED
                continue
            began = _clock()
            item = ledger.next_to_send(
                context.claim,
                experiment.id,
                lab=route.lab,
                reserve=route.charges,
                request=_kept(experiment, route.request),
            )
            if item is not None:
                _send(context, item, began)
                done += 1
                _look_again(context, route.lab)
                now.running[route.lab] += 1
                now.room -= 1
                now.spending = ledger.spent(campaign)
    return done


def _in_vain(context: Context, experiment: ExperimentRow, now: Traffic) -> str:
    """Returns why what is planned for cheap or for dear labs keeps others from work; "" if not."""
    sources = context.spec.sources
    if sources is None:
        return ""
    kind = sources(experiment.lab)
    alike = [name for name in context.labs if sources(name) == kind]
    if kind and all(name in now.closed for name in alike):
        return "no cheap lab answers"
    return overspent(context.spec, now.spending, kind) or ""


def _look_again(context: Context, lab: str) -> None:
    """Asks a lab that counts its own shelf what is left now, for the next recipe."""
    recipes = context.spec.lab_of(lab).recipes
    if recipes is not None and recipes.shelf is None:
        try:
            ask_again(context, lab)
        except LabError as error:
            # What it has taken it has; the next step finds it silent.
            log.info("cannot be asked", extra={"lab": lab, "why": error.message})


def _checked(
    context: Context, experiment: ExperimentRow, request: ExperimentRequest, route: Route
) -> Verdict:
    """Holds a request against the safety limits; what may never be sent ends as refused."""
    assert route.validation is not None
    found = check(context, experiment, route.lab, request, route.validation)
    if found.verdict is Verdict.REFUSED:
        why = f"safety: {'; '.join(found.reasons)}"
        _refuse(context, experiment, why, FailureKind.REJECTED_SAFETY)
    return found.verdict


def _refuse(
    context: Context, experiment: ExperimentRow, why: str, failure: FailureKind | None
) -> None:
    """Ends an experiment that no lab gets, with the kind of rejection where it is known."""
    told = None
    if failure is not None:
        told = record(Outcome.failed(failure, why), context.ledger.details(experiment.id))
    context.ledger.transition(context.claim, experiment.id, ExperimentState.REFUSED, why, told=told)


def _kept(experiment: ExperimentRow, request: ExperimentRequest) -> dict[str, Any] | None:
    """Returns what the ledger keeps of a request that is sent, or None where it has that."""
    found = replace(request, key=experiment.idem_key).to_json()
    return None if found == experiment.request else found


def recover(context: Context) -> None:
    """Clears up what a crash left between sending and recording the lab's handle.

    A lab that honours keys (class A) simply gets the request again; one that can be asked (class B)
    is asked first; with one that can do neither (class C) the experiment is in doubt until a
    person has looked. So it is with class B where the engine that sent it may still live: that the
    lab has nothing now does not prove that nothing will come.

    Raises:
        LabError: If a lab cannot be reached, once all were asked, or is gone from the campaign.
    """
    trouble: LabError | None = None
    for item in context.ledger.unacknowledged(context.claim):
        name = item.experiment.lab
        lab = context.labs.get(name)
        if lab is None:
            raise LabError(
                f"Experiment {item.experiment.id} was sent to the lab {name!r}, which this campaign"
                " no longer has.",
                hint="Put the lab back into the campaign until its experiments have ended.",
            )
        can = described(context, name)
        if can is None or is_closed(context, name):
            continue
        try:
            if can.delivery is DeliveryClass.A:
                _send(context, item, _clock(), sent_before=True)
            elif can.delivery is DeliveryClass.B:
                _ask(context, item, lab)
            else:
                why = "a crash hides whether the lab got it, and it cannot be asked"
                _doubt(context, item, why)
        except LabError as error:
            trouble = trouble or error
    if trouble is not None:
        raise trouble


def _request(experiment: ExperimentRow, attempt: int) -> ExperimentRequest:
    request = ExperimentRequest.from_json(experiment.request)
    return replace(request, key=attempt_key(replace(experiment, attempt=attempt)))


def _send(context: Context, item: OutboxItem, began: float, *, sent_before: bool = False) -> None:
    """Hands an experiment to its lab, under a claim that held at `began`."""
    experiment = item.experiment
    lab = context.labs[experiment.lab]
    if _clock() - began > FRESH:
        # This process stood still: what it took may be another engine's by now.
        context.ledger.heartbeat(context.claim)
    request = _request(experiment, experiment.attempt)
    changed = changed_since(context, experiment, request)
    if changed:
        _hold_back(context, item, changed, sent_before=sent_before)
        return
    passing("submit.before")
    try:
        with asking(context, experiment.lab):
            handle = lab.submit(request)
    except LabError:
        # Classes A and B stay in `sending`, which `recover` clears up.
        can = described(context, experiment.lab)
        if can is not None and can.delivery is DeliveryClass.C:
            _doubt(context, item, "the connection failed, and the lab cannot be asked")
        raise
    passing("submit.after")
    context.ledger.acknowledge(context.claim, item, handle)
    log.info("sent", extra={"experiment": experiment.id, "handle": handle})


def _hold_back(context: Context, item: OutboxItem, why: str, *, sent_before: bool) -> None:
    """Keeps what has changed since it was checked from going out."""
    refuse_changed(context, item.experiment, why)
    if sent_before:
        _doubt(context, item, f"safety: {why}")
    else:
        context.ledger.transition(
            context.claim,
            item.experiment.id,
            ExperimentState.PLANNED,
            f"safety: {why}",
            unsent=True,
        )


def _ask(context: Context, item: OutboxItem, lab: LabAdapter) -> None:
    passing("lookup.before")
    with asking(context, item.experiment.lab):
        handle = lab.lookup(attempt_key(item.experiment))
    passing("lookup.after")
    if handle is not None:
        context.ledger.acknowledge(context.claim, item, handle)
    elif item.epoch <= context.claim.unproven:
        _doubt(context, item, "the lab has it not, but the engine that sent it may still live")
    else:
        context.ledger.transition(
            context.claim,
            item.experiment.id,
            ExperimentState.PLANNED,
            "the lab surely has it not",
            unsent=True,
        )


def _doubt(context: Context, item: OutboxItem, reason: str) -> None:
    context.ledger.transition(context.claim, item.experiment.id, ExperimentState.IN_DOUBT, reason)


def _clock() -> float:
    """Returns seconds that also pass while the process is stopped or the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
