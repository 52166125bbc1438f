"""A lab that looks results up in a table: for benchmarks, rehearsals and results made elsewhere."""

from __future__ import annotations

import csv
import difflib
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from cloudseed.errors import InputError, UnitError
from cloudseed.lab_adapters._settings import LabSettings, read_settings
from cloudseed.lab_adapters._store import JobStore, handle_of
from cloudseed.lab_adapters.protocols import (
    DeliveryClass,
    LabDescription,
    Measurement,
    Outcome,
    OutcomeKind,
    Validation,
)
from cloudseed.lab_adapters.workers import read_result
from cloudseed.units import PROPERTIES, convert, unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.lab_adapters.protocols import ExperimentRequest, LabMessage

__all__ = ["TableLab", "TableSettings"]


class TableSettings(LabSettings):
    """What an owner may set about a look-up table."""

    path: Path = Field(description="The CSV file, with one column per property.")
    column: str = Field(default="formula", description="The column that names the material.")
    match: Literal["label", "candidate"] = Field(
        default="label",
        description="What that column holds: the formula (label) or the candidate's key.",
    )
    units: dict[str, str] = Field(
        default_factory=dict, description="Property -> unit of its column, where not the usual."
    )
    empty: Literal["infeasible", "refused", "failed_final"] = Field(
        default="infeasible",
        description="What an empty cell means: infeasible, refused or failed_final.",
    )
    delay: float = Field(default=0.0, ge=0, description="Seconds an experiment takes.")
    concurrency: int = Field(default=4, ge=1, description="Experiments at the same time.")
    sigma: dict[str, float] = Field(
        default_factory=dict, description="Property -> standard uncertainty, in the usual unit."
    )


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was read and checked.

    Attributes:
        units: Property -> unit of `rows`.
        rows: Material -> property -> value, None where the cell is empty.
    """

    units: Mapping[str, str]
    rows: Mapping[str, Mapping[str, float | None]]


class TableLab:
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

    def __init__(self, settings: TableSettings, workdir: Path) -> None:
        self.settings = settings
        self._table = read_table(settings)
        self._store = JobStore(workdir)
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
            typical_duration=self.settings.delay,
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
        return Validation(not reasons, tuple(reasons))

    def submit(self, request: ExperimentRequest) -> str:
        """Takes a request; the same key always gives the same handle.

        Raises:
            LabError: If the key stands for another request, or the folder cannot be written.
        """
        known = self._store.job(handle_of(request.key))
        due = self._next_due() if known is None else known.due
        job = self._store.add(request.key, request.to_json(), due=due)
        if known is None and self._free is not None:
            self._free = sorted([*self._free, job.due])[-self.settings.concurrency :]
        return job.handle

    def lookup(self, key: str) -> str | None:
        """Returns the handle under which a key was submitted, or None."""
        job = self._store.job(handle_of(key))
        return None if job is None else job.handle

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        """Returns the results that are due.

        Raises:
            LabError: If the folder cannot be used.
        """
        messages = []
        for handle in handles:
            self._answer(handle)
            message = read_result(self._store, handle)
            if message is not None:
                messages.append(message)
        return messages

    def close(self, *, stop_jobs: bool = False) -> None:
        """Does nothing: no process is left to stop."""
        del stop_jobs

    def _next_due(self) -> float:
        """Returns when an experiment that comes now will be done, in seconds since the epoch."""
        if self._free is None:
            dues = sorted(job.due for job in self._store.jobs())
            self._free = dues[-self.settings.concurrency :]
        busy = len(self._free) == self.settings.concurrency
        return max(time.time(), self._free[0] if busy else 0.0) + self.settings.delay

    def _answer(self, handle: str) -> None:
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
            OutcomeKind.MEASURED, tuple(measurements), duration=self.settings.delay or None
        )

    def _name(self, request: ExperimentRequest) -> str:
        return request.label if self.settings.match == "label" else request.candidate


def read_table(settings: TableSettings) -> Table:
    """Reads and checks a table; its values come back in the usual units.

    Columns that are neither the material nor a property of `cloudseed.units` are passed over,
    unless `units` gives them a unit.

    Raises:
        InputError: If the file is missing, a column is, a row comes twice or a cell is no number.
        UnitError: If a unit does not fit its property.
    """
    header, lines = _read_csv(settings.path)
    _need_columns(settings, header)
    properties = [name for name in header if name in settings.units or _is_property(name)]
    if not properties:
        raise InputError(
            f"{settings.path} has no column that is a property.",
            hint=f"Known properties: {', '.join(PROPERTIES)}; others need an entry in `units`.",
        )
    units = {name: _usual(name, settings) for name in properties}
    rows: dict[str, dict[str, float | None]] = {}
    for number, line in lines:
        material = (line.get(settings.column) or "").strip()
        where = f"{settings.path}, line {number}"
        if not material:
            raise InputError(f"{where}: {settings.column!r} is empty.", hint="Name the material.")
        if material in rows:
            raise InputError(
                f"{where}: {material!r} comes twice.", hint="Keep one row per material."
            )
        rows[material] = {
            name: _number(line.get(name), name, where, settings) for name in properties
        }
    return Table(units, rows)


def _read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            lines = [(reader.line_num, row) for row in reader]
            header = [name.strip() for name in reader.fieldnames or ()]
    except FileNotFoundError as error:
        raise InputError(
            f"There is no table {path}.", hint="Check `path` in the lab's settings."
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"The table {path} cannot be read: {error}.", hint="It must be a CSV file in UTF-8."
        ) from error
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise InputError(
            f"The table {path} has two columns {doubled[0]!r}.", hint="Rename or remove one."
        )
    if any(None in row for _, row in lines):
        raise InputError(
            f"A row of {path} has more cells than the header.", hint="Quote cells with commas."
        )
    clean = [(n, {(k or "").strip(): v for k, v in row.items()}) for n, row in lines]
    return header, clean


def _need_columns(settings: TableSettings, header: list[str]) -> None:
    for name in (settings.column, *settings.units, *settings.sigma):
        if name not in header:
            near = difflib.get_close_matches(name, header, n=1)
            raise InputError(
                f"{settings.path} has no column {name!r}.",
                hint=f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(header)}.",
                column=name,
            )


def _is_property(name: str) -> bool:
    return unit_of(name) is not None


def _usual(name: str, settings: TableSettings) -> str:
    """Returns the unit in which a property leaves this lab."""
    usual, given = unit_of(name), settings.units.get(name, "")
    if usual is None:
        return given
    if name in settings.units:
        convert(1.0, given, usual)
    return usual


def _number(cell: str | None, name: str, where: str, settings: TableSettings) -> float | None:
    text = (cell or "").strip()
    if not text:
        return None
    try:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(text)
    except ValueError as error:
        raise InputError(
            f"{where}: {name} is {text!r}, which is no number.",
            hint="Leave the cell empty where there is no value.",
        ) from error
    given = settings.units.get(name)
    usual = unit_of(name)
    if given is None or usual is None:
        return value
    try:
        return convert(value, given, usual)
    except UnitError as error:  # pragma: no cover - `_usual` has tried the pair
        raise InputError(f"{where}: {error.message}", hint=error.hint) from error
