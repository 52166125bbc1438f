"""Synthesis: the recipe that a request carries to a lab, compiled from what is on the shelf.

The recipe is compiled when a lab is chosen, checked and approved with the request, and kept with it
from the moment of sending: whatever is sent again after a crash is what was approved.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from cloudseed.db import ExperimentState
from cloudseed.errors import InputError, LabError, SpecError
from cloudseed.lab_adapters import Feature
from cloudseed.lab_adapters.recipes import (
    TooManyRoutesError,
    check_searchable,
    described_shelf,
    less,
    routes,
    weighed,
)
from cloudseed.loop.descriptions import described

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.db import ExperimentRow
    from cloudseed.lab_adapters import ExperimentRequest, LabDescription
    from cloudseed.lab_adapters.recipes import Rank, Route, Shelf
    from cloudseed.loop.context import Context
    from cloudseed.loop.shelves import RecipesSpec
    from cloudseed.loop.spec import CampaignSpec

__all__ = [
    "NoRoute",
    "Used",
    "check_recipes",
    "compiled",
    "held",
    "is_held",
    "may_be_refilled",
    "why_held",
]

_HELD = "waits for the shelf: "


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Why a lab cannot make a material from its shelf.

    Attributes:
        reason: One clause.
        waits: Whether another shelf, or more on it, would do: then the experiment waits.
    """

    reason: str
    waits: bool = False


@dataclass(slots=True)
class Used:
    """What was sent to each lab so far, counted as it is sent.

    Attributes:
        grams: Lab -> formula -> grams of what surely ended.
        after: The last sending of which that, and all before it, is counted.
    """

    grams: dict[str, Counter[str]] = field(default_factory=dict)
    after: int = 0

    def of(self, context: Context, lab: str) -> Mapping[str, float]:
        """Returns the grams of each precursor that a lab got; each sending weighs anew.

        What may have arrived counts; what surely has not does not.
        """
        rest: Counter[str] = Counter()
        settled = True
        for sending in context.ledger.sendings(context.campaign.id, self.after):
            took = weighed(sending.recipe if sending.arrived or sending.open else None)
            settled = settled and not sending.open
            if settled:
                self.grams.setdefault(sending.lab, Counter()).update(took)
                self.after = sending.id
            elif sending.lab == lab:
                rest.update(took)
        rest.update(self.grams.get(lab, {}))
        return rest


def check_recipes(recipes: RecipesSpec, can: LabDescription) -> None:
    """Refuses a lab of which recipes cannot be made.

    Raises:
        SpecError: If the lab does not say that it follows recipes, neither it nor the campaign
            tells of a shelf, or there is too much on it to search.
        LabError: If what the lab tells cannot be one.
    """
    if Feature.RECIPES not in can.features:
        raise SpecError(
            f"The lab {can.name!r} does not say that it follows recipes.",
            hint="It must have `recipes` among its features; docs/labs.md says which labs do.",
        )
    found = recipes.shelf or described_shelf(can)
    if found is None:
        raise SpecError(
            f"The lab {can.name!r} is to get recipes, but nothing says what is on its shelf.",
            hint="Name a file: `recipes: {shelf: shelf.yaml}`.",
        )
    try:
        check_searchable(found)
    except TooManyRoutesError as error:
        raise SpecError(f"The shelf of {can.name!r}: {error.message}", hint=error.hint) from error


def compiled(context: Context, lab: str, request: ExperimentRequest) -> ExperimentRequest | NoRoute:
    """Returns a request with the best route's recipe, where the campaign compiles recipes.

    Raises:
        LabError: If the lab tells of no shelf now, or of one that cannot be one, or no longer says
            that it follows recipes.
    """
    recipes = context.spec.lab_of(lab).recipes
    if recipes is None:
        return replace(request, recipe=None)
    can = described(context, lab)
    if can is None:
        raise LabError(f"The lab {lab!r} has not described itself.")
    whole = recipes.shelf or described_shelf(can)
    if Feature.RECIPES not in can.features:
        raise LabError(f"The lab {lab!r} no longer says that it follows recipes.")
    if whole is None:
        raise LabError(
            f"The lab {lab!r} tells of nothing on its shelf.",
            hint="Recipes are made from what it tells in `describe`, or from `recipes.shelf`.",
        )
    # A lab that tells what is left counts itself.
    counted = recipes.shelf is not None and any(s.grams is not None for s in whole.precursors)
    left = less(whole, context.used.of(context, lab)) if counted else whole
    what = (recipes.mass, recipes.rank)
    try:
        if (found := _best(request.label, left, *what)) is not None:
            return replace(request, recipe=found.recipe())
        endless = _best(request.label, _endless(whole), *what)
    except TooManyRoutesError as error:
        why = f"{error.message.rstrip('.')} to {request.label} from the shelf of {lab}"
        return NoRoute(why, waits=True)
    except InputError as error:
        return NoRoute(f"no recipe: {error.message.rstrip('.')}")
    if endless is None:
        return NoRoute(f"no balanced route to {request.label} from what is on the shelf of {lab}")
    lacking = ", ".join(f"{w.grams:g} g {w.formula}" for w in endless.precursors)
    return NoRoute(
        f"too little is left on the shelf of {lab}: {request.label} would take {lacking}",
        waits=True,
    )


def held(context: Context, experiment: ExperimentRow, why: str) -> bool:
    """Notes that an experiment waits for the shelf; returns whether that is news."""
    reason = f"{_HELD}{why}"
    # Old news is not worth a transaction at every step.
    return experiment.reason != reason and context.ledger.hold(context.claim, experiment.id, reason)


def why_held(experiments: Sequence[ExperimentRow]) -> str:
    """Returns what experiments that wait for a shelf wait for, as one clause."""
    more = f" (and {len(experiments) - 1} more)" if len(experiments) > 1 else ""
    return f"{experiments[0].reason}{more}"


def is_held(experiment: ExperimentRow) -> bool:
    """Whether an experiment waits for the shelf of a lab."""
    return experiment.state is ExperimentState.PLANNED and experiment.reason.startswith(_HELD)


def may_be_refilled(spec: CampaignSpec) -> bool:
    """Whether some lab tells its shelf itself, so that more may come on it while a campaign runs.

    A shelf in the campaign's file stays as it was.
    """
    kept = [spec.lab_of(label).recipes for label in spec.lab_labels]
    return any(recipes is not None and recipes.shelf is None for recipes in kept)


@lru_cache(maxsize=1024)
def _best(label: str, shelf: Shelf, mass: float, rank: Rank) -> Route | None:
    """Returns the best route: what waits asks again at each step."""
    return next(iter(routes(label, shelf, mass, top=1, rank=rank)), None)


@lru_cache(maxsize=64)
def _endless(shelf: Shelf) -> Shelf:
    """Returns a shelf on which nothing runs out."""
    full = tuple(s.model_copy(update={"grams": None}) for s in shelf.precursors)
    return shelf.model_copy(update={"precursors": full})
