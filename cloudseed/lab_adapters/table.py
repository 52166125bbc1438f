"""A lab that looks results up in a table: for benchmarks, rehearsals and results made elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cloudseed.lab_adapters._settings import read_settings
from cloudseed.lab_adapters._store import JobStore, handle_of
from cloudseed.lab_adapters._stored import STORED_FEATURES, StoredLab
from cloudseed.lab_adapters._table_file import TableSettings, read_table
from cloudseed.lab_adapters.protocols import (
    DeliveryClass,
    Estimate,
    FailureKind,
    LabDescription,
    Measurement,
    Outcome,
    OutcomeKind,
    Validation,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudseed.lab_adapters.protocols import ExperimentRequest

__all__ = ["TableLab", "TableSettings"]


class TableLab(StoredLab):
    """Answers each request from a table, at once or after a delay.

    Results are due by the wall clock: at most `concurrency` experiments are under way at once, each
    takes `delay` seconds, and the dates are on disk, so a restart changes nothing.

    Args:
        settings: What the owner set.
        workdir: Where submissions and results are kept.

    Raises:
        InputError: If the table is missing or cannot be used.
        UnitError: If a unit does not fit its property.
    """

    settings_type = TableSettings

    def __init__(self, settings: TableSettings, workdir: Path) -> None:
        self.settings = settings
        self._table = read_table(settings)
        super().__init__(JobStore(workdir))
        self._free: list[float] | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> TableLab:
        """Opens the lab from plain values.

        Raises:
            SpecError: If a setting is unknown or wrong.
            InputError: If the table cannot be used.
        """
        return cls(read_settings(TableSettings, config, "table"), workdir)

    def describe(self) -> LabDescription:
        """Returns what the table holds."""
        return LabDescription(
            name="table",
            properties=dict(self._table.units),
            concurrency=self.settings.concurrency,
            delivery=DeliveryClass.A,
            simulated=True,
            duration=Estimate(self.settings.delay, self.settings.delay, "s"),
            features=STORED_FEATURES,
        )

    def validate(self, request: ExperimentRequest) -> Validation:
        """Refuses materials and properties that are not in the table."""
        reasons = [
            f"the table has no {name}"
            for name in request.properties
            if name not in self._table.units
        ]
        if self._name(request) not in self._table.rows:
            reasons.append(f"the table has no row for {self._name(request)}")
        if request.recipe is not None:
            reasons.append("a table follows no recipe")
        failure = FailureKind.REJECTED_CAPABILITY if reasons else None
        return Validation(not reasons, tuple(reasons), failure=failure)

    def submit(self, request: ExperimentRequest) -> str:
        """Takes a request; the same key always gives the same handle.

        Raises:
            LabError: If the key stands for another request, the lab is stopped, or the folder
                cannot be written.
        """
        self._check_running()
        known = self._store.job(handle_of(request.key))
        due = self._next_due() if known is None else known.due
        job = self._store.add(request.key, request.to_json(), due=due)
        if known is None and self._free is not None:
            self._free = sorted([*self._free, job.due])[-self.settings.concurrency :]
        return job.handle

    def _next_due(self) -> float:
        """Returns when an experiment that comes now will be done, in seconds since the epoch."""
        if self._free is None:
            dues = sorted(job.due for job in self._store.jobs())
            self._free = dues[-self.settings.concurrency :]
        busy = len(self._free) == self.settings.concurrency
        return max(time.time(), self._free[0] if busy else 0.0) + self.settings.delay

    def _advance(self, handle: str) -> None:
        """Stores the result of a job that is due."""
        if self._store.is_finished(handle):
            return
        job = self._store.job(handle)
        if job is not None and time.time() >= job.due:
            self._store.finish(handle, self._look_up(job.request).to_json())

    def _look_up(self, request: Mapping[str, Any]) -> Outcome:
        name = str(request[self.settings.match])
        row = self._table.rows.get(name)
        if row is None:
            return Outcome(OutcomeKind.REFUSED, reason=f"The table has no row for {name}.")
        measurements = []
        for wanted in request["properties"]:
            if wanted not in self._table.units:
                return Outcome(OutcomeKind.REFUSED, reason=f"The table has no {wanted}.")
            value = row[wanted]
            if value is None:
                reason = f"The table has no {wanted} for {name}."
                return Outcome(OutcomeKind(self.settings.empty), reason=reason)
            unit, sigma = self._table.units[wanted], self.settings.sigma.get(wanted)
            measurements.append(Measurement(wanted, value, unit, sigma, "table"))
        return Outcome(
            OutcomeKind.MEASURED,
            tuple(measurements),
            duration=self.settings.delay or None,
            simulated=True,
        )

    def _name(self, request: ExperimentRequest) -> str:
        return request.label if self.settings.match == "label" else request.candidate
