"""Partial, aliovalent, similar and swapped children, and evolution."""

import itertools
import math
import re

import numpy as np
import pytest

from cloudseed.crystal import VACANCY, Cell, Crystal
from cloudseed.errors import UsageError
from cloudseed.proposers import (
    AliovalentSubstitution,
    BatchProposer,
    Evolution,
    IonicSubstitution,
    Observation,
    Observer,
    Parent,
    PartialSubstitution,
    ProposalContext,
    Proposer,
    SimilaritySubstitution,
    SiteSwap,
    load_proposer,
    prototype_parents,
)
from cloudseed.proposers._tables import elements
from cloudseed.proposers.similarity import PETTIFOR
from cloudseed.proposers.subsets import coloured, distinct_subsets, element_sites

SPINEL = "A2BC4_cF56_227_d_a_e"


@pytest.fixture(scope="module")
def spinel():
    (found,) = [p for p in prototype_parents() if p.name == SPINEL]
    return found


def children(proposer, *parents, budget=60, elements=None):
    context = ProposalContext(parents, elements)
    return list(proposer.propose(context, budget, np.random.default_rng(0)))


def charge_of(species):
    match = re.search(r"(\d+)([+-])$", species)
    return int(match[1]) * (1 if match[2] == "+" else -1) if match else 0


@pytest.mark.parametrize(
    "proposer",
    [PartialSubstitution(), AliovalentSubstitution(), SiteSwap(), SimilaritySubstitution()],
)
def test_children_are_ordered_ranked_and_repeatable(proposer, spinel, parent):
    assert isinstance(proposer, BatchProposer)
    assert load_proposer(proposer.name) == proposer
    start = alloy("Ni", "Al") if isinstance(proposer, SimilaritySubstitution) else spinel
    found = children(proposer, start)
    assert found
    assert [c.rank for c in found] == list(range(len(found)))
    logs = [c.log_probability for c in found]
    assert logs == sorted(logs, reverse=True)
    assert max(logs) <= 0
    again = children(proposer, start)
    assert [c.key for c in found] == [c.key for c in again]
    assert start.crystal.key not in {c.key for c in found if c.operation.name != "site_swap"}


def test_patterns_are_all_that_symmetry_tells_apart(spinel):
    crystal = spinel.crystal
    (metal,) = [e for e, n in crystal.composition.items() if n == 4]
    sites = element_sites(crystal, metal)
    subsets = distinct_subsets(crystal, sites, 100, np.random.default_rng(0))
    seen = set()
    for size in range(1, len(sites)):
        for chosen in itertools.combinations(sites, size):
            root = coloured(crystal, [chosen]).root
            seen.add((size, root.space_group, *sorted(root.sites_per_orbit)))
    assert len(subsets) == len(seen) == 3
    for subset in subsets:
        assert subset.weight == 1.0
    for size in range(1, len(sites)):
        shares = [s.weight for s in subsets if len(s.sites) == size]
        assert math.fsum(shares) == pytest.approx(1.0)


def test_a_cap_draws_patterns(spinel):
    amounts = spinel.crystal.composition
    anions = element_sites(spinel.crystal, max(amounts, key=amounts.get))
    everything = distinct_subsets(spinel.crystal, anions, 10**6, np.random.default_rng(0))
    assert len(everything) > 10
    few = distinct_subsets(spinel.crystal, anions, 5, np.random.default_rng(0))
    assert len(few) == 5
    assert set(few) <= set(everything)


def test_whole_orbits_need_no_search(parent):
    crystal = parent["CaTiO3"].crystal
    oxygens = [o for o, element in enumerate(crystal.colouring) if element == "O"]
    sites = [s for s, orbit in enumerate(crystal.root.site_orbits) if orbit == oxygens[0]]
    colours = coloured(crystal, [sites])
    assert colours.root is crystal.root
    assert colours.orbit_map is None
    part = coloured(crystal, [sites[:1]])
    assert part.root is not crystal.root
    assert part.root is coloured(crystal, [sites[:1]]).root
    assert len(part.orbit_map) == len(part.root.orbits) > len(crystal.root.orbits)


def test_partial_children_keep_some_of_an_element(parent):
    for child in children(PartialSubstitution(), parent["KMgF3"]):
        *_, (old, new) = child.operation.arguments["species"]
        assert charge_of(old) == charge_of(new)
        assert len(child.crystal.composition) in {3, 4}
        assert sum(child.crystal.composition.values()) == 5
        assert child.depth == 1
    loose = children(PartialSubstitution(neutral=False), parent["KMgF3"], budget=500)
    changes = [child.operation.arguments["species"][-1] for child in loose]
    assert any(charge_of(old) != charge_of(new) for old, new in changes)


def test_aliovalent_children_are_neutral(parent, spinel):
    vacant = 0
    for start in (parent["CaTiO3"], spinel):
        found = children(AliovalentSubstitution(vacancy=0.5), start, budget=200)
        assert found
        for child in found:
            changed = child.operation.arguments["species"]
            colouring = child.crystal.colouring
            assert sum(charge_of(old) != charge_of(new) for old, new in changed) == 2
            vacant += VACANCY in colouring
            total = sum(
                count * {re.match("[A-Z][a-z]*", new)[0]: charge_of(new) for _, new in changed}[e]
                for e, count in child.crystal.composition.items()
            )
            assert total == 0, changed
    assert vacant
    assert not children(AliovalentSubstitution(), alloy("Ni", "Al"))


def test_no_vacancies_where_none_are_wanted(parent):
    found = children(AliovalentSubstitution(vacancy=0), parent["CaTiO3"], budget=200)
    assert not any(VACANCY in child.crystal.colouring for child in found)


def test_a_normal_spinel_becomes_an_inverse_one(spinel):
    found = children(SiteSwap(), spinel)
    composition = spinel.crystal.composition
    assert all(child.crystal.composition == composition for child in found)
    assert {child.crystal.symmetry.space_group for child in found} == {74}
    (swapped,) = children(SiteSwap(), alloy("Ni", "Al"))[:1]
    assert swapped.crystal.colouring == ("Al", "Ni")


def alloy(*species):
    coords = ((0, 0, 0), (0.5, 0.5, 0.5))
    cell = Cell(((3.0, 0, 0), (0, 3.0, 0), (0, 0, 3.0)), species, coords)
    return Parent("-".join(species), Crystal.from_cell(cell))


def test_neighbours_on_the_scale_come_first(parent):
    assert len(set(PETTIFOR)) == 103
    assert set(PETTIFOR) == {e for e, facts in elements().items() if facts.number <= 103}
    found = children(SimilaritySubstitution(), alloy("Ni", "Al"), budget=20)
    assert {found[0].crystal.colouring, found[1].crystal.colouring} <= {
        ("Co", "Al"),
        ("Cu", "Al"),
        ("Ni", "Ga"),
        ("Ni", "Be"),
    }
    assert not children(SimilaritySubstitution(), parent["SrTiO3"])
    assert children(SimilaritySubstitution(everywhere=True), parent["SrTiO3"])


def test_a_parent_with_vacancies_has_children(parent):
    first = next(
        child
        for child in children(AliovalentSubstitution(vacancy=0.5), parent["CaTiO3"], budget=200)
        if VACANCY in child.crystal.colouring
    )
    start = Parent("vacant", first.crystal, "measured", first.depth)
    for proposer in (IonicSubstitution(), PartialSubstitution(), AliovalentSubstitution()):
        found = children(proposer, start, budget=5)
        assert found or proposer.name == "aliovalent_substitution"
        for child in found:
            assert VACANCY in child.crystal.colouring
            assert child.depth == first.depth + 1


def observed(crystal, name, value, depth=0):
    return Observation(crystal, name, value, depth)


def test_evolution_recycles_the_best(parent):
    evolution = Evolution(elites=2, depth=2, share=0.5)
    assert isinstance(evolution, Proposer)
    assert isinstance(evolution, Observer)
    context = ProposalContext((parent["SrTiO3"],))
    assert list(evolution.propose(context, 20, np.random.default_rng(0))) == []
    best, deep, worst, nothing = (parent[n].crystal for n in ("BaTiO3", "KTaO3", "CaTiO3", "KMgF3"))
    evolution.observe(
        [
            observed(worst, "worst", 1.0),
            observed(best, "best", 3.0, depth=1),
            observed(deep, "deep", 9.0, depth=2),
            observed(nothing, "nothing", math.nan),
        ]
    )
    assert [p.name for p in evolution.parents()] == ["best", "worst"]
    found = list(evolution.propose(context, 20, np.random.default_rng(0)))
    assert len(found) == 10
    assert {c.parents for c in found} <= {("best",), ("worst",)}
    assert {c.depth for c in found} == {1, 2}
    assert {c.operation.name for c in found} == {"ionic_substitution", "partial_substitution"}
    again = Evolution(elites=2, depth=2, share=0.5)
    again.observe([observed(best, "best", 3.0, depth=1), observed(worst, "worst", 1.0)])
    assert [c.key for c in again.propose(context, 20, np.random.default_rng(0))] == [
        c.key for c in found
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: PartialSubstitution(cap=0),
        lambda: AliovalentSubstitution(vacancy=2),
        lambda: SiteSwap(cap=-1),
        lambda: SimilaritySubstitution(width=0),
        lambda: Evolution(share=0),
        lambda: Evolution(elites=0),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(UsageError) as caught:
        make()
    assert caught.value.hint
