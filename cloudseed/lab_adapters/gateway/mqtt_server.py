"""Puts a lab behind a broker: requests from a topic go to the gateway's application."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

from cloudseed.errors import LabError
from cloudseed.lab_adapters.base import operable
from cloudseed.lab_adapters.gateway.broker import connect, start, topic
from cloudseed.lab_adapters.gateway.desk import Desk
from cloudseed.lab_adapters.gateway.guard import Guard, SignedApp
from cloudseed.lab_adapters.gateway.journal import Journal
from cloudseed.lab_adapters.gateway.server import make_app
from cloudseed.lab_adapters.gateway.signing import HEADERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cloudseed.lab_adapters.gateway.broker import BrokerSettings
    from cloudseed.lab_adapters.gateway.signing import KeySettings
    from cloudseed.lab_adapters.protocols import LabAdapter

__all__ = ["MqttServer"]

log = logging.getLogger(__name__)


class MqttServer:
    """Serves a lab behind a broker until it is stopped.

    The broker keeps requests for it while it is away, for as long as somebody waits for an answer.

    Args:
        lab: The lab.
        settings: Where the broker is.
        keys: Who may ask.
        workdir: Where the journal is kept.
        window: Seconds that a request's time may be off.

    Raises:
        UsageError: If a secret or a certificate cannot be used.
        MissingDependencyError: If the extra `mqtt` is not installed.
    """

    def __init__(
        self,
        lab: LabAdapter,
        settings: BrokerSettings,
        keys: Sequence[KeySettings],
        workdir: Path,
        *,
        window: float = 300.0,
    ) -> None:
        self._settings = settings
        journal = Journal(workdir / "gateway.db")
        self._desk = Desk(operable(lab), journal)
        self._app = SignedApp(make_app(self._desk), Guard(keys, journal, window))
        self._requests: queue.Queue[Any] = queue.Queue()
        self.ready = threading.Event()
        self._client = connect(settings, f"lab-{settings.lab}", durable=True)
        self._client.will_set(topic(settings.lab, "status"), "offline", qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self.ready.set()
        self._client.on_message = self._on_message

    def run(self) -> None:
        """Serves until `stop`.

        Raises:
            LabError: If the broker cannot be reached at first, or refuses.
        """
        try:
            start(self._client, self._settings)
        except LabError:
            self._desk.close()
            raise
        try:
            while (message := self._requests.get()) is not None:
                self._serve(message)
        finally:
            status = topic(self._settings.lab, "status")
            self._client.publish(status, "offline", qos=1, retain=True).wait_for_publish(5)
            self._client.disconnect()
            self._client.loop_stop()
            self._desk.close()

    def stop(self) -> None:
        """Has `run` return; may be called from any thread."""
        self._requests.put(None)

    def _on_connect(self, client: Any, *_: object) -> None:
        client.subscribe(topic(self._settings.lab, "request"), qos=1)
        client.publish(topic(self._settings.lab, "status"), "online", qos=1, retain=True)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        # A retained request would be carried out again at every start.
        if not message.retain:
            self._requests.put(message)

    def _serve(self, message: Any) -> None:
        reply = getattr(message.properties, "ResponseTopic", "")
        name = getattr(message.properties, "CorrelationData", b"")
        if not reply.startswith(topic(self._settings.lab, "reply/")) or not name:
            log.warning("a request names no topic of this lab for its answer")
            return
        words = dict(getattr(message.properties, "UserProperty", []))
        try:
            status, signature, body = asyncio.run(self._call(words, message.payload))
        except Exception:  # whatever one message does, the next one is served
            log.exception("a request failed")
            return
        self._publish(reply, name, {"status": str(status), HEADERS[3]: signature}, body)

    async def _call(self, words: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        """Hands a request to the application as HTTP would."""
        path, _, query = words.get("target", "/").partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": words.get("method", "GET"),
            "scheme": "mqtt",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                (b"content-type", b"application/json"),
                *((n.encode(), words.get(n, "").encode()) for n in HEADERS),
            ],
            "client": ("broker", 0),
            "server": (self._settings.lab, None),
        }
        answer: dict[str, Any] = {"body": b""}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.update(status=message["status"], headers=dict(message["headers"]))
            else:
                answer["body"] += message.get("body", b"")

        await self._app(scope, receive, send)
        signature = answer["headers"].get(HEADERS[3].encode(), b"").decode()
        return answer["status"], signature, answer["body"]

    def _publish(self, reply: str, name: bytes, words: dict[str, str], body: bytes) -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = name
        properties.MessageExpiryInterval = 60
        properties.UserProperty = list(words.items())
        self._client.publish(reply, body, qos=1, properties=properties)
