from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from cloudseed.errors import LabError, SpecError, UsageError
from cloudseed.lab_adapters import (
    DeliveryClass,
    FailureKind,
    Feature,
    JobState,
    LabMessage,
    Outcome,
    PullLab,
    load_lab,
    operable,
)
from cloudseed.lab_adapters.gateway import GatewaySettings, KeySettings, Signer, new_secret
from cloudseed.lab_adapters.gateway.desk import Desk
from cloudseed.lab_adapters.gateway.guard import LARGEST
from cloudseed.lab_adapters.gateway.journal import Journal
from cloudseed.lab_adapters.gateway.server import GatewayServer, ServeSettings
from cloudseed.lab_adapters.gateway.signing import HEADERS, signer_of
from tests.lab_adapters.gateways import SECRET, VARIABLE, client, keys, serving, worker
from tests.lab_adapters.kit import request, wait
from tests.lab_adapters.labs import open_lab
from tests.lab_adapters.tasks import answer
from tests.loop.labs import InstantLab

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cloudseed.lab_adapters import ExperimentRequest


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving(open_lab("table", tmp_path), tmp_path) as address:
        yield address


def send(url: str, signer: Signer, target: str = "/v1/health", **changes: str) -> requests.Response:
    """Sends a signed request, after changing some of its headers."""
    headers = signer.headers("GET", target, b"") | changes
    return requests.get(url + target, headers=headers, timeout=10)


def test_a_lab_behind_the_gateway_is_that_lab(url: str) -> None:
    lab = client(url)
    can = lab.describe()
    assert can.name == "table"
    assert can.features == {Feature.EVENTS, Feature.CANCEL, Feature.SAFE_STOP}
    assert lab.validate(request()).accepted
    assert lab.validate(request(properties=("taste",))).failure is FailureKind.REJECTED_CAPABILITY
    handle = lab.submit(request())
    assert lab.submit(request()) == handle == lab.lookup("k-1")
    assert lab.lookup("k-2") is None
    (message,) = wait(lab, [handle]).values()
    assert Outcome.from_json(message.raw).measurements[0].value == -8.0
    assert lab.cancel(handle) is JobState.FINISHED
    page = lab.events()
    assert [e.status.state for e in page.events] == [JobState.QUEUED, JobState.FINISHED]
    assert page.events[1].message == message
    assert lab.events(page.cursor).events == ()
    with pytest.raises(LabError, match="never gave the cursor"):
        lab.events("99")
    with pytest.raises(LabError, match="another request") as caught:
        lab.submit(request(label="CaTiO3"))
    assert caught.value.hint


def test_more_handles_than_fit_one_request(url: str) -> None:
    lab = client(url)
    handle = lab.submit(request())
    assert len(lab.poll([handle] * 1001)) == 1001


def test_the_protocol_is_documented(url: str) -> None:
    document = requests.get(f"{url}/openapi.json", timeout=10).json()
    assert {"/v1/submit", "/v1/events", "/v1/leases"} <= set(document["paths"])
    assert requests.get(f"{url}/docs", timeout=10).status_code == 401


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({HEADERS[3]: ""}, "not signed"),
        ({HEADERS[3]: "0" * 64}, "signature does not fit"),
        ({HEADERS[3]: "é".encode().decode("latin-1")}, "signature does not fit"),
        ({HEADERS[0]: "stranger"}, "key is unknown"),
        ({HEADERS[0]: "robot"}, "signature does not fit"),
        ({HEADERS[1]: f"{time.time():.3f}"}, "signature does not fit"),
        ({HEADERS[2]: "0" * 32}, "signature does not fit"),
    ],
)
def test_what_is_not_rightly_signed_is_refused(
    url: str, changes: dict[str, str], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answered = send(url, Signer("agent", SECRET.encode()), **changes)
    assert answered.status_code == 401
    assert why in answered.json()["error"]
    assert why in caplog.text
    assert SECRET not in caplog.text


def test_a_replay_is_refused_also_after_a_restart(tmp_path: Path) -> None:
    headers = Signer("agent", SECRET.encode()).headers("GET", "/v1/health", b"")
    for expected in (200, 401):
        with serving(open_lab("table", tmp_path), tmp_path) as url:
            answered = requests.get(f"{url}/v1/health", headers=headers, timeout=10)
            assert answered.status_code == expected
            again = requests.get(f"{url}/v1/health", headers=headers, timeout=10)
            assert "seen before" in again.json()["error"]


@pytest.mark.parametrize("shift", [-400, 400])
def test_a_clock_that_is_off_is_refused(url: str, shift: int) -> None:
    signer = Signer("agent", SECRET.encode())
    sent, nonce = f"{time.time() + shift:.3f}", "1" * 32
    signature = signer.of_request("GET", "/v1/health", sent, nonce, b"")
    answered = send(url, signer, **dict(zip(HEADERS[1:], (sent, nonce, signature), strict=True)))
    assert "window" in answered.json()["error"]
    for bad in ("nan", "inf", "-1", "x"):
        signature = signer.of_request("GET", "/v1/health", bad, nonce, b"")
        changes = dict(zip(HEADERS[1:], (bad, nonce, signature), strict=True))
        assert "cannot be read" in send(url, signer, **changes).json()["error"]


def test_a_changed_body_or_target_is_refused(url: str) -> None:
    signer = Signer("agent", SECRET.encode())
    body = json.dumps(request().to_json()).encode()
    headers = signer.headers("POST", "/v1/submit", body)
    changed = body.replace(b"Sr", b"Pb")
    answered = requests.post(f"{url}/v1/submit", data=changed, headers=headers, timeout=10)
    assert answered.status_code == 401
    answered = requests.post(f"{url}/v1/validate", data=body, headers=headers, timeout=10)
    assert answered.status_code == 401
    assert client(url).lookup("k-1") is None


def test_a_key_has_a_role_and_a_time(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    rotated = (
        KeySettings(id="old", secret_env=VARIABLE, not_after=now - timedelta(days=1)),
        KeySettings(id="next", secret_env=VARIABLE, not_before=now + timedelta(days=1)),
        *keys(not_before=now - timedelta(days=1), not_after=now + timedelta(days=1)),
    )
    with serving(open_lab("table", tmp_path), tmp_path, keys=rotated) as url:
        assert client(url).health().ready
        for key in ("old", "next"):
            assert "not valid now" in client(url, key).health().reason
        assert "role 'lab'" in client(url, "robot").health().reason
        with pytest.raises(LabError, match="role 'agent'"):
            worker(url, "agent").lease("w", 1, 10.0)
        with pytest.raises(LabError, match="hands out no work"):
            worker(url).lease("w", 1, 10.0)


def test_a_role_is_not_evaded_by_another_spelling(tmp_path: Path) -> None:
    mailbox = load_lab("mailbox", {"properties": {"energy": "eV/atom"}}, tmp_path / "lab")
    body = json.dumps({"worker": "w", "seconds": 9.0}).encode()
    with serving(mailbox, tmp_path) as url:
        for key, target in (("agent", "/v1/%6Ceases"), ("robot", "/v1/descriptio%6E")):
            method = "GET" if key == "robot" else "POST"
            headers = Signer(key, SECRET.encode()).headers(method, target, body)
            line = HTTPConnection(urlsplit(url).netloc, timeout=10)
            line.request(method, target, body, headers | {"content-type": "application/json"})
            answered = line.getresponse()
            assert answered.status == 401
            assert b"percent sign" in answered.read()
            line.close()
        with pytest.raises(LabError, match="never gave the cursor"):  # a query may have one
            client(url).events("+1")


def test_a_body_too_large_is_refused(url: str) -> None:
    answered = requests.post(f"{url}/v1/submit", data=b"x" * (LARGEST + 1), timeout=10)
    assert answered.status_code == 413


def test_a_request_out_of_shape_is_an_error_with_words(url: str) -> None:
    lab = client(url)
    with pytest.raises(LabError, match="answered"):
        lab._line.ask("POST", "/v1/poll", {"handles": "all"})
    with pytest.raises(LabError, match="JSON form"):
        lab._line.ask("POST", "/v1/submit", {**request().to_json(), "cell": {"lattice": "cubic"}})
    assert lab.health().ready


class _Forger(BaseHTTPRequestHandler):
    """Answers what a lab might, without its secret."""

    def do_POST(self) -> None:
        body = b'{"handle": "k-1"}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        if self.path == "/v1/poll":
            self.send_header(HEADERS[3], "0" * 64)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def test_a_forged_answer_is_refused() -> None:
    with HTTPServer(("127.0.0.1", 0), _Forger) as forger:
        thread = Thread(target=forger.serve_forever, daemon=True)
        thread.start()
        lab = client(f"http://127.0.0.1:{forger.server_port}")
        for ask in (lambda: lab.submit(request()), lambda: lab.poll(["k-1"])):
            with pytest.raises(LabError, match="forged"):
                ask()
        lab.close()
        forger.shutdown()
        thread.join()


def test_a_lab_out_of_reach_is_an_error_not_a_loss() -> None:
    lab = client("http://127.0.0.1:9")
    with pytest.raises(LabError, match="cannot be reached") as caught:
        lab.submit(request())
    assert caught.value.hint
    assert not lab.health().ready


class _Cutting(BaseHTTPRequestHandler):
    """Breaks off in the middle of its answer."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.wfile.write(b'{"handle": ')

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def test_an_answer_cut_short_is_a_lab_error() -> None:
    with HTTPServer(("127.0.0.1", 0), _Cutting) as cutting:
        thread = Thread(target=cutting.serve_forever, daemon=True)
        thread.start()
        lab = client(f"http://127.0.0.1:{cutting.server_port}")
        with pytest.raises(LabError, match=r"reached: (IncompleteRead|ProtocolError)"):
            lab.submit(request())
        lab.close()
        cutting.shutdown()
        thread.join()


def test_work_is_fetched_by_those_who_take_no_calls(tmp_path: Path) -> None:
    mailbox = load_lab("mailbox", {"properties": {"energy": "eV/atom"}}, tmp_path / "lab")
    assert isinstance(mailbox, PullLab)
    with serving(mailbox, tmp_path) as url:
        agent, robot, other = client(url), worker(url), worker(url)
        handles = [agent.submit(request(key)) for key in "ab"]
        (first,) = robot.lease("robot", 1, 30.0)
        (second,) = other.lease("other", 5, 1.0)
        assert (first.request, second.request) == (request("a"), request("b"))
        assert robot.lease("robot", 1, 30.0) == []
        assert [s.state for s in agent.reconcile(["a"])] == [JobState.RUNNING]
        assert robot.heartbeat(first.token, 60.0) > first.until
        outcome = answer(first.request.to_json(), {})
        robot.complete(first.token, outcome)
        robot.complete(first.token, outcome)
        with pytest.raises(LabError, match="has ended"):
            robot.heartbeat(first.token, 60.0)
        while datetime.now(UTC) <= second.until:
            time.sleep(0.05)
        (again,) = robot.lease("robot", 1, 30.0)
        assert again.handle == second.handle
        for late in (
            lambda: other.heartbeat(second.token, 60.0),
            lambda: other.complete(second.token, outcome),
        ):
            with pytest.raises(LabError, match="Another worker"):
                late()
        with pytest.raises(LabError, match="asks for energy"):
            robot.complete(again.token, Outcome(outcome.kind))
        for failure in (FailureKind.UNKNOWN, FailureKind.REJECTED_STOCK):
            with pytest.raises(LabError, match="does not end a job"):
                robot.complete(again.token, Outcome.failed(failure, "?"))
        assert agent.cancel(again.handle) is JobState.CANCELLED
        with pytest.raises(LabError, match="another outcome"):
            robot.complete(again.token, outcome)
        found = wait(agent, handles)
        assert Outcome.from_json(found["a"].raw) == outcome
        assert Outcome.from_json(found["b"].raw).failure is FailureKind.STOPPED


class _Dying(InstantLab):
    """Dies in mid-send, before or after the request is taken."""

    def __init__(self, delivery: DeliveryClass, *, taken: bool) -> None:
        super().__init__(delivery=delivery)
        self.taken, self.dies = taken, True

    def submit(self, wanted: ExperimentRequest) -> str:
        if self.dies and not self.taken:
            raise KeyboardInterrupt
        handle = super().submit(wanted)
        if self.dies:
            raise KeyboardInterrupt
        return handle


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("delivery", list(DeliveryClass))
def test_a_server_that_died_in_mid_send_sends_nothing_twice(
    tmp_path: Path, delivery: DeliveryClass, taken: bool
) -> None:
    lab = _Dying(delivery, taken=taken)
    with pytest.raises(KeyboardInterrupt):
        Desk(operable(lab), Journal(tmp_path / "g.db")).submit(request())
    lab.dies = False
    desk = Desk(operable(lab), Journal(tmp_path / "g.db"))
    if delivery is DeliveryClass.C:
        assert desk.describe().delivery is DeliveryClass.C
        for ask in (lambda: desk.submit(request()), lambda: desk.reconcile(["k-1"])):
            with pytest.raises(LabError, match="A crash hides"):
                ask()
        assert lab.runs["k-1"] == taken
        return
    assert desk.describe().delivery is DeliveryClass.A
    (status,) = desk.reconcile(["k-1"])
    assert (status.handle is not None) == taken
    assert desk.submit(request()) == desk.submit(request()) == "handle-k-1"
    assert lab.runs["k-1"] == 1


class _Mumbling(InstantLab):
    """Says something unreadable about one submission."""

    def poll(self, handles: Sequence[str]) -> list[LabMessage]:
        return [
            LabMessage("odd", m.key, b"gibberish") if m.key == "odd" else m
            for m in super().poll(handles)
        ]


def test_a_message_that_is_no_outcome_hides_no_other(tmp_path: Path) -> None:
    desk = Desk(operable(_Mumbling()), Journal(tmp_path / "g.db"))
    handles = [desk.submit(request(key)) for key in ("odd", "k-1")]
    for _ in range(2):
        assert [m.raw == b"gibberish" for m in desk.poll(handles)] == [True, False]
    told = [e.message.key for e in desk.events(None).events if e.message is not None]
    assert told == ["k-1"]


def test_secrets_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "agent.key"
    new_secret(path)
    assert path.stat().st_mode & 0o777 == 0o600
    key = KeySettings(id="a", secret_file=path)
    assert path.read_text().strip() not in repr(signer_of(key))
    with pytest.raises(UsageError, match="cannot be written"):
        new_secret(path)
    path.chmod(0o640)
    with pytest.raises(UsageError, match="Others can read"):
        signer_of(key)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(UsageError, match="at least 32"):
        signer_of(key)
    for bad in (KeySettings(id="a"), KeySettings(id="a", secret_file=path, secret_env="X")):
        with pytest.raises(UsageError, match="secret_file"):
            signer_of(bad)


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServeSettings(port=taken.getsockname()[1], keys=keys())
        server = GatewayServer(open_lab("table", tmp_path), settings, tmp_path)
        with pytest.raises(UsageError, match="cannot listen") as caught:
            server.run()
        assert caught.value.hint


def test_beyond_this_machine_there_is_tls(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="https"):
        load_lab("gateway", {"url": "http://lab.example.org", "key_id": "a"}, tmp_path)
    with (
        pytest.raises(UsageError, match="Without TLS"),
        serving(open_lab("table", tmp_path), tmp_path, host="0.0.0.0"),
    ):
        pytest.fail("it listens")
    GatewaySettings(url="http://lab.example.org", key_id="a", insecure=True)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    for name in ("server", "agent"):
        subprocess.run(
            [
                *[
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                ],
                *f"-days 2 -subj /CN={name} -addext subjectAltName=DNS:localhost".split(),
                *("-keyout", str(tmp_path / f"{name}.key")),
                *("-out", str(tmp_path / f"{name}.pem")),
            ],
            check=True,
            capture_output=True,
        )
    tls = {
        "tls_cert": tmp_path / "server.pem",
        "tls_key": tmp_path / "server.key",
        "client_ca": tmp_path / "agent.pem",
    }
    with serving(open_lab("table", tmp_path), tmp_path, **tls) as url:
        mine = {"cert": tmp_path / "agent.pem", "cert_key": tmp_path / "agent.key"}
        lab = client(url, ca=tmp_path / "server.pem", **mine)
        assert lab.health().ready
        lab.close()
        for lacking in ({"ca": tmp_path / "server.pem"}, mine):
            stranger = client(url, **lacking)
            assert "cannot be reached" in stranger.health().reason
            stranger.close()
