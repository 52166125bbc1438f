"""Filters beyond elements and charges: verdicts, countable reasons, missing data is unknown."""

import numpy as np
import pytest

from cloudseed._elements import NUMBERS
from cloudseed.crystal import Cell, Crystal
from cloudseed.errors import InputError, UsageError
from cloudseed.proposers import Candidate, CompositionFilter, Operation, Verdict
from cloudseed.proposers.screens import (
    Abundance,
    CationsPresent,
    CellFilter,
    ElectronegativityOrder,
    ElementLimit,
    EnergyAboveHull,
    IonSize,
    KnownList,
    MinimumDistance,
    NewComposition,
    NewPrototype,
    NewStructure,
    PerovskiteTolerance,
    SupplyRisk,
    read_known,
)
from cloudseed.proposers.screens.hull import ReferenceEntries
from cloudseed.proposers.screens.perovskites import perovskite_sites
from cloudseed.proposers.screens.radii import mean_radius, shannon_radius

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


def candidate(crystal, **values):
    return Candidate(crystal, ("p",), Operation("test", {"values": values}), -1.0, "none")


def screens():
    return [
        ElectronegativityOrder(),
        Abundance(1.0),
        SupplyRisk(3000.0),
        ElementLimit("price", {"Sr": 6.0, "Ti": 11.0, "O": 0.1, "Au": 60000.0}, 50.0),
        ElementLimit("toxicity", {"Sr": 1.0, "Ti": 0.0, "Au": 9.0}, 5.0, mean="worst"),
    ]


@pytest.mark.parametrize(
    ("composition", "verdict"),
    [
        ({"Sr": 1, "Ti": 1, "O": 3}, PASS),
        ({"Na": 1, "Cl": 1}, PASS),
        ({"N": 1, "I": 3}, UNKNOWN),
        ({"Ni": 3, "Al": 1}, UNKNOWN),
    ],
)
def test_electronegativity_order_doubts_and_fails_only_where_asked(composition, verdict):
    found, reason = ElectronegativityOrder().judge(composition)
    assert found is verdict
    assert bool(reason) == (verdict is not PASS)


def test_a_wrong_order_fails_where_it_shall():
    assert ElectronegativityOrder(hard=True).judge({"N": 1, "I": 3})[0] is FAIL
    assert ElectronegativityOrder(hard=True).judge({"Sr": 1, "Ti": 1, "O": 3}) == (PASS, "")
    wide = ElectronegativityOrder(hard=True, margin=3.0)
    assert wide.judge({"Sr": 1, "Ti": 1, "O": 3})[0] is FAIL


@pytest.mark.parametrize(
    ("screen", "composition", "expected"),
    [
        (Abundance(1.0), {"Sr": 1, "O": 1}, (PASS, "")),
        (Abundance(1.0), {"Au": 1, "Re": 1, "O": 1}, (FAIL, "Re is too rare")),
        (Abundance(1.0), {"Pu": 1, "O": 1}, (UNKNOWN, "no abundance of Pu is known")),
        (SupplyRisk(3000.0), {"Fe": 2, "O": 3}, (PASS, "")),
        (SupplyRisk(3000.0), {"Dy": 1, "N": 1}, (FAIL, "the index of production is too high")),
        (SupplyRisk(3000.0), {"Pu": 1}, (UNKNOWN, "the index of production of Pu is not known")),
        (
            SupplyRisk(3000.0, of="reserves"),
            {"Dy": 1},
            (FAIL, "the index of reserves is too high"),
        ),
    ],
)
def test_abundance_and_supply(screen, composition, expected):
    assert screen.judge(composition) == expected


def test_supply_risk_is_that_of_pymatgen():
    from pymatgen.analysis.hhi import HHIModel

    theirs = HHIModel().get_hhi_production("SrTiO3")
    composition = {"Sr": 1, "Ti": 1, "O": 3}
    assert SupplyRisk(theirs + 1e-6).judge(composition)[0] is PASS
    assert SupplyRisk(theirs - 1e-6).judge(composition)[0] is FAIL


def test_lists_of_the_user(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("element,usd_per_kg\nSr,6\nTi,11\nO,0.1\nAu,60000\nXe,\n")
    price = ElementLimit.read(path, 50.0)
    assert price.name == "usd_per_kg"
    assert price.judge({"Sr": 1, "Ti": 1, "O": 3}) == (PASS, "")
    assert price.judge({"Au": 1, "O": 1}) == (FAIL, "the usd_per_kg is too high")
    assert price.judge({"Xe": 1, "Au": 9}) == (UNKNOWN, "the usd_per_kg of Xe is not known")
    worst = ElementLimit.read(path, 50.0, "usd_per_kg", "worst")
    assert worst.judge({"Xe": 1, "Au": 9}) == (FAIL, "the usd_per_kg of Au is too high")


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("symbol,price\nSr,1\n", InputError, "needs the columns"),
        ("element\nSr\n", InputError, "needs the columns"),
        ("element,a,b\nSr,1,2\n", UsageError, "several columns"),
        ("element,price\nXx,1\n", InputError, "no element"),
        ("element,price\nSr,cheap\n", InputError, "no element with a number"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, text, error, said):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(error, match=said):
        ElementLimit.read(path, 1.0)


def test_many_compositions_get_the_same_verdicts_as_one(parent):
    numbers = np.array(
        [
            [NUMBERS[e] for e in row]
            for row in (("Sr", "Ti", "O"), ("Au", "Ti", "O"), ("Ba", "Pu", "S"), ("Sr", "Ti", "O"))
        ],
        dtype=np.uint8,
    )
    for screen in screens():
        assert isinstance(screen, CompositionFilter)
        judged = screen.check_many(numbers, (2, 2, 6))
        for row, place in zip(numbers.tolist(), judged.index.tolist(), strict=True):
            symbols = [next(e for e, z in NUMBERS.items() if z == n) for n in row]
            alone = screen.check(candidate(parent["SrTiO3"].crystal.recoloured(symbols)))
            assert judged.results[place] == alone


def test_novelty_by_composition_prototype_and_structure(parent):
    crystal = parent["SrTiO3"].crystal
    known = KnownList("my list", [crystal], [(("Ba", 1), ("O", 3), ("Ti", 1))])
    swapped = crystal.recoloured(("Ti", "Sr", "O"))
    other = crystal.recoloured(("Ca", "Sn", "O"))
    barium = crystal.recoloured(("Ba", "Ti", "O"))
    verdicts = {
        "same": [
            c.check(candidate(crystal)).verdict
            for c in (NewComposition(known), NewPrototype(known))
        ],
        "swapped": [
            c.check(candidate(swapped)).verdict
            for c in (NewComposition(known), NewPrototype(known))
        ],
        "other": [
            c.check(candidate(other)).verdict for c in (NewComposition(known), NewPrototype(known))
        ],
        "barium": [
            c.check(candidate(barium)).verdict for c in (NewComposition(known), NewPrototype(known))
        ],
    }
    assert verdicts == {
        "same": [FAIL, FAIL],
        "swapped": [FAIL, PASS],
        "other": [PASS, PASS],
        "barium": [FAIL, UNKNOWN],
    }
    by_structure = NewStructure(known)
    assert isinstance(by_structure, CellFilter)
    assert by_structure.check_cell(candidate(crystal), crystal.build(50.0)).verdict is FAIL
    assert by_structure.check_cell(candidate(other), other.build()).verdict is PASS
    assert by_structure.check_cell(candidate(barium), barium.build()).verdict is UNKNOWN
    assert "my list" in NewPrototype(known).check(candidate(crystal)).reason


def test_one_key_but_another_structure_is_new():
    def quartz_like(x):
        lattice = ((3.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 9.0))
        coords = ((0.5, 0.5, x), (0.5, 0.5, -x), (0.0, 0.0, 0.0))
        return Crystal.from_cell(Cell(lattice, ("O", "O", "Ti"), coords))

    near, far = quartz_like(0.13), quartz_like(0.33)
    assert near.key == far.key
    judge = NewStructure(KnownList("list", [near]))
    assert judge.check_cell(candidate(near), near.build()).verdict is FAIL
    assert judge.check_cell(candidate(far), far.build()).verdict is PASS


def test_known_lists_come_from_tables(tmp_path):
    path = tmp_path / "made.csv"
    path.write_text("formula\nSrTiO3\nBa2Ti2O6\n")
    known = read_known(path)
    assert (known.name, len(known)) == ("made.csv", 2)
    assert known.has_composition({"Ba": 1, "Ti": 1, "O": 3})
    path.write_text("formula\nnonsense!\n")
    with pytest.raises(InputError, match="row 1"):
        read_known(path)


@pytest.mark.parametrize("name", ["SrTiO3", "SrTiO3-tilted", "GdFeO3", "KMgF3", "LaAlO3", "BiFeO3"])
def test_perovskites_are_recognised_by_their_geometry(parent, name):
    sites = perovskite_sites(parent[name].crystal)
    assert sites is not None
    assert sum(sites.x.values()) == 3 * sum(sites.a.values()) == 3 * sum(sites.b.values())


def test_what_is_no_perovskite():
    lattice = ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0))
    corundum_like = Cell(
        lattice,
        ("Al", "Al", "O", "O", "O"),
        ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), (0.75, 0.75, 0.75), (0.5, 0.0, 0.0)),
    )
    crystal = Crystal.from_cell(corundum_like)
    assert perovskite_sites(crystal) is None
    assert PerovskiteTolerance().check(candidate(crystal)).verdict is PASS


def test_ilmenite_has_octahedra_but_they_share_edges():
    from pymatgen.core import Lattice, Structure

    lattice = Lattice.hexagonal(5.09, 14.09)
    sites = [[0, 0, 0.1446], [0, 0, 0.3536], [0.2943, 0.9776, 0.0886]]
    ilmenite = Structure.from_spacegroup("R-3", lattice, ["Ti", "Fe", "O"], sites)
    crystal = Crystal.from_structure(ilmenite)
    assert len(crystal.build().species) == 10
    assert perovskite_sites(crystal) is None


@pytest.mark.parametrize(
    ("colours", "bartel", "goldschmidt"),
    [
        (("Sr", "Ti", "O"), PASS, PASS),
        (("Ba", "Ti", "O"), PASS, FAIL),  # t = 1.06, just above the limit
        (("K", "Mg", "F"), PASS, PASS),
        (("La", "Al", "O"), PASS, PASS),
        (("Cs", "B", "O"), UNKNOWN, UNKNOWN),  # no charges
        (("Ca", "Si", "O"), FAIL, FAIL),
        (("Mg", "Ti", "O"), UNKNOWN, UNKNOWN),  # no radius of Mg2+ with 12 neighbours
    ],
)
def test_tolerance_factors(parent, colours, bartel, goldschmidt):
    child = candidate(parent["SrTiO3"].crystal.recoloured(colours))
    assert PerovskiteTolerance().check(child).verdict is bartel
    assert PerovskiteTolerance("goldschmidt").check(child).verdict is goldschmidt


def test_radii_are_those_of_shannon():
    from cloudseed.proposers._tables import Ion

    assert shannon_radius(Ion("Sr", 2), 12) == 1.44
    assert shannon_radius(Ion("Ti", 4), 6) == 0.605
    assert shannon_radius(Ion("Fe", 3), 6) == 0.645
    assert shannon_radius(Ion("Sn", 2), 12) is None
    assert mean_radius(Ion("Al", 3)) == pytest.approx((0.39 + 0.48 + 0.535) / 3)
    assert mean_radius(Ion("Sn", 2)) is None


def changed(*pairs):
    crystal = Crystal.from_cell(
        Cell(
            ((4.1, 0, 0), (0, 4.1, 0), (0, 0, 4.1)),
            ("Cs", "Cl"),
            ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),
        )
    )
    return Candidate(
        crystal, ("p",), Operation("test", {"species": [list(p) for p in pairs]}), 0.0, "x"
    )


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("Al3+", "Fe3+"), ("O2-", "O2-")], (PASS, "")),
        ([("Al3+", "B3+"), ("O2-", "O2-")], (FAIL, "an ion is too small for its site")),
        ([("Li1+", "Cs1+"), ("Cl1-", "I1-")], (FAIL, "an ion is too large for its site")),
        ([("Na1+", "Sn2+")], (UNKNOWN, "no radius of Sn2+ is known")),
        ([("Nb", "Ta")], (UNKNOWN, "no charges can be given to the elements")),
        ([("Al3+", "Vac")], (PASS, "")),
    ],
)
def test_ion_sizes(pairs, expected):
    result = IonSize().check(changed(*pairs))
    assert (result.verdict, result.reason) == expected


def test_sizes_that_enclose_nothing():
    with pytest.raises(UsageError, match="enclose"):
        IonSize(least=1.2)


@pytest.mark.parametrize(
    ("composition", "verdict"),
    [
        ({"Te": 1, "S": 2}, FAIL),
        ({"I": 1, "Cl": 1}, FAIL),
        ({"Se": 3}, PASS),
        ({"Te": 1, "O": 2}, PASS),
        ({"Bi": 2, "Te": 2, "S": 1}, PASS),
        ({"Te": 1, "I": 4}, PASS),
    ],
)
def test_anions_alone_are_no_salt(composition, verdict):
    assert CationsPresent().judge(composition)[0] is verdict


def test_minimum_distances(parent):
    crystal = parent["SrTiO3"].crystal
    judge = MinimumDistance()
    assert isinstance(judge, CellFilter)
    assert judge.check_cell(candidate(crystal), crystal.build()).verdict is PASS
    squeezed = judge.check_cell(candidate(crystal), crystal.build(15.0))
    assert squeezed.verdict is FAIL
    assert squeezed.reason.endswith("are too close")
    strange = crystal.recoloured(("Xe", "Ti", "O"))
    result = judge.check_cell(candidate(strange), strange.build())
    assert (result.verdict, result.reason) == (UNKNOWN, "no radius of Xe is known")


@pytest.fixture
def references(tmp_path):
    path = tmp_path / "hull.csv"
    path.write_text(
        "formula,formation_energy_per_atom,method\nSrO,-3.0,PBE\nTiO2,-3.3,PBE\nSrTiO3,-3.5,PBE\n"
    )
    return ReferenceEntries.read(path)


def test_energy_above_hull(parent, references):
    crystal = parent["SrTiO3"].crystal
    judge = EnergyAboveHull(references, 0.05)
    low = judge.check(candidate(crystal, formation_energy_per_atom=-3.48))
    high = judge.check(candidate(crystal, formation_energy_per_atom=-3.3))
    none = judge.check(candidate(crystal))
    other = judge.check(candidate(crystal, energy_per_atom=-3.6))
    assert [r.verdict for r in (low, high, none, other)] == [PASS, FAIL, UNKNOWN, UNKNOWN]
    assert none.reason == "no energy of the candidate is known"


def test_total_energies_need_the_elements(parent, tmp_path):
    path = tmp_path / "hull.csv"
    path.write_text("formula,energy_per_atom\nO2,-4.9\nTi,-7.8\n")
    judge = EnergyAboveHull(ReferenceEntries.read(path))
    result = judge.check(candidate(parent["SrTiO3"].crystal, energy_per_atom=-8.0))
    assert (result.verdict, result.reason) == (UNKNOWN, "no reference entry of Sr is given")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("formula,energy\nO2,1\n", "needs the columns"),
        ("formula,energy_per_atom,method\nO2,-4.9,PBE\nTi,-7,SCAN\n", "mixes methods"),
        ("formula,energy_per_atom\nO2,low\n", "no entry"),
        ("formula,energy_per_atom\n!?,-1\n", "no entry"),
    ],
)
def test_reference_tables_that_cannot_be_used(tmp_path, text, said):
    path = tmp_path / "hull.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        ReferenceEntries.read(path)
    assert caught.value.hint
