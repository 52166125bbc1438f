"""A first guess of the volume of a crystal that nobody has made."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cloudseed.proposers._tables import elements
from cloudseed.proposers.ionic import assign_ions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.crystal import Cell, Crystal

__all__ = ["predict_volume"]


def predict_volume(cell: Cell, reference: Crystal | None = None) -> float:
    """Estimates the volume of a cell from its elements and its geometry.

    The cell is first scaled from the reference by the ratio of mean radii, ionic where charges can
    be assigned, atomic elsewhere. From there data-mined bond lengths decide: the volume at which
    the shortest bond, relative to its usual length, has that length (Chu et al., Comput. Mater.
    Sci. 146, 184 (2018), doi:10.1016/j.commatsci.2018.01.040, as pymatgen implements it), kept
    between half and one and a half of the first guess. What the same rule misses on the reference
    is made up for, as far as a third.

    Where an element lacks a bond length the first guess stands; where it lacks a radius too, or
    there is no reference, the cell's own volume.

    Args:
        cell: The cell, in its own or its parent's size.
        reference: The crystal it was made from, in its right size.

    Returns:
        The cell's volume in cubic angstrom.
    """
    guess = _scaled_by_radii(cell, reference)
    mined = _by_bond_lengths(cell.scaled_to(guess))
    if mined is None:
        return guess
    return mined if reference is None else mined * _missed_by_bond_lengths(reference)


def _by_bond_lengths(cell: Cell) -> float | None:
    """Returns the volume at which bonds have their usual lengths, None where these are unknown."""
    if not all(_has_bond_length(element) for element in set(cell.species)):
        return None
    try:
        return float(_predictor().predict(cell.to_structure()))
    except ValueError:  # no bond within its cutoff
        return None


@lru_cache(maxsize=1024)
def _missed_by_bond_lengths(reference: Crystal) -> float:
    """Returns the true volume of a crystal over the volume by bond lengths."""
    cell = reference.build()
    mined = _by_bond_lengths(cell)
    return 1.0 if mined is None else min(max(cell.volume / mined, 0.75), 1.33)


def _scaled_by_radii(cell: Cell, reference: Crystal | None) -> float:
    if reference is None:
        return cell.volume
    known = reference.build()
    here, there = _mean_radius(cell.species), _mean_radius(known.species)
    if here is None or there is None:
        return cell.volume
    return len(cell.species) * known.volume / len(known.species) * (here / there) ** 3


def _mean_radius(species: Sequence[str]) -> float | None:
    """Returns the mean radius of the atoms in angstrom, None where one has none."""
    composition = Counter(species)
    ions = assign_ions(composition) or {}
    total = 0.0
    for element, count in composition.items():
        facts = elements()[element]
        ionic = facts.ionic_radii.get(ions[element].charge) if element in ions else None
        radius = ionic or facts.atomic_radius
        if radius is None:
            return None
        total += count * radius
    return total / len(species)


def _has_bond_length(element: str) -> bool:
    facts = elements()[element]
    known = facts.atomic_radius is not None and facts.electronegativity is not None
    return known and element in _bond_lengths()


@lru_cache(maxsize=1)
def _bond_lengths() -> frozenset[str]:
    from pymatgen.core.structure_prediction import volume_predictor

    return frozenset(volume_predictor.bond_params)


@lru_cache(maxsize=1)
def _predictor() -> Any:
    from pymatgen.core.structure_prediction.volume_predictor import DLSVolumePredictor

    return DLSVolumePredictor()
