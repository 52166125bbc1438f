"""Lattice thermal conductivity from elastic and thermal properties: an estimate within a factor 4.

Slack's model holds where heat is carried by acoustic phonons that scatter each other, above about
half the Debye temperature: it knows no defects, grain boundaries or optical phonons (Slack, Solid
State Phys. 34, 1 (1979); Morelli & Slack in "High Thermal Conductivity Materials", Springer 2006,
DOI 10.1007/0-387-25100-6_2). The Grueneisen parameter comes from Poisson's ratio (Belomestnykh &
Tesleva, Tech. Phys. 49, 1098 (2004), DOI 10.1134/1.1787679).

A Debye temperature from heat capacities counts optical phonons too, which are far stiffer than the
acoustic ones in large cells and molecular crystals; so it is used only as far as the sound
velocities allow (Anderson, J. Phys. Chem. Solids 24, 909 (1963), DOI 10.1016/0022-3697(63)90067-2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["elastic_debye", "grueneisen", "poisson", "thermal_conductivity"]

_POISSON = (0.0, 0.45)
_KELVIN_SECONDS = 7.638232e-12
"""The reduced Planck constant over Boltzmann's constant, K s."""
_DENSITY = 1660.539
"""kg/m^3 in one u per cubic angstrom."""
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


def elastic_debye(
    bulk: npt.ArrayLike, shear: npt.ArrayLike, volume: npt.ArrayLike, mass: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Returns the Debye temperature in K that the sound velocities give.

    Args:
        bulk: Bulk modulus in GPa.
        shear: Shear modulus in GPa.
        volume: Volume per atom in cubic angstrom.
        mass: Mean atomic mass in u.
    """
    k, g = np.asarray(bulk, dtype=float), np.asarray(shear, dtype=float)
    density = _DENSITY * np.asarray(mass, dtype=float) / np.asarray(volume, dtype=float)
    along, across = (np.sqrt(1e9 * m / density) for m in (k + 4 / 3 * g, g))
    mean = ((2 / across**3 + 1 / along**3) / 3) ** (-1 / 3)
    wave = np.cbrt(6 * np.pi**2 / np.asarray(volume)) * 1e10
    return np.asarray(_KELVIN_SECONDS * wave * mean)


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
    theta = np.minimum(np.asarray(debye, dtype=float), elastic_debye(bulk, shear, volume, mass))
    cell = np.asarray(atoms, dtype=float)
    carried = np.asarray(mass) * theta**3 * np.cbrt(volume)
    found: Any = prefactor * carried / (gamma**2 * cell ** (2 / 3) * np.asarray(temperature))
    return np.asarray(found)
