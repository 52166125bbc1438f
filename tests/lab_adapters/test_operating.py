"""Cancelling, stopping and reconciling."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from cloudseed.errors import LabError
from cloudseed.lab_adapters import FailureKind, JobState, OperableLab, Outcome, load_lab, operable
from tests.lab_adapters.kit import PoolLab, request, wait
from tests.lab_adapters.labs import open_lab
from tests.loop.labs import InstantLab

if TYPE_CHECKING:
    from pathlib import Path


def test_a_lab_of_six_methods_gets_the_others() -> None:
    lab = operable(InstantLab())
    assert isinstance(lab, OperableLab)
    wanted = request(properties=("bulk_modulus",))
    handle = lab.submit(wanted)
    assert [s.state for s in lab.reconcile([wanted.key, "never"])] == [
        JobState.FINISHED,
        JobState.UNKNOWN,
    ]
    assert lab.results(handle)[0].measurements
    assert lab.health().ready
    for ask in (lambda: lab.cancel(handle), lab.events):
        with pytest.raises(LabError) as caught:
            ask()
        assert caught.value.hint


def test_an_operable_lab_stays_itself(tmp_path: Path) -> None:
    lab = open_lab("table", tmp_path)
    assert operable(lab) is lab


def test_what_is_cancelled_ends_stopped_and_what_ended_stays(tmp_path: Path) -> None:
    lab = operable(open_lab("table-delayed", tmp_path))
    first, second = (lab.submit(request(key)) for key in ("a", "b"))
    assert lab.cancel(second) is JobState.CANCELLED
    found = {k: Outcome.from_json(m.raw) for k, m in wait(lab, [first, second]).items()}
    assert found["b"].failure is FailureKind.STOPPED
    assert found["a"].measurements
    assert lab.cancel(first) is JobState.FINISHED
    assert lab.cancel("never") is JobState.UNKNOWN
    assert operable(open_lab("table-delayed", tmp_path)).reconcile(["a", "b", "c"])[1].state is (
        JobState.CANCELLED
    )


def test_a_stopped_lab_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    lab = operable(open_lab("table-delayed", tmp_path))
    handle = lab.submit(request("a"))
    lab.safe_stop("smoke")
    again = operable(open_lab("table-delayed", tmp_path))
    time.sleep(0.6)
    for stopped in (lab, again):
        assert stopped.poll([handle]) == []
        assert "smoke" in stopped.health().reason
        assert stopped.reconcile(["a"])[0].state is JobState.HELD
        with pytest.raises(LabError, match="smoke") as caught:
            stopped.submit(request("b"))
        assert "stopped.json" in caught.value.hint
    (tmp_path / "lab" / "stopped.json").unlink()
    assert wait(again, [handle])


def test_a_running_job_is_killed_when_it_is_cancelled(tmp_path: Path) -> None:
    lab = PoolLab(tmp_path, delay=0.2)
    try:
        hanging = lab.submit(request("a", "hang"))
        while not (tmp_path / "runs.jsonl").exists():
            time.sleep(0.01)
        lab.pool.store.finish(hanging, Outcome.failed(FailureKind.STOPPED, "enough").to_json())
        lab.pool.drop(hanging)
        following = [lab.submit(request(key)) for key in "bcd"]
        found = wait(lab, [hanging, *following])
        assert Outcome.from_json(found["a"].raw).reason == "enough"
        assert all(Outcome.from_json(found[key].raw).measurements for key in "bcd")
    finally:
        lab.close()


@pytest.mark.nightly
def test_a_computing_lab_stops_its_workers(tmp_path: Path) -> None:
    lab = operable(load_lab("mlip", {"concurrency": 1}, tmp_path))
    handle = lab.submit(request("a"))
    lab.safe_stop("the machine is wanted")
    assert lab.poll([handle]) == []
    (tmp_path / "stopped.json").unlink()
    again = load_lab("mlip", {"concurrency": 1}, tmp_path)
    outcome = Outcome.from_json(wait(again, [handle])["a"].raw)
    again.close()
    assert outcome.simulated
    assert outcome.started < outcome.ended  # type: ignore[operator]
