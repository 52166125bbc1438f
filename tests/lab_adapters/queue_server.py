"""A real queue server of Bluesky with simulated devices, in an environment of its own.

`make peers` installs it into `build/peers`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import requests

from tests.lab_adapters.gateways import free_port

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

PEERS = Path(__file__).parents[2] / "build" / "peers" / "bin"
REDIS = shutil.which("redis-server")
API_KEY = "a1" * 16
VARIABLE = "CLOUDSEED_TEST_API_KEY"
START = 90.0

INSTALLED = REDIS is not None and (PEERS / "start-bluesky-httpserver").exists()
WHY = "redis-server and `make peers` are needed"

needs_queue_server = pytest.mark.skipif(not INSTALLED, reason=WHY)

PROFILE = """
import time

from bluesky import RunEngine
from bluesky.callbacks.json_writer import JSONLinesWriter
from bluesky.plan_stubs import sleep
from bluesky.plans import count
from event_model import RunRouter
from ophyd.sim import SynSignal

RE = RunEngine({})
RE.subscribe(RunRouter([lambda name, doc: ([JSONLinesWriter(DOCUMENTS)], [])]))
readings = iter(range(10**9))
balance = SynSignal(name="balance", func=lambda: 5.0 + 0.1 * (next(readings) % 3 - 1))


def weigh(formula: str = "", seconds: float = 0.0, break_down: bool = False):
    yield from sleep(seconds)
    if break_down:
        raise RuntimeError("The balance broke down.")
    yield from count([balance], num=3)
"""

PERMISSIONS = """
user_groups:
  root: {allowed_plans: [null], allowed_devices: [null], allowed_functions: [null]}
  primary: {allowed_plans: [":.*"], allowed_devices: [":?.*:depth=5"]}
"""


class QueueServer:
    """Redis, the manager with its worker, and the HTTP server, on free ports."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.documents = folder / "documents"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._redis_port, self._control, self._info = free_port(), free_port(), free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        startup = folder / "startup"
        startup.mkdir(parents=True)
        self.documents.mkdir()
        profile = f"DOCUMENTS = {str(self.documents)!r}\n{PROFILE}"
        (startup / "00-startup.py").write_text(profile)
        (startup / "user_group_permissions.yaml").write_text(PERMISSIONS)

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        self._run("redis", REDIS, "--port", self._redis_port, "--save", "", "--bind", "127.0.0.1")
        self.start_manager()
        self._run(
            "http",
            PEERS / "start-bluesky-httpserver",
            "--host",
            "127.0.0.1",
            "--port",
            self.port,
        )
        self.open()

    def __exit__(self, *_: object) -> None:
        for name in ("http", "manager", "redis"):
            self.kill(name)

    def start_manager(self) -> None:
        self._run(
            "manager",
            PEERS / "start-re-manager",
            "--startup-dir",
            self.folder / "startup",
            "--redis-addr",
            f"127.0.0.1:{self._redis_port}",
            "--zmq-control-addr",
            f"tcp://127.0.0.1:{self._control}",
            "--zmq-info-addr",
            f"tcp://127.0.0.1:{self._info}",
            "--update-existing-plans-devices",
            "ENVIRONMENT_OPEN",
        )

    def open(self) -> None:
        """Opens the worker's environment and waits for it."""
        self.until(lambda s: s.get("manager_state") == "idle")
        if not self.status().get("worker_environment_exists"):
            self.ask("POST", "/api/environment/open")
        self.until(lambda s: s.get("worker_environment_exists") and s["manager_state"] == "idle")

    def until(self, ready: Any) -> None:
        deadline = time.monotonic() + START
        while not ready(self.status()):
            dead = [n for n, p in self._processes.items() if p.poll() is not None]
            assert not dead, f"{dead} died: see {self.folder}/*.log"
            assert time.monotonic() < deadline, self.status()
            time.sleep(0.1)

    def status(self) -> dict[str, Any]:
        try:
            return self.ask("GET", "/api/status", {"reload": True})
        except requests.RequestException:
            return {}

    def ask(self, method: str, target: str, data: Any = None) -> dict[str, Any]:
        headers = {"Authorization": f"ApiKey {API_KEY}"}
        found = requests.request(
            method, self.url + target, json=data or {}, headers=headers, timeout=20
        )
        return dict(found.json())

    def kill_manager(self) -> None:
        """Kills the manager's process, at once; its watchdog starts another, the worker goes on."""
        os.kill(_listener(self._control, self._processes["manager"].pid), signal.SIGKILL)

    def kill(self, name: str) -> None:
        """Kills a program with all of its processes."""
        process = self._processes.pop(name, None)
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def runs(self) -> list[str]:
        """Returns the key of each run that began."""
        keys = []
        for path in self.documents.glob("*.jsonl"):
            first = json.loads(path.read_text().splitlines()[0])
            keys.append(str(first["doc"].get("cloudseed_key")))
        return sorted(keys)

    def _run(self, name: str, *command: object) -> None:
        environment = os.environ | {
            "QSERVER_HTTP_SERVER_SINGLE_USER_API_KEY": API_KEY,
            "QSERVER_ZMQ_CONTROL_ADDRESS": f"tcp://127.0.0.1:{self._control}",
            "QSERVER_ZMQ_INFO_ADDRESS": f"tcp://127.0.0.1:{self._info}",
            "PYTHONPATH": "",
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [str(word) for word in command],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )


def _listener(port: int, group: int) -> int:
    """Returns the process of a group that listens at a port, for which only the system knows."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = {r[9] for r in rows if r[1].endswith(f":{port:04X}") and r[3] == "0A"}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) != group:
                continue
            held = {str(fd.readlink()) for fd in (process / "fd").iterdir()}
        except OSError:
            continue
        if f"socket:[{inode}]" in held:
            found.append(int(process.name))
    return max(found)  # the watchdog may have inherited it; the manager is its child


def config(server: QueueServer, **more: Any) -> dict[str, Any]:
    return settings(server.url, server.documents) | more


def settings(url: str, documents: Path) -> dict[str, Any]:
    """Returns the settings of a lab behind such a server."""
    return {
        "url": url,
        "api_key_env": VARIABLE,
        "properties": {"density": "g/cm^3"},
        "simulated": True,
        "plan": "weigh",
        "kwargs": {"formula": "{formula}"},
        "fields": {"density": "balance"},
        "documents": str(documents),
        "elements": ["Ba", "Ca", "O", "Sr", "Ti"],
        "settle": 2.0,
    }


def serve(workdir: Path, config: Mapping[str, Any], ended: threading.Event) -> None:
    """An operator: such a server at the address that the settings name."""
    folder = Path(config["documents"]).parent
    with QueueServer(folder, int(str(config["url"]).rpartition(":")[2])):
        ended.wait()
