"""The campaign file: what an owner writes, checked before anything runs.

`campaign` has the whole, `candidates`, `labs`, `deciding` and `ending` its sections; the one on
safety is told in `cloudseed.loop.safety`. `checks` has what no section can check alone.
"""

from cloudseed.loop.spec.campaign import CampaignSpec
from cloudseed.loop.spec.candidates import (
    ElementsSpec,
    FilterChoice,
    ProposerChoice,
    ProposerSpec,
    QuotasSpec,
)
from cloudseed.loop.spec.deciding import CostSpec, DecideSpec, SurrogateSpec
from cloudseed.loop.spec.ending import BudgetSpec, StopSpec
from cloudseed.loop.spec.labs import LabSpec
from cloudseed.loop.spec.reading import load_spec, validate_spec

__all__ = [
    "BudgetSpec",
    "CampaignSpec",
    "CostSpec",
    "DecideSpec",
    "ElementsSpec",
    "FilterChoice",
    "LabSpec",
    "ProposerChoice",
    "ProposerSpec",
    "QuotasSpec",
    "StopSpec",
    "SurrogateSpec",
    "load_spec",
    "validate_spec",
]
