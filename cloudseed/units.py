"""The one table of properties and their units.

A quantity whose name stands here is in the unit given here, everywhere in cloudseed: in the ledger,
in surrogates, in results. Other units are converted at the edge (`convert`). Lengths are in
angstrom.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cloudseed.errors import UnitError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROPERTIES", "Property", "convert", "quantity", "unit_of"]


@dataclass(frozen=True, slots=True)
class Property:
    """A measurable quantity.

    Attributes:
        name: The name by which specs, labs and the ledger call it.
        unit: The unit of every stored value; "" where dimensionless.
        description: One line for people.
        lower: The smallest value that is physically possible, or minus infinity.
    """

    name: str
    unit: str
    description: str
    lower: float = -math.inf


PROPERTIES: Mapping[str, Property] = MappingProxyType(
    {
        p.name: p
        for p in (
            Property("bulk_modulus", "GPa", "resistance to uniform compression"),
            Property("shear_modulus", "GPa", "resistance to shear"),
            Property("formation_energy", "eV/atom", "energy relative to the elements"),
            Property("energy_above_hull", "eV/atom", "energy above the convex hull", 0.0),
            Property("energy", "eV/atom", "total energy"),
            Property("band_gap", "eV", "fundamental band gap", 0.0),
            Property("volume", "angstrom^3/atom", "volume per atom", 0.0),
            Property("density", "g/cm^3", "mass density", 0.0),
            Property("heat_capacity", "J/mol/K", "heat capacity at constant volume", 0.0),
            Property("heat_capacity_p", "J/mol/K", "heat capacity at constant pressure", 0.0),
            Property("thermal_expansion", "1/K", "thermal expansion of the volume"),
            Property("gibbs_energy", "eV/atom", "Gibbs energy, on the scale of the total energy"),
            Property("debye_temperature", "K", "Debye temperature", 0.0),
            Property("refractive_index", "", "refractive index", 0.0),
            Property("thermal_conductivity", "W/m/K", "lattice thermal conductivity", 0.0),
        )
    }
)


def unit_of(name: str) -> str | None:
    """Returns the unit of a property, or None if the table does not know it.

    A name with a temperature, such as `heat_capacity@500K`, has the unit of its base.
    """
    known = PROPERTIES.get(name.split("@", 1)[0])
    return known.unit if known else None


def convert(value: float, source: str, target: str) -> float:
    """Converts a value between units.

    Args:
        value: The number, in `source`.
        source: A unit such as "eV/atom", "kJ/mol/atom" or "GPa"; "" where dimensionless.
        target: The unit wanted.

    Raises:
        UnitError: If a unit is unknown or the two do not measure the same thing.
    """
    if source == target:
        return value
    import pint

    registry = _registry()
    try:
        return float(registry.Quantity(value, source).to(target).magnitude)
    except pint.UndefinedUnitError as error:
        near = difflib.get_close_matches(
            source, sorted({p.unit for p in PROPERTIES.values() if p.unit}), n=1
        )
        raise UnitError(
            f"The unit {source!r} is unknown.",
            hint=f"Did you mean {near[0]!r}?" if near else f"This property is in {target!r}.",
            unit=source,
        ) from error
    except Exception as error:  # pint lets tokenizer and arithmetic errors through
        raise UnitError(
            f"{source!r} cannot be converted to {target!r}.",
            hint=f"Give the value in {target!r} or in a unit of the same kind.",
            unit=source,
        ) from error


def quantity(value: Any, unit: str) -> Any:
    """Returns numbers with a unit, as pint has them.

    Args:
        value: A number or an array.
        unit: As for `convert`.

    Raises:
        UnitError: If the unit is unknown.
    """
    try:
        return _registry().Quantity(value, unit)
    except Exception as error:  # pint lets tokenizer and arithmetic errors through
        raise UnitError(
            f"The unit {unit!r} is unknown.",
            hint="Write it as in 100 GPa or (1 eV/atom).",
            unit=unit,
        ) from error


@lru_cache(maxsize=1)
def _registry() -> Any:
    """The pint registry, with "atom" as a dimension of its own and the mole as a number.

    So kJ/mol/atom is an energy per atom, as in thermochemical tables.
    """
    import pint

    registry: Any = pint.UnitRegistry()
    registry.define("atom = [atoms]")
    registry.define("mole = 6.02214076e23 = mol")
    return registry
