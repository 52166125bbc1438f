"""Shannon's ionic radii, Acta Cryst. A 32, 751 (1976), doi:10.1107/S0567739476001551."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cloudseed.proposers._tables import periodic_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudseed.proposers._tables import Ion

__all__ = ["mean_radius", "shannon_radius"]

_ROMAN = {6: "VI", 12: "XII"}


def shannon_radius(ion: Ion, neighbours: int) -> float | None:
    """Returns an ion's radius in angstrom, high spin where it matters; None if it is missing."""
    by_spin = _radii(ion).get(_ROMAN[neighbours])
    return _high_spin(by_spin) if by_spin else None


@lru_cache(maxsize=1024)
def mean_radius(ion: Ion) -> float | None:
    """Returns the mean radius over all coordinations in angstrom; None if there is none."""
    radii = [_high_spin(by_spin) for by_spin in _radii(ion).values()]
    return sum(radii) / len(radii) if radii else None


def _radii(ion: Ion) -> Mapping[str, Any]:
    facts = periodic_table().get(ion.element, {})
    found: Mapping[str, Any] = (facts.get("Shannon radii") or {}).get(str(ion.charge), {})
    return found


def _high_spin(by_spin: Mapping[str, Any]) -> float:
    spin = next(s for s in ("", "High Spin", *by_spin) if s in by_spin)
    return float(by_spin[spin]["ionic_radius"])
