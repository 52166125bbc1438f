"""Exports to files: Parquet, JSON lines, extended XYZ, RO-Crate. Nothing is overwritten."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudseed.errors import UsageError
from cloudseed.loop.crates import write_crate
from cloudseed.loop.exporting import final_cell, heading, reading_heads, records_of
from cloudseed.loop.results import load_results, ranked
from cloudseed.loop.told import COLUMNS, READING_COLUMNS, told_all
from cloudseed.loop.workspace import campaign_of, fresh, reading
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cloudseed.db import CampaignRow, Ledger
    from cloudseed.loop.results import Result
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.loop.told import Told
    from cloudseed.loop.workspace import Workspace
    from cloudseed.surrogate import Problem

    Progress = Callable[[str, int, int], None]

__all__ = ["FORMATS", "archive"]

_ROWS = 10_000


def archive(
    workspace: Workspace,
    form: str,
    out: Path,
    progress: Progress = lambda *_: None,
) -> int:
    """Exports a campaign to a new file or folder; returns how many experiments it holds.

    Args:
        workspace: The campaign's run folder.
        form: One of `FORMATS`.
        out: A new file; for "ro-crate" a new folder.
        progress: Told the task, how much is done and how much there is.

    Raises:
        UsageError: If the file exists, or the format is unknown.
        StorageError: If it cannot be written.
    """
    if form not in FORMATS:
        raise UsageError(f"There is no format {form!r}.", hint=f"Use one of {', '.join(FORMATS)}.")
    with reading(workspace) as ledger:
        row, spec = campaign_of(ledger, workspace)
        results = load_results(ledger, row.id, spec.problem)
        with fresh(out, folder=form == "ro-crate") as partial:
            if form == "ro-crate":
                write_crate(ledger, row, spec, results, folder=partial, progress=progress)
                return len(results)
            source = _Source(ledger, row, results, spec)
            return _WRITERS[form](source, partial, progress)


@dataclass(frozen=True, slots=True)
class _Source:
    """What is written."""

    ledger: Ledger
    campaign: CampaignRow
    results: Sequence[Result]
    spec: CampaignSpec

    @property
    def problem(self) -> Problem:
        """What is sought."""
        return self.spec.problem


def _jsonl(source: _Source, path: Path, progress: Progress) -> int:
    """Writes an object per line and experiment, with structure and provenance."""
    told = told_all(source.ledger, source.campaign, source.results)
    with path.open("w", encoding="utf-8") as stream:
        records = records_of(source.ledger, source.results, told)
        for done, record in enumerate(records, 1):
            stream.write(json.dumps(record, allow_nan=False) + "\n")
            progress("writing experiments", done, len(source.results))
    return len(source.results)


def _parquet(source: _Source, path: Path, progress: Progress) -> int:
    """Writes the table of the CSV with typed columns; units are in the headings."""
    import pyarrow as pa
    from pyarrow import parquet

    results, schema = source.results, _schema(source.problem)
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, len(results), _ROWS):
            some = results[start : start + _ROWS]
            told = told_all(source.ledger, source.campaign, some)
            rows = [_row(source, *each) for each in zip(some, told, strict=True)]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            progress("writing experiments", start + len(rows), len(results))
        if not results:
            writer.write_table(schema.empty_table())
    return len(results)


def _schema(problem: Problem) -> Any:
    import pyarrow as pa

    fields = [
        pa.field("experiment", pa.int64()),
        pa.field("formula", pa.string()),
        pa.field("space_group", pa.int16()),
        pa.field("key", pa.string()),
        pa.field("round", pa.int64()),
        pa.field("state", pa.string()),
        pa.field("feasible", pa.bool_()),
    ]
    for name in problem.columns:
        about = {"property": name, "unit": unit_of(name) or ""}
        fields += [pa.field(head, pa.float64(), metadata=about) for head in _heads(name)]
    kinds = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64(), "flag": pa.bool_()}
    fields.append(pa.field("reason", pa.string()))
    fields += [pa.field(head, kinds[kind]) for head, kind in COLUMNS.items()]
    for name in problem.columns:
        found = zip(reading_heads(name), READING_COLUMNS.values(), strict=True)
        fields += [pa.field(head, kinds[kind], metadata={"property": name}) for head, kind in found]
    return pa.schema(fields)


def _row(source: _Source, result: Result, told: Told) -> dict[str, Any]:
    row: dict[str, Any] = {
        "experiment": result.experiment.id,
        "formula": result.candidate.formula,
        "space_group": result.space_group,
        "key": result.candidate.key,
        "round": result.step + 1,
        "state": result.experiment.state.value,
        "feasible": result.feasible,
        "reason": result.experiment.reason,
    }
    row |= dict(zip(COLUMNS, told.cells, strict=True))
    for name in source.problem.columns:
        measured = result.measured.get(name, (None, None))
        predicted = result.predicted.get(name, (None, None))
        row |= dict(zip(_heads(name), (*measured, *predicted), strict=True))
        row |= dict(zip(reading_heads(name), told.reading(name).cells, strict=True))
    return row


def _heads(name: str) -> tuple[str, str, str, str]:
    head = heading(name)
    return head, f"sigma {head}", f"predicted {head}", f"predicted sd {head}"


def _extxyz(source: _Source, path: Path, progress: Progress) -> int:
    """Writes the measured structures, best first; `units` in each header tells its values'."""
    from ase.io import write

    found = ranked(source.results, source.problem, source.spec.sources)
    with path.open("w", encoding="utf-8") as stream:
        for done, atoms in enumerate(_atoms(source, found), 1):
            write(stream, atoms, format="extxyz")
            progress("writing structures", done, len(found))
    return len(found)


def _atoms(source: _Source, results: Sequence[Result]) -> Iterator[Any]:
    told = told_all(source.ledger, source.campaign, results)
    for result, known in zip(results, told, strict=True):
        atoms = final_cell(source.ledger, result).to_atoms()
        units = {name: unit_of(name) or "" for name in result.measured}
        atoms.info = {
            "experiment": result.experiment.id,
            "formula": result.candidate.formula,
            "key": result.candidate.key,
            "round": result.step + 1,
            "units": ", ".join(f"{name}: {unit}" for name, unit in units.items()),
        }
        if result.feasible is not None:
            atoms.info["feasible"] = result.feasible
        for name, (value, sigma) in result.measured.items():
            atoms.info[name] = value
            if sigma is not None:
                atoms.info[f"{name}_sigma"] = sigma
        atoms.info |= _record(known)
        yield atoms


def _record(told: Told) -> dict[str, Any]:
    """Returns what is known of a result as keys that the format can hold."""
    found = dict(zip(COLUMNS, told.cells, strict=True))
    for name, each in told.readings.items():
        found |= dict(zip([f"{name} {h}" for h in READING_COLUMNS], each.cells, strict=True))
    keys = {head: re.sub(r"[^\w.]+", "_", head).strip("_") for head in found}
    return {keys[head]: value for head, value in found.items() if value is not None}


_WRITERS: dict[str, Callable[[_Source, Path, Progress], int]] = {
    "parquet": _parquet,
    "jsonl": _jsonl,
    "extxyz": _extxyz,
}

FORMATS = (*_WRITERS, "ro-crate")
"""What `archive` writes."""
