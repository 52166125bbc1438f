"""What the tests of safety share."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloudseed.lab_adapters import Validation
from tests.loop.labs import InstantLab
from tests.loop.small import spec_of

if TYPE_CHECKING:
    from cloudseed.db import EventRow, ExperimentRow, ExperimentState, SqlLedger
    from cloudseed.lab_adapters import ExperimentRequest, LabDescription
    from cloudseed.loop import Campaign, CampaignSpec

RECIPE = {
    "precursors": [{"formula": "SrCO3", "grams": 0.8}, {"formula": "TiO2", "grams": 0.4}],
    "steps": [{"do": "heat", "temperature": 1373.15, "ramp": 5, "gas": "air"}],
}


class RealLab(InstantLab):
    """Says that it is real, and compiles a recipe.

    Args:
        recipe: What it would do.
    """

    def __init__(self, recipe: dict[str, Any] | None = RECIPE, **more: Any) -> None:
        super().__init__(**more)
        self.recipe = copy.deepcopy(recipe)
        self.simulated = False
        self.wants_approval = False

    def describe(self) -> LabDescription:
        return replace(super().describe(), simulated=self.simulated)

    def validate(self, request: ExperimentRequest) -> Validation:
        return Validation(True, needs_approval=self.wants_approval, recipe=self.recipe)


def guarded(**safety: Any) -> CampaignSpec:
    """Returns a campaign that plans one experiment at a time; nothing is forbidden by itself."""
    return spec_of(batch=1, in_flight=1, safety={"forbidden": [], **safety})


def planned(campaign: Campaign) -> ExperimentRow:
    """Steps once, which plans an experiment and holds it against the limits; returns it."""
    campaign.step()
    (found,) = experiments(campaign)[-1:]
    return found


def experiments(campaign: Campaign) -> list[ExperimentRow]:
    return campaign.context.ledger.experiments(campaign.context.campaign.id)


def state(campaign: Campaign) -> ExperimentState:
    return experiments(campaign)[0].state


def verdicts(ledger: SqlLedger) -> list[str]:
    return [e.data["verdict"] for e in checks(ledger)]


def checks(ledger: SqlLedger) -> list[EventRow]:
    return [e for e in ledger.safety_log(1) if e.kind == "safety_checked"]


def why(ledger: SqlLedger) -> str:
    """Returns the reasons of the last check."""
    return "; ".join(checks(ledger)[-1].data["reasons"])
