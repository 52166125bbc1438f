"""Filters beyond elements and charges, in order of cost.

    by composition   ElectronegativityOrder, CationsPresent, NewComposition, SupplyRisk, Abundance,
                     ElementLimit
    by crystal       NewPrototype; IonSize, PerovskiteTolerance, EnergyAboveHull, which are `late`
    by built cell    MinimumDistance, NewStructure: `CellFilter`s

Late ones and those of built cells are asked of what is selected only.

What a table lacks is "unknown", which rejects nothing and is counted.
"""

from cloudseed.proposers.screens.distances import MinimumDistance
from cloudseed.proposers.screens.hull import EnergyAboveHull
from cloudseed.proposers.screens.known import (
    KnownList,
    NewComposition,
    NewPrototype,
    NewStructure,
    read_known,
)
from cloudseed.proposers.screens.limits import Abundance, ElementLimit, SupplyRisk
from cloudseed.proposers.screens.order import CationsPresent, ElectronegativityOrder
from cloudseed.proposers.screens.perovskites import PerovskiteTolerance
from cloudseed.proposers.screens.protocols import CellFilter
from cloudseed.proposers.screens.registry import FILTERS, load_filter
from cloudseed.proposers.screens.sizes import IonSize

__all__ = [
    "FILTERS",
    "Abundance",
    "CationsPresent",
    "CellFilter",
    "ElectronegativityOrder",
    "ElementLimit",
    "EnergyAboveHull",
    "IonSize",
    "KnownList",
    "MinimumDistance",
    "NewComposition",
    "NewPrototype",
    "NewStructure",
    "PerovskiteTolerance",
    "SupplyRisk",
    "load_filter",
    "read_known",
]
