"""Ionic substitution: the model is Hautier's, the order is exact, children are neutral."""

import math
import re

import numpy as np
import pytest

from cloudseed.crystal import Cell, Crystal
from cloudseed.errors import UsageError
from cloudseed.proposers import IonicSubstitution, Parent, ProposalContext, Proposer
from cloudseed.proposers._tables import Ion, ion_table
from cloudseed.proposers.ionic import assign_ions


def children(parents, budget=50, elements=None, **settings):
    context = ProposalContext(tuple(parents), elements)
    return list(IonicSubstitution(**settings).propose(context, budget, np.random.default_rng(0)))


def made(candidate):
    """The elements that took the place of the parent's."""
    return tuple(
        re.match("[A-Z][a-z]?", new)[0] for _, new in candidate.operation.arguments["species"]
    )


def test_probabilities_are_those_of_pymatgen():
    from pymatgen.core.structure_prediction.substitution_probability import SubstitutionProbability

    theirs, ours = SubstitutionProbability(), ion_table()
    rng = np.random.default_rng(0)
    assert {ion.element for ion in ours.ions} == {s.symbol for s in theirs.species}
    assert len(ours.ions) == len(theirs.species)
    for i, j in rng.integers(0, len(ours.ions), (400, 2)):
        new, old = ours.ions[i], ours.ions[j]
        expected = theirs.cond_prob(str(new), str(old))
        assert math.exp(ours.log_conditional(old)[i]) == pytest.approx(expected, rel=1e-9)


def test_conditionals_sum_to_one():
    table = ion_table()
    for ion in table.ions[::17]:
        assert np.exp(table.log_conditional(ion)).sum() == pytest.approx(1.0)
        by_element = table.log_element_conditional(ion.element)
        assert math.fsum(map(math.exp, by_element.values())) == pytest.approx(1.0)


def test_alpha_moves_unseen_pairs_only():
    low, high = ion_table(-5.0), ion_table(-1.0)
    unseen = np.isclose(low.weights, math.exp(-5.0))
    assert unseen.any()
    assert np.allclose(high.weights[unseen], math.exp(-1.0))
    assert np.array_equal(high.weights[~unseen], low.weights[~unseen])


@pytest.mark.parametrize(
    ("composition", "expected"),
    [
        ({"Sr": 1, "Ti": 1, "O": 3}, "Sr2+ Ti4+ O2-"),
        ({"La": 2, "W": 2, "N": 6}, "La3+ W6+ N3-"),
        ({"Gd": 4, "Fe": 4, "O": 12}, "Gd3+ Fe3+ O2-"),
        ({"K": 1, "Mg": 1, "F": 3}, "K1+ Mg2+ F1-"),
        ({"Bi": 2, "Fe": 2, "O": 6}, "Bi3+ Fe3+ O2-"),
        ({"Cs": 1, "Pb": 1, "I": 3}, "Cs1+ Pb2+ I1-"),
    ],
)
def test_charges_of_known_crystals(composition, expected):
    assert " ".join(str(ion) for ion in assign_ions(composition).values()) == expected


@pytest.mark.parametrize("composition", [{"Ni": 3, "Al": 1}, {"He": 1}, {"Fe": 3, "O": 4}])
def test_charges_that_cannot_be_assigned(composition):
    assert assign_ions(composition) is None


def test_children_are_neutral_ordered_new_and_ranked(parent):
    found = children([parent["SrTiO3"]], budget=300)
    assert len(found) == 300
    assert [c.rank for c in found] == list(range(300))
    logs = [c.log_probability for c in found]
    assert logs == sorted(logs, reverse=True)
    assert len({made(c) for c in found}) == 300
    assert ("Sr", "Ti", "O") not in {made(c) for c in found}
    for child in found:
        charges = [int(s[-1] + s[-2]) for _, s in child.operation.arguments["species"]]
        assert charges[0] + charges[1] + 3 * charges[2] == 0
        assert child.probability_kind == "hautier2011"


def test_a_known_substitution_and_its_probability(parent):
    found = {made(c): c for c in children([parent["SrTiO3"]], budget=300)}
    barium = found["Ba", "Ti", "O"]
    table = ion_table()
    expected = sum(
        table.log_conditional(old)[table.index(new)]
        for old, new in (
            (Ion("Sr", 2), Ion("Ba", 2)),
            (Ion("Ti", 4), Ion("Ti", 4)),
            (Ion("O", -2), Ion("O", -2)),
        )
    )
    assert barium.log_probability == pytest.approx(expected)
    assert barium.rank < 10
    assert barium.crystal.key == "221 1a:Ba 1b:Ti 3c:O"
    assert barium.operation.arguments["table_sha256"] == table.sha256


def test_injective_children_keep_the_space_group(parents):
    for child in children(parents, budget=30):
        assert child.crystal.symmetry.inherited


def test_merging_is_an_option(parent):
    plain = children([parent["LaAlO3"]], budget=2000, threshold=1e-8)
    merged = children([parent["LaAlO3"]], budget=2000, threshold=1e-8, merging=True)
    assert all(len(c.crystal.composition) == 3 for c in plain)
    fewer = [c for c in merged if len(c.crystal.composition) == 2]
    assert fewer
    assert not fewer[0].crystal.symmetry.inherited


def test_the_threshold_ends_the_list(parent):
    found = children([parent["SrTiO3"]], budget=10**6, threshold=1e-3)
    assert 0 < len(found) < 1000
    assert all(c.log_probability >= math.log(1e-3) for c in found)


def test_only_permitted_elements_are_used(parent):
    elements = frozenset({"Sr", "Ba", "Ca", "Ti", "Zr", "O"})
    found = children([parent["SrTiO3"]], elements=elements)
    assert found
    assert all(set(c.crystal.composition) <= elements for c in found)
    assert not any("Th" in c.crystal.composition for c in children([parent["SrTiO3"]], 2000))
    with_thorium = children([parent["SrTiO3"]], elements=frozenset({"Sr", "Th", "O"}))
    assert ("Sr", "Th", "O") in {made(c) for c in with_thorium}


def test_parents_are_merged_by_probability_and_budget_is_per_parent(parents):
    found = children(parents, budget=7)
    assert len(found) == 7 * len(parents)
    logs = [c.log_probability for c in found]
    assert logs == sorted(logs, reverse=True)


def test_the_same_arguments_give_the_same_children(parents):
    first = [(c.key, c.log_probability) for c in children(parents)]
    assert first == [(c.key, c.log_probability) for c in children(parents)]


def alloy(*species):
    coords = ((0, 0, 0), (0.5, 0.5, 0.5))
    cell = Cell(((3.0, 0, 0), (0, 3.0, 0), (0, 0, 3.0)), species, coords)
    return Parent("-".join(species), Crystal.from_cell(cell))


def test_intermetallics_go_by_elements():
    found = children([alloy("Ni", "Al")])
    assert found
    assert {c.probability_kind for c in found} == {"hautier2011-elements"}
    assert found[0].operation.arguments["species"][0][0] == "Ni"


def test_an_element_that_the_table_lacks_stays():
    found = children([alloy("He", "Ni")])
    assert found
    assert all(c.crystal.colouring[0] == "He" for c in found)


@pytest.mark.parametrize(
    "settings", [{"threshold": 0.0}, {"threshold": 2.0}, {"alpha": float("nan")}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UsageError):
        IonicSubstitution(**settings)


def test_it_is_a_proposer():
    assert isinstance(IonicSubstitution(), Proposer)
