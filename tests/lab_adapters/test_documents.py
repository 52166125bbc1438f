from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.errors import LabError, SpecError
from cloudseed.lab_adapters import load_lab
from cloudseed.lab_adapters._documents import read_run
from tests.lab_adapters.gateways import free_port
from tests.lab_adapters.kit import request
from tests.lab_adapters.queue_server import API_KEY, VARIABLE, settings

if TYPE_CHECKING:
    from pathlib import Path

UID = "9df80cd2-0f6d-4312-b7aa-b455becf7261"
OTHER = "9df80cd2-0000-4312-b7aa-b455becf7261"


def documents(uid: str = UID, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("start", {"uid": uid, "time": 10.0}),
        ("descriptor", {"uid": f"d-{uid}", "run_start": uid, "name": "primary"}),
        ("descriptor", {"uid": f"b-{uid}", "run_start": uid, "name": "baseline"}),
        ("event", {"descriptor": f"b-{uid}", "data": {"x": 99.0}}),
        ("event", {"descriptor": f"d-{uid}", "data": {"x": 1.0, "label": "a"}}),
        (
            "event_page",
            {"descriptor": f"d-{uid}", "seq_num": [2, 3], "data": {"x": [2, 3], "label": "bc"}},
        ),
        ("stop", {"run_start": uid, "time": 12.0}),
    ]


def write(path: Path, found: list[tuple[str, dict[str, Any]]]) -> None:
    path.write_text("".join(json.dumps({"name": n, "doc": d}) + "\n" for n, d in found))


def test_the_mean_of_a_stream_is_taken(tmp_path: Path) -> None:
    write(tmp_path / f"{UID[:8]}.jsonl", documents(OTHER) + documents())
    run = read_run(tmp_path, UID)
    assert run is not None
    value = run.measurement("density", "x", "g/cm^3")
    assert value is not None
    assert (value.value, value.n) == (2.0, 3)
    assert value.sigma == pytest.approx(3**-0.5)
    assert run.measurement("density", "label", "g/cm^3") is None
    assert run.measurement("density", "y", "g/cm^3") is None
    assert (run.times()["ended"] - run.times()["started"]).total_seconds() == 2.0


def test_a_run_without_its_end_is_not_read(tmp_path: Path) -> None:
    assert read_run(tmp_path, UID) is None
    write(tmp_path / f"{UID}.jsonl", documents()[:-1])
    assert read_run(tmp_path, UID) is None
    with (tmp_path / f"{UID}.jsonl").open("a") as stream:
        stream.write('{"name": "stop", "doc": {"run_st')
    assert read_run(tmp_path, UID) is None


@pytest.mark.parametrize("text", ["{}\n", '{"name": "start", "doc": 1}\n', "no json\n"])
def test_what_are_no_documents_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / f"{UID}.jsonl").write_text(text)
    with pytest.raises(LabError, match="no Bluesky documents"):
        read_run(tmp_path, UID)


def test_a_uid_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no uid"):
        read_run(tmp_path, "../../etc/passwd")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fields": {}}, "does not say where 'density' is"),
        ({"url": "http://lab.example.org"}, "https://"),
        ({"api_key_env": "NO_SUCH_VARIABLE"}, "holds no API key"),
    ],
)
def test_wrong_settings_of_a_queue_server_are_named(
    change: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, API_KEY)
    with pytest.raises(SpecError, match=words):
        load_lab("bluesky", settings("http://127.0.0.1:1", tmp_path) | change, tmp_path)


def test_a_queue_server_away_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, API_KEY)
    address = f"http://127.0.0.1:{free_port()}"
    lab = load_lab("bluesky", settings(address, tmp_path), tmp_path)
    with pytest.raises(LabError, match="cannot be reached"):
        lab.submit(request(properties=("density",)))
    assert lab.lookup("k-1") is None  # it could not even look, so that nothing was sent
