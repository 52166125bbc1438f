"""The gateway's protocol over MQTT 5: for labs that share a broker and open no port.

    cloudseed/LAB/request   requests, never retained; each expires when nobody waits any more
    cloudseed/LAB/reply/X   answers to agent X
    cloudseed/LAB/status    retained: online, or offline by the lab's last will

Words and signatures are those of the REST protocol; they travel as user properties. The broker may
lose, keep or repeat what it likes: a request that was seen before is refused, and one without an
answer is asked again by whoever needs it, under the same key.
"""

from __future__ import annotations

import json
import secrets
import threading
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cloudseed.errors import LabError
from cloudseed.lab_adapters._settings import read_settings
from cloudseed.lab_adapters.gateway.broker import BrokerSettings, connect, start, topic
from cloudseed.lab_adapters.gateway.client import GatewayLab, read_answer
from cloudseed.lab_adapters.gateway.signing import HEADERS, Signer, read_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MqttLab", "MqttLine", "MqttSettings"]


class MqttSettings(BrokerSettings):
    """What an owner may set about a lab behind a broker."""

    key_id: str = Field(description="Name of the key that signs.")
    secret_file: Path | None = Field(default=None, description="A file that only you can read.")
    secret_env: str | None = Field(default=None, description="Or an environment variable.")
    timeout: float = Field(default=30.0, gt=0, description="Seconds an answer may take.")


class MqttLine:
    """Requests over a broker; connects at the first one.

    Args:
        settings: Where the broker is and who asks.

    Raises:
        UsageError: If the secret or a certificate cannot be used.
        MissingDependencyError: If the extra `mqtt` is not installed.
    """

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self._signer = Signer(
            settings.key_id, read_secret(settings.secret_file, settings.secret_env)
        )
        self._name = secrets.token_hex(8)
        self._answers: dict[bytes, tuple[int, str, bytes]] = {}
        self._waiting: set[bytes] = set()
        self._changed = threading.Condition()
        self._subscribed = False
        self._online: bool | None = None
        self._client = self._new_client()
        self._started = False

    def ask(self, method: str, target: str, data: Any = None) -> Any:
        """Sends a request and returns the answer.

        Raises:
            LabError: If the lab does not answer, refuses, fails, or its answer is not signed.
        """
        self._connect()
        body = b"" if data is None else json.dumps(data).encode()
        headers = self._signer.headers(method, target, body)
        nonce = headers[HEADERS[2]]
        name = nonce.encode()
        with self._changed:
            self._waiting.add(name)
        try:
            self._publish(name, body, {"method": method, "target": target, **headers})
            with self._changed:
                self._wait(lambda: name in self._answers, "does not answer")
                status, signature, raw = self._answers[name]
        finally:
            with self._changed:
                self._waiting.discard(name)
                self._answers.pop(name, None)
        return read_answer(self._signer, status, nonce, raw, signature)

    def close(self) -> None:
        """Leaves the broker."""
        if self._started:
            self._client.disconnect()
            self._client.loop_stop()
            self._started = False

    def _new_client(self) -> Any:
        client = connect(self._settings, f"agent-{self._name}", durable=False)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _connect(self) -> None:
        if not self._started:
            try:
                start(self._client, self._settings, patience=self._settings.timeout)
            except LabError:
                self._client = self._new_client()
                raise
            self._started = True
        with self._changed:
            self._wait(lambda: self._subscribed, "cannot be heard: the broker is away")

    def _publish(self, name: bytes, body: bytes, words: Mapping[str, str]) -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = topic(self._settings.lab, f"reply/{self._name}")
        properties.CorrelationData = name
        properties.MessageExpiryInterval = max(int(self._settings.timeout), 1)
        properties.UserProperty = list(words.items())
        self._client.publish(
            topic(self._settings.lab, "request"), body, qos=1, properties=properties
        )

    def _wait(self, ready: Callable[[], bool], otherwise: str) -> None:
        """Waits, holding the lock.

        Raises:
            LabError: If it takes too long, or the lab's last will says that it is gone.
        """
        self._changed.wait_for(lambda: ready() or self._online is False, self._settings.timeout)
        if ready():
            return
        state = "is offline" if self._online is False else otherwise
        raise LabError(
            f"The lab {self._settings.lab!r} {state}.", hint="Is it running behind this broker?"
        )

    def _on_connect(self, client: Any, *_: object) -> None:
        lab = self._settings.lab
        client.subscribe([(topic(lab, f"reply/{self._name}"), 1), (topic(lab, "status"), 1)])

    def _on_subscribe(self, *_: object) -> None:
        with self._changed:
            self._subscribed = True
            self._changed.notify_all()

    def _on_disconnect(self, *_: object) -> None:
        with self._changed:
            self._subscribed, self._online = False, None

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        with self._changed:
            if message.topic == topic(self._settings.lab, "status"):
                self._online = message.payload == b"online"
            else:
                self._keep(message)
            self._changed.notify_all()

    def _keep(self, message: Any) -> None:
        """Keeps an answer that somebody waits for; others are late or strange."""
        name = getattr(message.properties, "CorrelationData", b"")
        words = dict(getattr(message.properties, "UserProperty", []))
        status = words.get("status", "")
        if name in self._waiting and name not in self._answers and status.isdigit():
            self._answers[name] = (int(status), words.get(HEADERS[3], ""), message.payload)


class MqttLab(GatewayLab):
    """A lab behind a broker."""

    settings_type = MqttSettings

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> MqttLab:
        """Opens the lab from plain values.

        Raises:
            SpecError: If a setting is unknown or wrong.
            UsageError: If the secret or a certificate cannot be used.
            MissingDependencyError: If the extra `mqtt` is not installed.
        """
        del workdir
        return cls(MqttLine(read_settings(MqttSettings, config, "mqtt")))
