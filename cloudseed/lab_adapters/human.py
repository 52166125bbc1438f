"""People as a lab: each order is a sheet to print, and results come back as CSV or by command."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cloudseed.crystal import Cell
from cloudseed.lab_adapters._exchange import ExchangeLab, ExchangeSettings
from cloudseed.lab_adapters._result_rows import result_columns
from cloudseed.lab_adapters._settings import read_settings
from cloudseed.lab_adapters._sheet import need_segno, work_order

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudseed.lab_adapters._store import Job

__all__ = ["HumanLab", "HumanSettings"]


class HumanSettings(ExchangeSettings):
    """What an owner may set about people at the bench."""

    instructions: str = Field(
        default="", description="What every sheet says: the recipe, or where it is."
    )


class HumanLab(ExchangeLab):
    """Orders as a sheet `JOB.html` to print, with a form `JOB.csv` for the results."""

    settings_type = HumanSettings

    settings: HumanSettings

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> HumanLab:
        """Opens the lab from plain values.

        Raises:
            SpecError: If a setting is unknown or wrong.
            MissingDependencyError: If the extra `human` is not installed.
        """
        need_segno()
        return cls(read_settings(HumanSettings, config, "human"), workdir)

    @property
    def _suffixes(self) -> tuple[str, ...]:
        return (".csv", ".html")

    def _documents(self, job: Job) -> Mapping[str, bytes]:
        wanted = {name: self.settings.properties[name] for name in job.request["properties"]}
        recipe = job.request.get("recipe")
        columns = result_columns(wanted, recipe=recipe is not None)
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerow([job.handle, job.request["label"], *[""] * (len(columns) - 2)])
        sheet = work_order(
            job.handle,
            job.request["label"],
            Cell.from_json(job.request["cell"]),
            wanted,
            lab=self.settings.name,
            instructions=self.settings.instructions,
            recipe=recipe,
        )
        return {".csv": text.getvalue().encode(), ".html": sheet.encode()}
