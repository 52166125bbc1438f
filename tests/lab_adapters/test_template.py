"""An adapter from the template, untouched: it works, it is short, and its own test passes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cloudseed.errors import UsageError
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
    assert "15 passed" in done.stdout


def test_it_overwrites_nothing_and_takes_no_odd_names(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UsageError, match="holds files"):
        write_adapter("furnace", tmp_path)
    for name in ("../x", "Furnace", "", "a b", "1st"):
        with pytest.raises(UsageError, match="cannot be called"):
            write_adapter(name, tmp_path / "new")
