from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.errors import LabError, UsageError
from cloudseed.lab_adapters import load_lab
from tests.lab_adapters.kit import request

if TYPE_CHECKING:
    from pathlib import Path

HONEST = "tests.lab_adapters.cheats:HonestLab"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["lab", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_the_installed_labs_are_listed() -> None:
    names = {lab["name"] for lab in json.loads(run("list", "--json"))}
    assert {"mlip", "table"} <= names
    assert "mlip" in run("list")


def test_a_lab_is_described() -> None:
    assert "64 atoms" in run("describe", "mlip")
    told = json.loads(run("describe", "mlip", "--json"))
    assert told["properties"]["bulk_modulus"] == "GPa"
    assert told["duration"]["unit"] == "s"


def test_a_check_tells_its_verdicts_and_draws_a_badge(tmp_path: Path) -> None:
    badge = tmp_path / "badge.svg"
    said = run("check", HONEST, "--only", "description", "--badge", str(badge))
    assert "pass" in said
    assert "1 kept" in badge.read_text()
    told = json.loads(run("check", HONEST, "--only", "health", "--json"))
    assert told["passed"]


def test_a_broken_promise_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="breaks 1 of 1") as caught:
        run("check", "tests.lab_adapters.cheats:Ill", "--only", "health")
    assert "health" in caught.value.hint
    with pytest.raises(UsageError, match="no check 'helth'"):
        run("check", HONEST, "--only", "helth")


def test_a_new_adapter_is_written(tmp_path: Path) -> None:
    said = run("new", "furnace", "--out", str(tmp_path / "new"))
    assert "furnace.py" in said
    assert (tmp_path / "new" / "furnace_robot.py").exists()


def test_a_person_reports_a_result(tmp_path: Path) -> None:
    lab = load_lab("human", {"properties": {"energy": "eV/atom"}}, tmp_path)
    handle = lab.submit(request())
    assert handle in run("report", "--folder", str(tmp_path))
    said = run("report", handle, "energy=-8.1±0.1", "--folder", str(tmp_path))
    assert "stored" in said
    assert json.loads(run("report", "--folder", str(tmp_path), "--json")) == []
    assert lab.poll([handle])
