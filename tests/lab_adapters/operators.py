"""Programs that play the people and robots behind a folder."""

from __future__ import annotations

import csv
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from pathlib import Path


def robot(workdir: Path, config: Mapping[str, Any], ended: threading.Event) -> None:
    """Takes CSV orders away and answers them, one file each, by renaming."""
    folder = workdir / "exchange"
    while not ended.wait(0.02):
        for path in sorted((folder / "orders").glob("*.csv")):
            taken = folder / path.name
            try:
                path.replace(taken)
            except FileNotFoundError:  # it was cancelled meanwhile
                continue
            order = _form(taken)
            taken.unlink()
            assert (folder / "orders" / order["structure"]).read_text().startswith("#")
            time.sleep(0.05)
            answer(folder, order["job_id"], f"{-8000 - len(order['formula'])}")


def chemist(workdir: Path, config: Mapping[str, Any], ended: threading.Event) -> None:
    """Fills the form beside each sheet in and puts it into `results`."""
    folder = workdir / "exchange"
    while not ended.wait(0.02):
        for sheet in sorted((folder / "orders").glob("*.html")):
            form = sheet.with_suffix(".csv")
            try:
                row = _form(form)
                sheet.unlink()
                form.unlink()
            except FileNotFoundError:  # it was cancelled meanwhile
                continue
            row |= {"energy [eV/atom]": "-8.0", "energy_sigma": "0.1"}
            time.sleep(0.05)
            _publish(folder, form.stem, row)


def answer(folder: Path, job: str, milli: str, **more: str) -> Path:
    """Writes a result file as a robot should: aside, then renamed into place."""
    row = {"job_id": job, "energy [meV/atom]": milli, **more}
    return _publish(folder, job, row)


def _form(path: Path) -> dict[str, str]:
    with path.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    return dict(row)


def _publish(folder: Path, job: str, row: Mapping[str, str]) -> Path:
    aside = folder / f"{job}.part"
    with aside.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(row))
        writer.writeheader()
        writer.writerow(row)
    (folder / "results").mkdir(exist_ok=True)
    return aside.replace(folder / "results" / f"{job}.csv")
