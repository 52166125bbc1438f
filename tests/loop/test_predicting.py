"""Predictions for what a user names: files, folders and lists."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.crystal import Crystal
from cloudseed.errors import EmptyPoolError, EncoderError, InputError, ScopeError, StructureError
from cloudseed.loop.curves import draw_curves
from cloudseed.loop.predicting import parse_temperatures, predict_files
from cloudseed.surrogate import scope_string
from cloudseed.surrogate.prediction import fit_heads
from cloudseed.surrogate.scope import ELEMENTS
from tests.loop.test_listing import perovskite
from tests.surrogate.prediction.kit import copy_of_shipped, encoder, made_up

NAMES = ("band_gap", "heat_capacity")
KELVIN = [100.0, 200.0, 300.0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = copy_of_shipped(tmp_path_factory.mktemp("predicting"))
    fit_heads(encoder(), {name: made_up(name) for name in NAMES}, folder, steps=40)
    return str(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One perovskite in every form, and a few of another kind."""
    root = tmp_path_factory.mktemp("files")
    (root / "folder").mkdir()
    for a, b in (("Sr", "Ti"), ("Ba", "Zr")):
        (root / "folder" / f"{a}{b}O3.cif").write_text(perovskite(a, b).to_cif())
    cell = perovskite("Sr", "Ti")
    (root / "POSCAR").write_text(cell.to_structure().to(fmt="poscar"))
    cell.to_atoms().write(root / "one.extxyz")
    crystal = Crystal.from_cell(cell)
    canonical, cloud = (scope_string(crystal, dialect) for dialect in ("canonical", "cloud"))
    (root / "atoms.csv").write_text(f"formula,n_atoms,scope\nSrTiO3,5,{canonical}\n")
    (root / "cloud.csv").write_text(f"id,scope\nx,{cloud}\n")
    (root / "gap.csv").write_text(f"formula,n_atoms,scope\nSrTiO3,,{canonical}\n")
    (root / "broken.cif").write_text("data_x\n_cell_length_a oops\n")
    (root / "notes.txt").write_text("nothing")
    return root


def predict(name, files, checkpoint, *paths, **options):
    return predict_files(name, [files / p for p in paths], encoder=checkpoint, **options)


def test_one_crystal_in_any_form_gives_one_value(files, checkpoint):
    forms = ("folder/SrTiO3.cif", "POSCAR", "one.extxyz", "atoms.csv")
    found = predict("heat-capacity", files, checkpoint, *forms, temperature=KELVIN)
    assert found.names == ("SrTiO3.cif", "POSCAR", "one.extxyz", "SrTiO3")
    assert set(found.atoms) == {5.0}
    assert len(set(found.strings)) == 1
    np.testing.assert_array_equal(
        found.prediction.values[1:], found.prediction.values[:1].repeat(3, 0)
    )


def test_folders_are_read_whole_and_supercells_count_formula_units(files, checkpoint, tmp_path):
    structure = perovskite("Sr", "Ti").to_structure()
    structure.make_supercell(2)
    structure.to(str(tmp_path / "super.cif"))
    found = predict_files(
        "heat_capacity", [files / "folder", tmp_path / "super.cif"], encoder=checkpoint
    )
    assert found.names == ("BaZrO3.cif", "SrTiO3.cif", "super.cif")
    assert found.prediction.values[1] == pytest.approx(found.prediction.values[2], rel=1e-6)


def test_cloud_strings_are_predicted_and_flagged(files, checkpoint):
    found = predict("band_gap", files, checkpoint, "cloud.csv")
    assert "canonical strings only" in found.prediction.flags[0][0]
    assert found.atoms == ()


def test_csv_and_json_say_the_same(files, checkpoint, tmp_path):
    found = predict("heat_capacity", files, checkpoint, "folder", temperature=KELVIN)
    found.write_csv(tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(rows) == 6
    told = json.loads(json.dumps(found.to_json()))
    assert told["temperatures"] == KELVIN
    values = [v for row in told["rows"] for v in row["value"]]
    assert [float(row["heat_capacity"]) for row in rows] == pytest.approx(values)
    assert {row["unit"] for row in rows} == {"J/mol/K"}
    assert [row["known"] for row in rows[::3]] == [str(r["known"]) for r in told["rows"]]


def test_bad_materials_are_left_out_when_asked(files, checkpoint, tmp_path):
    long = "1 4 b O O O c O O O d O O O e O O O 0 | 1a 1b 3c | " + "Ti 0.2 Sr 0.2 O 0.6"
    (tmp_path / "list.csv").write_text(f"id,scope\ngood,{long}\nbad,1 4 b\n")
    paths = [files / "broken.cif", files / "folder", tmp_path / "list.csv"]
    with pytest.raises(StructureError, match="broken"):
        predict_files("band_gap", paths, encoder=checkpoint)
    found = predict_files("band_gap", paths, encoder=checkpoint, skip_bad=True)
    assert found.names == ("BaZrO3.cif", "SrTiO3.cif", "good")
    assert len(found.notes) == 2
    with pytest.raises(EmptyPoolError):
        predict_files("band_gap", paths[:1], encoder=checkpoint, skip_bad=True)


def test_what_the_encoder_cannot_read_is_named(files, checkpoint, tmp_path):
    # 32 elements with their fractions are more tokens than the encoder reads.
    many = " ".join(f"{element} 0.03" for element in ELEMENTS[:32])
    (tmp_path / "long.csv").write_text(f"id,scope\nlong,0 0 0 | 1a | {many}\n")
    paths = [tmp_path / "long.csv", files / "folder"]
    with pytest.raises(ScopeError, match="long: "):
        predict_files("band_gap", paths, encoder=checkpoint)
    found = predict_files("band_gap", paths, encoder=checkpoint, skip_bad=True)
    assert found.names == ("BaZrO3.cif", "SrTiO3.cif")
    assert "long: " in found.notes[0]


@pytest.mark.parametrize(
    ("name", "path", "kind", "words"),
    [
        ("bandgap", "folder", InputError, "bandgap"),
        ("refractive-index", "folder", InputError, "refractive-index"),
        ("band-gap", "nowhere.cif", InputError, "nowhere.cif"),
        ("band-gap", "nowhere.csv", InputError, "nowhere.csv"),
        ("band-gap", "notes.txt", InputError, "notes.txt"),
        ("heat-capacity", "cloud.csv", InputError, "number of atoms"),
        ("heat-capacity", "gap.csv", InputError, "number of atoms"),
        ("heat-capacity@0K", "folder", InputError, "0 K"),
    ],
)
def test_bad_input_is_one_error_with_a_hint(files, checkpoint, name, path, kind, words):
    with pytest.raises(kind, match=words) as caught:
        predict(name, files, checkpoint, path)
    assert caught.value.hint


def test_an_encoder_without_heads_says_so(files, tmp_path):
    with pytest.raises(EncoderError, match="no property heads"):
        predict("band_gap", files, str(copy_of_shipped(tmp_path)), "folder")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("300", 300.0),
        ("300K", 300.0),
        ("100,300", [100.0, 300.0]),
        ("100:1000:300", [100.0, 400.0, 700.0, 1000.0]),
        ("10:11:0.1", [10 + 0.1 * i for i in range(11)]),
    ],
)
def test_temperatures_as_people_write_them(text, wanted):
    assert parse_temperatures(text) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "text", ["", "warm", "1:2", "100:50:10", "1:1e9:1", "1:2:0", "1:2:-1", "nan:1:1"]
)
def test_temperatures_that_are_none(text):
    with pytest.raises(InputError, match="no temperature") as caught:
        parse_temperatures(text)
    assert "100:1000:50" in caught.value.hint


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_curves_are_drawn(files, checkpoint, tmp_path, ending):
    found = predict("heat_capacity", files, checkpoint, "folder", temperature=KELVIN)
    assert draw_curves(found, tmp_path / "new" / f"cv.{ending}") == ""
    head = (tmp_path / "new" / f"cv.{ending}").read_bytes()[:400]
    assert head.startswith(b"\x89PNG") if ending == "png" else b"<svg" in head or b"<?xml" in head
    with pytest.raises(InputError, match="picture"):
        draw_curves(found, tmp_path / "cv.docx")
    single = predict("band_gap", files, checkpoint, "folder")
    with pytest.raises(InputError, match="no curve"):
        draw_curves(single, tmp_path / "cv.png")


def test_the_command_prints_a_table_and_json(files, checkpoint, tmp_path):
    command = ["predict", "heat-capacity", str(files / "folder"), "--encoder", checkpoint]
    command += ["--temperature", "100:300:100"]
    extra = ["--plot", str(tmp_path / "cv.svg"), "--out", str(tmp_path / "cv.csv")]
    shown = CliRunner().invoke(app, [*command, *extra], env={"COLUMNS": "160"})
    assert shown.exit_code == 0, shown.output
    assert "±" in shown.output
    assert "J/mol/K" in shown.output
    assert (tmp_path / "cv.svg").exists()
    assert (tmp_path / "cv.csv").exists()
    told = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert told["property"] == "heat_capacity"
    assert len(told["rows"]) == 2
