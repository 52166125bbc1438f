from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.errors import InputError
from tests.loop.small import PARENTS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shelf(tmp_path: Path) -> str:
    path = tmp_path / "shelf.yaml"
    path.write_text("precursors: [{formula: SrCO3}, {formula: TiO2}]\ngases: [air]\n")
    return str(path)


def test_routes_for_machines(shelf: str) -> None:
    told = ["recipe", "SrTiO3", "--shelf", shelf, "--mass", "5 g", "--json"]
    done = CliRunner().invoke(app, told, catch_exceptions=False)
    (route,) = json.loads(done.stdout)["routes"]
    assert route["recipe"]["precursors"][0] == {"formula": "SrCO3", "grams": 4.0229}
    assert len(route["sha256"]) == 64


@pytest.mark.parametrize(
    "more", [["--mass", "5 K"], ["--structure", str(PARENTS / "KMgF3.cif")], ["--mass", "-1 g"]]
)
def test_what_makes_no_sense_is_an_error(shelf: str, more: list[str]) -> None:
    done = CliRunner().invoke(app, ["recipe", "SrTiO3", "--shelf", shelf, *more])
    assert isinstance(done.exception, InputError)
    assert done.exception.hint
