"""The checks themselves: a request and its recipe against the limits of owner and lab."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cloudseed.loop.safety.facts import Facts, read_facts, substance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudseed.lab_adapters import ExperimentRequest, LabDescription
    from cloudseed.loop.safety.limits import SafetySpec

__all__ = ["Checked", "Verdict", "breaches"]


class Verdict(StrEnum):
    """What a check came to.

    allowed   it may be sent
    waiting   not now: a person, another day, or a lab's clock is needed
    refused   never: the experiment ends as refused
    """

    ALLOWED = "allowed"
    WAITING = "waiting"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Checked:
    """A verdict with its reasons.

    Attributes:
        verdict: What it came to.
        sha: Name of what was checked; "" if it has none.
        reasons: Why it is not allowed, one clause each.
        asks: Whether a person's word would change it.
        grams: What it weighs out; None if the recipe does not say.
        by_person: Whether a person refused it.
    """

    verdict: Verdict
    sha: str = ""
    reasons: tuple[str, ...] = ()
    asks: bool = False
    grams: float | None = None
    by_person: bool = False


def breaches(
    limits: SafetySpec,
    lab: LabDescription,
    request: ExperimentRequest,
    recipe: Mapping[str, Any] | None,
) -> tuple[list[str], Facts]:
    """Returns which limits of owner and lab a request breaks, and what its recipe says.

    Args:
        limits: The owner's.
        lab: What the lab says of itself.
        request: What it is asked for; a recipe that it carries is held against the limits too.
        recipe: What the lab compiled; None if nothing. What it does not say, the request's recipe
            does.
    """
    broken = list(_material(limits, lab, request))
    facts = Facts()
    told = {"the request's": request.recipe, "the lab's": recipe}
    for whose, each in told.items():
        if each is None:
            continue
        try:
            found = read_facts(each)
            broken.extend(_recipe(limits, lab, request, found))
            facts = found.over(facts)
        except ValueError as error:
            broken.append(f"{whose} recipe cannot be checked: {error}")
    return list(dict.fromkeys(broken)), facts


def _material(limits: SafetySpec, lab: LabDescription, request: ExperimentRequest) -> Iterator[str]:
    species = set(request.cell.species)
    try:
        label, named = substance(request.label)
    except ValueError as error:
        yield f"its label cannot be checked: {error}"
        return
    if label != substance(request.cell.formula)[0]:
        yield f"it is called {request.label}, but its cell is {request.cell.formula}"
    if bad := sorted((species | named) & set(limits.forbidden)):
        yield f"it holds {', '.join(bad)}, which may not be used"
    if lab.elements is not None and (bad := sorted(species - lab.elements)):
        yield f"the lab does not handle {', '.join(bad)}"


def _recipe(
    limits: SafetySpec, lab: LabDescription, request: ExperimentRequest, facts: Facts
) -> Iterator[str]:
    if facts.target and facts.target != substance(request.label)[0]:
        yield f"the recipe makes {facts.target}, not {request.label}"
    if bad := sorted(facts.elements & set(limits.forbidden)):
        yield f"the recipe uses {', '.join(bad)}, which may not be used"
    hazardous = {substance(formula)[0]: formula for formula in limits.hazardous}
    for each in sorted(facts.substances & set(hazardous)):
        yield f"the recipe uses {hazardous[each]}, which is hazardous"
    for pair in limits.pairs:
        if {substance(formula)[0] for formula in pair} <= facts.substances:
            yield f"the recipe brings {pair[0]} and {pair[1]} together"
    hottest = limits.temperature
    if lab.temperatures is not None:
        hottest = min(hottest, lab.temperatures[1])
    if facts.temperature is not None and facts.temperature > hottest:
        yield f"{facts.temperature:g} K is above the limit of {hottest:g} K"
    if facts.ramp is not None and facts.ramp > limits.ramp:
        yield f"{facts.ramp:g} K/min is above the limit of {limits.ramp:g} K/min"
    if facts.grams is not None and facts.grams > limits.mass:
        yield f"{facts.grams:g} g is above the limit of {limits.mass:g} g"
