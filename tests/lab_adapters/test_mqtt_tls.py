"""A broker behind TLS: who is trusted, who is not, and what is said about it."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.errors import LabError, SpecError, UsageError
from cloudseed.lab_adapters import Outcome, load_lab
from cloudseed.lab_adapters._files import beside
from cloudseed.lab_adapters.gateway.broker import BrokerSettings
from cloudseed.lab_adapters.gateway.mqtt_server import MqttServer
from cloudseed.lab_adapters.gateway.server import ServeSettings
from tests.lab_adapters.authorities import Authority, needs_openssl
from tests.lab_adapters.brokers import Broker, behind, client, needs_mosquitto, wait_for
from tests.lab_adapters.gateways import SECRET, VARIABLE, free_port, keys
from tests.lab_adapters.kit import request, wait
from tests.lab_adapters.labs import open_lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [needs_mosquitto, needs_openssl]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signed the broker's certificate, and those of its friends."""
    return Authority(tmp_path_factory.mktemp("trusted"), "trusted")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another authority."""
    return Authority(tmp_path_factory.mktemp("strange"), "stranger")


@pytest.fixture(scope="module")
def friend(trusted: Authority) -> dict[str, Path]:
    """The certificate and the key of somebody whom the broker trusts."""
    cert = trusted.certificate("friend")
    return {"cert": cert, "cert_key": cert.with_suffix(".key")}


def tls_of(trusted: Authority, *, both: bool) -> str:
    """Returns a broker's settings: with a certificate, and asking for one on both sides."""
    cert = trusted.certificate("broker")
    lines = f"cafile {trusted.pem}\ncertfile {cert}\nkeyfile {cert.with_suffix('.key')}\n"
    return lines + "require_certificate true\n" * both


@contextmanager
def running(folder: Path, settings: str) -> Iterator[Broker]:
    """Starts a broker with these settings, and kills it."""
    found = Broker(folder / "broker", free_port(), settings)
    try:
        found.start()
        yield found
    finally:
        found.kill()


@pytest.fixture
def strict(tmp_path: Path, trusted: Authority) -> Iterator[Broker]:
    """A broker that asks for a certificate."""
    with running(tmp_path, tls_of(trusted, both=True)) as found:
        yield found


@pytest.fixture
def open_to_all(tmp_path: Path, trusted: Authority) -> Iterator[Broker]:
    """A broker that has a certificate and asks for none."""
    with running(tmp_path, tls_of(trusted, both=False)) as found:
        yield found


def refusal(port: int, **settings: Any) -> LabError:
    """Returns what an agent is told that does not get through."""
    agent = client(port, **{"host": "localhost", **settings})
    with pytest.raises(LabError) as caught:
        agent.submit(request())
    assert caught.value.hint
    assert not agent.health().ready
    agent.close()
    return caught.value


def test_with_certificates_on_both_sides_a_lab_is_that_lab(
    strict: Broker, tmp_path: Path, trusted: Authority, friend: dict[str, Path]
) -> None:
    tls = {"host": "localhost", "ca": trusted.pem, **friend}
    with behind(open_lab("table", tmp_path), strict.port, tmp_path, **tls):
        lab = client(strict.port, **tls)
        (message,) = wait(lab, [lab.submit(request())]).values()
        assert Outcome.from_json(message.raw).measurements[0].value == -8.0
        lab.close()


def test_the_server_s_certificate_alone_is_enough_where_none_is_asked_for(
    open_to_all: Broker, tmp_path: Path, trusted: Authority
) -> None:
    tls = {"host": "localhost", "ca": trusted.pem}
    with behind(open_lab("table", tmp_path), open_to_all.port, tmp_path, **tls):
        lab = client(open_to_all.port, **tls)
        assert lab.health().ready
        lab.close()


def test_a_broker_of_another_authority_is_not_trusted(
    open_to_all: Broker, stranger: Authority
) -> None:
    for settings in ({"ca": stranger.pem}, {"tls": True}):
        error = refusal(open_to_all.port, **settings)
        assert "not trusted" in error.message
        assert "`ca`" in error.hint


def test_a_broker_of_another_name_is_not_trusted(open_to_all: Broker, trusted: Authority) -> None:
    error = refusal(open_to_all.port, host="127.0.0.1", ca=trusted.pem)
    assert "certificate of another name" in error.message
    assert "127.0.0.1" in error.message
    assert "`host`" in error.hint


def test_who_shows_no_certificate_is_refused(strict: Broker, trusted: Authority) -> None:
    error = refusal(strict.port, ca=trusted.pem)
    assert "showed no certificate" in error.message
    assert "`cert`" in error.hint


def test_who_shows_a_certificate_of_a_stranger_is_refused(
    strict: Broker, trusted: Authority, stranger: Authority
) -> None:
    cert = stranger.certificate("somebody")
    error = refusal(strict.port, ca=trusted.pem, cert=cert, cert_key=cert.with_suffix(".key"))
    assert f"hung up on this side, which showed {cert}" in error.message


def test_older_tls_refuses_within_the_handshake(trusted: Authority) -> None:
    cert, port = trusted.certificate("older"), free_port()
    words = f"-accept {port} -tls1_2 -Verify 1 -verify_return_error -quiet -cert {cert}"
    with subprocess.Popen(
        ["openssl", "s_server", *words.split(), "-key", cert.with_suffix(".key")],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        wait_for(port)
        error = refusal(port, ca=trusted.pem)
        server.kill()
    assert "showed no certificate" in error.message


def test_the_lab_s_side_is_refused_as_well(
    strict: Broker, tmp_path: Path, trusted: Authority
) -> None:
    settings = BrokerSettings(host="localhost", port=strict.port, lab="bench", ca=trusted.pem)
    with pytest.raises(LabError, match="showed no certificate"):
        MqttServer(open_lab("table", tmp_path), settings, keys(), tmp_path).run()


def test_plain_words_to_a_broker_of_tls_are_told(open_to_all: Broker) -> None:
    error = refusal(open_to_all.port, tls=False)
    assert "hung up" in error.message
    assert "TLS" in error.hint


def test_tls_to_a_plain_broker_is_told(tmp_path: Path, trusted: Authority) -> None:
    with running(tmp_path, "") as plain:
        error = refusal(plain.port, ca=trusted.pem, timeout=2.0)
    assert "cannot be reached" in error.message
    assert "TLS" in error.hint


def test_a_wrong_password_is_told(tmp_path: Path) -> None:
    (passwords := tmp_path / "passwords").write_text("")
    closed = f"password_file {passwords}\nallow_anonymous false\n"
    with running(tmp_path, closed) as broker:
        error = refusal(broker.port, username="eve", password_env="CLOUDSEED_NO_PASSWORD")
    assert "refuses this side" in error.message
    assert "`username`" in error.hint


def test_certificates_that_cannot_be_used_are_named(
    tmp_path: Path, trusted: Authority, friend: dict[str, Path]
) -> None:
    (text := tmp_path / "text.pem").write_text("no certificate")
    other = trusted.certificate("other").with_suffix(".key")
    for settings in ({"ca": text}, {"ca": tmp_path / "none.pem"}):
        with pytest.raises(UsageError, match="authority") as caught:
            client(1883, **settings)
        assert "PEM" in caught.value.hint
    for mine in (
        {"cert": text},
        {"cert": tmp_path / "none.pem"},
        {"cert": friend["cert"]},
        {"cert": friend["cert"], "cert_key": other},
    ):
        with pytest.raises(UsageError, match=r"certificate .* cannot be used") as caught:
            client(1883, **mine)
        assert "PEM" in caught.value.hint


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    base = {"lab": "bench", "key_id": "agent", "secret_env": VARIABLE}
    with pytest.raises(SpecError, match="which is missing"):
        load_lab("mqtt", {**base, "cert_key": "agent.key"}, tmp_path)
    with pytest.raises(SpecError, match="`cert` is for TLS"):
        load_lab("mqtt", {**base, "tls": False, "cert": "agent.pem"}, tmp_path)
    assert BrokerSettings(lab="bench", cert=tmp_path / "agent.pem").with_tls


def test_files_of_the_server_s_broker_lie_beside_its_settings(tmp_path: Path) -> None:
    broker = {"ca": "ca.pem", "cert": "lab.pem", "cert_key": "lab.key"}
    found = beside(ServeSettings, {"broker": broker}, tmp_path)["broker"]
    assert found == {name: str(tmp_path / file) for name, file in broker.items()}
