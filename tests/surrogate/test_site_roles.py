"""Element descriptors by the role of a site."""

from __future__ import annotations

import numpy as np
import pytest

from cloudseed.crystal import VACANCY, Cell, Crystal
from cloudseed.surrogate import element_descriptors, scope_string, site_descriptors
from cloudseed.surrogate.descriptors import element_properties
from cloudseed.surrogate.scope import ELEMENTS
from cloudseed.surrogate.site_roles import ROLES

CUBIC = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5))


def perovskite(a, b, x, edge=4.0, shift=0.0, stretch=1.0):
    lattice = ((edge, 0.0, 0.0), (0.0, edge, 0.0), (0.0, 0.0, edge * stretch))
    sites = [*CUBIC[:1], (0.5, 0.5, 0.5 + shift), *CUBIC[2:]]
    return Crystal.from_cell(Cell(lattice, (a, b, x, x, x), tuple(sites)))


def properties(element):
    return element_properties()[ELEMENTS.index(element)]


def roles_of(found, element):
    """Returns in which roles a crystal has an element's properties."""
    return [k for k, row in enumerate(found) if np.allclose(row, properties(element), atol=1e-5)]


def test_swapped_elements_are_told_apart_though_compositions_are_equal():
    pair = [perovskite("Sr", "Ti", "O"), perovskite("Ti", "Sr", "O")]
    strings = [scope_string(c, "canonical") for c in pair]
    assert np.array_equal(*element_descriptors(strings))
    here, there = site_descriptors(pair)
    assert roles_of(here, "Sr") == roles_of(there, "Ti") != roles_of(here, "Ti")
    assert roles_of(here, "O") == roles_of(there, "O")


def test_roles_are_those_of_distorted_and_larger_crystals_alike():
    crystals = [
        perovskite("Sr", "Ti", "O"),
        perovskite("Ba", "Zr", "S", edge=5.0),
        perovskite("Pb", "V", "O", shift=0.05, stretch=1.1),
    ]
    found = site_descriptors(crystals)
    assert found.shape == (3, ROLES, element_properties().shape[1])
    for a, b, x, row in zip(("Sr", "Ba", "Pb"), ("Ti", "Zr", "V"), "OSO", found, strict=True):
        places = [roles_of(row, element) for element in (a, b, x)]
        assert places == [roles_of(found[0], element) for element in ("Sr", "Ti", "O")]
        assert sorted(role for (role,) in places) == [0, 1, 2]


def test_sites_of_one_role_count_by_their_number_and_vacancies_not():
    parent = perovskite("Sr", "Ti", "O")
    mixed = Crystal.from_cell(
        Cell(
            ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0)),
            ("Sr", "Ti", "O", "O", "N"),
            CUBIC,
        )
    )
    empty = parent.recoloured([VACANCY if e == "Sr" else e for e in parent.colouring])
    found = site_descriptors([parent, mixed, empty])
    (anions,) = roles_of(found[0], "O")
    wanted = (2 * properties("O") + properties("N")) / 3
    np.testing.assert_allclose(found[1, anions], wanted, atol=1e-5)
    (a_site,) = roles_of(found[0], "Sr")
    assert not found[2, a_site].any()
    assert roles_of(found[2], "O") == [anions]


def test_one_kind_of_site_is_one_role():
    iron = Cell(((0, 1.4, 1.4), (1.4, 0, 1.4), (1.4, 1.4, 0)), ("Fe",), ((0.0, 0.0, 0.0),))
    nickel = Cell(iron.lattice, ("Ni",), iron.frac_coords)
    found = site_descriptors([Crystal.from_cell(iron), Crystal.from_cell(nickel)])
    assert found.shape[1] == 1
    assert roles_of(found[1], "Ni") == [0]


def test_parts_and_order_change_nothing_but_the_order(monkeypatch):
    crystals = [perovskite(a, b, "O") for a, b in (("Sr", "Ti"), ("Ba", "Ti"), ("Ca", "Zr"))]
    crystals += [crystals[0].recoloured(["Eu" if e == "Sr" else e for e in crystals[0].colouring])]
    whole = site_descriptors(crystals)
    assert np.isfinite(whole).all()
    monkeypatch.setattr("cloudseed.surrogate.site_roles._CHUNK", 1)
    np.testing.assert_array_equal(site_descriptors(crystals), whole)


def test_nothing_gives_nothing():
    assert site_descriptors([]).shape[0] == 0


@pytest.mark.parametrize("edge", [3.0, 9.0])
def test_surroundings_do_not_depend_on_the_size_of_the_cell(edge):
    root = perovskite("Sr", "Ti", "O", edge=edge).root
    around = root.surroundings
    assert around.shape == (3, 12)
    assert (np.diff(around, axis=1) >= 0).all()
    unit = 5 ** (1 / 3)
    np.testing.assert_allclose(around[:, 0], [unit / 2**0.5, unit / 2, unit / 2], atol=1e-6)
