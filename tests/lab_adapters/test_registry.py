from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from cloudseed.errors import LabError, SpecError, UsageError
from cloudseed.lab_adapters import _points, available_labs, load_lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_shipped_labs_are_found() -> None:
    assert {
        "filedrop",
        "gateway",
        "human",
        "mailbox",
        "mlip",
        "mqtt",
        "table",
        "unreliable",
    } <= set(available_labs())


def test_an_unknown_lab_has_a_near_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no lab adapter 'mlpi'") as caught:
        load_lab("mlpi", {}, tmp_path)
    assert caught.value.hint == "Did you mean 'mlip'?"
    with pytest.raises(UsageError) as caught:
        load_lab("robot", {}, tmp_path)
    assert "mlip, mqtt, sila2, table" in caught.value.hint


def test_a_misspelt_setting_has_a_near_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no setting 'fmx'") as caught:
        load_lab("mlip", {"fmx": 0.1}, tmp_path)
    assert caught.value.hint == "Did you mean 'fmax'?"


@pytest.mark.parametrize(
    "lab",
    [
        lambda: (_ for _ in ()).throw(ImportError("no driver")),
        lambda: SimpleNamespace(from_config=lambda config, workdir: object()),
        lambda: SimpleNamespace(from_config=lambda config: object()),
    ],
    ids=["import fails", "no lab", "wrong signature"],
)
def test_a_broken_adapter_is_a_lab_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: Callable[[], object]
) -> None:
    point = SimpleNamespace(name="robot", value="robots:Lab", load=lab)
    monkeypatch.setattr(_points, "entry_points", lambda **_: [point])
    with pytest.raises(LabError) as caught:
        load_lab("robot", {}, tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize(
    "module",
    ["cloudseed.lab_adapters", "cloudseed.lab_adapters.mlip", "cloudseed.lab_adapters.gateway"],
)
def test_nothing_heavy_is_imported(module: str) -> None:
    code = (
        f"import sys, {module}; heavy = {{'torch', 'chgnet', 'matcalc', 'pymatgen', 'ase',"
        " 'pandas', 'sklearn', 'fastapi'} & set(sys.modules);"
        " sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
