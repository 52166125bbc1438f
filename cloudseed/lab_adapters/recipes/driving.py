"""What drives one route more than another: the free energy of what goes in, less that of the gases.

All routes of a target end in the same solid, which cancels between them: so the difference of two
routes needs only tabulated values of the precursors. Enthalpies and entropies are those of 298 K,
and gases are at 1 bar, as in textbooks: an estimate to rank by, not the free energy of a reaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudseed.lab_adapters.recipes.shelf import Substance

__all__ = ["TEMPERATURE", "supply"]

TEMPERATURE = 1373.15
"""Where routes are compared, K: one temperature, or else the target would not cancel."""

_GASES = {
    "CO2": (-393.522, 213.795),
    "H2O": (-241.826, 188.834),
    "NO2": (33.095, 240.034),
    "O2": (0.0, 205.147),
}
"""Enthalpy of formation, kJ/mol, and entropy, J/mol/K, at 298.15 K and 1 bar.

M. W. Chase, NIST-JANAF Thermochemical Tables, 4th ed., J. Phys. Chem. Ref. Data Monograph 9 (1998).
"""


def supply(
    used: Iterable[tuple[Substance, float]],
    gases: Mapping[str, float],
    temperature: float = TEMPERATURE,
) -> float | None:
    """Returns what a route has to give, kJ per mole of target; the higher, the more it is driven.

    Args:
        used: Precursors with their moles per mole of target.
        gases: Gas -> moles set free; negative if it is taken up.
        temperature: K.

    Returns:
        The free energy of precursors less that of gases; None if an enthalpy or entropy of a
        precursor is not known.
    """
    total = 0.0
    for substance, moles in used:
        if substance.enthalpy is None or substance.entropy is None:
            return None
        total += moles * (substance.enthalpy - temperature * substance.entropy / 1000.0)
    for name, moles in gases.items():
        enthalpy, entropy = _GASES[name]
        total -= moles * (enthalpy - temperature * entropy / 1000.0)
    return total
