from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pymatgen.core import Composition

from cloudseed.errors import InputError
from cloudseed.lab_adapters.recipes import Shelf, expected_pattern, read_shelf, routes
from cloudseed.lab_adapters.recipes.shelf import composition
from cloudseed.loop.safety import read_facts
from tests.lab_adapters.kit import perovskite

if TYPE_CHECKING:
    from pathlib import Path


def shelf(*formulas: str, gases: tuple[str, ...] = ("air",), **more: object) -> Shelf:
    return Shelf.model_validate(
        {"precursors": [{"formula": f, **more} for f in formulas], "gases": gases}
    )


def test_masses_of_strontium_titanate() -> None:
    (route,) = routes("SrTiO3", shelf("SrCO3", "TiO2"))
    assert [(p.formula, p.grams) for p in route.precursors] == [("SrCO3", 0.8046), ("TiO2", 0.4353)]
    assert route.reaction == "SrCO3 + TiO2 -> SrTiO3 + CO2"
    assert route.released == {"CO2": 1.0}
    assert route.states == {"Sr": 2.0, "Ti": 4.0, "O": -2.0}
    assert route.heating.gas == "air"


def test_assay_and_water_are_weighed_too() -> None:
    (pure,) = routes("BaTiO3", shelf("Ba(OH)2", "TiO2"), 2.0)
    (wet,) = routes("BaTiO3", shelf("Ba(OH)2·8H2O", "TiO2", assay=0.98), 2.0)
    ratio = (Composition("Ba(OH)2").weight + 8 * Composition("H2O").weight) / Composition(
        "Ba(OH)2"
    ).weight
    expected = pure.precursors[0].grams * float(ratio) / 0.98
    assert wet.precursors[0].grams == pytest.approx(expected, rel=1e-3)
    assert wet.released["H2O"] == 9.0


@pytest.mark.parametrize(
    ("target", "bottles", "gases", "gas"),
    [
        ("LaMnO3", ("La2O3", "MnO"), ("Ar",), None),  # needs oxygen
        ("LaMnO3", ("La2O3", "MnO"), ("Ar", "air"), "air"),
        ("LaTiO3", ("La2O3", "Ti2O3"), ("air",), None),  # air would make Ti4+
        ("LaTiO3", ("La2O3", "Ti2O3"), ("air", "Ar"), "Ar"),
        ("CuFeO2", ("Cu2O", "Fe2O3"), ("H2/Ar",), None),  # hydrogen would make copper
        ("SrTiO3", ("Sr(NO3)2", "TiO2"), ("air",), "air"),
    ],
)
def test_the_atmosphere_fits_the_oxidation_states(
    target: str, bottles: tuple[str, ...], gases: tuple[str, ...], gas: str | None
) -> None:
    found = routes(target, shelf(*bottles, gases=gases))
    assert [r.heating.gas for r in found] == ([] if gas is None else [gas])


def test_routes_are_ranked_by_cost_then_precursors_then_gas() -> None:
    stock = Shelf.model_validate(
        {
            "precursors": [
                {"formula": "SrCO3", "price": 0.1, "melting": 1770},
                {"formula": "SrO", "price": 2.0, "melting": 2800},
                {"formula": "TiO2", "price": 0.2, "melting": 2116},
                {"formula": "Sr(NO3)2"},
                {"formula": "KCl", "price": 0.01},
            ]
        }
    )
    found = routes("SrTiO3", stock)
    assert [{p.formula for p in r.precursors} - {"TiO2"} for r in found] == [
        {"SrCO3"},
        {"SrO"},
        {"Sr(NO3)2"},
    ]
    assert found[0].cost == pytest.approx(0.1 * 0.8046 + 0.2 * 0.4353, abs=1e-4)
    assert found[0].heating.temperature == pytest.approx(1180.0)
    assert "SrCO3" in found[0].heating.basis
    assert found[2].cost is None
    assert "not known" in found[2].heating.basis


def test_what_the_shelf_lacks_is_no_route() -> None:
    assert routes("SrTiO3", shelf("SrCO3", "ZrO2")) == []
    assert routes("SrTiO3", shelf("SrCO3", "TiO2", grams=0.5)) == []
    assert len(routes("SrTiO3", shelf("SrCO3", "TiO2", grams=0.9))) == 1


def test_elements_are_conserved() -> None:
    bottles = ("La2O3", "SrCO3", "MnO2", "Mn2O3", "La(NO3)3·6H2O", "Sr(OH)2·8H2O")
    found = routes("La7Sr3Mn10O30", shelf(*bottles, gases=("air", "O2")), top=100)
    assert len(found) == 8
    for route in found:
        left: dict[str, float] = {}
        sides = [(composition(p.formula), p.moles) for p in route.precursors]
        sides += [(Composition(g), -n) for g, n in route.released.items()]
        sides.append((Composition(route.target), -1.0))
        for what, moles in sides:
            for element, n in what.items():
                left[str(element)] = left.get(str(element), 0.0) + n * moles
        # Oxygen may also be taken from the atmosphere.
        left["O"] = min(left["O"], 0.0) if "O2 ->" not in route.reaction else 0.0
        assert max(map(abs, left.values())) < 1e-3, route.reaction


def test_safety_reads_a_route_and_its_name_follows_the_masses() -> None:
    (route,) = routes("SrTiO3", shelf("SrCO3", "TiO2"), 5.0)
    facts = read_facts(route.recipe())
    assert (facts.target, facts.missing) == ("SrTiO3", [])
    assert facts.grams == pytest.approx(6.2, abs=0.01)
    (other,) = routes("SrTiO3", shelf("SrCO3", "TiO2"), 5.001)
    assert len({route.sha256, other.sha256}) == 2


@pytest.mark.parametrize(("target", "grams"), [("Sr(", 1), ("SrTiN3", 1), ("SrTiO3", -1)])
def test_what_cannot_be_made_is_an_error(target: str, grams: float) -> None:
    with pytest.raises(InputError) as caught:
        routes(target, shelf("SrCO3", "TiO2"), grams)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["[", "precursors: []", "precursors: [{formula: Q}]", "x: 1"])
def test_a_shelf_that_is_none_is_an_error(text: str, tmp_path: Path) -> None:
    (path := tmp_path / "shelf.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_shelf(path)
    assert caught.value.hint


def test_the_pattern_of_strontium_titanate() -> None:
    peaks = expected_pattern(perovskite())
    top = max(peaks, key=lambda p: p.height)
    assert sorted(map(abs, top.indices)) == [0, 1, 1]
    assert top.angle == pytest.approx(32.4, abs=0.1)
