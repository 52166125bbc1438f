"""Labs behind a folder: robots that read CSV, people who read sheets."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from cloudseed.errors import InputError, LabError, MissingDependencyError, SpecError, UnitError
from cloudseed.lab_adapters import (
    FailureKind,
    JobState,
    LabAdapter,
    Outcome,
    OutcomeKind,
    _exchange,
    load_lab,
    operable,
)
from cloudseed.lab_adapters.reporting import open_jobs, report_result
from tests.lab_adapters.kit import request, wait
from tests.lab_adapters.operators import answer

UNITS = {"energy": "eV/atom"}


def make(tmp_path: Path, adapter: str = "filedrop", **config: Any) -> LabAdapter:
    return load_lab(adapter, {"properties": UNITS, **config}, tmp_path)


def orders(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "exchange" / "orders").iterdir())


def refusals(tmp_path: Path) -> list[str]:
    found = (tmp_path / "exchange" / "results" / "refused").glob("*.txt")
    return [p.read_text() for p in sorted(found)]


def test_an_order_goes_out_once_even_if_it_is_taken_away(tmp_path: Path) -> None:
    lab = make(tmp_path)
    handle = lab.submit(request())
    assert orders(tmp_path) == ["k-1.cif", "k-1.csv"]
    with (tmp_path / "exchange" / "orders" / "k-1.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row == {
        "job_id": "k-1",
        "formula": "SrTiO3",
        "structure": "k-1.cif",
        "properties": "energy",
    }
    for name in orders(tmp_path):
        (tmp_path / "exchange" / "orders" / name).unlink()
    for again in (lab, make(tmp_path)):
        assert again.submit(request()) == handle
        assert again.poll([handle]) == []
        assert orders(tmp_path) == []


@pytest.mark.parametrize("dies_in", ["add", "_release"])
def test_a_crash_while_ordering_leaves_one_order(
    tmp_path: Path, dies_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make(tmp_path)
    victim = lab._store if dies_in == "add" else lab  # type: ignore[attr-defined]

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(victim, dies_in, die)
        with pytest.raises(KeyboardInterrupt):
            lab.submit(request())
    again = make(tmp_path)
    assert not (tmp_path / "exchange" / "orders").exists()
    again.submit(request())
    assert orders(tmp_path) == ["k-1.cif", "k-1.csv"]


def test_a_result_is_taken_once_with_its_record(tmp_path: Path) -> None:
    lab = make(tmp_path)
    handle = lab.submit(request())
    more = {
        "energy_sigma": "0.2",
        "n": "3",
        "quality": "suspect",
        "raw": "smb://xrd/1.raw",
        "raw_sha256": "0a" * 32,
        "instrument": "DSC 3",
        "firmware": "1.2",
        "calibration_age": "3600",
        "started": "2026-01-01T00:00:00+09:00",
        "ended": "2026-01-01T01:00:00+09:00",
        "cost": "12.5",
        "humidity": "40",
    }
    answer(tmp_path / "exchange", handle, "-8000", **more)
    (message,) = lab.poll([handle])
    outcome = Outcome.from_json(message.raw)
    (m,) = outcome.measurements
    assert (m.value, m.unit, m.sigma, m.n, m.quality) == (-8000.0, "meV/atom", 0.2, 3, "suspect")
    assert m.raw is not None
    assert m.raw.uri.endswith("1.raw")
    assert outcome.instrument is not None
    assert outcome.instrument.calibration_age == 3600
    assert outcome.started is not None
    assert outcome.started.hour == 15
    assert (outcome.cost, outcome.details) == (12.5, {"humidity": "40"})
    assert orders(tmp_path) == []
    answer(tmp_path / "exchange", handle, "-8000", **more)
    assert lab.poll([handle]) == [message]
    assert refusals(tmp_path) == []
    assert len(list((tmp_path / "exchange" / "results" / "done").iterdir())) == 2


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"formula": "BaTiO3"}, "is about SrTiO3"),
        ({"energy [meV/atom]": "much"}, "cannot be read"),
        ({"energy [meV/atom]": "nan"}, "as nan"),
        ({"energy [meV/atom]": ""}, "asks for energy"),
        ({"outcome": "infeasible"}, "needs a reason"),
        ({"outcome": "splendid"}, "cannot be read"),
        ({"outcome": "unknown", "reason": "?"}, "does not end a job"),
        ({"outcome": "retracted", "reason": "?"}, "does not end a job"),
        ({"outcome": "refused", "reason": "?"}, "does not end a job"),
        ({"started": "2026-01-01T00:00:00"}, "time zone"),
        ({"raw": "x", "raw_sha256": "1"}, "SHA-256"),
        ({"job_id": "k-9"}, "no job 'k-9'"),
        ({"job_id": ""}, "no job_id"),
    ],
)
def test_a_result_that_cannot_be_is_refused_and_told(
    tmp_path: Path, row: dict[str, str], words: str
) -> None:
    lab = make(tmp_path)
    handle = lab.submit(request())
    answer(tmp_path / "exchange", handle, **({"milli": "-8000"} | row))
    assert lab.poll([handle]) == []
    (why,) = refusals(tmp_path)
    assert words in why
    answer(tmp_path / "exchange", handle, "-8000")
    assert lab.poll([handle])


def test_a_wrong_unit_is_refused(tmp_path: Path) -> None:
    lab = make(tmp_path)
    handle = lab.submit(request())
    path = tmp_path / "exchange" / "results"
    path.mkdir(exist_ok=True)
    (path / "a.csv").write_text("job_id,energy [GPa]\nk-1,3\n")
    (path / "b.csv").write_bytes(b"\xff\xfe\x00")
    (path / "c.csv").write_text("job_id,energy\nk-1,3,4\n")
    (path / "d.csv").symlink_to("/etc/hostname")
    assert lab.poll([handle]) == []
    assert len(refusals(tmp_path)) == 4


def test_one_odd_file_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lab = make(tmp_path)
    handle = lab.submit(request())
    results = tmp_path / "exchange" / "results"
    (results / "a.csv").mkdir()
    os.mkfifo(results / "b.csv")
    for name in ("c.csv", "d.csv"):
        (results / name).write_text("job_id,energy\nk-1,-7\n")
    answer(tmp_path / "exchange", handle, "-8000")
    read, move = Path.read_bytes, os.replace

    def reading(path: Path) -> bytes:
        if path.name == "c.csv":
            raise PermissionError(13, "Permission denied")
        return read(path)

    def moving(path: Path, target: Path) -> None:
        if Path(path).name == "d.csv":
            raise PermissionError(1, "Operation not permitted")
        move(path, target)

    monkeypatch.setattr(Path, "read_bytes", reading)
    monkeypatch.setattr(_exchange.os, "replace", moving)
    (message,) = lab.poll([handle])
    assert lab.poll([handle]) == [message]
    assert caplog.text.count("d.csv cannot be moved") == 1
    told = refusals(tmp_path)
    assert [("plain file" in why, "cannot be read" in why) for why in told[:3]] == [
        (True, False),
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize("last", ["k-9,-8", "k-1,-9"])
def test_a_file_with_one_bad_row_gives_nothing(tmp_path: Path, last: str) -> None:
    lab = make(tmp_path)
    handle = lab.submit(request())
    path = tmp_path / "exchange" / "results" / "a.csv"
    path.write_text(f"job_id,energy\nk-1,-8\n{last}\n")
    assert lab.poll([handle]) == []
    assert len(refusals(tmp_path)) == 1
    path.write_text("job_id,energy\nk-1,-8\nk-1,-8\n")
    assert len(lab.poll([handle])) == 1


def test_a_file_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_exchange, "LARGEST", 5)
    lab = make(tmp_path)
    handle = lab.submit(request())
    answer(tmp_path / "exchange", handle, "-8000")
    assert lab.poll([handle]) == []
    assert "too large" in refusals(tmp_path)[0]


def test_a_second_result_of_another_value_is_refused(tmp_path: Path) -> None:
    lab = make(tmp_path)
    handle = lab.submit(request())
    answer(tmp_path / "exchange", handle, "-8000")
    first = lab.poll([handle])
    answer(tmp_path / "exchange", handle, "-9000")
    assert lab.poll([handle]) == first
    assert "another result" in refusals(tmp_path)[0]


def test_what_is_half_written_is_left_alone(tmp_path: Path) -> None:
    lab = make(tmp_path)
    handle = lab.submit(request())
    results = tmp_path / "exchange" / "results"
    for name in (".k-1.csv", "k-1.csv.part", "k-1.tmp"):
        (results / name).write_text("job_id,ener")
    assert lab.poll([handle]) == []
    assert refusals(tmp_path) == []


def test_a_cancelled_order_is_withdrawn_and_a_stop_is_shown(tmp_path: Path) -> None:
    lab = operable(make(tmp_path))
    handle = lab.submit(request())
    assert lab.cancel(handle) is JobState.CANCELLED
    assert orders(tmp_path) == []
    answer(tmp_path / "exchange", handle, "-8000")
    (message,) = lab.poll([handle])
    assert Outcome.from_json(message.raw).failure is FailureKind.STOPPED
    assert "another result" in refusals(tmp_path)[0]
    lab.safe_stop("argon is out")
    assert (tmp_path / "exchange" / "STOP").read_text() == "argon is out\n"
    (tmp_path / "stopped.json").unlink()
    lab.poll([handle])
    assert not (tmp_path / "exchange" / "STOP").exists()


def test_a_lost_share_is_a_lab_error(tmp_path: Path) -> None:
    (tmp_path / "share").write_text("no folder")
    lab = make(tmp_path, path=str(tmp_path / "share"))
    for ask in (lambda: lab.submit(request()), lambda: lab.poll([])):
        with pytest.raises(LabError, match="cannot be used"):
            ask()


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="properties"):
        load_lab("filedrop", {"properties": {}}, tmp_path)
    lab = make(tmp_path, elements=["Sr", "Ti"], days=2.0)
    verdict = lab.validate(request(properties=("energy", "taste")))
    assert verdict.reasons == ("it cannot measure taste", "it cannot handle O")


def test_a_sheet_shows_what_to_make(tmp_path: Path) -> None:
    lab = make(tmp_path, "human", instructions="Grind <twice>.", name="bench 3")
    lab.submit(request())
    assert orders(tmp_path) == ["k-1.csv", "k-1.html"]
    page = (tmp_path / "exchange" / "orders" / "k-1.html").read_text()
    assert "Grind &lt;twice&gt;." in page
    assert "3.905" in page
    assert "bench 3" in page
    drawings = [part.split("</svg>")[0] + "</svg>" for part in page.split("<svg")[1:]]
    assert len(drawings) == 2  # the code and the cell
    cell = ET.fromstring("<svg" + drawings[1])
    circles = [e for e in cell if e.tag.endswith("circle")]
    assert len(circles) == 8 + 1 + 6  # corners, centre, both of each pair of faces


def test_a_person_reports_by_command(tmp_path: Path) -> None:
    lab = make(tmp_path, "human", properties={"energy": "eV/atom", "hardness": "HV"})
    handle = lab.submit(request(properties=("energy", "hardness")))
    assert open_jobs(tmp_path) == [(handle, "SrTiO3", ("energy", "hardness"))]
    measured = OutcomeKind.MEASURED
    for values, error, words in (
        (["energy=-8"], InputError, "asks for hardness"),
        (["energy=-8 GPa", "hardness=9"], UnitError, "cannot be converted"),
        (["energy is low"], InputError, "is no value"),
        (["colour=3"], InputError, "not ask for 'colour'"),
    ):
        with pytest.raises(error, match=words):
            report_result(tmp_path, handle, values, kind=measured)
    with pytest.raises(InputError, match="needs a reason"):
        report_result(tmp_path, handle, [], kind=OutcomeKind.INFEASIBLE)
    values = ["energy=-8000 ± 100 meV/atom", "hardness = 9.5"]
    report_result(tmp_path, handle, values, kind=measured)
    energy, hardness = Outcome.from_json(wait(lab, [handle])["k-1"].raw).measurements
    assert (energy.value, energy.sigma, energy.unit) == (-8000.0, 100.0, "meV/atom")
    assert (hardness.value, hardness.sigma, hardness.unit) == (9.5, None, "HV")
    assert orders(tmp_path) == []
    with pytest.raises(InputError, match="has a result already"):
        report_result(tmp_path, handle, values, kind=measured)
    with pytest.raises(InputError, match="no job 'k-2'"):
        report_result(tmp_path, "k-2", values, kind=measured)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    with pytest.raises(MissingDependencyError) as caught:
        make(tmp_path, "human")
    assert caught.value.hint == "pip install 'cloudseed[human]'"
