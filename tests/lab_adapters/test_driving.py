"""Which route is driven most, by tabulated values of the precursors."""

from __future__ import annotations

import pytest
import yaml
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.lab_adapters.recipes import Shelf, routes
from cloudseed.lab_adapters.recipes.driving import supply
from cloudseed.lab_adapters.recipes.shelf import Substance

CARBONATE = {"formula": "CaCO3", "enthalpy": -1206.9, "entropy": 92.9, "price": 0.1}
OXIDE = {"formula": "CaO", "enthalpy": -635.1, "entropy": 38.1, "price": 0.5}
TITANIA = {"formula": "TiO2", "enthalpy": -944.0, "entropy": 50.6, "price": 0.2}


def shelf(*precursors):
    return Shelf.model_validate({"precursors": list(precursors), "gases": ["air"]})


def test_lime_is_burnt_near_where_it_really_is():
    """CaCO3 -> CaO + CO2 turns at 1170 K at 1 bar; with values of 298 K a little below."""
    carbonate, oxide = Substance(**CARBONATE), Substance(**OXIDE)

    def ahead(kelvin):
        return supply([(carbonate, 1.0)], {"CO2": 1.0}, kelvin) - supply([(oxide, 1.0)], {}, kelvin)

    low, high = 300.0, 2000.0
    assert ahead(low) < 0 < ahead(high)
    while high - low > 0.1:
        middle = (low + high) / 2
        low, high = (middle, high) if ahead(middle) < 0 else (low, middle)
    assert low == pytest.approx(1170, rel=0.06)


def test_routes_are_ranked_by_it_on_request():
    there = shelf(CARBONATE, OXIDE, TITANIA)
    by_cost = [r.precursors[0].formula for r in routes("CaTiO3", there)]
    assert by_cost == ["CaCO3", "CaO"]
    best, other = routes("CaTiO3", there, rank="supply")
    assert best.precursors[0].formula == "CaCO3"  # above 1110 K
    assert best.supply - other.supply == pytest.approx(45, abs=5)
    dear = {**CARBONATE, "price": 9.0}
    assert [r.precursors[0].formula for r in routes("CaTiO3", shelf(dear, OXIDE, TITANIA))] == [
        "CaO",
        "CaCO3",
    ]
    driven = routes("CaTiO3", shelf(dear, OXIDE, TITANIA), rank="supply")
    assert driven[0].precursors[0].formula == "CaCO3"


def test_what_is_not_known_comes_last_and_says_nothing():
    unknown = {key: value for key, value in CARBONATE.items() if key != "entropy"}
    first, last = routes("CaTiO3", shelf(unknown, OXIDE, TITANIA), rank="supply")
    assert (first.precursors[0].formula, last.supply) == ("CaO", None)
    assert all(r.supply is None for r in routes("CaTiO3", shelf(unknown, {"formula": "TiO2"})))


def test_the_recipe_s_name_does_not_depend_on_it():
    (plain,) = routes("CaTiO3", shelf({"formula": "CaCO3"}, {"formula": "TiO2"}))
    (known,) = routes("CaTiO3", shelf(CARBONATE, TITANIA))
    assert plain.sha256 == known.sha256


def test_the_command_tells_it(tmp_path):
    path = tmp_path / "shelf.yaml"
    path.write_text(yaml.safe_dump({"precursors": [CARBONATE, OXIDE, TITANIA]}))
    words = ["recipe", "CaTiO3", "--shelf", str(path), "--rank"]
    done = CliRunner().invoke(app, [*words, "supply"])
    assert done.exit_code == 0, done.output
    first, second = done.output.split("2. ")
    assert "the most driven of these" in first
    assert "kJ/mol less driven" in second
    done = CliRunner().invoke(app, [*words, "beauty"])
    assert done.exit_code != 0
    assert "beauty" in str(done.exception)
