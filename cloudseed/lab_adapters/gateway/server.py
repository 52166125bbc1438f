"""The reference server: any lab behind the gateway's REST protocol."""

from __future__ import annotations

import base64
import contextlib
import logging
import socket
import threading
from collections import Counter
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any

import fastapi
import uvicorn
from fastapi.responses import JSONResponse
from pydantic import Field, field_validator

from cloudseed import __version__
from cloudseed.errors import CloudseedError, LabError, UsageError
from cloudseed.lab_adapters._settings import LabSettings
from cloudseed.lab_adapters.base import operable
from cloudseed.lab_adapters.gateway.broker import LOOPBACK, BrokerSettings
from cloudseed.lab_adapters.gateway.desk import Desk
from cloudseed.lab_adapters.gateway.guard import Guard, SignedApp
from cloudseed.lab_adapters.gateway.journal import Journal
from cloudseed.lab_adapters.gateway.signing import KeySettings  # noqa: TC001
from cloudseed.lab_adapters.gateway.wire import (
    Completion,
    Events,
    Handle,
    Handles,
    Held,
    Keys,
    LeaseOrder,
    Message,
    Reason,
    Renewal,
    Request,
    encode,
    events_out,
    messages_out,
)
from cloudseed.lab_adapters.protocols import ExperimentRequest, Outcome

if TYPE_CHECKING:
    from cloudseed.lab_adapters.protocols import LabAdapter

__all__ = ["GatewayServer", "ServeSettings", "make_app"]

log = logging.getLogger(__name__)


class ServeSettings(LabSettings):
    """What `cloudseed lab serve` is to know."""

    config: dict[str, Any] = Field(default_factory=dict, description="The lab's own settings.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8470, ge=0, le=65535, description="Port; 0 for any free one.")
    keys: tuple[KeySettings, ...] = Field(min_length=1, description="Who may ask.")
    window: float = Field(
        default=300.0, gt=0, le=3600, description="Seconds that clocks may differ by."
    )
    interval: float = Field(default=1.0, gt=0, description="Seconds between looks at the lab.")
    tls_cert: Path | None = Field(default=None, description="Certificate chain (PEM).")
    tls_key: Path | None = Field(default=None, description="Its private key (PEM).")
    client_ca: Path | None = Field(
        default=None, description="Authority that must have signed the clients' certificates."
    )
    broker: BrokerSettings | None = Field(
        default=None, description="A broker of MQTT to serve at, instead of listening."
    )
    insecure: bool = Field(
        default=False, description="Whether it may listen beyond this machine without TLS."
    )

    @field_validator("keys")
    @classmethod
    def _check_names(cls, keys: tuple[KeySettings, ...]) -> tuple[KeySettings, ...]:
        counts = Counter(key.id for key in keys)
        if doubled := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"there are two keys {doubled[0]!r}")
        return keys


class GatewayServer:
    """Serves a lab until it is stopped.

    Args:
        lab: The lab.
        settings: Addresses, keys, TLS.
        workdir: Where the journal is kept.

    Raises:
        UsageError: If a secret cannot be used, or it would listen to the world without TLS.
    """

    def __init__(self, lab: LabAdapter, settings: ServeSettings, workdir: Path) -> None:
        if settings.tls_cert is None and settings.host not in LOOPBACK and not settings.insecure:
            raise UsageError(
                f"Without TLS the gateway does not listen on {settings.host}.",
                hint="Set `tls_cert` and `tls_key`; or `insecure: true` behind a TLS proxy.",
            )
        self._desk_settings = settings
        journal = Journal(workdir / "gateway.db")
        self._desk = Desk(operable(lab), journal)
        guard = Guard(settings.keys, journal, settings.window)
        self._ended = threading.Event()
        self._server = uvicorn.Server(
            uvicorn.Config(
                SignedApp(make_app(self._desk), guard),
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=settings.tls_key,
                ssl_ca_certs=None if settings.client_ca is None else str(settings.client_ca),
                ssl_cert_reqs=0 if settings.client_ca is None else 2,
            )
        )

    @property
    def port(self) -> int | None:
        """The port it listens on, once it does."""
        if not self._server.started:
            return None
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def run(self) -> None:
        """Serves until `stop`, or a signal to the main thread.

        Raises:
            UsageError: If its address cannot be used.
        """
        watcher = threading.Thread(target=self._watch, name="cloudseed-gateway", daemon=True)
        try:
            listening = self._listen()
            watcher.start()
            self._server.run(sockets=[listening])
        finally:
            self._ended.set()
            if watcher.ident is not None:
                watcher.join(timeout=10)
            self._desk.close()

    def stop(self) -> None:
        """Has `run` return; may be called from any thread."""
        self._server.should_exit = True

    def _listen(self) -> socket.socket:
        host, port = self._desk_settings.host, self._desk_settings.port
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, port), family=family, backlog=2048)
        except OSError as error:
            raise UsageError(
                f"The gateway cannot listen on {host}:{port}: {error.strerror}.",
                hint="Does another server run there? Set another `port` or `host`.",
            ) from error

    def _watch(self) -> None:
        while not self._ended.wait(self._desk_settings.interval):
            try:
                self._desk.watch()
            except CloudseedError as error:
                log.warning("the lab does not answer: %s", error.message)


def make_app(desk: Desk) -> fastapi.FastAPI:
    """Returns the application, without the guard."""
    app = fastapi.FastAPI(
        title="cloudseed lab gateway",
        version=__version__,
        description="A lab for cloudseed. Every request is signed: docs/gateway.md.",
        docs_url=None,
        redoc_url=None,
    )

    @app.exception_handler(CloudseedError)
    def failed(_: fastapi.Request, error: CloudseedError) -> JSONResponse:
        status = 400 if isinstance(error, UsageError) else 409
        return JSONResponse({"error": error.message, "hint": error.hint}, status)

    _add_lab(app, desk)
    _add_mailbox(app, desk)
    return app


def _add_lab(app: fastapi.FastAPI, desk: Desk) -> None:
    """Adds what an agent asks."""

    @app.get("/v1/description")
    def description() -> Any:
        return encode("description", desk.describe())

    @app.get("/v1/health")
    def health() -> Any:
        return encode("health", desk.health())

    @app.post("/v1/validate")
    def validate(request: Request) -> Any:
        return encode("validation", desk.validate(_experiment(request)))

    @app.post("/v1/submit")
    def submit(request: Request) -> Handle:
        return Handle(handle=desk.submit(_experiment(request)))

    @app.post("/v1/poll")
    def poll(asked: Handles) -> list[Message]:
        return messages_out(desk.poll(asked.handles))

    @app.get("/v1/events")
    def events(cursor: str | None = None) -> Events:
        return events_out(desk.events(cursor))

    @app.post("/v1/reconcile")
    def reconcile(asked: Keys) -> Any:
        return encode("statuses", desk.reconcile(asked.keys))

    @app.post("/v1/cancel")
    def cancel(asked: Handle) -> dict[str, str]:
        return {"state": desk.cancel(asked.handle).value}

    @app.post("/v1/stop")
    def stop(why: Reason) -> dict[str, str]:
        desk.safe_stop(why.reason)
        return {}


def _add_mailbox(app: fastapi.FastAPI, desk: Desk) -> None:
    """Adds what a lab's worker asks, where the lab hands out work."""

    @app.post("/v1/leases")
    def lease(order: LeaseOrder) -> list[Held]:
        held = desk.mailbox.lease(order.worker, order.count, order.seconds)
        return [
            Held(
                handle=one.handle,
                request=Request.model_validate(one.request.to_json()),
                token=one.token,
                until=one.until,
            )
            for one in held
        ]

    @app.post("/v1/heartbeat")
    def heartbeat(renewal: Renewal) -> dict[str, str]:
        return {"until": desk.mailbox.heartbeat(renewal.token, renewal.seconds).isoformat()}

    @app.post("/v1/complete")
    def complete(done: Completion) -> dict[str, str]:
        with contextlib.suppress(ValueError):
            raw = base64.b64decode(done.raw, validate=True)
            desk.mailbox.complete(done.token, Outcome.from_json(raw))
            return {}
        raise LabError("The outcome is not in base64.")


def _experiment(request: Request) -> ExperimentRequest:
    return ExperimentRequest.from_json(request.model_dump())
