"""What the computed lab offers, and how long each takes.

The times are for CHGNet and one thread: somewhat above the median that was measured for cubic cells
of 2 atoms (docs/labs.md has the table), and room for larger ones. Another potential takes as
long as it takes.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from cloudseed.lab_adapters.potentials.calculators import CHGNET
from cloudseed.lab_adapters.protocols import Estimate
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudseed.lab_adapters.potentials.settings import MlipSettings

__all__ = ["CONDUCTIVITY", "HARMONIC", "QUASI_HARMONIC", "durations", "offered", "total", "units"]

RELAXED = ("energy", "formation_energy", "energy_above_hull", "volume")
HARMONIC = "heat_capacity"
QUASI_HARMONIC = (
    "bulk_modulus",
    "gibbs_energy",
    "heat_capacity_p",
    "thermal_expansion",
    "volume",
)
"""With a temperature, from one scan over volumes."""

CONDUCTIVITY = "thermal_conductivity"

_STEPS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "relaxation": (0.5, 5.0),
        "equation of state": (1.0, 5.0),
        "elastic tensor": (2.0, 10.0),
        "phonons": (2.0, 15.0),
        "quasi-harmonic scan": (10.0, 120.0),
        "conductivity": (30.0, 600.0),
    }
)
"""Step -> seconds that half and 19 of 20 materials are expected to take at most."""


def at_kelvin(base: str, kelvin: float) -> str:
    """Returns the name of a property at a temperature in K, as objectives write it."""
    return f"{base}@{kelvin:.12g}K"


def offered(settings: MlipSettings) -> tuple[str, ...]:
    """Returns the properties that a lab with these settings measures, sorted."""
    found = ["bulk_modulus", "energy", "shear_modulus", "volume"]
    if settings.calculator == CHGNET or settings.entries is not None:
        found.append("formation_energy")
    if settings.entries is not None:
        found.append("energy_above_hull")
    for kelvin in settings.temperatures:
        bases = [HARMONIC, *QUASI_HARMONIC, *([CONDUCTIVITY] if settings.conductivity else [])]
        found += [at_kelvin(base, kelvin) for base in bases]
    return tuple(sorted(found))


def step_of(name: str) -> str:
    """Returns which step of the work gives a property."""
    base, sign, _ = name.partition("@")
    if not sign:
        if base in RELAXED:
            return "relaxation"
        return "equation of state" if base == "bulk_modulus" else "elastic tensor"
    if base == CONDUCTIVITY:
        return "conductivity"
    return "phonons" if base == HARMONIC else "quasi-harmonic scan"


def durations(settings: MlipSettings) -> dict[str, Estimate]:
    """Returns property -> seconds that it adds to an experiment, the relaxation left out.

    Properties of one step share its time.
    """
    return {name: _limited(_STEPS[step_of(name)], settings.timeout) for name in offered(settings)}


def total(names: Iterable[str], timeout: float) -> Estimate:
    """Returns the seconds of an experiment that measures these properties."""
    steps = {"relaxation", *(step_of(name) for name in names)}
    usual = sum(_STEPS[step][0] for step in steps)
    return _limited((usual, sum(_STEPS[step][1] for step in steps)), timeout)


def _limited(seconds: tuple[float, float], timeout: float) -> Estimate:
    return Estimate(min(seconds[0], timeout), min(seconds[1], timeout), "s")


def units(settings: MlipSettings) -> dict[str, str]:
    """Returns property -> unit of what is offered."""
    return {name: unit_of(name) or "" for name in offered(settings)}
