"""Recipes that a request carries, as each lab gets to see them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cloudseed.errors import InputError, LabError
from cloudseed.lab_adapters import (
    DeliveryClass,
    FailureKind,
    Feature,
    LabDescription,
    Outcome,
    Precursor,
    load_lab,
)
from cloudseed.lab_adapters._facts import filled
from cloudseed.lab_adapters.gateway.wire import Request
from cloudseed.lab_adapters.recipes import Shelf, described_shelf, routes
from tests.lab_adapters.kit import request
from tests.lab_adapters.operators import answer

if TYPE_CHECKING:
    from pathlib import Path

UNITS = {"energy": "eV/atom"}
SHELF = {
    "precursors": [
        {"formula": "SrCO3", "assay": 0.99, "grams": 50.0, "price": 0.1, "melting": 1770.0},
        {"formula": "TiO2", "enthalpy": -944.7, "entropy": 50.3},
    ],
    "gases": ["air", "Ar"],
}


def recipe() -> dict[str, Any]:
    (best,) = routes("SrTiO3", Shelf.model_validate(SHELF), 2.0, top=1)
    return best.recipe()


def order(tmp_path: Path, adapter: str, suffix: str, **more: Any) -> str:
    lab = load_lab(adapter, {"properties": UNITS}, tmp_path)
    lab.submit(request(**more))
    return (tmp_path / "exchange" / "orders" / f"k-1{suffix}").read_text()


def test_a_sheet_has_masses_to_weigh_and_steps_to_follow(tmp_path: Path) -> None:
    sheet = order(tmp_path, "human", ".html", recipe=recipe())
    for words in ("SrCO3 + TiO2", "<td>1.625", "heat, 1373.15 K (1100 degC), ramp 5.0 K/min"):
        assert words in sheet.replace("-&gt;", "->")
    assert "<pre>" not in sheet
    assert "Recipe" not in order(tmp_path / "none", "human", ".html")


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"steps": "stir"},
        {"steps": [1, 2]},
        {"precursors": [{"formula": "TiO2"}]},
        {"precursors": [{"formula": "<b>", "grams": "much"}], "steps": [{"temperature": "hot"}]},
        {"reaction": ["a"], "anneal": {"hours": None}},
    ],
)
def test_an_odd_recipe_is_printed_as_it_is(odd: dict[str, Any], tmp_path: Path) -> None:
    sheet = order(tmp_path, "human", ".html", recipe=odd)
    assert "Recipe" in sheet
    assert "<b>" not in sheet
    for word in json.dumps(odd).replace('"', " ").replace("<b>", "&lt;b&gt;").split():
        if word.isalnum() and word not in {"null", "precursors", "steps", "formula", "grams"}:
            assert word in sheet


def test_a_robot_finds_the_recipe_in_its_order(tmp_path: Path) -> None:
    text = order(tmp_path, "filedrop", ".csv", recipe=recipe())
    (row,) = csv.DictReader(text.splitlines())
    assert json.loads(row["recipe"]) == recipe()


def test_a_plan_may_name_the_recipe() -> None:
    asked = request(recipe=recipe())
    assert json.loads(filled({"kwargs": ["{recipe}"]}, asked)["kwargs"][0]) == recipe()
    assert filled("x{recipe}", request()) == "x"


def test_the_wire_carries_it() -> None:
    asked = request(recipe=recipe())
    assert Request(**asked.to_json()).recipe == recipe()
    assert Request(**request().to_json()).recipe is None


def test_a_key_of_another_recipe_is_another_request(tmp_path: Path) -> None:
    lab = load_lab("filedrop", {"properties": UNITS}, tmp_path)
    lab.submit(request(recipe=recipe()))
    with pytest.raises(LabError, match="another request"):
        lab.submit(request(recipe={**recipe(), "target": "CaTiO3"}))


@pytest.mark.parametrize("adapter", ["human", "filedrop"])
def test_a_lab_behind_a_folder_tells_of_its_shelf(adapter: str, tmp_path: Path) -> None:
    (path := tmp_path / "shelf.yaml").write_text(yaml.safe_dump(SHELF))
    lab = load_lab(adapter, {"properties": UNITS, "shelf": str(path)}, tmp_path / "lab")
    can = lab.describe()
    titania = Precursor("TiO2", enthalpy=-944.7, entropy=50.3)
    assert can.shelf == (Precursor("SrCO3", 50.0, 0.99, 0.1, 1770.0), titania)
    assert can.gases == ("air", "Ar")
    assert described_shelf(can) == Shelf.model_validate(SHELF)
    with pytest.raises(InputError, match="shelf"):
        load_lab(adapter, {"properties": UNITS, "shelf": str(tmp_path / "none")}, tmp_path / "b")


def test_a_described_shelf_has_air_and_must_be_one() -> None:
    def lab(**more: Any) -> LabDescription:
        return LabDescription("bench", UNITS, 1, DeliveryClass.A, simulated=False, **more)

    assert described_shelf(lab()) is None
    assert described_shelf(lab(shelf=())) is None
    found = described_shelf(lab(shelf=(Precursor("TiO2"),)))
    assert found is not None
    assert found.gases == ("air",)
    some = described_shelf(lab(shelf=(Precursor("TiO2"),), gases=("phosgene", "N2")))
    assert some is not None
    assert some.gases == ("N2",)
    for wrong in (
        {"shelf": (Precursor("Q"),)},
        {"shelf": (Precursor("TiO2", assay=2.0),)},
        {"shelf": (Precursor("TiO2"),), "gases": ("phosgene",)},
    ):
        with pytest.raises(LabError, match="cannot be one") as caught:
            described_shelf(lab(**wrong))
        assert caught.value.hint


def result(tmp_path: Path, **cells: str) -> Outcome:
    """Returns what became of an order that carried a recipe, by a row of a result file."""
    lab = load_lab("human", {"properties": UNITS}, tmp_path)
    handle = lab.submit(request(recipe=recipe()))
    form = tmp_path / "exchange" / "orders" / "k-1.csv"
    assert form.read_text().splitlines()[0].endswith(",recipe")
    answer(tmp_path / "exchange", "k-1", "-8000", **cells)
    (message,) = lab.poll([handle])
    return Outcome.from_json(message.raw)


def test_a_result_says_whether_the_recipe_was_followed(tmp_path: Path) -> None:
    found = result(tmp_path / "a", recipe="As ordered", simulated="no")
    assert (found.recipe, found.simulated) == (recipe(), False)
    found = result(tmp_path / "b", recipe='{"steps": [{"temperature": 1400}]}')
    assert (found.recipe, found.simulated) == ({"steps": [{"temperature": 1400}]}, None)
    assert result(tmp_path / "c").recipe is None


@pytest.mark.parametrize("cells", [{"recipe": "hotter"}, {"recipe": "[1]"}, {"simulated": "maybe"}])
def test_what_cannot_be_read_of_a_recipe_is_refused(cells: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not enough values"):
        result(tmp_path, **cells)
    (why,) = (tmp_path / "exchange" / "results" / "refused").glob("*.txt")
    assert next(iter(cells.values())) in why.read_text()


@pytest.mark.parametrize("adapter", ["human", "filedrop"])
def test_a_lab_behind_a_folder_counts_what_its_orders_take(adapter: str, tmp_path: Path) -> None:
    (path := tmp_path / "shelf.yaml").write_text(yaml.safe_dump(SHELF))
    config = {"properties": UNITS, "shelf": str(path)}
    grams = {p["formula"]: p["grams"] for p in recipe()["precursors"]}["SrCO3"]

    def left(lab: Any) -> float:
        (strontium, titanium) = lab.describe().shelf
        assert titanium.grams is None
        return strontium.grams

    lab = load_lab(adapter, config, tmp_path / "lab")
    assert left(lab) == 50.0
    for _ in range(2):
        lab.submit(request(recipe=recipe()))
    assert left(lab) == pytest.approx(50.0 - grams)
    lab.submit(replace(request(recipe=recipe()), key="k-2"))
    lab.submit(replace(request(), key="k-3"))
    assert left(lab) == pytest.approx(50.0 - 2 * grams)
    again = load_lab(adapter, config, tmp_path / "lab")
    assert left(again) == pytest.approx(50.0 - 2 * grams)
    # Another bottle came.
    fuller = json.loads(json.dumps(SHELF))
    fuller["precursors"][0]["grams"] = 150.0
    path.write_text(yaml.safe_dump(fuller))
    assert left(lab) == pytest.approx(150.0 - 2 * grams)
    path.write_text("precursors: 7")
    with pytest.raises(LabError, match="shelf"):
        lab.describe()


TASK = {"type": "Heat", "results": {"energy": "energy"}}


@pytest.mark.parametrize("follows", [True, False])
def test_a_remote_lab_follows_a_recipe_that_its_tasks_name(follows: bool, tmp_path: Path) -> None:
    parameters = {"parameters": {"how": "{recipe}"}} if follows else {}
    config = {"properties": UNITS, "simulated": True, "tasks": [TASK | parameters]}
    lab = load_lab("alabos", config, tmp_path)
    assert (Feature.RECIPES in lab.describe().features) is follows
    assert lab.validate(request()).accepted
    verdict = lab.validate(request(recipe=recipe()))
    assert verdict.accepted is follows
    if not follows:
        assert verdict.failure is FailureKind.REJECTED_CAPABILITY
        assert "no recipe" in verdict.reasons[0]
    lab.close()


def test_a_lab_that_computes_refuses_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("formula,energy\nSrTiO3,-8.0\n")
    lab = load_lab("table", {"path": str(tmp_path / "t.csv")}, tmp_path / "lab")
    assert lab.validate(request()).accepted
    assert not lab.validate(request(recipe=recipe())).accepted
