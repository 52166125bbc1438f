"""Runs the reference server for `cloudseed lab serve`: settings, log of refusals, signals."""

from __future__ import annotations

import logging
import logging.handlers
import threading
import time
from typing import TYPE_CHECKING

from cloudseed.errors import MissingDependencyError
from cloudseed.lab_adapters._files import beside, read_yaml, settings_beside
from cloudseed.lab_adapters._settings import read_settings
from cloudseed.lab_adapters.registry import load_lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudseed.lab_adapters.gateway.server import GatewayServer, ServeSettings

__all__ = ["read_serve_file", "serve"]


def serve(adapter: str, config: Path, folder: Path, tell: Callable[[str], None]) -> None:
    """Serves a lab until SIGINT or SIGTERM.

    Args:
        adapter: Its name, or "module:Class".
        config: YAML with `ServeSettings`.
        folder: Where the lab, the journal and the log of refusals are kept.
        tell: Called with a line once it listens.

    Raises:
        MissingDependencyError: If the extra `gateway` is not installed.
        UsageError: If a setting is wrong.
    """
    settings = read_serve_file(config, adapter)
    from cloudseed.lab_adapters.gateway.server import GatewayServer

    folder.mkdir(parents=True, exist_ok=True)
    _log_to(folder / "gateway.log")
    lab = load_lab(adapter, settings.config, folder, by_path=True)
    if settings.broker is not None:
        from cloudseed.lab_adapters.gateway.mqtt_server import MqttServer

        tell(f"serving at the broker {settings.broker.host}:{settings.broker.port}")
        MqttServer(lab, settings.broker, settings.keys, folder, window=settings.window).run()
        return
    server = GatewayServer(lab, settings, folder)
    scheme = "http" if settings.tls_cert is None else "https"
    teller = threading.Thread(
        target=_tell_port, args=(server, f"{scheme}://{settings.host}", tell), daemon=True
    )
    teller.start()
    server.run()


def read_serve_file(path: Path, adapter: str) -> ServeSettings:
    """Reads the settings of a server; files that it names are taken from beside it.

    Args:
        path: The file.
        adapter: The lab whose settings are under `config:`.

    Raises:
        MissingDependencyError: If the extra `gateway` is not installed.
        SpecError: If the file is missing or wrong.
    """
    try:
        from cloudseed.lab_adapters.gateway.server import ServeSettings
    except ImportError as error:
        raise MissingDependencyError(
            f"The gateway's server needs {error.name}.", hint="pip install 'cloudseed[gateway]'"
        ) from error
    base = path.resolve().parent
    data = beside(ServeSettings, read_yaml(path, "keys:"), base)
    settings = read_settings(ServeSettings, data, "serve")
    config = settings_beside(adapter, settings.config, base, by_path=True)
    return settings.model_copy(update={"config": config})


def _log_to(path: Path) -> None:
    """Keeps what was refused, and by whom, in two files of bounded size."""
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=5_000_000, backupCount=1)
    form = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s")
    form.converter = time.gmtime
    handler.setFormatter(form)
    log = logging.getLogger("cloudseed.lab_adapters.gateway")
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def _tell_port(server: GatewayServer, address: str, tell: Callable[[str], None]) -> None:
    for _ in range(6000):
        if server.port is not None:
            tell(f"serving on {address}:{server.port}")
            return
        time.sleep(0.01)
