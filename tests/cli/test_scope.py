"""`cloudseed scope` and `cloudseed encoder embed` as a user meets them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.crystal import Crystal
from cloudseed.errors import InputError, UsageError
from cloudseed.surrogate import scope_string
from tests.loop.test_listing import perovskite

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

PAIRS = (("Ca", "Ti"), ("Sr", "Zr"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for a, b in PAIRS:
        (tmp_path / f"{a}{b}.cif").write_text(perovskite(a, b).to_cif())
    (tmp_path / "bad.cif").write_text("data_\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cloudseed(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments), "--jobs", "1"])


def canonical(a: str, b: str) -> str:
    return scope_string(Crystal.from_cell(perovskite(a, b)), "canonical")


def test_scope() -> None:
    done = cloudseed("scope", "CaTi.cif", "--dialect", "canonical")
    assert (done.exit_code, done.stdout) == (0, canonical("Ca", "Ti") + "\n")


def test_scope_of_a_bad_file() -> None:
    done = cloudseed("scope", "CaTi.cif", "bad.cif", "SrZr.cif")
    assert isinstance(done.exception, InputError)
    assert "1 of 3 cannot be used" in done.exception.message
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["CaTi.cif", "SrZr.cif"]
    assert "bad: bad.cif" in done.stderr


def test_scope_of_a_folder(here: Path) -> None:
    done = cloudseed("scope", here, "--full", "--json", "--skip-bad", "--out", "strings.csv")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert [len(row["scope"].split(" | ")[1].split()) for row in told["strings"]] == [5, 5]
    assert told["bad"][0]["name"].endswith("bad.cif")
    assert list(pd.read_csv("strings.csv")["scope"]) == [row["scope"] for row in told["strings"]]


def test_embed() -> None:
    done = cloudseed(
        "encoder", "embed", "CaTi.cif", "bad.cif", "SrZr.cif", "--out", "e.csv", "--json"
    )
    assert isinstance(done.exception, InputError)
    told = json.loads(done.stdout)
    assert (told["rows"], told["distinct"], len(told["bad"])) == (2, 2, 1)
    frame = pd.read_csv("e.csv")
    assert list(frame["scope"]) == [canonical(*pair) for pair in PAIRS]
    assert frame.shape == (2, 2 + told["dimension"])


def test_embed_to_an_unknown_format() -> None:
    done = cloudseed("encoder", "embed", "CaTi.cif", "--out", "e.doc")
    assert isinstance(done.exception, UsageError)
    assert ".parquet" in done.exception.hint
