"""`cloudseed scope` and `cloudseed encoder embed` as a user meets them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from cloudseed.crystal import Crystal
from cloudseed.surrogate import scope_string
from tests.cli.test_cli import cloudseed
from tests.loop.test_listing import perovskite

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = (("Ca", "Ti"), ("Sr", "Zr"))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for a, b in PAIRS:
        (tmp_path / f"{a}{b}.cif").write_text(perovskite(a, b).to_cif())
    (tmp_path / "bad.cif").write_text("data_\n")
    return tmp_path


def canonical(a: str, b: str) -> str:
    return scope_string(Crystal.from_cell(perovskite(a, b)), "canonical")


def test_scope(here: Path) -> None:
    one = cloudseed("scope", "CaTi.cif", "--dialect", "canonical", cwd=here)
    assert (one.returncode, one.stdout) == (0, canonical("Ca", "Ti") + "\n")
    several = cloudseed("scope", "CaTi.cif", "bad.cif", "SrZr.cif", cwd=here)
    assert several.returncode == 2
    names = [line.split("\t")[0] for line in several.stdout.splitlines()]
    assert names == ["CaTi.cif", "SrZr.cif"]
    assert "bad: bad.cif" in several.stderr
    assert "1 of 3 cannot be used" in several.stderr
    skipped = cloudseed("scope", here, "--full", "--json", "--skip-bad", cwd=here)
    assert skipped.returncode == 0
    told = json.loads(skipped.stdout)
    assert [len(row["scope"].split(" | ")[1].split()) for row in told["strings"]] == [5, 5]
    assert told["bad"][0]["name"].endswith("bad.cif")


def test_embed(here: Path) -> None:
    out = cloudseed(
        "encoder", "embed", "CaTi.cif", "SrZr.cif", "--out", "e.csv", "--json", cwd=here
    )
    assert out.returncode == 0, out.stderr
    told = json.loads(out.stdout)
    assert (told["rows"], told["distinct"], told["bad"]) == (2, 2, [])
    frame = pd.read_csv(here / "e.csv")
    assert list(frame["scope"]) == [canonical(*pair) for pair in PAIRS]
    assert frame.shape == (2, 2 + told["dimension"])
    wrong = cloudseed("encoder", "embed", "CaTi.cif", "--out", "e.doc", cwd=here)
    assert wrong.returncode == 2
    assert ".parquet" in wrong.stderr
