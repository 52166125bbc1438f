from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.errors import LabError
from cloudseed.lab_adapters import Outcome, OutcomeKind
from cloudseed.lab_adapters.workers import JobPool
from tests.lab_adapters.kit import request, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
TASK = "tests.lab_adapters.tasks:answer"


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Callable[..., JobPool]]:
    """Opens pools on one folder and closes them in the end."""
    opened: list[JobPool] = []

    def opener(task: str = TASK, **settings: Any) -> JobPool:
        opened.append(JobPool(tmp_path / "lab", task, **settings))
        return opened[-1]

    yield opener
    for each in opened:
        each.close()


def run(pool: JobPool, *labels: str) -> list[Outcome]:
    handles = [pool.submit(f"k-{label}", request(label=label).to_json()) for label in labels]
    found = wait(pool, handles)
    return [Outcome.from_json(found[f"k-{label}"].raw) for label in labels]


def runs(tmp_path: Path, event: str) -> list[dict[str, Any]]:
    lines = (tmp_path / "lab" / "runs.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == event]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_workers_live_long(pool: Callable[..., JobPool], tmp_path: Path) -> None:
    outcomes = run(pool(), "a", "b", "c")
    assert all(o.kind is OutcomeKind.MEASURED for o in outcomes)
    assert len({o.details["pid"] for o in outcomes}) == 1
    # The end is noted after the result is there for all to see.
    deadline = time.monotonic() + 30
    while len(runs(tmp_path, "end")) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(runs(tmp_path, "end")) == 3
    assert len(runs(tmp_path, "start")) == 3


def test_workers_work_side_by_side(pool: Callable[..., JobPool]) -> None:
    outcomes = run(pool(concurrency=2, options={"delay": 0.5}), "a", "b", "c", "d")
    assert len({o.details["pid"] for o in outcomes}) == 2


@pytest.mark.parametrize(
    ("label", "kind", "words"),
    [
        ("kill", OutcomeKind.FAILED_RETRYABLE, "SIGKILL; the machine may be out of memory"),
        ("segfault", OutcomeKind.FAILED_RETRYABLE, "SIGSEGV"),
        ("exit", OutcomeKind.FAILED_RETRYABLE, "exit code 3"),
        ("memory", OutcomeKind.FAILED_RETRYABLE, "MemoryError"),
        ("bug", OutcomeKind.FAILED_FINAL, "ValueError: a bug on two lines"),
        ("nothing", OutcomeKind.FAILED_FINAL, "AttributeError"),
    ],
)
def test_a_job_that_goes_wrong_costs_only_itself(
    pool: Callable[..., JobPool],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    label: str,
    kind: OutcomeKind,
    words: str,
) -> None:
    bad, good = run(pool(), label, "good")
    assert bad.kind is kind
    assert words in bad.reason
    assert "\n" not in bad.reason
    assert good.kind is OutcomeKind.MEASURED
    assert capfd.readouterr() == ("", "")
    log = (tmp_path / "lab" / "logs" / "worker-0.log").read_text()
    assert "chatter of a library" in log
    assert ("Traceback" in log) == (label in {"bug", "memory", "nothing"})


def test_a_job_that_hangs_is_stopped(pool: Callable[..., JobPool], tmp_path: Path) -> None:
    bad, good = run(pool(timeout=1.0), "hang", "good")
    assert bad.kind is OutcomeKind.FAILED_RETRYABLE
    assert "longer than 1 s" in bad.reason
    assert good.kind is OutcomeKind.MEASURED
    assert not alive(runs(tmp_path, "start")[0]["pid"])


def test_a_task_that_cannot_be_loaded_is_a_lab_error(
    pool: Callable[..., JobPool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_task.py").write_text("raise ImportError('no such library')")
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}{os.pathsep}{tmp_path}")
    broken = pool("broken_task:answer")
    handle = broken.submit("k", request().to_json())
    with pytest.raises(LabError, match="could not start: ImportError: no such library") as caught:
        wait(broken, [handle])
    assert "worker-0.log" in caught.value.hint
    broken.close()
    assert wait(pool(), [handle])


def test_a_key_runs_once(pool: Callable[..., JobPool], tmp_path: Path) -> None:
    options = {"count": str(tmp_path / "count"), "delay": 0.2}
    first = pool("tests.lab_adapters.tasks:once", options=options)
    handle = first.submit("k", request().to_json())
    for _ in range(5):
        assert first.submit("k", request().to_json()) == handle
    wait(first, [handle])
    first.submit("k", request().to_json())
    first.close()
    second = pool("tests.lab_adapters.tasks:once", options=options)
    second.submit("k", request().to_json())
    other = second.submit("other", request().to_json())
    wait(second, [handle, other])
    assert (tmp_path / "count").read_text().count("SrTiO3") == 2


def test_a_new_pool_takes_up_what_is_left_without_being_asked_for_it(
    pool: Callable[..., JobPool], tmp_path: Path
) -> None:
    first = pool(options={"delay": 30.0})
    forgotten = first.submit("forgotten", request().to_json())
    first.close()
    second = pool()
    known = second.submit("known", request().to_json())
    wait(second, [known])
    assert wait(second, [forgotten])


def test_closing_is_quick_final_and_may_be_repeated(pool: Callable[..., JobPool]) -> None:
    opened = pool(concurrency=2, options={"delay": 60.0})
    handle = opened.submit("k", request().to_json())
    began = time.monotonic()
    opened.close()
    opened.close()
    assert time.monotonic() - began < 5
    with pytest.raises(LabError, match="closed"):
        opened.poll([handle])
    with pytest.raises(LabError, match="closed"):
        opened.submit("k2", request().to_json())


def test_a_pool_that_was_never_used_starts_nothing(tmp_path: Path) -> None:
    JobPool(tmp_path / "lab", TASK, concurrency=8).close()
    assert not (tmp_path / "lab").exists()


def test_an_outcome_that_cannot_be_stored_is_not_lost(
    pool: Callable[..., JobPool], tmp_path: Path
) -> None:
    results = tmp_path / "lab" / "results"
    (tmp_path / "lab").mkdir()
    results.write_text("in the way")
    opened = pool()
    handle = opened.submit("k", request().to_json())
    with pytest.raises(LabError, match="cannot be used"):
        wait(opened, [handle])
    results.unlink()
    assert Outcome.from_json(wait(opened, [handle])["k"].raw).kind is OutcomeKind.MEASURED


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_owner(tmp_path: Path, how: signal.Signals) -> None:
    owner = _own(tmp_path)
    pids = _pids(tmp_path)
    owner.send_signal(how)
    owner.wait(timeout=60)
    _all_dead(pids)
    assert owner.stdout is not None
    owner.stdout.close()


def test_ctrl_c_reaches_the_owner_alone(tmp_path: Path) -> None:
    owner = _own(tmp_path)
    pids = _pids(tmp_path)
    os.killpg(owner.pid, signal.SIGINT)
    owner.wait(timeout=60)
    _all_dead(pids)
    assert owner.stdout is not None
    owner.stdout.close()
    for log in (tmp_path / "lab" / "logs").iterdir():
        assert "Traceback" not in log.read_text()


def _own(tmp_path: Path) -> subprocess.Popen[str]:
    code = (
        "import sys, time; from pathlib import Path; from tests.lab_adapters.kit import *;"
        "lab = PoolLab(Path(sys.argv[1]), delay=60);"
        "[lab.submit(request(k)) for k in 'ab']; print('ok', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lab")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ok\n"
    return owner


def _pids(tmp_path: Path) -> list[int]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if (tmp_path / "lab" / "runs.jsonl").exists():
            pids = [int(line["pid"]) for line in runs(tmp_path, "start")]
            if len(pids) == 2:
                return pids
        time.sleep(0.02)
    raise AssertionError("the workers never began")


def _all_dead(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its owner"
        time.sleep(0.02)
