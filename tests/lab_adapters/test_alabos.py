"""AlabOS, as a lab that reproduces its traps plays it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.errors import LabError, SpecError
from cloudseed.lab_adapters import FailureKind, JobState, Outcome, OutcomeKind, load_lab
from tests.lab_adapters.alabos_lab import ZONE, alabos
from tests.lab_adapters.gateways import free_port
from tests.lab_adapters.kit import request, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloudseed.lab_adapters import OperableLab
    from tests.lab_adapters.alabos_lab import FakeAlabos

TASKS = [
    {"type": "Heating", "parameters": {"formula": "{formula}", "temperature": 1200}},
    {"type": "Scan", "results": {"energy": "scan.energy", "energy_sigma": "scan.sigma"}},
]


@pytest.fixture
def lab_at() -> Iterator[tuple[FakeAlabos, str]]:
    with alabos() as found:
        yield found


def open_lab(address: str, folder: Path, **more: Any) -> OperableLab:
    config = {
        "url": address,
        "properties": {"energy": "eV/atom"},
        "simulated": False,
        "settle": 1.0,
        "tasks": TASKS,
    }
    return load_lab("alabos", config | more, folder)  # type: ignore[return-value]


def outcome(lab: OperableLab, handle: str) -> Outcome:
    (message,) = wait(lab, [handle]).values()
    return Outcome.from_json(message.raw)


def test_a_sample_goes_through_its_tasks(lab_at: tuple[FakeAlabos, str], tmp_path: Path) -> None:
    peer, url = lab_at
    lab = open_lab(url, tmp_path, timezone=ZONE)
    found = outcome(lab, lab.submit(request()))
    (value,) = found.measurements
    assert (value.value, value.unit, value.sigma) == (-12.0, "eV/atom", 0.1)
    assert found.simulated is False
    assert found.recipe is not None
    assert found.recipe["tasks"][0]["parameters"] == {"formula": "SrTiO3", "temperature": 1200}
    assert found.started is not None
    assert found.ended is not None
    assert abs(datetime.now(UTC) - found.ended) < timedelta(minutes=1)
    (experiment,) = peer.experiments
    assert experiment["metadata"]["cloudseed_key"] == "k-1"
    assert [t["prev_tasks"] for t in experiment["tasks"]] == [[], [0]]
    assert all(len(t["task_id"]) == 24 for t in experiment["tasks"])


def test_a_time_without_a_zone_is_left_out(lab_at: tuple[FakeAlabos, str], tmp_path: Path) -> None:
    lab = open_lab(lab_at[1], tmp_path)
    found = outcome(lab, lab.submit(request()))
    assert found.started is found.ended is None


def test_a_lost_answer_sends_nothing_twice(lab_at: tuple[FakeAlabos, str], tmp_path: Path) -> None:
    peer, url = lab_at
    lab = open_lab(url, tmp_path)
    peer.lose_replies = 1
    with pytest.raises(LabError, match="cannot be reached"):
        lab.submit(request())
    again = open_lab(url, tmp_path)  # its loop has not made the task yet
    handle = again.lookup("k-1")
    assert handle == again.submit(request())
    assert outcome(again, handle).kind is OutcomeKind.MEASURED
    assert len(peer.experiments) == 1
    assert len(peer.ran) == len(TASKS)


def test_what_another_folder_sent_is_found(lab_at: tuple[FakeAlabos, str], tmp_path: Path) -> None:
    peer, url = lab_at
    first = open_lab(url, tmp_path / "a")
    outcome(first, first.submit(request()))
    second = open_lab(url, tmp_path / "b")
    assert outcome(second, second.submit(request())).kind is OutcomeKind.MEASURED
    assert len(peer.experiments) == 1


def test_what_never_arrived_is_sent(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    lab = open_lab(url, tmp_path)
    with pytest.raises(LabError, match="cannot be reached"):
        lab.submit(request())
    with alabos(port) as (peer, _):
        assert lab.lookup("k-1") is None
        assert outcome(lab, lab.submit(request())).kind is OutcomeKind.MEASURED
        assert len(peer.experiments) == 1


def test_a_failed_task_is_a_failure_although_the_experiment_is_completed(
    lab_at: tuple[FakeAlabos, str], tmp_path: Path
) -> None:
    peer, url = lab_at
    peer.failing.add("Heating")
    lab = open_lab(url, tmp_path)
    found = outcome(lab, lab.submit(request()))
    assert peer.results(0)["status"] == "COMPLETED"
    assert found.failure is FailureKind.INSTRUMENT_FAULT
    assert found.reason == "The task Heating ended as ERROR: The arm dropped it."


def test_a_result_without_the_value_is_no_measurement(
    lab_at: tuple[FakeAlabos, str], tmp_path: Path
) -> None:
    tasks = [{"type": "Scan", "results": {"energy": "scan.0.nothing"}}]
    lab = open_lab(lab_at[1], tmp_path, tasks=tasks)
    assert outcome(lab, lab.submit(request())).failure is FailureKind.MEASUREMENT_INVALID


def test_a_task_type_that_the_lab_lacks_is_not_waited_for_in_silence(
    lab_at: tuple[FakeAlabos, str], tmp_path: Path
) -> None:
    tasks = [{"type": "Unknown", "results": {"energy": "energy"}}]
    lab = open_lab(lab_at[1], tmp_path, tasks=tasks, settle=0.4)
    handle = lab.submit(request())
    found = outcome(lab, handle)
    assert (found.kind, found.failure) == (OutcomeKind.UNKNOWN, FailureKind.UNKNOWN)
    assert "know the task types" in found.reason
    assert lab.reconcile(["k-1"])[0].state is JobState.UNKNOWN


def test_trouble_of_the_lab_is_not_taken_for_absence(
    lab_at: tuple[FakeAlabos, str], tmp_path: Path
) -> None:
    peer, url = lab_at
    lab = open_lab(url, tmp_path)
    handle = lab.submit(request())
    peer.broken = "ServerSelectionTimeoutError"
    for ask in (lambda: lab.poll([handle]), lambda: lab.submit(request("k-2"))):
        with pytest.raises(LabError, match="cannot say"):
            ask()
    assert not lab.health().ready
    assert len(peer.experiments) == 1


def test_what_is_cancelled_ends_as_stopped(tmp_path: Path) -> None:
    with alabos(work=1.0) as (_, url):
        lab = open_lab(url, tmp_path)
        handles = [lab.submit(request(f"k-{n}")) for n in range(2)]
        assert lab.cancel(handles[1]) is JobState.CANCELLED
        assert outcome(lab, handles[1]).failure is FailureKind.STOPPED
        assert lab.cancel("stranger") is JobState.UNKNOWN
        assert lab.cancel(handles[0]) is JobState.CANCELLED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "http://lab.example.org"}, "https://"),
        ({"url": "http://me:secret@127.0.0.1"}, "must not hold a password"),
        ({"timezone": "Mars/Base"}, "no time zone"),
        ({"properties": {"energy": "eV/atom", "mass": "g"}}, "no task tells 'mass'"),
        ({"setle": 1}, "setle"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=words):
        open_lab("http://127.0.0.1:1", tmp_path, **change)


def test_it_must_be_said_whether_the_lab_simulates(tmp_path: Path) -> None:
    config = {"properties": {"energy": "eV/atom"}, "tasks": TASKS}
    with pytest.raises(SpecError, match="needs the setting 'simulated'"):
        load_lab("alabos", config, tmp_path)
