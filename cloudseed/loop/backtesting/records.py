"""One line of JSON per replayed campaign, so that an interrupted back-test goes on."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from cloudseed.loop.workspace import unwritable
from cloudseed.surrogate.backtesting import Forecast, Run

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Records"]


class Records:
    """Runs of one back-test, by method and seed, kept in a file.

    Args:
        path: The file; lines of other back-tests in it are left alone.
        settings: Hash of all that runs depend on besides method and seed.
        task: What the back-test is called, for readers of the file.
    """

    def __init__(self, path: Path, settings: str, task: str) -> None:
        self._path, self._settings, self._task = path, settings, task
        self.runs: dict[tuple[str, int], Run] = {}
        for line in _lines(path):
            if line.get("settings") == settings:
                self.runs[line["method"], line["seed"]] = _run(line)

    def add(self, method: str, seed: int, run: Run) -> None:
        """Writes a run down; once this returns, a kill does not lose it.

        Raises:
            StorageError: If the file cannot be written.
        """
        self.runs[method, seed] = run
        line = {
            "task": self._task,
            "settings": self._settings,
            "method": method,
            "seed": seed,
            "order": run.order,
            "started": run.started,
            "decisions": run.decisions,
            "cpu_seconds": round(run.cpu_seconds, 3),
            "notes": dict(run.notes),
            "forecasts": [[f.row, f.property, f.mean, f.sd] for f in run.forecasts],
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                whole = _ends_well(self._path)
                file.write((b"" if whole else b"\n") + json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritable(self._path, error) from error


def _ends_well(path: Path) -> bool:
    """Tells whether a file is empty or ends its last line."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return True
        file.seek(size - 1)
        return file.read(1) == b"\n"


def _lines(path: Path) -> list[dict[str, Any]]:
    """Returns the whole lines of a file; one that a kill cut short is passed over."""
    found: list[dict[str, Any]] = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return found
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def _run(line: dict[str, Any]) -> Run:
    return Run(
        order=tuple(line["order"]),
        started=line["started"],
        forecasts=tuple(Forecast(*f) for f in line["forecasts"]),
        decisions=line["decisions"],
        cpu_seconds=line["cpu_seconds"],
        notes=line["notes"],
    )
