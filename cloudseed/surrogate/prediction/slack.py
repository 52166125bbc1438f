"""Lattice thermal conductivity from elastic and thermal properties: an estimate within a factor 4.

Slack's model holds where heat is carried by acoustic phonons that scatter each other, above about
half the Debye temperature: it knows no defects, grain boundaries or optical phonons (Slack, Solid
State Phys. 34, 1 (1979); Morelli & Slack in "High Thermal Conductivity Materials", Springer 2006,
DOI 10.1007/0-387-25100-6_2). The Grueneisen parameter comes from Poisson's ratio (Belomestnykh &
Tesleva, Tech. Phys. 49, 1098 (2004), DOI 10.1134/1.1787679).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["grueneisen", "poisson", "thermal_conductivity"]

_POISSON = (0.0, 0.45)
_PREFACTOR = 2.43e-6
"""W/m/K per (u angstrom K^2), with masses in u and lengths in angstrom."""


def poisson(bulk: npt.ArrayLike, shear: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns Poisson's ratio, held within 0 and 0.45, where nearly all crystals lie.

    Args:
        bulk: Bulk modulus in GPa.
        shear: Shear modulus in GPa.
    """
    k, g = np.asarray(bulk, dtype=float), np.asarray(shear, dtype=float)
    return np.asarray(np.clip((3 * k - 2 * g) / (6 * k + 2 * g), *_POISSON))


def grueneisen(ratio: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns the Grueneisen parameter of a Poisson's ratio."""
    nu = np.asarray(ratio, dtype=float)
    return np.asarray(1.5 * (1 + nu) / (2 - 3 * nu))


def thermal_conductivity(
    *,
    debye: npt.ArrayLike,
    bulk: npt.ArrayLike,
    shear: npt.ArrayLike,
    volume: npt.ArrayLike,
    mass: npt.ArrayLike,
    atoms: npt.ArrayLike,
    temperature: npt.ArrayLike,
) -> npt.NDArray[np.float64]:
    """Returns the lattice thermal conductivity in W/m/K; all arguments are broadcast.

    Args:
        debye: Debye temperature of all vibrations in K.
        bulk: Bulk modulus in GPa.
        shear: Shear modulus in GPa.
        volume: Volume per atom in cubic angstrom.
        mass: Mean atomic mass in u.
        atoms: Atoms in the primitive cell.
        temperature: In K.
    """
    gamma = grueneisen(poisson(bulk, shear))
    prefactor = _PREFACTOR / (1 - 0.514 / gamma + 0.228 / gamma**2)
    theta, cell = np.asarray(debye, dtype=float), np.asarray(atoms, dtype=float)
    carried = np.asarray(mass) * theta**3 * np.cbrt(volume)
    found: Any = prefactor * carried / (gamma**2 * cell ** (2 / 3) * np.asarray(temperature))
    return np.asarray(found)
