"""What a lab tells of a result goes into every export and into `explain`, to the last field."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.db import ExperimentState
from cloudseed.lab_adapters import (
    FailureKind,
    Instrument,
    Outcome,
    Quality,
    RawData,
    recipe_hash,
)
from cloudseed.loop import Workspace
from cloudseed.loop.amending import correct
from cloudseed.loop.archiving import archive
from cloudseed.loop.explaining import explain_experiment, find_experiment
from cloudseed.loop.exporting import export_csv, export_json
from cloudseed.loop.told import COLUMNS
from tests.loop.conftest import spec_of
from tests.loop.labs import InstantLab, modulus
from tests.safety.kit import RECIPE

START, END = datetime(2026, 1, 2, 3, tzinfo=UTC), datetime(2026, 1, 2, 9, tzinfo=UTC)
SHA = "ab" * 32
EXECUTED = {"steps": [{"do": "heat", "temperature": 1400.5, "hours": 7}]}
WANTED = {
    "lab": "instant",
    "attempts": 2,
    "simulated": False,
    "instrument": "=press 2",
    "firmware": "1.4b",
    "calibration age (s)": 86400.0,
    "started": START.isoformat(),
    "ended": END.isoformat(),
    "duration (s)": 21600.0,
    "cost": 12.5,
    "failures": "sample_lost",
    "recipe asked for": None,
    "recipe executed": json.dumps(EXECUTED, sort_keys=True),
}
READING = {
    "method": "nanoindentation",
    "sigma method": "standard deviation of repeats",
    "readings": 9,
    "quality": "suspect",
    "raw data": "file:///data/run 7.h5",
    "raw data sha256": SHA,
}


def telling(request):
    """Loses the first sample, and then tells everything there is to tell."""
    if request.key.endswith("-1"):
        return Outcome.failed(FailureKind.SAMPLE_LOST, "It fell.")
    bulk, energy = modulus(request).measurements
    bulk = replace(
        bulk,
        method="nanoindentation",
        sigma_method="standard deviation of repeats",
        n=9,
        quality=Quality.SUSPECT,
        raw=RawData("file:///data/run 7.h5", SHA),
    )
    return replace(
        modulus(request),
        measurements=(bulk, energy),
        recipe=EXECUTED,
        instrument=Instrument("=press 2", "1.4b", 86400.0),
        simulated=False,
        started=START,
        ended=END,
        duration=21600.0,
        cost=12.5,
    )


@pytest.fixture
def workspace(campaign_on, ledger, tmp_path) -> Workspace:
    """A campaign of one experiment, of which the lab told everything."""
    spec = spec_of(budget={"experiments": 2}, batch=1, in_flight=1)
    with campaign_on(InstantLab(telling), spec) as campaign:
        for _ in range(400):
            campaign.step()
            if ledger.measurements(1):
                break
    return run_in(tmp_path)


def run_in(folder):
    """Makes the folder of a ledger a run folder."""
    (folder / "campaign.json").write_text('{"campaign": "small", "ledger": null}')
    return Workspace.open(folder)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr("cloudseed.loop.collecting.RETRY_PAUSE", 0.0)


def read_csv(text):
    rows = list(csv.DictReader(io.StringIO(text)))
    return next(row for row in rows if row["state"] == "measured")


def as_text(value):
    if isinstance(value, bool):
        return str(value).lower()
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith("=") else text


def test_the_csv_has_it_all(workspace):
    row = read_csv(export_csv(workspace))
    assert {head: row[head] for head in WANTED} == {h: as_text(v) for h, v in WANTED.items()}
    for head, value in READING.items():
        assert row[f"{head} bulk_modulus"] == str(value)
    assert row["sigma bulk_modulus (GPa)"] == "1.0"
    assert row["quality formation_energy"] == "good"
    assert row["readings formation_energy"] == row["raw data formation_energy"] == ""


def test_so_has_parquet_with_types(workspace, tmp_path):
    from pyarrow import parquet

    archive(workspace, "parquet", tmp_path / "all.parquet")
    table = parquet.read_table(tmp_path / "all.parquet")
    (row,) = [r for r in table.to_pylist() if r["state"] == "measured"]
    assert {head: row[head] for head in WANTED} == WANTED
    assert {h: row[f"{h} bulk_modulus"] for h in READING} == READING
    text = export_csv(workspace)
    assert table.schema.names == next(csv.reader(io.StringIO(text)))
    assert str(table.schema.field("simulated").type) == "bool"
    assert str(table.schema.field("readings bulk_modulus").type) == "int64"


def record():
    known = {
        "lab": "instant",
        "attempts": 2,
        "simulated": False,
        "instrument": "=press 2",
        "firmware": "1.4b",
        "calibration_age": 86400.0,
        "started": START.isoformat(),
        "ended": END.isoformat(),
        "duration": 21600.0,
        "cost": 12.5,
        "failures": ["sample_lost"],
        "recipe": EXECUTED,
    }
    bulk = {
        "method": "nanoindentation",
        "sigma_method": "standard deviation of repeats",
        "n": 9,
        "quality": "suspect",
        "raw": "file:///data/run 7.h5",
        "raw_sha256": SHA,
    }
    return known | {"readings": {"bulk_modulus": bulk, "formation_energy": {"quality": "good"}}}


def test_so_have_json_and_json_lines(workspace, tmp_path):
    (first, *_) = json.loads(export_json(workspace))["experiments"]
    assert first["record"] == record()
    assert first["measured"]["bulk_modulus"]["sigma"] == 1.0
    archive(workspace, "jsonl", tmp_path / "all.jsonl")
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["record"] == record()


def test_so_has_extended_xyz(workspace, tmp_path):
    from ase.io import read

    archive(workspace, "extxyz", tmp_path / "all.xyz")
    info = read(tmp_path / "all.xyz", format="extxyz").info
    for head, value in WANTED.items():
        key = head.replace(" (s)", "_s").replace(" ", "_")
        if head == "recipe executed":
            told = info[key]
            assert (json.loads(told) if isinstance(told, str) else told) == EXECUTED
        elif value is None:
            assert key not in info
        else:
            assert info[key] == value
    for head, value in READING.items():
        assert info[f"bulk_modulus_{head.replace(' ', '_')}"] == value


def test_so_has_the_crate(workspace, tmp_path):
    archive(workspace, "ro-crate", tmp_path / "crate")
    crate = json.loads((tmp_path / "crate" / "ro-crate-metadata.json").read_text())
    nodes = {node["@id"]: node for node in crate["@graph"]}
    assert len(nodes) == len(crate["@graph"])
    action = nodes["#experiment-1"]
    assert (action["startTime"], action["endTime"]) == (START.isoformat(), END.isoformat())
    assert action["description"] == (
        "measured, not simulated; calibrated 86400 s before; took 21600 s; cost 12.5;"
        " failures: sample_lost"
    )
    lab, device = [nodes[link["@id"]] for link in action["instrument"]]
    assert lab["name"] == "instant"
    assert (device["name"], device["description"]) == ("=press 2", "With firmware 1.4b")
    _, recipe = [nodes[link["@id"]] for link in action["object"]]
    assert (json.loads(recipe["text"]), recipe["sha256"]) == (EXECUTED, recipe_hash(EXECUTED))
    value = nodes["#experiment-1-bulk_modulus"]
    assert value["measurementTechnique"] == "nanoindentation"
    assert value["description"] == (
        "standard uncertainty 1 by standard deviation of repeats; 9 readings; quality suspect"
    )
    raw = nodes[value["isBasedOn"]["@id"]]
    assert (raw["contentUrl"], raw["sha256"]) == ("file:///data/run 7.h5", SHA)
    row = read_csv((tmp_path / "crate" / "experiments.csv").read_text())
    assert row["instrument"] == "'=press 2"
    assert "isBasedOn" not in nodes["#experiment-1-formation_energy"]


def asked(*words):
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_so_have_the_commands(workspace):
    folder = workspace.path
    for command in (("explain", 1), ("experiments", "show", 1)):
        assert json.loads(asked(*command, folder, "--json"))["record"] == record()
        told = " ".join(asked(*command, folder).split())
        for words in (
            "instrument: =press 2",
            "firmware: 1.4b",
            "simulated: false",
            "failures: sample_lost",
            "sigma method standard deviation of repeats, readings 9, quality suspect",
            SHA,
        ):
            assert words in told
    (line, *_) = json.loads(asked("experiments", "list", folder, "--json"))
    assert line["record"] == record()
    assert "± 1 GPa" in asked("experiments", "show", 1, folder)


def test_a_corrected_value_keeps_nothing_of_the_reading(ledger, workspace):
    from cloudseed.loop.workspace import reading

    with reading(workspace) as copy:
        (first,) = copy.experiments(1, [ExperimentState.MEASURED])
        correct(copy, 1, first, {"bulk_modulus": (99.0, None, None)}, "another load cell")
    row = read_csv(export_csv(workspace))
    assert row["method bulk_modulus"] == "corrected by a person"
    assert row["readings bulk_modulus"] == row["raw data bulk_modulus"] == ""
    assert row["instrument"] == "'=press 2"


def test_a_value_that_the_lab_calls_bad_is_told_and_teaches_nothing(campaign_on, ledger):
    def further(request):
        bulk, energy = modulus(request).measurements
        bad = replace(bulk, property="density", unit="g/cm^3", value=-3.0, quality=Quality.BAD)
        return replace(modulus(request), measurements=(bulk, energy, bad))

    from cloudseed.loop.results import load_results
    from cloudseed.loop.told import told_all

    spec = spec_of(budget={"experiments": 1})
    with campaign_on(InstantLab(further), spec) as campaign:
        campaign.run()
        (row,) = ledger.campaigns()
    assert {m.property for m in ledger.measurements(1)} == {"bulk_modulus", "formation_energy"}
    told = next(told_all(ledger, row, load_results(ledger, 1, spec.problem)))
    assert told.readings["density"].to_json() == {"quality": "bad", "refused": "-3.0 g/cm^3"}
    assert told.simulated is True
    assert "density: quality bad, not used: -3.0 g/cm^3" in told.lines
    assert set(told.to_json()["readings"]) == {"bulk_modulus", "formation_energy", "density"}


def test_a_bad_reading_beside_a_good_one_is_listed_apart(campaign_on, ledger, tmp_path):
    hostile = "scale\n\x1b[2Jinstrument: gold standard"

    def twice(request):
        bulk, energy = modulus(request).measurements
        bulk = replace(bulk, n=3, raw=RawData("file:///good", SHA))
        bad = replace(bulk, value=-7.0, quality=Quality.BAD, n=None, raw=None, method=hostile)
        return replace(modulus(request), measurements=(bulk, energy, bad))

    from cloudseed.loop.results import load_results
    from cloudseed.loop.told import told_all

    spec = spec_of(budget={"experiments": 1})
    with campaign_on(InstantLab(twice), spec) as campaign:
        campaign.run()
        (row,) = ledger.campaigns()
    (result,) = load_results(ledger, 1, spec.problem)
    told = next(told_all(ledger, row, [result]))
    assert told.reading("bulk_modulus").quality == "good"
    assert told.reading("bulk_modulus").refused is None
    assert (told.reading("bulk_modulus").n, told.reading("bulk_modulus").raw) == (3, "file:///good")
    ((name, bad),) = told.refused
    assert (name, bad.quality, bad.refused) == ("bulk_modulus", "bad", "-7.0 GPa")
    assert told.to_json()["refused"][0]["refused"] == "-7.0 GPa"
    workspace = run_in(tmp_path)
    assert read_csv(export_csv(workspace))["quality bulk_modulus"] == "good"
    # What a lab says cannot forge a line.
    for command in (("explain", 1), ("experiments", "show", 1), ("experiments", "list")):
        output = asked(*command, tmp_path)
        assert "\x1b" not in output
        assert not any(line.startswith("instrument: gold") for line in output.splitlines())
    assert "scale\\n\\x1b[2J" in asked("experiments", "show", 1, tmp_path)


def test_a_retracted_value_leaves_its_reading_and_no_words_of_refusal(ledger, workspace):
    from cloudseed.loop.amending import retract
    from cloudseed.loop.workspace import reading

    with reading(workspace) as copy:
        (first,) = copy.experiments(1, [ExperimentState.MEASURED])
        retract(copy, 1, first, "the wrong sample")
        told = explain_experiment(
            copy, copy.campaigns()[0], find_experiment(copy, 1, str(first.id))
        ).told
    assert told.readings["bulk_modulus"].refused is None
    assert told.readings["bulk_modulus"].quality == "suspect"
    assert not any("None" in line or "not used" in line for line in told.lines)


def test_a_bad_value_that_was_asked_for_ends_without_one(campaign_on, ledger):
    def worthless(request):
        bad = [replace(m, quality=Quality.BAD) for m in modulus(request).measurements]
        return replace(modulus(request), measurements=tuple(bad))

    spec = spec_of(budget={"experiments": 2}, attempts=1)
    with campaign_on(InstantLab(worthless), spec) as campaign:
        campaign.run()
        observed = [d.observed for d in ledger.decisions(1)]
    assert ledger.measurements(1) == []
    assert not any(observed)
    (first, *_) = ledger.experiments(1, [ExperimentState.FAILED])
    kept = ledger.details(first.id)
    assert kept["failures"] == ["measurement_invalid"]
    assert [r["quality"] for r in kept["readings"]] == ["bad", "bad"]
    assert kept["readings"][0]["value"] == modulus_of(ledger, first)


def modulus_of(ledger, experiment):
    from cloudseed.lab_adapters import ExperimentRequest

    return modulus(ExperimentRequest.from_json(experiment.request)).measurements[0].value


def test_what_was_never_told_is_blank(finished_run):
    row = read_csv(export_csv(Workspace.open(finished_run)))
    assert row["simulated"] == "true"
    assert row["quality bulk_modulus"] == "good"
    for head in set(COLUMNS) - {"lab", "attempts", "simulated"}:
        assert row[head] == ""


def test_a_safety_check_is_explained_too(campaign_on, ledger, tmp_path):
    """Its reasons are a list, its recipe an object."""
    from tests.safety.kit import RealLab, guarded, planned

    with campaign_on(RealLab(RECIPE), guarded()) as campaign:
        planned(campaign)
    assert "safety checked" in asked("explain", 1, run_in(tmp_path).path)
