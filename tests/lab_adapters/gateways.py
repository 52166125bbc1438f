"""A gateway in a thread, for tests."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cloudseed.lab_adapters import load_lab
from cloudseed.lab_adapters.gateway import (
    GatewayLab,
    GatewaySettings,
    GatewayWorker,
    HttpLine,
    KeySettings,
)
from cloudseed.lab_adapters.gateway.server import GatewayServer, ServeSettings
from tests.lab_adapters.labs import open_lab

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cloudseed.lab_adapters import LabAdapter

SECRET = "s" * 40
VARIABLE = "CLOUDSEED_TEST_SECRET"


def keys(**more: Any) -> tuple[KeySettings, ...]:
    return (
        KeySettings(id="agent", secret_env=VARIABLE, **more),
        KeySettings(id="robot", secret_env=VARIABLE, role="lab"),
    )


@contextmanager
def serving(lab: LabAdapter, folder: Path, **more: Any) -> Iterator[str]:
    """Serves a lab on a free port and yields its address."""
    settings = ServeSettings(**{"port": 0, "keys": keys(), "interval": 0.05, **more})
    server = GatewayServer(lab, settings, folder)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while server.port is None:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        scheme = "http" if settings.tls_cert is None else "https"
        yield f"{scheme}://localhost:{server.port}"
    finally:
        server.stop()
        thread.join(timeout=10)
        assert not thread.is_alive()


def client(url: str, key: str = "agent", **more: Any) -> GatewayLab:
    settings = GatewaySettings(url=url, key_id=key, secret_env=VARIABLE, **more)
    return GatewayLab(HttpLine(settings))


def worker(url: str, key: str = "robot") -> GatewayWorker:
    return GatewayWorker(GatewaySettings(url=url, key_id=key, secret_env=VARIABLE))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def table_server(workdir: Path, config: Mapping[str, Any], ended: threading.Event) -> None:
    """An operator: serves a table at the address that the client's settings name."""
    port = int(str(config["url"]).rpartition(":")[2])
    folder = workdir.parent / "behind"
    folder.mkdir(parents=True, exist_ok=True)
    with serving(open_lab("table-delayed", folder), folder, port=port):
        ended.wait()


def mailbox_worker(workdir: Path, config: Mapping[str, Any], ended: threading.Event) -> None:
    """An operator: leases what waits in a mailbox and measures it."""
    from tests.lab_adapters.tasks import answer

    lab = load_lab("mailbox", config, workdir)
    while not ended.wait(0.02):
        for lease in lab.lease("tester", 2, 30.0):  # type: ignore[attr-defined]
            lab.complete(lease.token, answer(lease.request.to_json(), {}))  # type: ignore[attr-defined]
