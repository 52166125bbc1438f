"""Finds filters by name, for campaign files and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from cloudseed.errors import UsageError
from cloudseed.proposers._options import made, nearest
from cloudseed.proposers.neutrality import ChargeNeutrality
from cloudseed.proposers.screens.distances import MinimumDistance
from cloudseed.proposers.screens.hull import EnergyAboveHull, ReferenceEntries
from cloudseed.proposers.screens.known import (
    NewComposition,
    NewPrototype,
    NewStructure,
    read_known,
)
from cloudseed.proposers.screens.limits import Abundance, ElementLimit, SupplyRisk
from cloudseed.proposers.screens.order import CationsPresent, ElectronegativityOrder
from cloudseed.proposers.screens.perovskites import PerovskiteTolerance
from cloudseed.proposers.screens.sizes import IonSize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudseed.proposers.parents import Reading
    from cloudseed.proposers.protocols import Filter
    from cloudseed.proposers.screens.protocols import CellFilter

__all__ = ["FILTERS", "PATHS", "load_filter"]

PATHS = ("list", "entries")
"""Options that are paths; a campaign file's are relative to it."""


_NOVELTY: Mapping[str, Callable[..., Any]] = {
    "new_composition": NewComposition,
    "new_prototype": NewPrototype,
    "new_structure": NewStructure,
}


def _novelty(filter: str, reading: Reading | None = None) -> Callable[..., Any]:  # noqa: A002
    def make(list: str, name: str = "") -> Any:  # noqa: A002  the option's name
        known = read_known(list, name, reading)
        if filter != "new_composition" and not known.has_structures:
            raise UsageError(
                f"{known.name} holds no structure that {filter} could compare with.",
                hint="Ask for new compositions, or give a list of structures.",
            )
        return _NOVELTY[filter](known)

    return make


def _element_limit(
    list: str,  # noqa: A002  the option's name
    most: float,
    of: str = "",
    mean: Literal["mass", "worst"] = "mass",
) -> ElementLimit:
    if mean not in {"mass", "worst"}:
        raise ValueError("mean is 'mass' or 'worst'")
    return ElementLimit.read(Path(list), float(most), of, mean)


def _hull(entries: str, most: float = 0.1) -> EnergyAboveHull:
    return EnergyAboveHull(ReferenceEntries.read(Path(entries)), float(most))


def _supply_risk(
    most: float = 4000.0, of: Literal["production", "reserves"] = "production"
) -> SupplyRisk:
    if of not in {"production", "reserves"}:
        raise ValueError("of is 'production' or 'reserves'")
    return SupplyRisk(float(most), of)


def _tolerance(rule: Literal["bartel", "goldschmidt"] = "bartel") -> PerovskiteTolerance:
    if rule not in {"bartel", "goldschmidt"}:
        raise ValueError("rule is 'bartel' or 'goldschmidt'")
    return PerovskiteTolerance(rule)


def _neutrality(mixed_valence: bool = False) -> ChargeNeutrality:
    return ChargeNeutrality(mixed_valence=bool(mixed_valence))


def _order(hard: bool = False, margin: float = 0.0) -> ElectronegativityOrder:
    return ElectronegativityOrder(hard=bool(hard), margin=float(margin))


def _abundance(least: float = 0.1) -> Abundance:
    return Abundance(float(least))


def _distance(factor: float = 0.7) -> MinimumDistance:
    return MinimumDistance(float(factor))


FILTERS: Mapping[str, Callable[..., Any]] = {
    "charge_neutrality": _neutrality,
    "electronegativity_order": _order,
    "cations_present": lambda: CationsPresent(),  # noqa: PLW0108  its fields are no options
    "new_composition": _novelty("new_composition"),
    "abundance": _abundance,
    "supply_risk": _supply_risk,
    "element_limit": _element_limit,
    "new_prototype": _novelty("new_prototype"),
    "ion_size": IonSize,
    "perovskite_tolerance": _tolerance,
    "energy_above_hull": _hull,
    "minimum_distance": _distance,
    "new_structure": _novelty("new_structure"),
}
"""Name -> maker, in order of cost."""


def load_filter(
    name: str, options: Mapping[str, Any] | None = None, reading: Reading | None = None
) -> Filter | CellFilter:
    """Returns a filter.

    Args:
        name: One of `FILTERS`.
        options: Its settings; the others keep their defaults.
        reading: How the structures of its list are read, if it has one.

    Raises:
        UsageError: If there is none of that name, it has no such option (the hint names the
            nearest), or its list holds nothing that it could compare with.
        InputError: If a file that it needs cannot be read.
    """
    if name not in FILTERS:
        raise UsageError(f"There is no filter {name!r}.", hint=nearest(name, list(FILTERS)))
    maker = _novelty(name, reading) if name in _NOVELTY else FILTERS[name]
    return cast("Filter | CellFilter", made("filter", name, maker, options or {}))
