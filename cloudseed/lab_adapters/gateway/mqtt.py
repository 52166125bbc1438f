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
import ssl
import threading
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from cloudseed.errors import LabError, MissingDependencyError
from cloudseed.lab_adapters._settings import LabSettings, read_settings
from cloudseed.lab_adapters.gateway.client import GatewayLab, read_answer
from cloudseed.lab_adapters.gateway.signing import HEADERS, Signer, read_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

__all__ = ["BrokerSettings", "MqttLab", "MqttLine", "MqttSettings", "connect", "topic"]


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""What this machine calls itself."""


class BrokerSettings(LabSettings):
    """Where the broker is."""

    host: str = Field(default="127.0.0.1", description="Address of the broker.")
    port: int = Field(default=1883, ge=1, le=65535, description="Its port; 8883 with TLS.")
    lab: str = Field(pattern=r"[A-Za-z0-9._-]{1,64}", description="Name of the lab in its topics.")
    username: str | None = Field(default=None, description="Who we are to the broker.")
    password_env: str | None = Field(default=None, description="Variable with the password.")
    tls: bool | None = Field(
        default=None, description="Whether to use TLS; by default beyond this machine, or with ca."
    )
    ca: Path | None = Field(
        default=None, description="Authority of the broker (PEM); by default the system's."
    )
    insecure: bool = Field(
        default=False, description="Whether `tls: false` is meant, beyond this machine."
    )

    @property
    def with_tls(self) -> bool:
        """Whether TLS is used."""
        near = self.host in LOOPBACK
        return (self.ca is not None or not near) if self.tls is None else self.tls

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if self.tls is False and self.ca is not None:
            raise ValueError("`ca` is for TLS, and `tls` is false")
        if not (self.with_tls or self.host in LOOPBACK or self.insecure):
            raise ValueError("without TLS no broker beyond this machine is used")
        return self


class MqttSettings(BrokerSettings):
    """What an owner may set about a lab behind a broker."""

    key_id: str = Field(description="Name of the key that signs.")
    secret_file: Path | None = Field(default=None, description="A file that only you can read.")
    secret_env: str | None = Field(default=None, description="Or an environment variable.")
    timeout: float = Field(default=30.0, gt=0, description="Seconds an answer may take.")


def topic(lab: str, name: str) -> str:
    """Returns a topic of a lab."""
    return f"cloudseed/{lab}/{name}"


def connect(settings: BrokerSettings, client_id: str, *, durable: bool) -> Any:
    """Returns a client of MQTT 5 that is not connected yet.

    Args:
        settings: Where the broker is.
        client_id: Its name there.
        durable: Whether the broker keeps what comes while it is away.

    Raises:
        MissingDependencyError: If the extra `mqtt` is not installed.
    """
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
    except ImportError as error:
        raise MissingDependencyError(
            "A lab behind a broker needs paho-mqtt.", hint="pip install 'cloudseed[mqtt]'"
        ) from error
    import os

    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
    if settings.username is not None:
        client.username_pw_set(settings.username, os.environ.get(settings.password_env or ""))
    if settings.with_tls:
        client.tls_set_context(ssl.create_default_context(cafile=settings.ca))
    client.reconnect_delay_set(min_delay=1, max_delay=10)
    client.user_data_set({"durable": durable})
    return client


def start(client: Any, settings: BrokerSettings) -> None:
    """Connects a client and keeps it connected, in a thread of its own.

    Raises:
        LabError: If the broker cannot be reached now.
    """
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    durable = client.user_data_get()["durable"]
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 86_400 if durable else 0
    try:
        client.connect(
            settings.host,
            settings.port,
            keepalive=20,
            clean_start=not durable,
            properties=properties,
        )
    except OSError as error:
        raise LabError(
            f"The broker at {settings.host}:{settings.port} cannot be reached: {error}.",
            hint="Is it running, is the address right, and does it speak TLS where we do?",
        ) from error
    client.loop_start()


class MqttLine:
    """Requests over a broker; connects at the first one.

    Args:
        settings: Where the broker is and who asks.

    Raises:
        UsageError: If the secret cannot be used.
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
        self._client = connect(settings, f"agent-{self._name}", durable=False)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
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

    def _connect(self) -> None:
        if not self._started:
            start(self._client, self._settings)
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
            UsageError: If the secret cannot be used.
            MissingDependencyError: If the extra `mqtt` is not installed.
        """
        del workdir
        return cls(MqttLine(read_settings(MqttSettings, config, "mqtt")))
