"""Files that a lab's settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.errors import SpecError
from cloudseed.lab_adapters import load_lab, settings_beside
from cloudseed.lab_adapters.gateway.serving import read_serve_file
from cloudseed.loop.spec import load_spec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("adapter", "config", "files"),
    [
        ("table", {"path": "t.csv", "column": "path"}, {"path": "t.csv"}),
        (
            "gateway",
            {"url": "https://a.b", "secret_file": "k", "ca": "c", "cert": "d", "cert_key": "e"},
            {"secret_file": "k", "ca": "c", "cert": "d", "cert_key": "e"},
        ),
        ("mqtt", {"lab": "table", "key_id": "k", "ca": "c"}, {"ca": "c"}),
        ("human", {"path": "orders", "instructions": "path"}, {"path": "orders"}),
        ("of somebody else", {"path": "p", "ca": "c"}, {"path": "p"}),
        ("tests.lab_adapters.cheats:HonestLab", {"path": "p", "ca": "c"}, {"path": "p"}),
        ("table", {"path": 5}, {}),
        ("of somebody else", {"path": [1, None]}, {}),
        ("mailbox", {"name": "path"}, {}),
    ],
)
def test_files_lie_beside_the_file_that_names_them(
    tmp_path: Path, adapter: str, config: dict[str, Any], files: dict[str, str]
) -> None:
    expected = config | {key: str(tmp_path / name) for key, name in files.items()}
    for by_path in (False, True):
        assert settings_beside(adapter, config, tmp_path, by_path=by_path) == expected


def test_also_those_of_a_lab_behind_another(tmp_path: Path) -> None:
    config = {"lab": "gateway", "config": {"url": "https://a.b", "secret_file": "k"}, "seed": 1}
    found = settings_beside("unreliable", config, tmp_path)
    assert found["config"] == {"url": "https://a.b", "secret_file": str(tmp_path / "k")}
    assert config["config"] == {"url": "https://a.b", "secret_file": "k"}
    assert settings_beside("unreliable", {"lab": 3, "config": "x"}, tmp_path)["config"] == "x"


def test_a_server_finds_its_files(tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(
        "keys: [{id: a, secret_file: a.key}, {id: b, secret_env: B}]\n"
        "tls_cert: cert.pem\n"
        "broker: {lab: bench, ca: broker.pem}\n"
        "config: {lab: table, config: {path: t.csv}}\n"
    )
    settings = read_serve_file(path, "unreliable")
    assert [k.secret_file for k in settings.keys] == [tmp_path / "a.key", None]
    assert settings.tls_cert == tmp_path / "cert.pem"
    assert settings.broker is not None
    assert settings.broker.ca == tmp_path / "broker.pem"
    assert settings.config["config"] == {"path": str(tmp_path / "t.csv")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("keys: [{id: a, secret_env: B}, {id: a, secret_env: C}]", "two keys 'a'"),
        ("keys: [a]", "keys"),
        ("keys: 3", "keys"),
        ("- 1", "no settings"),
        ("#" * 1_000_001, "too large"),
    ],
)
def test_a_server_refuses_what_cannot_be(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=words):
        read_serve_file(path, "table")


def test_a_campaign_finds_its_labs_files(tmp_path: Path) -> None:
    path = tmp_path / "campaign.yaml"
    begin = "name: n\nbudget: {experiments: 3}\nobjective: max bulk_modulus\nparents: [mp-1]\n"
    path.write_text(
        f"{begin}labs:\n"
        "  - {name: near, adapter: table, config: {path: t.csv}}\n"
        "  - {name: far, adapter: gateway, config: {url: 'https://a.b', secret_file: a.key}}\n"
    )
    near, far = load_spec(path).labs
    assert near.config == {"path": str(tmp_path / "t.csv")}
    assert far.config["secret_file"] == str(tmp_path / "a.key")
    path.write_text(f"{begin}lab: {{adapter: table, config: {{path: 5}}}}\n")
    with pytest.raises(SpecError, match="path"):
        load_lab("table", load_spec(path).lab.config, tmp_path)
