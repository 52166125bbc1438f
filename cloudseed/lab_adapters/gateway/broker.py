"""A broker of MQTT 5: where it is, how it is trusted, and the first words with it.

With TLS this side checks the broker's certificate and its name, and shows its own where the broker
asks for one. In TLS 1.3 a broker refuses a certificate only after the handshake; so a connection
counts once the broker has greeted.
"""

from __future__ import annotations

import os
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from cloudseed.errors import LabError, MissingDependencyError, UsageError
from cloudseed.lab_adapters._settings import LabSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

__all__ = ["LOOPBACK", "BrokerSettings", "connect", "start", "topic"]


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""What this machine calls itself."""

_GREETING = 30.0
"""Seconds that a broker may take to greet."""

_OTHER_NAME = frozenset({62, 64})
"""OpenSSL's verdicts on a certificate of another host name or address."""


class _Socket(ssl.SSLSocket):
    """Closes itself after a handshake that failed, which paho does not."""

    def do_handshake(self, block: bool = False) -> None:
        """Shakes hands."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class BrokerSettings(LabSettings):
    """Where the broker is."""

    host: str = Field(default="127.0.0.1", description="Address of the broker.")
    port: int = Field(default=1883, ge=1, le=65535, description="Its port; 8883 with TLS.")
    lab: str = Field(pattern=r"[A-Za-z0-9._-]{1,64}", description="Name of the lab in its topics.")
    username: str | None = Field(default=None, description="Who we are to the broker.")
    password_env: str | None = Field(default=None, description="Variable with the password.")
    tls: bool | None = Field(
        default=None,
        description="Whether to use TLS; by default beyond this machine, or with ca or cert.",
    )
    ca: Path | None = Field(
        default=None, description="Authority of the broker (PEM); by default the system's."
    )
    cert: Path | None = Field(
        default=None, description="This side's certificate (PEM), if the broker wants one."
    )
    cert_key: Path | None = Field(
        default=None, description="Its private key (PEM); by default in the same file."
    )
    insecure: bool = Field(
        default=False, description="Whether `tls: false` is meant, beyond this machine."
    )

    @property
    def with_tls(self) -> bool:
        """Whether TLS is used."""
        if self.tls is not None:
            return self.tls
        return self.host not in LOOPBACK or self.ca is not None or self.cert is not None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        for name in ("ca", "cert", "cert_key"):
            if self.tls is False and getattr(self, name) is not None:
                raise ValueError(f"`{name}` is for TLS, and `tls` is false")
        if self.cert_key is not None and self.cert is None:
            raise ValueError("`cert_key` is the key of `cert`, which is missing")
        if not (self.with_tls or self.host in LOOPBACK or self.insecure):
            raise ValueError("without TLS no broker beyond this machine is used")
        return self


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
        UsageError: If a certificate or key cannot be used.
    """
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
    except ImportError as error:
        raise MissingDependencyError(
            "A lab behind a broker needs paho-mqtt.", hint="pip install 'cloudseed[mqtt]'"
        ) from error
    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
    if settings.username is not None:
        client.username_pw_set(settings.username, os.environ.get(settings.password_env or ""))
    if settings.with_tls:
        client.tls_set_context(_tls(settings))
    client.reconnect_delay_set(min_delay=1, max_delay=10)
    client.user_data_set({"durable": durable})
    return client


def _tls(settings: BrokerSettings) -> ssl.SSLContext:
    """Returns what checks the broker's certificate and name, and holds this side's own."""
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        context.sslsocket_class = _Socket
    except OSError as error:
        raise UsageError(
            f"The authority {settings.ca} cannot be read: {_words(error)}.",
            hint="`ca` is a PEM file with the certificate that signed the broker's.",
        ) from error
    if settings.cert is not None:
        try:
            # A key with a password would be asked for on the terminal.
            context.load_cert_chain(settings.cert, settings.cert_key, password=lambda: b"-")
        except OSError as error:
            raise UsageError(
                f"The certificate {settings.cert} cannot be used: {_words(error)}.",
                hint="`cert` and `cert_key` are PEM files that belong together; the key has no"
                " password.",
            ) from error
    return context


def start(client: Any, settings: BrokerSettings, *, patience: float = _GREETING) -> None:
    """Connects a client and keeps it connected, in a thread of its own.

    A client that could not be connected is of no further use.

    Args:
        client: From `connect`.
        settings: Where the broker is.
        patience: Seconds that the broker may take to greet.

    Raises:
        LabError: If the broker cannot be reached now, is not to be trusted, or refuses this side.
    """
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    durable = client.user_data_get()["durable"]
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 86_400 if durable else 0
    with _greeted(client, settings, patience):
        try:
            client.connect(
                settings.host,
                settings.port,
                keepalive=20,
                clean_start=not durable,
                properties=properties,
            )
        except OSError as error:
            raise _unreachable(settings, error) from error
        client.loop_start()


@contextmanager
def _greeted(client: Any, settings: BrokerSettings, patience: float) -> Iterator[None]:
    """Waits at its end until the broker has greeted; the client's callbacks are called too.

    Raises:
        LabError: If the broker refuses, hangs up, or says nothing.
    """
    own = client.on_connect, client.on_disconnect
    heard = threading.Event()
    refused: list[LabError] = []
    where = f"The broker at {settings.address}"

    def on_connect(who: Any, data: Any, flags: Any, code: Any, more: Any) -> None:
        if code.is_failure:
            hint = "Check `username`, `password_env`, and what the broker lets this side do."
            refused.append(LabError(f"{where} refuses this side: {code}.", hint=hint))
        elif own[0] is not None:
            own[0](who, data, flags, code, more)
        heard.set()

    def on_disconnect(*words: Any) -> None:
        refused.append(_hung_up(settings))
        if own[1] is not None:
            own[1](*words)
        heard.set()

    client.on_connect, client.on_disconnect = on_connect, on_disconnect
    try:
        yield
        if not heard.wait(patience):
            refused.append(LabError(f"{where} does not answer.", hint="Is it a broker of MQTT 5?"))
    finally:
        client.on_connect, client.on_disconnect = own
    if refused:
        client.disconnect()
        client.loop_stop()
        if (left := client.socket()) is not None:
            left.close()
        raise refused[0]


def _unreachable(settings: BrokerSettings, error: OSError) -> LabError:
    """Returns what is wrong with a connection that did not come about."""
    where, cause = f"The broker at {settings.address}", _words(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_NAME:
            return LabError(
                f"{where} shows a certificate of another name: {cause}.",
                hint="`host` must be a name or address that the broker's certificate holds.",
            )
        return LabError(
            f"{where} shows a certificate that is not trusted: {cause}.",
            hint="Set `ca` to the authority (PEM) that signed it; expired ones must be renewed.",
        )
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "").upper():
        return _hung_up(settings)
    return LabError(
        f"{where} cannot be reached: {cause}.",
        hint="Is it running, is the address right, and does it speak TLS where we do?",
    )


def _hung_up(settings: BrokerSettings) -> LabError:
    """Returns what it means that the broker hung up instead of greeting.

    It may tell why in an alert of TLS, but that is lost as often as not.
    """
    where = f"The broker at {settings.address} hung up"
    if not settings.with_tls:
        return LabError(
            f"{where}.", hint="Does it want TLS, or another MQTT than 5? Its log says why."
        )
    if settings.cert is None:
        return LabError(
            f"{where} on this side, which showed no certificate.",
            hint="If it wants one, set `cert` and `cert_key`; its log says why.",
        )
    return LabError(
        f"{where} on this side, which showed {settings.cert}.",
        hint="`cert` must be valid now, and signed by an authority that the broker trusts; the"
        " broker's log says why.",
    )


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return error.strerror or str(error)
