"""An adapter from the template, untouched: it works, it is short, and its own test passes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from cloudseed.errors import LabError, UsageError
from cloudseed.lab_adapters.template import write_adapter

ROOT = Path(__file__).parents[2]


@pytest.mark.nightly
def test_a_new_adapter_passes_its_own_test(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    written = write_adapter("tube-furnace", folder)
    assert {p.name for p in written} >= {"tube_furnace.py", "test_tube_furnace.py", "check.yaml"}
    assert len((folder / "tube_furnace.py").read_text().splitlines()) < 100
    path = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "."],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "16 passed" in done.stdout


def test_it_overwrites_nothing_and_takes_no_odd_names(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UsageError, match="holds files"):
        write_adapter("furnace", tmp_path)
    for name in ("../x", "Furnace", "", "a b", "1st"):
        with pytest.raises(UsageError, match="cannot be called"):
            write_adapter(name, tmp_path / "new")
    for name in ("class", "socket", "cloudseed"):
        with pytest.raises(UsageError, match="for itself") as caught:
            write_adapter(name, tmp_path / "new")
        assert caught.value.hint


def test_it_believes_no_garbage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_adapter("odd-balance", tmp_path / "new")
    monkeypatch.syspath_prepend(tmp_path / "new")
    lab = importlib.import_module("odd_balance").OddBalanceLab("127.0.0.1", 1)
    connection = MagicMock()
    connection.__enter__.return_value = connection
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: connection)
    for said in ("", "ERR what?", "DONE", "DONE 2.0", "DONE two 0.1", "DONE 2 0.1 3"):
        connection.makefile().readline.return_value = said + "\n"
        with pytest.raises(LabError, match="says"):
            lab.poll(["k-1"])
        if not said.startswith("DONE"):
            with pytest.raises(LabError, match="says"):
                lab.lookup("k-1")
    connection.makefile().readline.return_value = "UNKNOWN\n"
    assert lab.lookup("k-1") is None
