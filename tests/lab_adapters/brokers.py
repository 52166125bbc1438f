"""A real Mosquitto on this machine, and a lab behind it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.lab_adapters.gateway.broker import BrokerSettings
from cloudseed.lab_adapters.gateway.mqtt import MqttLab, MqttLine, MqttSettings
from cloudseed.lab_adapters.gateway.mqtt_server import MqttServer
from tests.lab_adapters.gateways import VARIABLE, keys
from tests.lab_adapters.labs import open_lab

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cloudseed.lab_adapters import LabAdapter

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


class Broker:
    """Mosquitto with persistence, which may be killed and started again.

    Args:
        folder: Where it keeps what it has.
        port: Where it listens on this machine.
        more: More lines of its settings.
    """

    def __init__(self, folder: Path, port: int, more: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n"
            f"persistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1\n{more}"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self.port)
        assert self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def wait_for(port: int) -> None:
    """Waits until somebody listens there on this machine."""
    deadline = time.monotonic() + 10
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def behind(lab: LabAdapter, port: int, folder: Path, **more: Any) -> Iterator[MqttServer]:
    """Puts a lab behind a broker."""
    server = MqttServer(lab, BrokerSettings(port=port, lab="bench", **more), keys(), folder)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(10)
    try:
        yield server
    finally:
        server.stop()
        thread.join(timeout=10)
        assert not thread.is_alive()


def client(port: int, **more: Any) -> MqttLab:
    settings: dict[str, Any] = {"key_id": "agent", "secret_env": VARIABLE, "timeout": 10.0}
    return MqttLab(MqttLine(MqttSettings(port=port, lab="bench", **{**settings, **more})))


def table_behind(workdir: Path, config: Mapping[str, Any], ended: threading.Event) -> None:
    """An operator: a broker, and a table behind it."""
    folder = workdir.parent / "behind"
    broker = Broker(folder / "broker", int(config["port"]))
    broker.start()
    try:
        with behind(open_lab("table-delayed", folder), broker.port, folder):
            ended.wait()
    finally:
        broker.kill()
