"""What counts as known: how its list is read, what is said of it."""

from __future__ import annotations

import pytest

from cloudseed.errors import InputError, UsageError
from cloudseed.loop.proposing import propose_from
from cloudseed.loop.recipe import Choice, Recipe
from cloudseed.loop.spec import CampaignSpec
from cloudseed.proposers import Reading, Verdict, load_filter
from cloudseed.proposers.screens.known import read_known
from tests.proposers.sources.test_files import cif

NEARLY = cif(more="Rb Rb1 0.5 0.5 0.03 1").replace("Cl Cl1 0.5 0.5 0.5 1\n", "")
"""Rb is 0.12 angstrom off the position that would make the cell centred on it."""


def test_known_crystals_are_read_as_parents_are(tmp_path):
    (tmp_path / "nearly.cif").write_text(NEARLY)
    strict, loose = (
        load_filter("new_prototype", {"list": str(tmp_path)}, Reading(symprec)).known
        for symprec in (0.01, 0.3)
    )
    assert strict.sha256 != loose.sha256
    (tmp_path / "nearly.cif").write_text(cif(occupancy=0.7, more="Rb Rb1 0 0 0 0.3"))
    assert read_known(tmp_path).skipped
    ordered = read_known(tmp_path, reading=Reading(disorder="majority"))
    assert ordered.has_composition({"Cs": 1, "Cl": 1})


def test_reading_a_known_list_is_told(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.cif").write_text(cif())
    told = []
    read_known(tmp_path, "old", Reading(progress=lambda *args: told.append(args)))
    assert told == [("reading old", n, 3) for n in (1, 2, 3)]


def test_a_list_of_formulas_cannot_tell_prototypes(tmp_path):
    path = tmp_path / "formulas.csv"
    path.write_text("formula\nSrTiO3\n")
    for name in ("new_prototype", "new_structure"):
        with pytest.raises(UsageError, match=r"formulas\.csv holds no structure") as caught:
            load_filter(name, {"list": str(path)})
        assert "compositions" in caught.value.hint
    load_filter("new_composition", {"list": str(path)})


@pytest.mark.parametrize("row", ["1", '1,""', "1,not a formula"])
def test_a_row_without_a_formula_is_named(tmp_path, row):
    path = tmp_path / "formulas.csv"
    path.write_text(f"id,formula\n0,NaCl\n{row}\n")
    with pytest.raises(InputError, match="row 2"):
        read_known(path)


def test_verdicts_name_the_list_and_what_could_not_be_used_is_told(tmp_path, parent):
    (tmp_path / "good.cif").write_text(cif())
    (tmp_path / "odd.cif").write_text(cif("Xx"))
    recipe = Recipe(
        filters=(Choice("new_prototype", {"list": str(tmp_path), "name": "old"}),), children=20
    )
    made = propose_from(recipe, (parent["SrTiO3"],))
    verdict = made.proposals[0].papers()["filters"][-1]
    assert (verdict["verdict"], verdict["reason"]) == (Verdict.PASS, "not in old")
    (why,) = made.skipped
    assert why.startswith("of old: ")
    assert made.summary()["unusable"] == [why]


def test_a_campaign_has_one_symprec():
    spec = CampaignSpec(
        name="one",
        objective="max bulk_modulus",
        budget={"experiments": 1},
        symprec=0.05,
        proposers=["fixed_list", {"fixed_list": {"symprec": 0.1}}],
    )
    recipe = Recipe.of(spec.model_copy(update={"disorder": "majority"}))
    assert (recipe.symprec, recipe.disorder) == (0.05, "majority")
    assert [choice.options["symprec"] for choice in recipe.proposers[:1]] == [0.05]
    assert CampaignSpec.model_validate_json(spec.model_dump_json()).symprec == 0.05
    for wrong in (0.0, 1.0):
        with pytest.raises(ValueError, match="symprec"):
            CampaignSpec.model_validate(spec.model_dump() | {"symprec": wrong})
