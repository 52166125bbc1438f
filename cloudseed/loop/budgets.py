"""Budgets: what an experiment may cost is reserved before it is sent; nothing goes past the limit.

Resources are "money", "instrument_time", and consumables by their names. Amounts are in the unit in
which the budget is given, or else in that of the lab's price.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cloudseed.db import NewCharge
from cloudseed.errors import LabError, SpecError, UnitError
from cloudseed.loop.amounts import Amount, parse_amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudseed.db import Spending
    from cloudseed.lab_adapters import LabAdapter, Outcome
    from cloudseed.loop.spec import BudgetSpec, CampaignSpec

__all__ = [
    "actual",
    "affordable",
    "charges",
    "check_budget",
    "exceeds",
    "hint_price",
    "limits",
    "money",
    "overspent",
]

TIME = "instrument_time"
MONEY = "money"


def limits(budget: BudgetSpec) -> dict[str, Amount]:
    """Returns the limit of each resource that has one."""
    given = {MONEY: budget.money, TIME: budget.instrument_time, **budget.consumables}
    return {name: parse_amount(text) for name, text in given.items() if text is not None}


def charges(spec: CampaignSpec, lab: str) -> list[NewCharge]:
    """Returns what one experiment in a lab may cost."""
    bounds = limits(spec.budget)
    found = []
    for resource, text in spec.prices(lab).items():
        price = parse_amount(text)
        unit = bounds[resource].unit if resource in bounds else price.unit
        found.append(NewCharge(resource, price.to(unit), unit))
    return found


def money(spec: CampaignSpec, lab: str) -> float:
    """Returns what one experiment in a lab may cost in money; 0 where it has no such price."""
    return sum(c.amount for c in charges(spec, lab) if c.resource == MONEY)


def hint_price(spec: CampaignSpec, spending: Mapping[str, Spending]) -> float | None:
    """Returns what a value of a cheap lab costs, over what one that counts does.

    Told by the cheapest lab of each kind, in money or else in instrument time, whichever the labs
    whose values count give a price in. A cheap lab without a price there costs nothing.

    Args:
        spec: The campaign.
        spending: What is spent, by resource.

    Returns:
        The ratio; None where there is no cheap lab, or none that can be paid for.

    Raises:
        UnitError: If prices are in different currencies.
    """
    if spec.sources is None:
        return None
    labs: dict[int, list[str]] = {0: [], 1: []}
    for lab in spec.lab_labels:
        labs[spec.sources(lab)].append(lab)
    if all(exceeds(spec, spending, charges(spec, lab)) for lab in labs[1]):
        return None
    for resource in (MONEY, TIME):
        told = [{n: parse_amount(text) for n, text in spec.prices(lab).items()} for lab in labs[0]]
        dear = [prices[resource] for prices in told if resource in prices]
        if dear and (least := min(a.to(dear[0].unit) for a in dear)):
            hints = [parse_amount(spec.prices(lab).get(resource, 0)) for lab in labs[1]]
            return min(a.to(dear[0].unit) if a.value else 0.0 for a in hints) / least
    return 0.0


def exceeds(
    spec: CampaignSpec, spending: Mapping[str, Spending], wanted: list[NewCharge]
) -> str | None:
    """Returns which resource does not suffice for another experiment, or None."""
    for resource, limit in limits(spec.budget).items():
        price = sum(c.amount for c in wanted if c.resource == resource)
        used = spending[resource].committed if resource in spending else 0.0
        if price and _more(used + price, limit.value):
            return (
                f"the {resource.replace('_', ' ')} left, {limit.value - used:.6g} {limit.unit} of"
                f" {limit}, is less than the {price:.6g} {limit.unit} of another experiment"
            )
    return None


def overspent(spec: CampaignSpec, spending: Mapping[str, Spending], source: int = 0) -> str | None:
    """Returns why no lab can be paid for another experiment, or None.

    What is only reserved does not count: some of it may come back.

    Args:
        spec: The campaign.
        spending: What is spent, by resource.
        source: Which labs are asked about, where some only hint: 0 for those whose values count.
    """
    bounds = limits(spec.budget)
    reasons = []
    for lab in spec.lab_labels:
        if spec.sources is not None and spec.sources(lab) != source:
            continue
        reason = None
        for charge in charges(spec, lab):
            limit = bounds.get(charge.resource)
            used = spending[charge.resource].settled if charge.resource in spending else 0.0
            if limit is not None and _more(used + charge.amount, limit.value):
                name = charge.resource.replace("_", " ")
                reason = f"the {name} budget of {limit} is spent: {used:.6g} {limit.unit} are used"
        reasons.append(reason)
    return reasons[0] if reasons and all(reasons) else None


def affordable(spec: CampaignSpec, spending: Mapping[str, Spending], planned: int) -> int | None:
    """Returns how many experiments can be paid for beside those that are planned; None for any."""
    bounds = limits(spec.budget)
    counts = []
    for lab in spec.lab_labels:
        lasts = [
            (bounds[c.resource].value - _committed(spending, c.resource)) / c.amount
            for c in charges(spec, lab)
            if c.resource in bounds and c.amount
        ]
        if not lasts:
            return None
        counts.append(max(int(min(lasts) * (1 + 1e-9)) - planned, 0))
    return max(counts, default=None) if counts else None


def actual(
    spec: CampaignSpec, lab: str, outcome: Outcome, currency: str | None = None
) -> dict[str, float]:
    """Returns what an experiment did cost, as far as the lab says so.

    A lab says it in its outcome: `duration` in seconds, `cost` in money, and `details["costs"]` by
    resource, each a number in the budget's unit or a text with a unit; the last counts most.

    Args:
        spec: The campaign.
        lab: Name of the lab.
        outcome: What it said.
        currency: Unit of `cost`; None for the budget's.

    Raises:
        LabError: If a cost is no amount.
    """
    units = {c.resource: c.unit for c in charges(spec, lab)}
    found: dict[str, float] = {}
    told: Any = outcome.details.get("costs", {})
    try:
        if TIME in units and outcome.duration is not None:
            found[TIME] = Amount(float(outcome.duration), "s").to(units[TIME])
        if MONEY in units and outcome.cost is not None:
            spent = Amount(float(outcome.cost), currency or units[MONEY])
            found[MONEY] = spent.to(units[MONEY])
        for resource, cost in dict(told).items():
            if resource in units:
                amount = parse_amount(cost)
                found[resource] = amount.to(units[resource]) if amount.unit else amount.value
    except (TypeError, ValueError, UnitError) as error:
        raise LabError(f"The lab gave a cost that is no amount: {error}.") from error
    if any(not 0 <= amount < math.inf for amount in found.values()):
        raise LabError("The lab gave a cost that is negative or not finite.")
    return found


def check_budget(spec: CampaignSpec, labs: Mapping[str, LabAdapter]) -> None:
    """Refuses a budget that no price counts against, before anything is spent.

    Raises:
        SpecError: If a resource is limited and a lab has no price in it.
        UnitError: If price and limit are of different kinds, or the lab tells what its experiments
            cost in another currency.
    """
    for lab, adapter in labs.items():
        priced = {c.resource: c.unit for c in charges(spec, lab)}
        told = adapter.describe().cost
        if told is not None and MONEY in priced:
            Amount(told.p50, told.unit).to(priced[MONEY])
        for resource in limits(spec.budget):
            if resource not in priced:
                raise SpecError(
                    f"The budget limits {resource}, but the lab {lab!r} has no price in it.",
                    hint=f"Give the lab `costs: {{{resource}: ...}}`, 0 if it needs none.",
                    key=f"budget.{resource}",
                )


def _committed(spending: Mapping[str, Spending], resource: str) -> float:
    return spending[resource].committed if resource in spending else 0.0


def _more(used: float, limit: float) -> bool:
    """Whether an amount is beyond a limit by more than the rounding of sums."""
    return used > limit * (1 + 1e-9)
