"""Which atmospheres leave a target as it is meant, by the oxidation states it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Composition

__all__ = ["atmosphere", "states"]

_IN_AIR = {
    "Ti": 4,
    "V": 5,
    "Nb": 5,
    "Ta": 5,
    "Mo": 6,
    "W": 6,
    "Fe": 3,
    "Cu": 2,
    "Sn": 4,
    "Ce": 4,
    "Eu": 3,
    "Cr": 3,
    "Re": 7,
}
"""Oxidation states that heated air raises these elements to, unless they are there already."""

_UNDER_HYDROGEN = frozenset(
    {"Cu", "Ag", "Ni", "Co", "Fe", "Pb", "Bi", "Sn", "Sb", "Pd", "Pt", "Ru"}
)
"""Elements that hot hydrogen takes out of oxides as metals."""

_SLACK = 1e-6


def states(target: Composition) -> dict[str, float]:
    """Returns likely oxidation states by element; empty if no charge-neutral set is found."""
    found = target.oxi_state_guesses()
    return {str(k): float(v) for k, v in found[0].items()} if found else {}


def atmosphere(target: Composition, oxygen: float, gases: Sequence[str]) -> tuple[str | None, str]:
    """Chooses an atmosphere.

    Args:
        target: What is made.
        oxygen: O2 that the reaction sets free per formula unit; negative if it takes it up.
        gases: What the furnace can have.

    Returns:
        The gas, or None if none of them will do; and why.
    """
    known = states(target)
    low = sorted(e for e, state in known.items() if state < _IN_AIR.get(e, -9) - _SLACK)
    if oxygen < -_SLACK and low:
        return None, f"it takes up oxygen, which would oxidise {', '.join(low)} further"
    wanted: tuple[str, ...]
    if oxygen < -_SLACK:
        wanted, why = ("O2", "air"), "the reaction takes up oxygen"
    elif low:
        wanted = ("Ar", "N2", "H2/Ar")
        why = f"air would oxidise {', '.join(f'{e}{known[e]:+g}' for e in low)}"
    elif oxygen > _SLACK:
        wanted, why = ("Ar", "N2", "air", "O2"), "the reaction sets oxygen free"
    else:
        wanted, why = ("air", "O2", "Ar", "N2"), "nothing is oxidised or reduced"
    fit = [gas for gas in wanted if gas in gases]
    if "H2/Ar" in fit and {str(e) for e in target.elements} & _UNDER_HYDROGEN:
        fit.remove("H2/Ar")
    return (fit[0], why) if fit else (None, f"{why}, and there is no {' or '.join(wanted)}")
