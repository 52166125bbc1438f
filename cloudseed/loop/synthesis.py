"""Synthesis: the recipe that a request carries to a lab, compiled from what is on the shelf.

The recipe is compiled when a lab is chosen, checked and approved with the request, and kept with it
from the moment of sending: whatever is sent again after a crash is what was approved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cloudseed.db import ExperimentState
from cloudseed.errors import InputError, SpecError
from cloudseed.lab_adapters import FailureKind
from cloudseed.lab_adapters.recipes import described_shelf, routes
from cloudseed.loop.descriptions import described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudseed.lab_adapters import ExperimentRequest, LabDescription
    from cloudseed.lab_adapters.recipes import Shelf
    from cloudseed.loop.context import Context
    from cloudseed.loop.shelves import RecipesSpec

__all__ = ["NoRoute", "compiled", "shelf_of"]


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Why a lab cannot make a material from its shelf.

    Attributes:
        reason: One clause.
        failure: Whether more of something would do (stock), or not (capability).
    """

    reason: str
    failure: FailureKind


def shelf_of(recipes: RecipesSpec, can: LabDescription) -> Shelf:
    """Returns the shelf that a lab's recipes are made from.

    Raises:
        SpecError: If neither the campaign nor the lab tells of one.
        LabError: If what the lab tells cannot be one.
    """
    found = recipes.shelf or described_shelf(can)
    if found is None:
        raise SpecError(
            f"The lab {can.name!r} is to get recipes, but nothing says what is on its shelf.",
            hint="Name a file: `recipes: {shelf: shelf.yaml}`.",
        )
    return found


def compiled(context: Context, lab: str, request: ExperimentRequest) -> ExperimentRequest | NoRoute:
    """Returns a request with the best route's recipe, where the campaign compiles recipes.

    Raises:
        SpecError, LabError: As `shelf_of`.
    """
    recipes = context.spec.lab_of(lab).recipes
    can = None if recipes is None else described(context, lab)
    if recipes is None or can is None:
        return replace(request, recipe=None)
    whole = shelf_of(recipes, can)
    # A lab that tells what is left counts itself.
    counted = recipes.shelf is not None and any(s.grams is not None for s in whole.precursors)
    left = _less(whole, _used(context, lab)) if counted else whole
    try:
        if found := routes(request.label, left, recipes.mass, top=1, rank=recipes.rank):
            return replace(request, recipe=found[0].recipe())
        endless = routes(request.label, _endless(whole), recipes.mass, top=1, rank=recipes.rank)
    except InputError as error:
        return NoRoute(f"no recipe: {error.message.rstrip('.')}", FailureKind.REJECTED_CAPABILITY)
    if not endless:
        return NoRoute(
            f"no balanced route to {request.label} from what is on the shelf of {lab}",
            FailureKind.REJECTED_CAPABILITY,
        )
    lacking = ", ".join(f"{w.grams:g} g {w.formula}" for w in endless[0].precursors)
    return NoRoute(
        f"too little is left on the shelf of {lab}: {request.label} would take {lacking}",
        FailureKind.REJECTED_STOCK,
    )


def _used(context: Context, lab: str) -> dict[str, float]:
    """Returns the grams of each precursor that were sent to a lab; each attempt weighs anew."""
    used: dict[str, float] = {}
    for experiment in context.ledger.experiments(context.campaign.id, list(ExperimentState)):
        recipe = experiment.request.get("recipe") if experiment.lab == lab else None
        for each in (recipe or {}).get("precursors", ()):
            spent = each["grams"] * experiment.attempt
            used[each["formula"]] = used.get(each["formula"], 0.0) + spent
    return used


def _less(shelf: Shelf, used: Mapping[str, float]) -> Shelf:
    """Returns a shelf from which some grams were taken."""
    left = tuple(
        s
        if s.grams is None
        else s.model_copy(update={"grams": max(s.grams - used.get(s.formula, 0.0), 0.0)})
        for s in shelf.precursors
    )
    return shelf.model_copy(update={"precursors": left})


def _endless(shelf: Shelf) -> Shelf:
    """Returns a shelf on which nothing runs out."""
    full = tuple(s.model_copy(update={"grams": None}) for s in shelf.precursors)
    return shelf.model_copy(update={"precursors": full})
