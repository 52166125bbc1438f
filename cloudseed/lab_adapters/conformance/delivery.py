"""What becomes of a request: once each, whatever is killed, and the same answer for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cloudseed.errors import LabError
from cloudseed.lab_adapters.conformance.bench import Failed, NotApplicable
from cloudseed.lab_adapters.protocols import (
    DeliveryClass,
    FailureKind,
    Feature,
    JobState,
    Outcome,
    OutcomeKind,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudseed.lab_adapters.conformance.bench import Bench
    from cloudseed.lab_adapters.protocols import LabMessage

__all__ = [
    "cancelling",
    "crash",
    "events",
    "idempotency",
    "reconciling",
    "repeats",
    "restart",
    "stopping",
]

_AHEAD = (1, 3, 5)
"""Jobs that a job to be cancelled stands behind, try by try: the lab may be quick."""

ODD_KEYS = ("../../{}/x", "{} with spaces", "{}/a", "{}-ä", "{}" + "x" * 300)


def idempotency(bench: Bench) -> None:
    """A key is one submission, as its delivery class promises."""
    lab, request = bench.lab, bench.accepted()
    delivery = lab.describe().delivery
    if delivery is DeliveryClass.C:
        raise NotApplicable("class C promises nothing about keys")
    if lab.lookup(request.key) is not None:
        raise Failed("it has a key that was never sent")
    handle = lab.submit(request)
    if lab.lookup(request.key) != handle:
        raise Failed("asked for a key that it took, it does not give the handle")
    if delivery is DeliveryClass.B:
        return
    if lab.submit(request) != handle:
        raise Failed("the same key gets another handle the second time")
    other = replace(request, candidate=f"{request.candidate}-other", label=f"{request.label}-other")
    try:
        lab.submit(other)
    except LabError:
        pass
    else:
        raise Failed("it takes another request under a key that it has")
    odd = [replace(request, key=k.format(request.key)) for k in ODD_KEYS]
    handles = [lab.submit(r) for r in odd]
    if len({handle, *handles}) != len(odd) + 1:
        raise Failed("two different keys got one handle")
    if [lab.lookup(r.key) for r in odd] != handles:
        raise Failed("it does not find a key with spaces, slashes or letters beyond ASCII again")


def crash(bench: Bench) -> None:
    """A sender that is killed in mid-send leaves one experiment, never two, never a loss."""
    request = bench.accepted()
    delivery = bench.lab.describe().delivery
    if delivery is DeliveryClass.C:
        raise NotApplicable("class C leaves it to a person")
    pauses = [None, 0.0, *(0.002 * 2**n for n in range(max(bench.settings.kills - 2, 0)))]
    requests = [replace(request, key=bench.key()) for _ in pauses[: bench.settings.kills]]
    for one, pause in zip(requests, pauses, strict=False):
        bench.send_and_die(one, pause)
    if bench.lab.lookup(requests[0].key) is None:
        raise Failed("it answered that it has a request, and lost it when the sender died")
    handles = {}
    for one in requests:
        handle = bench.lab.lookup(one.key)
        if delivery is DeliveryClass.A:
            again = bench.lab.submit(one)
            if handle not in {None, again}:
                raise Failed("sent again, a key gets another handle than the one it has")
            handle = again
        handles[one.key] = bench.lab.submit(one) if handle is None else handle
    found = bench.wait(list(handles.values()))
    if set(found) != set(handles):
        raise Failed("results came for other keys than those sent")


def repeats(bench: Bench) -> None:
    """Asked again, in another order, late or twice, it says the same."""
    sample = bench.sample()
    handles = [handle for handle, _ in sample.values()]
    known = {m.message_id: m for _, m in sample.values()}
    if len(known) != len(sample):
        raise Failed("two results have one message id")
    for asked in (handles, handles[::-1], handles * 2, *([h] for h in handles)):
        _check_same(known, bench.lab.poll(asked))
    try:
        strangers = bench.lab.poll([f"{bench.key()}-never-seen"])
    except LabError:
        return
    if any(Outcome.from_json(m.raw).kind is not OutcomeKind.UNKNOWN for m in strangers):
        raise Failed("it has a result for a handle that it never gave")


def _check_same(known: dict[str, LabMessage], messages: Iterable[LabMessage]) -> None:
    seen = set()
    for message in messages:
        if known.get(message.message_id) != message:
            raise Failed(f"the result of {message.key} came again as something else")
        seen.add(message.message_id)
    if not seen:
        raise Failed("a result that it gave does not come again")


def restart(bench: Bench) -> None:
    """What it took and what it found outlive a restart."""
    sample = bench.sample()
    request = bench.accepted()
    handle = bench.lab.submit(request)
    bench.close()
    if bench.lab.describe().delivery is not DeliveryClass.C:
        for key, (old, _) in [*sample.items(), (request.key, (handle, None))]:
            if bench.lab.lookup(key) != old:
                raise Failed("after a restart it does not know a key that it took")
    known = {m.message_id: m for _, m in sample.values()}
    _check_same(known, bench.lab.poll([h for h, _ in sample.values()]))
    if request.key not in bench.wait([handle]):
        raise Failed("what it had taken before a restart got another key's result")


def reconciling(bench: Bench) -> None:
    """Asked what is open, it tells what it has from what it never had."""
    if bench.lab.describe().delivery is DeliveryClass.C:
        raise NotApplicable("class C cannot be asked")
    sample, stranger = bench.sample(), bench.key()
    keys = [stranger, *sample]
    found = bench.lab.reconcile(keys)
    if [s.key for s in found] != keys:
        raise Failed("it does not answer for each key in order")
    if found[0].state is not JobState.UNKNOWN or found[0].handle is not None:
        raise Failed("it claims a key that was never sent")
    for status in found[1:]:
        if status.state is not JobState.FINISHED or status.handle != sample[status.key][0]:
            raise Failed(f"it calls a finished experiment {status.state.value}")


def events(bench: Bench) -> None:
    """Its feed tells each result once, in an order that does not change, from any cursor."""
    if Feature.EVENTS not in bench.lab.describe().features:
        raise NotApplicable("it keeps no feed of events")
    sample = bench.sample()
    whole = bench.lab.events(None)
    again = bench.lab.events(None)
    if again.events[: len(whole.events)] != whole.events:
        raise Failed("its feed is another the second time")
    told = [e.message.message_id for e in whole.events if e.message is not None]
    missing = {m.message_id for _, m in sample.values()} - set(told)
    if missing:
        raise Failed("its feed lacks a result that it gave")
    if len(told) != len(set(told)):
        raise Failed("its feed tells a result twice")
    if any(e.at.tzinfo is None for e in whole.events):
        raise Failed("an event's time has no zone")
    rest = bench.lab.events(whole.cursor)
    if set(rest.events) & set(whole.events):
        raise Failed("after a cursor it tells again what was before it")


def cancelling(bench: Bench) -> None:
    """What is cancelled ends once, as stopped or as it had ended."""
    if Feature.CANCEL not in bench.lab.describe().features:
        raise NotApplicable("it cannot cancel")
    for ahead in _AHEAD:
        state, found, handles = _cancelled(bench, ahead)
        if state is not JobState.RUNNING:
            break
    else:
        raise Failed(f"what is cancelled is {state.value}, also behind {ahead} others")
    handle, message = next(iter(bench.sample().values()))
    if bench.lab.cancel(handle) is not JobState.FINISHED:
        raise Failed("it cancels what has its result")
    bench.close()
    _check_same({m.message_id: m for m in found.values()}, bench.lab.poll(handles))
    _check_same({message.message_id: message}, bench.lab.poll([handle]))


def _cancelled(bench: Bench, ahead: int) -> tuple[JobState, dict[str, LabMessage], list[str]]:
    """Cancels the last of several jobs; returns its state then, all messages, and the handles.

    What runs may be beyond taking back: then it ends as it would have.
    """
    first = bench.accepted()
    count = min(bench.lab.describe().concurrency, 8) + ahead
    requests = [first, *(replace(first, key=bench.key()) for _ in range(count - 1))]
    handles = [bench.lab.submit(r) for r in requests]
    state = bench.lab.cancel(handles[-1])
    if state not in {JobState.CANCELLED, JobState.FINISHED, JobState.RUNNING}:
        raise Failed(f"what is cancelled is {state.value}")
    found = bench.wait(handles)
    outcome = Outcome.from_json(found[requests[-1].key].raw)
    if (outcome.failure is FailureKind.STOPPED) != (state is JobState.CANCELLED):
        raise Failed(f"it says {state.value}, and the outcome is {outcome.kind.value}")
    return state, found, handles


def stopping(bench: Bench) -> None:
    """Brought to rest, it takes nothing, says so, and stays there over a restart."""
    if Feature.SAFE_STOP not in bench.lab.describe().features:
        raise NotApplicable("it has no safe stop")
    if not bench.settings.stop:
        raise NotApplicable("`stop: true` is not set: a person would have to undo it")
    request = bench.accepted()
    bench.lab.safe_stop("cloudseed lab check")
    for moment in ("stopped", "stopped and restarted"):
        if bench.lab.health().ready:
            raise Failed(f"{moment}, it calls itself ready")
        try:
            bench.lab.submit(request)
        except LabError:
            bench.close()
        else:
            raise Failed(f"{moment}, it takes a request")
