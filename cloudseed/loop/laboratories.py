"""A campaign's labs: opened together, checked against what is asked for."""

from __future__ import annotations

import difflib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cloudseed.db import PERSON
from cloudseed.errors import ObjectiveError, SpecError
from cloudseed.lab_adapters import load_lab
from cloudseed.loop.budgets import check_budget, hint_price
from cloudseed.loop.synthesis import check_recipes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cloudseed.lab_adapters import LabAdapter
    from cloudseed.loop.spec import CampaignSpec

__all__ = ["check_labs", "elements_of", "opened_labs"]


@contextmanager
def opened_labs(spec: CampaignSpec, folder: Path) -> Iterator[dict[str, LabAdapter]]:
    """Opens a campaign's labs, by name, and lets go of them at the end.

    Args:
        spec: The campaign.
        folder: Where they keep what must survive a crash; several get a folder each.

    Raises:
        ObjectiveError: If no lab measures all that is asked for.
        SpecError: If more is to be in flight than the labs take, or a budget lacks a price.
    """
    with ExitStack() as stack:
        labs: dict[str, LabAdapter] = {}
        for each in spec.all_labs:
            place = folder / each.name if len(spec.all_labs) > 1 else folder
            lab = load_lab(each.adapter, each.config, place)
            stack.callback(lab.close, stop_jobs=True)
            labs[each.name or lab.describe().name] = lab
        if PERSON in labs:
            raise SpecError(
                f"No lab can be called {PERSON!r}: so the ledger calls what people say.",
                hint="Give the lab another `name`.",
            )
        check_labs(spec, labs)
        yield labs


def elements_of(labs: Mapping[str, LabAdapter]) -> frozenset[str] | None:
    """Returns the elements that some lab handles; None for any."""
    each = [lab.describe().elements for lab in labs.values()]
    known = [elements for elements in each if elements is not None]
    return frozenset().union(*known) if len(known) == len(each) else None


def check_labs(spec: CampaignSpec, labs: Mapping[str, LabAdapter]) -> None:
    """Refuses what the labs cannot do, before anything is spent.

    Raises:
        ObjectiveError: If no lab measures all that is asked for.
        SpecError: If more is to be in flight than the labs take, a budget lacks a price, or nothing
            says what recipes are made from, or too much.
        UnitError: If prices of cheap and dear labs cannot be compared.
    """
    able = {name: lab.describe() for name, lab in labs.items()}
    offered = {p for can in able.values() for p in can.properties}
    who = "The lab" if len(able) == 1 else "None of the labs"
    names = ", ".join(map(repr, able))
    for name in spec.problem.measured:
        if name not in offered:
            near = difflib.get_close_matches(name, sorted(offered), n=1)
            verb = f"{who} {names} cannot measure" if len(able) == 1 else f"{who} {names} measures"
            raise ObjectiveError(
                f"{verb} {name!r}.",
                hint=f"Did you mean {near[0]!r}?"
                if near
                else f"To be had: {', '.join(sorted(offered))}.",
                property=name,
            )
    if not any(set(spec.problem.measured) <= set(can.properties) for can in able.values()):
        raise ObjectiveError(
            f"None of the labs {names} measures all of {', '.join(spec.problem.measured)}.",
            hint="One experiment is made and measured in one lab.",
        )
    most = sum(can.concurrency for can in able.values())
    if spec.in_flight > most:
        raise SpecError(
            f"in_flight is {spec.in_flight}, but {names} take{'s' * (len(able) == 1)} {most} at"
            " once.",
            hint="Lower in_flight, or raise the lab's concurrency.",
        )
    for name, can in able.items():
        if (recipes := spec.lab_of(name).recipes) is not None:
            check_recipes(recipes, can)
    check_budget(spec, labs)
    hint_price(spec, {})
