"""Jobs through the gateway while server and sender are killed: each runs once, is recorded once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.lab_adapters.gateways import SECRET, VARIABLE, free_port

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "kills"), [(16, 2), pytest.param(300, 12, marks=pytest.mark.nightly)]
)
def test_each_job_runs_once_and_is_recorded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int, kills: int
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    url = f"http://127.0.0.1:{free_port()}"
    _settings(tmp_path, url)
    names = [f"job-{n}" for n in range(jobs)]
    chance = random.Random(jobs)
    killed: Counter[str] = Counter()
    deadline = time.monotonic() + 1200
    with _Processes(tmp_path, url, names) as running:
        while (done := len(_inbox(tmp_path))) < jobs:
            assert time.monotonic() < deadline, f"{done} of {jobs} after {killed}"
            running.start()
            if sum(killed.values()) < kills and done >= jobs * sum(killed.values()) / kills:
                time.sleep(chance.uniform(0.0, 0.3))
                victim = ("server", "agent")[sum(killed.values()) % 2]
                killed[victim] += running.kill(victim)
            time.sleep(0.02)
    assert killed == {"server": (kills + 1) // 2, "agent": kills // 2}
    runs = Counter((tmp_path / "count").read_text().split())
    assert runs == Counter(names)
    recorded = [line["key"] for line in _inbox(tmp_path).values()]
    assert Counter(recorded) == Counter(names)


def _settings(folder: Path, url: str) -> None:
    text = {
        "port": int(url.rpartition(":")[2]),
        "interval": 0.2,
        "keys": [{"id": "agent", "secret_env": VARIABLE}],
        "config": {"count": str(folder / "count")},
    }
    (folder / "serve.yaml").write_text(json.dumps(text))


def _inbox(folder: Path) -> dict[str, dict[str, str]]:
    """What was recorded, by message id, as the ledger does."""
    path = folder / "inbox.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith("\n")]
    return {line["id"]: line for line in whole}


class _Processes:
    """The server and the agent, started again whenever they are gone."""

    def __init__(self, folder: Path, url: str, names: list[str]) -> None:
        self._commands = {
            "server": [
                *(sys.executable, "-m", "cloudseed", "lab", "serve"),
                *("tests.faults.counting:CountingLab",),
                *("--config", str(folder / "serve.yaml"), "--folder", str(folder / "lab")),
            ],
            "agent": [
                *(sys.executable, "-m", "tests.faults.gateway_agent", url),
                *(str(folder / "inbox.jsonl"), str(len(names))),
            ],
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self._environment = os.environ | {"PYTHONPATH": path}

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._running):
            self.kill(name)

    def start(self) -> None:
        for name, command in self._commands.items():
            process = self._running.get(name)
            if process is None or process.poll() is not None:
                self._running[name] = subprocess.Popen(
                    command, cwd=ROOT, env=self._environment, stdout=subprocess.DEVNULL
                )

    def kill(self, name: str) -> int:
        process = self._running.pop(name)
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        return int(alive)
