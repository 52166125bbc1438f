"""Routing: which lab gets an experiment, by what it can do, what it costs, and its queue."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudseed.db import ExperimentState
from cloudseed.errors import LabError
from cloudseed.lab_adapters import FailureKind
from cloudseed.loop.budgets import charges, exceeds, money
from cloudseed.loop.descriptions import capacity, described, room
from cloudseed.loop.patience import asking, failed, is_closed
from cloudseed.loop.synthesis import NoRoute, compiled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.db import NewCharge, Spending
    from cloudseed.lab_adapters import ExperimentRequest, LabDescription, Validation
    from cloudseed.loop.context import Context

__all__ = ["Route", "Traffic", "capable", "choose", "traffic"]


@dataclass(frozen=True, slots=True)
class Route:
    """Where an experiment goes.

    Attributes:
        lab: Name of the lab; "" if it cannot go anywhere now.
        charges: What it may cost there.
        refused: Why no lab will ever take it; "" if one would.
        failure: Which kind of rejection, where it can be told.
        held: What must come on some lab's shelf first; "" if nothing.
        validation: What the lab says it would do.
        request: What it is asked for, with a recipe where the campaign compiles them.
    """

    lab: str = ""
    charges: Sequence[NewCharge] = ()
    refused: str = ""
    failure: FailureKind | None = None
    held: str = ""
    validation: Validation | None = None
    request: ExperimentRequest | None = None


@dataclass(slots=True)
class Traffic:
    """How busy the labs are.

    Attributes:
        running: Experiments in each lab.
        room: How many more may run in all.
        closed: Labs that are left alone for now.
        spending: What is spent, by resource.
    """

    running: Counter[str]
    room: int
    closed: frozenset[str]
    spending: Mapping[str, Spending]


def traffic(context: Context) -> Traffic:
    """Reads from the ledger how busy the labs are."""
    campaign = context.campaign.id
    busy = context.ledger.experiments(campaign, [ExperimentState.RUNNING, ExperimentState.SENDING])
    running = Counter(e.lab for e in busy)
    return Traffic(
        running=running,
        room=room(context, running),
        closed=frozenset(name for name in context.labs if is_closed(context, name)),
        spending=context.ledger.spent(campaign),
    )


def capable(lab: LabDescription, request: ExperimentRequest) -> bool:
    """Whether a lab measures all that is asked for, on these elements."""
    species = {s for s in request.cell.species if s.isalpha()}
    return all(p in lab.properties for p in request.properties) and (
        lab.elements is None or species <= lab.elements
    )


def choose(context: Context, request: ExperimentRequest, now: Traffic, planned: str = "") -> Route:
    """Returns the cheapest, then the emptiest lab that takes the request.

    Args:
        context: The campaign's parts.
        request: What is to be made and measured.
        now: How busy the labs are.
        planned: The lab that the decision named. Where some labs only hint at what others measure,
            only its like are asked.

    Raises:
        LabError: If a lab cannot be reached.
    """
    reasons: list[str] = []
    failures: list[FailureKind | None] = []
    lacking: list[str] = []
    waiting = False
    for name in _in_order(context, request, now, planned):
        price = charges(context.spec, name)
        busy = now.running[name] >= capacity(context, name)
        if name in now.closed or busy or exceeds(context.spec, now.spending, price):
            waiting = True
            continue
        try:
            asked = compiled(context, name, request)
        except LabError as error:
            # Its shelf is odd, which is no reason to leave the other labs alone.
            failed(context, name, error)
            waiting = True
            continue
        if isinstance(asked, NoRoute):
            (lacking if asked.waits else reasons).append(asked.reason)
            failures += [] if asked.waits else [FailureKind.REJECTED_CAPABILITY]
            continue
        with asking(context, name):
            verdict = context.labs[name].validate(asked)
        if verdict.accepted:
            return Route(name, price, validation=verdict, request=asked)
        reasons.extend(verdict.reasons)
        failures.append(verdict.failure)
    if waiting:
        return Route()
    if lacking:
        return Route(held="; ".join(lacking))
    return Route(refused="; ".join(reasons) or "no lab can do it", failure=_kind_of(failures))


def _kind_of(failures: Sequence[FailureKind | None]) -> FailureKind | None:
    """Returns the kind of a rejection by several labs: stock where more of something would do."""
    if FailureKind.REJECTED_STOCK in failures:
        return FailureKind.REJECTED_STOCK
    return next(iter(failures), None)


def _in_order(
    context: Context, request: ExperimentRequest, now: Traffic, planned: str
) -> list[str]:
    """Returns the labs that could do it, the cheapest first, then the emptiest."""

    def rank(name: str) -> tuple[float, float]:
        return money(context.spec, name), now.running[name] / (capacity(context, name) or math.inf)

    sources = context.spec.sources
    asked = [name for name in context.labs if sources is None or sources(name) == sources(planned)]
    can = {name: described(context, name) for name in asked}
    # A lab that never answered may be able to do it.
    fit = [name for name, found in can.items() if found is None or capable(found, request)]
    # With one lab, `validate` says best what it will not do.
    return sorted(fit, key=rank) or (list(context.labs) if len(context.labs) == 1 else [])
