"""What the labs last said of themselves, and how much each takes now.

A lab out of reach takes nothing, and the campaign goes on in the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudseed.errors import LabError
from cloudseed.loop.patience import failed, is_closed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudseed.lab_adapters import LabDescription
    from cloudseed.loop.context import Context

__all__ = ["Descriptions", "ask_again", "capacity", "currency", "described", "look", "room"]


@dataclass(slots=True)
class Descriptions:
    """What is known of a campaign's labs.

    Attributes:
        known: Each lab's last description, by its name in the campaign.
        silent: Labs that did not answer when they were last asked.
    """

    known: dict[str, LabDescription] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)


def look(context: Context) -> None:
    """Asks every lab that is not left alone to describe itself.

    Raises:
        LabError: If one does not answer, once all were asked.
    """
    trouble: LabError | None = None
    for name in context.labs:
        if is_closed(context, name):
            continue
        try:
            ask_again(context, name)
        except LabError as error:
            trouble = trouble or error
    if trouble is not None:
        raise trouble


def described(context: Context, lab: str) -> LabDescription | None:
    """Returns what a lab last said of itself; None if it never could be reached."""
    if lab not in context.described.known and lab not in context.described.silent:
        try:
            ask_again(context, lab)
        except LabError:
            return None
    return context.described.known.get(lab)


def capacity(context: Context, lab: str) -> int:
    """Returns how many experiments may run at the same time in a lab; 0 while it is silent."""
    can = described(context, lab)
    if can is None or lab in context.described.silent or is_closed(context, lab):
        return 0
    most = context.spec.lab_of(lab).in_flight
    return can.concurrency if most is None else min(most, can.concurrency)


def room(context: Context, running: Mapping[str, int]) -> int:
    """Returns how many more experiments may run, given those in each lab."""
    free = sum(max(capacity(context, lab) - running.get(lab, 0), 0) for lab in context.labs)
    return min(context.spec.in_flight - sum(running.values()), free)


def currency(context: Context, lab: str) -> str | None:
    """Returns the unit in which a lab tells what its experiments cost; None if unknown."""
    can = described(context, lab) if lab in context.labs else None
    return None if can is None or can.cost is None else can.cost.unit


def ask_again(context: Context, lab: str) -> None:
    """Asks a lab to describe itself, now.

    Raises:
        LabError: If it does not answer.
    """
    try:
        context.described.known[lab] = context.labs[lab].describe()
    except LabError as error:
        context.described.silent.add(lab)
        failed(context, lab, error)
        raise
    # That it can describe itself does not tell that it works: its failures stay counted.
    context.described.silent.discard(lab)
