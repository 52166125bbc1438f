"""What every lab adapter keeps, whatever is behind it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudseed.errors import LabError
from cloudseed.lab_adapters import (
    DeliveryClass,
    LabAdapter,
    Outcome,
    OutcomeKind,
)
from cloudseed.units import unit_of
from tests.lab_adapters.kit import perovskite, request, wait
from tests.lab_adapters.labs import LABS, MATERIALS, open_lab

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(
    params=[pytest.param(n, marks=pytest.mark.slow) if n == "mlip" else n for n in LABS]
)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in paths if p))
    return str(request.param)


@pytest.fixture
def lab(name: str, tmp_path: Path) -> Iterator[LabAdapter]:
    opened = open_lab(name, tmp_path)
    yield opened
    opened.close(stop_jobs=True)


def test_it_is_a_lab_adapter(lab: LabAdapter) -> None:
    assert isinstance(lab, LabAdapter)


def test_it_declares_the_units_of_the_table(lab: LabAdapter) -> None:
    description = lab.describe()
    assert description.properties
    assert all(unit_of(name) == unit for name, unit in description.properties.items())
    assert description.concurrency >= 1
    assert description.delivery is DeliveryClass.A
    assert description == lab.describe()


def test_validating_leaves_no_trace(lab: LabAdapter, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert lab.validate(request()).accepted
    verdict = lab.validate(request(properties=("energy", "taste")))
    assert not verdict.accepted
    assert "taste" in verdict.reasons[0]
    assert lab.lookup("k-1") is None
    assert sorted(tmp_path.rglob("*")) == before


def test_a_key_is_one_submission(name: str, lab: LabAdapter, tmp_path: Path) -> None:
    handle = lab.submit(request())
    assert lab.submit(request()) == handle
    assert lab.lookup("k-1") == handle
    assert lab.lookup("k-2") is None
    with pytest.raises(LabError) as caught:
        lab.submit(request(cell=perovskite(4.0)))
    assert caught.value.hint
    lab.close()
    again = open_lab(name, tmp_path)
    try:
        assert again.lookup("k-1") == handle
        assert again.submit(request()) == handle
    finally:
        again.close()


def test_odd_keys_are_kept_apart(lab: LabAdapter) -> None:
    keys = ["../../etc/passwd", "a/b", "a b", "", ".", "ä", "x" * 300]
    handles = [lab.submit(request(key)) for key in keys]
    assert len(set(handles)) == len(keys)
    assert [lab.lookup(key) for key in keys] == handles


def test_a_handle_from_elsewhere_is_unknown_not_failed(lab: LabAdapter) -> None:
    (message,) = lab.poll(["never-seen"])
    assert Outcome.from_json(message.raw).kind is OutcomeKind.UNKNOWN


def test_results_come_again_the_same_also_after_a_restart(
    name: str, lab: LabAdapter, tmp_path: Path
) -> None:
    handles = [lab.submit(request(f"key-{m}", m)) for m in MATERIALS]
    found = wait(lab, handles)
    assert set(found) == {f"key-{m}" for m in MATERIALS}
    assert {m.key: m for m in lab.poll(handles)} == found
    units = lab.describe().properties
    for message in found.values():
        outcome = Outcome.from_json(message.raw)
        assert outcome.kind is OutcomeKind.MEASURED, outcome.reason
        assert [(m.property, m.unit) for m in outcome.measurements] == [("energy", units["energy"])]
    lab.close()
    again = open_lab(name, tmp_path)
    try:
        assert {m.key: m for m in again.poll(handles)} == found
        assert len({m.message_id for m in found.values()}) == len(found)
    finally:
        again.close()


@pytest.mark.parametrize("name", ["pool", "table", "table-delayed"], indirect=True)
def test_what_ran_when_it_closed_is_done_after_a_restart(name: str, tmp_path: Path) -> None:
    lab = open_lab(name, tmp_path)
    handles = [lab.submit(request(f"key-{m}", m)) for m in MATERIALS]
    lab.close(stop_jobs=True)
    again = open_lab(name, tmp_path)
    try:
        assert len(wait(again, handles)) == len(MATERIALS)
    finally:
        again.close()


def test_a_killed_owner_loses_nothing(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.lab_adapters.owner", name, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "submitted\n"
        if name in {"mlip", "pool"}:
            _wait_for(tmp_path / "lab" / "runs.jsonl")
        owner.send_signal(signal.SIGKILL)
    lab = open_lab(name, tmp_path)
    try:
        handles = [lab.lookup(f"key-{m}") for m in MATERIALS]
        assert None not in handles
        found = wait(lab, [h for h in handles if h])
        time.sleep(0.5)  # a worker of the dead owner, if one were left, would end in here
        assert {m.key: m for m in lab.poll([h for h in handles if h])} == found
    finally:
        lab.close()
    assert len(list((tmp_path / "lab" / "results").iterdir())) == len(MATERIALS)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)
