"""Exports to files can be read again by others, and overwrite nothing."""

from __future__ import annotations

import csv
import hashlib
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.db import ExperimentState
from cloudseed.errors import StorageError, UsageError
from cloudseed.loop import Workspace, archiving, crates, reporting
from cloudseed.loop.archiving import FORMATS, archive
from cloudseed.loop.workspace import fresh
from cloudseed.surrogate.objectives import problem


@pytest.fixture
def workspace(finished_run) -> Workspace:
    return Workspace.open(finished_run)


def test_parquet_has_typed_columns_with_units(workspace, finished, tmp_path):
    from pyarrow import parquet

    count = archive(workspace, "parquet", tmp_path / "all.parquet")
    table = parquet.read_table(tmp_path / "all.parquet")
    assert table.num_rows == count == len(finished.experiments(1))
    field = table.schema.field("bulk_modulus (GPa)")
    assert str(field.type) == "double"
    assert field.metadata[b"unit"] == b"GPa"
    measured = finished.measurements(1)[0]
    row = next(r for r in table.to_pylist() if r["experiment"] == measured.experiment_id)
    assert row["bulk_modulus (GPa)"] == measured.value
    failed = [r for r in table.to_pylist() if r["state"] == "infeasible"]
    assert failed
    assert all(r["bulk_modulus (GPa)"] is None for r in failed)


def test_json_lines_hold_an_object_each(workspace, finished, tmp_path):
    seen = []
    archive(workspace, "jsonl", tmp_path / "all.jsonl", lambda *told: seen.append(told))
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [line["experiment"] for line in lines] == [e.id for e in finished.experiments(1)]
    assert lines[0]["cell"]["species"]
    assert seen[-1][1:] == (len(lines), len(lines))


def test_extended_xyz_is_read_by_ase(workspace, finished, tmp_path):
    from ase.io import read

    count = archive(workspace, "extxyz", tmp_path / "all.xyz")
    frames = read(tmp_path / "all.xyz", ":", format="extxyz")
    assert len(frames) == count == len(finished.experiments(1, [ExperimentState.MEASURED]))
    values = {m.experiment_id: m.value for m in finished.measurements(1)[::2]}
    first = frames[0].info
    assert first["bulk_modulus"] == pytest.approx(values[first["experiment"]])
    assert "formation_energy: eV/atom" in first["units"]
    assert all(frames[0].pbc)


def test_a_crate_describes_every_file_and_action(workspace, finished, tmp_path):
    folder = tmp_path / "crate"
    archive(workspace, "ro-crate", folder)
    crate = json.loads((folder / "ro-crate-metadata.json").read_text())
    nodes = {node["@id"]: node for node in crate["@graph"]}
    assert len(nodes) == len(crate["@graph"])
    assert nodes["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    root = nodes["./"]
    assert {"name", "description", "datePublished", "license"} <= root.keys()
    on_disk = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    parts = {part["@id"] for part in root["hasPart"]}
    assert parts == on_disk - {"ro-crate-metadata.json"}
    for name in parts:
        data = (folder / name).read_bytes()
        assert nodes[name]["sha256"] == hashlib.sha256(data).hexdigest()
        assert nodes[name]["contentSize"] == str(len(data))
    for node in crate["@graph"]:
        for value in node.values():
            for link in value if isinstance(value, list) else [value]:
                if isinstance(link, dict) and not link["@id"].startswith("http"):
                    assert link["@id"] in nodes
    actions = [n for n in crate["@graph"] if n["@type"] == "CreateAction"]
    ended = [e for e in finished.experiments(1) if e.state.terminal]
    assert len(actions) == len(ended) + len(finished.decisions(1))
    assert {link["@id"] for link in root["mentions"]} == {a["@id"] for a in actions}
    values = [n for n in crate["@graph"] if n["@type"] == "PropertyValue"]
    assert len(values) == len(finished.measurements(1))
    lines = (folder / "decisions.jsonl").read_text().splitlines()
    assert len(lines) == len(finished.decisions(1))
    assert len((folder / "events.jsonl").read_text().splitlines()) == len(finished.events(1))


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_is_overwritten(workspace, tmp_path, form):
    path = tmp_path / "there"
    if form == "ro-crate":
        path.mkdir()
        path = path / "mine"
        path.mkdir()
        (path / "file").touch()
    else:
        path.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        archive(workspace, form, path)
    assert path.is_dir() or path.read_text() == "mine"


@pytest.mark.parametrize("folder", [False, True])
def test_what_fails_leaves_nothing(tmp_path, folder):
    def fail():
        with fresh(tmp_path / "out", folder=folder) as partial:
            if not folder:
                partial.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused(workspace, tmp_path):
    with pytest.raises(UsageError, match="no format 'xls'"):
        archive(workspace, "xls", tmp_path / "x")


def test_the_command_line_exports(finished_run, tmp_path):
    def asked(form, *words):
        command = ["export", str(finished_run), "--format", form, *map(str, words)]
        return CliRunner().invoke(app, command)

    done = asked("csv", "--out", tmp_path / "all.csv")
    assert done.exit_code == 0, done.output
    rows = csv.DictReader((tmp_path / "all.csv").read_text().splitlines())
    assert len(list(rows)) > 9
    assert isinstance(asked("csv", "--out", tmp_path / "all.csv").exception, UsageError)
    done = asked("cif", "--out", tmp_path / "cifs")
    assert "structures to" in done.output
    assert len(list((tmp_path / "cifs").glob("*.cif"))) == 15
    assert isinstance(asked("cif", "--out", tmp_path / "cifs").exception, UsageError)
    assert isinstance(asked("parquet").exception, UsageError)
    assert asked("ro-crate", "--out", tmp_path / "crate").exit_code == 0


def test_each_lab_is_told_as_what_it_is():
    labs = [{"name": "table", "simulated": True}, {"name": "furnace", "simulated": False}]
    campaign = SimpleNamespace(config={"lab": labs[0], "labs": labs})
    results = [SimpleNamespace(experiment=SimpleNamespace(lab=lab["name"])) for lab in labs]
    nodes = {node["name"]: node for node in crates._instruments(campaign, results)}
    assert nodes["table"]["description"] == "A simulated laboratory"
    assert nodes["furnace"]["description"] == "A laboratory"
    told = reporting._computed(campaign)
    assert told == {"simulated": True, "all_simulated": False, "lab": "table"}


def test_tables_hold_what_formulas_are_made_from():
    sought = problem("max stiffness", derived={"stiffness": "bulk_modulus / density"})
    names = archiving._schema(sought).names
    for name in ("stiffness", "bulk_modulus", "density"):
        assert any(head.startswith(name) for head in names)
