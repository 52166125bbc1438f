"""Exports as text: every experiment as a table or as JSON, the measured structures as CIF files.

`archiving` writes the other formats.
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

from cloudseed.crystal import Cell
from cloudseed.loop.pool import CrystalShelf
from cloudseed.loop.results import load_results, ranked
from cloudseed.loop.told import COLUMNS, READING_COLUMNS, told_all
from cloudseed.loop.workspace import campaign_of, fresh, reading, write_text
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from cloudseed.db import Ledger
    from cloudseed.loop.results import Result
    from cloudseed.loop.told import Told
    from cloudseed.loop.workspace import Workspace

__all__ = [
    "cif_name",
    "export_cifs",
    "export_csv",
    "export_json",
    "final_cell",
    "heading",
    "reading_heads",
    "records_of",
    "table_of",
]

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def export_csv(workspace: Workspace) -> str:
    """Returns every experiment as CSV; text cells cannot act as spreadsheet formulas."""
    with reading(workspace) as ledger:
        row, spec = campaign_of(ledger, workspace)
        results = load_results(ledger, row.id, spec.problem)
        told = list(told_all(ledger, row, results))
    return table_of(results, spec.problem.columns, told)


def export_json(workspace: Workspace) -> str:
    """Returns the campaign and every experiment, with structures and provenance, as JSON."""
    with reading(workspace) as ledger:
        row, spec = campaign_of(ledger, workspace)
        results = load_results(ledger, row.id, spec.problem)
        experiments = list(records_of(ledger, results, told_all(ledger, row, results)))
    data = {
        "campaign": row.name,
        "status": row.status,
        "stop_reason": row.stop_reason,
        "spec": row.config["spec"],
        "spec_sha": row.config_sha,
        "experiments": experiments,
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def export_cifs(
    workspace: Workspace,
    folder: Path,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> int:
    """Writes the measured structures as CIF files, best first; returns how many.

    Args:
        workspace: The campaign's run folder.
        folder: A new folder.
        progress: Told the task, how much is done and how much there is.

    Raises:
        UsageError: If the folder holds something.
        StorageError: If it cannot be written.
    """
    with reading(workspace) as ledger, fresh(folder, folder=True) as partial:
        row, spec = campaign_of(ledger, workspace)
        found = load_results(ledger, row.id, spec.problem)
        results = ranked(found, spec.problem, spec.sources)
        for place, result in enumerate(results, 1):
            write_text(partial / cif_name(place, result), final_cell(ledger, result).to_cif())
            progress("writing structures", place, len(results))
    return len(results)


def cif_name(place: int, result: Result) -> str:
    """Returns the name of a structure's file, given its place among the measured."""
    formula = re.sub(r"[^A-Za-z0-9.]", "", result.candidate.formula)
    return f"{place:03d}_{formula}_sg{result.space_group}.cif"


def final_cell(ledger: Ledger, result: Result) -> Cell:
    """Returns the structure as the lab made it, or as it was proposed where the lab gave none."""
    made = ledger.details(result.experiment.id).get("cell")
    if made is not None:
        return Cell.from_json(made)
    # What an engine keeps in memory has no requests.
    asked = result.experiment.request or ledger.experiments_by_id([result.experiment.id])[0].request
    return Cell.from_json(asked["cell"])


def table_of(
    results: Sequence[Result], properties: Sequence[str], told: Sequence[Told] | None = None
) -> str:
    """Returns experiments as CSV, with the unit of each value in its heading.

    Args:
        results: The experiments.
        properties: What has columns.
        told: What is known of each besides its values; None leaves those columns out.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [heading(p) for p in properties]
    columns = ["experiment", "formula", "space_group", "key", "round", "state", "feasible"]
    for head in heads:
        columns += [head, f"sigma {head}", f"predicted {head}", f"predicted sd {head}"]
    columns.append("reason")
    if told is not None:
        columns += [*COLUMNS, *(head for name in properties for head in reading_heads(name))]
    writer.writerow(columns)
    for number, result in enumerate(results):
        row: list[Any] = [
            result.experiment.id,
            _text(result.candidate.formula),
            result.space_group,
            _text(result.candidate.key),
            result.step + 1,
            result.experiment.state.value,
            "" if result.feasible is None else str(result.feasible).lower(),
        ]
        for name in properties:
            row += [*result.measured.get(name, ("", "")), *result.predicted.get(name, ("", ""))]
        row.append(_text(result.experiment.reason))
        if told is not None:
            known = told[number]
            row += map(_cell, known.cells)
            for name in properties:
                row += map(_cell, known.reading(name).cells)
        writer.writerow(row)
    return out.getvalue()


def reading_heads(name: str) -> list[str]:
    """Returns the headings of what is known of a property besides its value."""
    return [_text(f"{what} {name}") for what in READING_COLUMNS]


def heading(name: str) -> str:
    """Returns the heading of a property's column, with its unit."""
    unit = unit_of(name)
    return _text(f"{name} ({unit})" if unit else name)


def _cell(value: Any) -> Any:
    """Returns a cell as a spreadsheet reads it: text that is no formula, true or false, blank."""
    if isinstance(value, bool):
        return str(value).lower()
    return _text(value) if isinstance(value, str) else "" if value is None else value


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA_STARTS) else value


def records_of(
    ledger: Ledger, results: Sequence[Result], told: Iterable[Told]
) -> Iterator[dict[str, Any]]:
    """Yields experiments with structure, provenance and what their labs told; JSON values.

    Args:
        ledger: The record.
        results: The experiments.
        told: What is known of each besides its values.
    """
    for result, known in zip(results, told, strict=True):
        yield _record_of(ledger, result, known)


def _record_of(ledger: Ledger, result: Result, told: Told) -> dict[str, Any]:
    crystal = CrystalShelf(ledger).crystal(result.candidate)
    return {
        "experiment": result.experiment.id,
        "state": result.experiment.state.value,
        "reason": result.experiment.reason,
        "round": result.step + 1,
        "formula": result.candidate.formula,
        "key": result.candidate.key,
        "scope": result.candidate.scope,
        "space_group": crystal.symmetry.space_group,
        "measured": {
            name: {"value": value, "sigma": sigma, "unit": unit_of(name)}
            for name, (value, sigma) in result.measured.items()
        },
        "predicted": {
            name: {"mean": mean, "sd": sd, "unit": unit_of(name)}
            for name, (mean, sd) in result.predicted.items()
        },
        "feasible": result.feasible,
        "cell": final_cell(ledger, result).to_json(),
        "papers": dict(ledger.papers(result.candidate.id)),
        "record": told.to_json(),
    }
