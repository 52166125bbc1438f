"""Volumes: about right for known crystals, never an error."""

import pytest

from cloudseed.crystal import Cell, Crystal
from cloudseed.proposers import predict_volume

SALT = ((0, 0, 0), (0.5, 0.5, 0.5))


def caesium_chloride(*species):
    return Cell(((4.0, 0, 0), (0, 4.0, 0), (0, 0, 4.0)), species, SALT)


@pytest.mark.parametrize(
    ("elements", "measured"),
    [(("Ba", "Zr", "O"), 73.7), (("Ba", "Ti", "O"), 64.2), (("K", "Ta", "O"), 63.5)],
)
def test_known_perovskites(parent, elements, measured):
    child = parent["SrTiO3"].crystal.recoloured(elements)
    volume = predict_volume(child.build(), parent["SrTiO3"].crystal)
    assert volume == pytest.approx(measured, rel=0.12)


def test_far_from_the_parent(parent):
    child = parent["KMgF3"].crystal.recoloured(("Cs", "Pb", "I"))
    volume = predict_volume(child.build(), parent["KMgF3"].crystal)
    assert volume == pytest.approx(248.0, rel=0.2)


@pytest.mark.parametrize("species", [("He", "Ne"), ("Og", "Ts"), ("Cs", "Og"), ("H", "He")])
@pytest.mark.parametrize("with_reference", [True, False])
def test_missing_radii_are_no_error(species, with_reference):
    reference = Crystal.from_cell(caesium_chloride("Cs", "Cl")) if with_reference else None
    assert 0 < predict_volume(caesium_chloride(*species), reference) < 1000


def test_the_size_of_the_cell_does_not_matter_where_there_is_a_reference(parent):
    child = parent["SrTiO3"].crystal.recoloured(("Ba", "Zr", "O"))
    small, large = child.build(20.0), child.build(500.0)
    reference = parent["SrTiO3"].crystal
    assert predict_volume(small, reference) == pytest.approx(predict_volume(large, reference))
