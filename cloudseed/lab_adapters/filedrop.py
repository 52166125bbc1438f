"""A lab behind a folder of CSV files, as NIMO's robots read and write them.

NIMO (Tamura, Tsuda & Matsuda, Sci. Technol. Adv. Mater. Meth. 3, 2232297 (2023)) hands proposals to
a robot and takes results back as CSV files. Here each job has files and an id of its own, and
files appear by renaming, so that neither side reads what is half written.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from cloudseed.crystal import Cell
from cloudseed.lab_adapters._exchange import ExchangeLab, ExchangeSettings
from cloudseed.lab_adapters._settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudseed.lab_adapters._store import Job

__all__ = ["FileDropLab"]


class FileDropLab(ExchangeLab):
    """Orders as `JOB.csv` beside `JOB.cif`; the CSV comes last and says that both are there."""

    settings_type = ExchangeSettings

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> FileDropLab:
        """Opens the lab from plain values.

        Raises:
            SpecError: If a setting is unknown or wrong.
        """
        return cls(read_settings(ExchangeSettings, config, "filedrop"), workdir)

    @property
    def _suffixes(self) -> tuple[str, ...]:
        return (".cif", ".csv")

    def _documents(self, job: Job) -> Mapping[str, bytes]:
        row = {
            "job_id": job.handle,
            "formula": job.request["label"],
            "structure": f"{job.handle}.cif",
            "properties": " ".join(job.request["properties"]),
        }
        if (recipe := job.request.get("recipe")) is not None:
            row["recipe"] = json.dumps(recipe)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(row))
        writer.writeheader()
        writer.writerow(row)
        cell = Cell.from_json(job.request["cell"])
        return {".cif": cell.to_cif().encode(), ".csv": text.getvalue().encode()}
