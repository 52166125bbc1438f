"""A real queue server of Bluesky with simulated devices."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.errors import LabError
from cloudseed.lab_adapters import (
    ExperimentRequest,
    FailureKind,
    JobState,
    Outcome,
    OutcomeKind,
    load_lab,
)
from tests.lab_adapters.kit import request, wait
from tests.lab_adapters.queue_server import (
    API_KEY,
    VARIABLE,
    QueueServer,
    config,
    needs_queue_server,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloudseed.lab_adapters import OperableLab

pytestmark = [needs_queue_server, pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, API_KEY)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    with QueueServer(tmp_path_factory.mktemp("queue") / "server") as found:
        yield found


def open_lab(server: QueueServer, folder: Path, **more: Any) -> OperableLab:
    return load_lab("bluesky", config(server, **more), folder)  # type: ignore[return-value]


def weighing(key: str) -> ExperimentRequest:
    return request(key, properties=("density",))


def outcome(lab: OperableLab, handle: str) -> Outcome:
    (message,) = wait(lab, [handle]).values()
    return Outcome.from_json(message.raw)


def test_a_run_becomes_a_measurement(server: QueueServer, tmp_path: Path) -> None:
    lab = open_lab(server, tmp_path)
    found = outcome(lab, lab.submit(weighing("one")))
    (value,) = found.measurements
    assert value.value == pytest.approx(5.0)
    assert value.sigma == pytest.approx(0.1 / 3**0.5)
    assert value.n == 3
    assert value.raw is not None
    assert value.raw.uri.startswith("file://")
    assert found.recipe == {"name": "weigh", "args": [], "kwargs": {"formula": "SrTiO3"}}
    assert found.started is not None
    assert found.ended is not None
    assert found.started < found.ended


def test_a_plan_that_another_folder_sent_is_found(server: QueueServer, tmp_path: Path) -> None:
    slow = {"kwargs": {"seconds": 1.0}}
    first, second = (open_lab(server, tmp_path / name, **slow) for name in "ab")
    first.submit(weighing("two-0"))
    first.submit(weighing("two"))
    handles = [second.submit(weighing("two")), second.submit(weighing("two"))]
    assert {m.key for m in wait(second, handles[:1]).values()} == {"two"}
    assert outcome(second, second.submit(weighing("two"))).kind is OutcomeKind.MEASURED
    assert server.runs().count("two") == 1


def test_a_plan_that_failed_is_reported_and_does_not_run_again(
    server: QueueServer, tmp_path: Path
) -> None:
    lab = open_lab(server, tmp_path, kwargs={"break_down": True})
    found = outcome(lab, lab.submit(weighing("three")))
    assert found.failure is FailureKind.INSTRUMENT_FAULT
    assert "The balance broke down." in found.reason
    assert server.ask("GET", "/api/queue/get", {"reload": True})["items"] == []
    sound = open_lab(server, tmp_path / "sound")
    assert outcome(sound, sound.submit(weighing("three-b"))).kind is OutcomeKind.MEASURED


def test_anothers_failed_plan_is_not_run_again(server: QueueServer, tmp_path: Path) -> None:
    item = {"item_type": "plan", "name": "weigh", "kwargs": {"break_down": True}}
    server.ask("POST", "/api/queue/item/add", {"item": item})
    server.ask("POST", "/api/queue/start")
    server.until(lambda s: s["manager_state"] == "idle" and s["items_in_queue"] == 1)
    lab = open_lab(server, tmp_path)
    handle = lab.submit(weighing("four"))
    assert lab.poll([handle]) == []
    assert server.status()["manager_state"] == "idle"
    server.ask("POST", "/api/queue/item/remove", {"pos": "front"})
    assert outcome(lab, handle).kind is OutcomeKind.MEASURED


def test_what_waits_can_be_cancelled(server: QueueServer, tmp_path: Path) -> None:
    lab = open_lab(server, tmp_path, kwargs={"seconds": 2.0})
    first, second = lab.submit(weighing("five-0")), lab.submit(weighing("five-1"))
    server.until(lambda s: s["running_item_uid"] is not None)
    assert lab.cancel(second) is JobState.CANCELLED
    assert lab.cancel(first) is JobState.RUNNING
    assert outcome(lab, first).kind is OutcomeKind.MEASURED
    assert "five-1" not in server.runs()


def test_a_history_that_was_cleared_is_unknown(server: QueueServer, tmp_path: Path) -> None:
    lab = open_lab(server, tmp_path)
    handle = lab.submit(weighing("six"))
    server.until(lambda s: s["manager_state"] == "idle" and s["items_in_queue"] == 0)
    server.ask("POST", "/api/history/clear")
    assert outcome(lab, handle).failure is FailureKind.UNKNOWN


def test_documents_that_are_broken_hold_up_one_experiment(
    server: QueueServer, tmp_path: Path
) -> None:
    lab = open_lab(server, tmp_path)
    first = lab.submit(weighing("eight-0"))
    server.until(lambda s: s["manager_state"] == "idle" and s["items_in_queue"] == 0)
    (broken,) = [p for p in server.documents.iterdir() if '"eight-0"' in p.read_text()]
    whole = broken.read_text()
    broken.write_text("{}\n" + whole)
    second = lab.submit(weighing("eight-1"))
    found = {m.key: Outcome.from_json(m.raw).kind for m in wait(lab, [first, second]).values()}
    assert found == {"eight-0": OutcomeKind.UNKNOWN, "eight-1": OutcomeKind.MEASURED}
    broken.write_text(whole)
    assert outcome(lab, first).kind is OutcomeKind.MEASURED


def test_a_wrong_api_key_is_refused(
    server: QueueServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "b2" * 16)
    lab = open_lab(server, tmp_path)
    with pytest.raises(LabError, match="does not do"):
        lab.submit(weighing("seven"))
    assert not lab.health().ready


@pytest.mark.parametrize(("jobs", "kills"), [(10, 2), (300, 12)])
def test_each_job_runs_once_although_the_manager_is_killed(
    tmp_path: Path, jobs: int, kills: int
) -> None:
    keys = sorted(f"job-{n:03d}" for n in range(jobs))
    recorded: dict[str, str] = {}
    lost = killed = 0
    with QueueServer(tmp_path / "server") as server:
        lab = open_lab(server, tmp_path / "lab", timeout=5.0)
        waiting, open_ = list(keys), dict[str, str]()
        while len(recorded) < jobs:
            try:
                while waiting and len(open_) < 8:
                    key = waiting[0]
                    if killed < kills and (jobs - len(waiting)) >= jobs * killed / kills:
                        server.kill_manager()
                        killed += 1
                    open_[key] = lab.submit(weighing(key))
                    waiting.pop(0)
                for message in lab.poll(list(open_.values())):
                    assert Outcome.from_json(message.raw).kind is OutcomeKind.MEASURED
                    recorded[message.key] = message.message_id
                    open_.pop(message.key, None)
            except LabError:
                lost += 1
            time.sleep(0.05)
        runs = server.runs()
    assert killed == kills
    assert lost >= kills // 2
    assert sorted(recorded) == keys
    assert len(set(recorded.values())) == jobs
    assert runs == keys
