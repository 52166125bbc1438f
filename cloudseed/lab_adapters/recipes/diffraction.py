"""What a powder pattern of the product should look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudseed.crystal import Cell

__all__ = ["Peak", "expected_pattern"]


@dataclass(frozen=True, slots=True)
class Peak:
    """A reflection: angle two theta in degrees, height (100: the highest), Miller indices."""

    angle: float
    height: float
    indices: tuple[int, ...]


def expected_pattern(
    cell: Cell, *, radiation: str = "CuKa", most: float = 90.0, least: float = 1.0
) -> tuple[Peak, ...]:
    """Returns the reflections of a phase-pure powder, by angle.

    Args:
        cell: The structure.
        radiation: As pymatgen names it.
        most: Largest two theta, degrees.
        least: Smallest height that is told.
    """
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    found = XRDCalculator(wavelength=radiation).get_pattern(
        cell.to_structure(), two_theta_range=(0.0, most)
    )
    return tuple(
        Peak(float(x), float(y), tuple(map(int, hkls[0]["hkl"])))
        for x, y, hkls in zip(found.x, found.y, found.hkls, strict=True)
        if y >= least
    )
