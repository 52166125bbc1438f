"""The gateway's protocol over a real broker."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.errors import LabError, MissingDependencyError, SpecError
from cloudseed.lab_adapters import Feature, LabAdapter, Outcome, load_lab
from cloudseed.lab_adapters.gateway.broker import BrokerSettings, connect, start, topic
from cloudseed.lab_adapters.gateway.mqtt_server import MqttServer
from tests.faults.counting import CountingLab
from tests.lab_adapters.brokers import Broker, behind, client, needs_mosquitto
from tests.lab_adapters.gateways import SECRET, VARIABLE, free_port, keys
from tests.lab_adapters.kit import request, wait
from tests.lab_adapters.labs import open_lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_mosquitto


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    found = Broker(tmp_path / "broker", free_port())
    found.start()
    yield found
    found.kill()


def test_a_lab_behind_a_broker_is_that_lab(broker: Broker, tmp_path: Path) -> None:
    with behind(open_lab("table", tmp_path), broker.port, tmp_path):
        lab = client(broker.port)
        assert isinstance(lab, LabAdapter)
        assert lab.describe().features == {Feature.EVENTS, Feature.CANCEL, Feature.SAFE_STOP}
        handle = lab.submit(request())
        assert lab.submit(request()) == handle == lab.lookup("k-1")
        (message,) = wait(lab, [handle]).values()
        assert Outcome.from_json(message.raw).measurements[0].value == -8.0
        assert lab.events("1").events[-1].message == message
        with pytest.raises(LabError, match="another request"):
            lab.submit(request(label="CaTiO3"))
        lab.close()


def test_a_lab_that_left_is_offline(broker: Broker, tmp_path: Path) -> None:
    with behind(open_lab("table", tmp_path), broker.port, tmp_path):
        lab = client(broker.port, timeout=30.0)
        assert lab.health().ready
    assert "offline" in lab.health().reason
    lab.close()


def test_a_broker_away_is_an_error(tmp_path: Path) -> None:
    lab = client(free_port(), timeout=1.0)
    with pytest.raises(LabError, match="cannot be reached"):
        lab.submit(request())


def test_a_wrong_secret_is_refused(
    broker: Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with behind(open_lab("table", tmp_path), broker.port, tmp_path):
        monkeypatch.setenv(VARIABLE, "x" * 40)
        stranger = client(broker.port)
        with caplog.at_level(logging.WARNING), pytest.raises(LabError, match="does not fit"):
            stranger.submit(request())
        assert "signature does not fit" in caplog.text
        stranger.close()


def test_a_replayed_or_retained_request_is_not_carried_out(broker: Broker, tmp_path: Path) -> None:
    heard = []
    settings = BrokerSettings(port=broker.port, lab="bench")
    spy = connect(settings, "spy", durable=False)
    ready, seen = threading.Event(), threading.Event()
    spy.on_connect = lambda c, *_: c.subscribe(topic("bench", "#"), qos=1)
    spy.on_subscribe = lambda *_: ready.set()

    def listen(_client: object, _data: object, message: object) -> None:
        heard.append(message)
        if sum(m.topic.endswith("request") for m in heard) == 2:  # type: ignore[attr-defined]
            seen.set()

    spy.on_message = listen
    start(spy, settings)
    assert ready.wait(10)
    count = tmp_path / "count"
    with behind(CountingLab(count), broker.port, tmp_path):
        lab = client(broker.port)
        lab.submit(request())
        sent = next(m for m in heard if m.topic.endswith("request"))
        spy.publish(sent.topic, sent.payload, qos=1, properties=sent.properties)
        assert seen.wait(10)
        assert lab.health().ready  # the replay was answered before
        answers = [dict(m.properties.UserProperty) for m in heard if "/reply/" in m.topic]
        assert [a["status"] for a in answers[:2]] == ["200", "401"]
        lab.close()
    spy.publish(sent.topic, sent.payload, qos=1, retain=True).wait_for_publish(5)
    with behind(CountingLab(count), broker.port, tmp_path):
        again = client(broker.port)
        assert again.health().ready
        again.close()
    spy.disconnect()
    spy.loop_stop()
    assert count.read_text().split() == ["k-1"]


def test_an_odd_message_does_not_end_the_server(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    with behind(open_lab("table", tmp_path), broker.port, tmp_path) as server:
        lab = client(broker.port)
        for target in ("//[", "", "\u00e9?\u00e9", "/v1/health%2F"):
            with pytest.raises(LabError):
                lab._line.ask("GET", target)
        assert lab.health().ready
        with monkeypatch.context() as patch:
            patch.setattr(server, "_app", None)
            with pytest.raises(LabError, match="does not answer"):
                client(broker.port, timeout=0.5).describe()
        assert "a request failed" in caplog.text
        assert lab.health().ready
        lab.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "kills"), [(12, 2), pytest.param(300, 12, marks=pytest.mark.nightly)]
)
def test_each_job_runs_once_although_the_broker_is_killed(
    tmp_path: Path, jobs: int, kills: int
) -> None:
    broker = Broker(tmp_path / "broker", free_port())
    broker.start()
    count, keys_ = tmp_path / "count", [f"job-{n}" for n in range(jobs)]
    recorded: dict[str, str] = {}
    killed, lost = 0, 0
    try:
        with behind(CountingLab(count), broker.port, tmp_path):
            lab = client(broker.port, timeout=3.0)
            for number, key in enumerate(keys_):
                if killed < kills and number >= jobs * killed / kills:
                    killer = threading.Timer(0.02, broker.kill)
                    killer.start()
                    killed += 1
                while key not in recorded:
                    try:
                        message = wait(lab, [lab.submit(request(key))])[key]
                        recorded[message.key] = message.message_id
                    except LabError:
                        lost += 1
                        killer.join()
                        broker.kill()
                        broker.start()
            lab.close()
    finally:
        broker.kill()
    assert killed == kills
    assert lost >= kills // 2
    assert sorted(count.read_text().split()) == sorted(keys_)
    assert sorted(recorded) == sorted(keys_)
    assert len(set(recorded.values())) == jobs


def test_beyond_this_machine_there_is_tls(tmp_path: Path) -> None:
    def tls_of(**settings: Any) -> bool:
        return BrokerSettings(lab="bench", **settings).with_tls

    assert tls_of(host="broker.example.org")
    assert tls_of(tls=True)
    assert tls_of(ca=tmp_path / "ca.pem")
    assert not tls_of()
    assert not tls_of(host="broker.example.org", tls=False, insecure=True)
    assert connect(BrokerSettings(lab="bench", tls=True), "x", durable=False)._ssl
    for bad in ({"host": "broker.example.org"}, {"ca": "ca.pem"}):
        config = {"lab": "bench", "key_id": "agent", "secret_env": VARIABLE, "tls": False, **bad}
        with pytest.raises(SpecError, match="TLS"):
            load_lab("mqtt", config, tmp_path)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    config = {"lab": "bench", "key_id": "agent", "secret_env": VARIABLE}
    with pytest.raises(MissingDependencyError) as caught:
        load_lab("mqtt", config, tmp_path)
    assert caught.value.hint == "pip install 'cloudseed[mqtt]'"


def test_a_server_needs_its_broker(tmp_path: Path) -> None:
    settings = BrokerSettings(port=free_port(), lab="bench")
    with pytest.raises(LabError, match="cannot be reached"):
        MqttServer(open_lab("table", tmp_path), settings, keys(), tmp_path).run()
