"""Reads the table of `TableLab`: settings in, checked values in the usual units out."""

from __future__ import annotations

import csv
import difflib
import math
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cloudseed.errors import InputError
from cloudseed.lab_adapters._settings import LabSettings
from cloudseed.units import PROPERTIES, convert, unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Table", "TableSettings", "read_table"]


LARGEST = 500_000_000
"""Bytes of the largest table that is read."""


class TableSettings(LabSettings):
    """What an owner may set about a look-up table."""

    path: Path = Field(description="The CSV or Parquet file, with one column per property.")
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


def read_table(settings: TableSettings) -> Table:
    """Reads and checks a table; its values come back in the usual units.

    Columns that are neither the material nor a property of `cloudseed.units` are passed over,
    unless `units` gives them a unit.

    Raises:
        InputError: If the file is missing, a column is, a row comes twice or a cell is no number.
        UnitError: If a unit does not fit its property.
    """
    header, lines = _read_lines(settings.path)
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


def _read_lines(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    """Returns the names of the columns, and number and cells of each line."""
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise InputError(
            f"There is no table {path}.", hint="Check `path` in the lab's settings."
        ) from error
    if size > LARGEST:
        raise InputError(
            f"The table {path} has {size / 1e6:.0f} MB.",
            hint=f"The largest that is read has {LARGEST / 1e6:.0f} MB.",
        )
    return _read_parquet(path) if path.suffix in {".parquet", ".pq"} else _read_csv(path)


def _read_parquet(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"The table {path} cannot be read: {' '.join(str(error).split())[:200]}",
            hint="It must be a Parquet file.",
        ) from error
    rows = [
        (number, {name: None if cell is None else str(cell) for name, cell in row.items()})
        for number, row in enumerate(table.to_pylist(), start=1)
    ]
    return _without_doubles(path, list(table.column_names)), rows


def _read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            lines = [(reader.line_num, row) for row in reader]
            header = [name.strip() for name in reader.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"The table {path} cannot be read: {error}.", hint="It must be a CSV file in UTF-8."
        ) from error
    _without_doubles(path, header)
    if any(None in row for _, row in lines):
        raise InputError(
            f"A row of {path} has more cells than the header.", hint="Quote cells with commas."
        )
    clean = [(n, {(k or "").strip(): v for k, v in row.items()}) for n, row in lines]
    return header, clean


def _without_doubles(path: Path, header: list[str]) -> list[str]:
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise InputError(
            f"The table {path} has two columns {doubled[0]!r}.", hint="Rename or remove one."
        )
    return header


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
    given, usual = settings.units.get(name), unit_of(name)
    return value if given is None or usual is None else convert(value, given, usual)
