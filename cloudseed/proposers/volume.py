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
    between half and one and a half of the first guess. Its error on relaxed crystals is about 9 %.

    Where an element lacks a bond length the first guess stands; where it lacks a radius too, or
    there is no reference, the cell's own volume.

    Args:
        cell: The cell, in its own or its parent's size.
        reference: The crystal it was made from, in its right size.

    Returns:
        The cell's volume in cubic angstrom.
    """
    guess = _scaled_by_radii(cell, reference)
    if all(_has_bond_length(element) for element in set(cell.species)):
        try:
            return float(_predictor().predict(cell.scaled_to(guess).to_structure()))
        except ValueError:  # no bond within its cutoff
            return guess
    return guess


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
