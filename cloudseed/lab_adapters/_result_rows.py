"""Results as people and robots write them: rows of a CSV file, one job each.

    job_id, bulk_modulus [GPa], bulk_modulus_sigma, instrument
    k-1,    171.2,              3.0,                press 2

A row needs `job_id`, and a value for each property asked for or an `outcome` with its `reason`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cloudseed.errors import CloudseedError, InputError
from cloudseed.lab_adapters.protocols import (
    FailureKind,
    Instrument,
    Measurement,
    Outcome,
    OutcomeKind,
    Quality,
    RawData,
)
from cloudseed.units import convert

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudseed.lab_adapters._store import Job

__all__ = ["LARGEST", "check_outcome", "outcome_of", "parse_value", "read_rows", "result_columns"]

LARGEST = 10_000_000
"""Bytes of the largest result file that is read."""

_HEADER = re.compile(r"\s*([A-Za-z_][\w@.]*)\s*(?:\[([^\]]*)\])?\s*")
_SIGMA = "_sigma"
_KNOWN = (
    "job_id",
    "formula",
    "outcome",
    "reason",
    "failure",
    "method",
    "sigma_method",
    "n",
    "quality",
    "raw",
    "raw_sha256",
    "instrument",
    "firmware",
    "calibration_age",
    "started",
    "ended",
    "duration",
    "cost",
    "recipe",
    "simulated",
)

AS_ORDERED = "as ordered"
"""What the cell `recipe` says where the order's recipe was carried out as it stood."""

_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


FINAL = (
    OutcomeKind.MEASURED,
    OutcomeKind.INFEASIBLE,
    OutcomeKind.FAILED_RETRYABLE,
    OutcomeKind.FAILED_FINAL,
)
"""How a job ends that was taken."""


def result_columns(properties: Mapping[str, str], *, recipe: bool = False) -> list[str]:
    """Returns the header of a result file for properties and their units.

    Args:
        properties: Property -> unit.
        recipe: Whether the order carries a recipe, so that the result is asked about it.
    """
    columns = ["job_id", "formula"]
    for name, unit in properties.items():
        columns += [f"{name} [{unit}]" if unit else name, f"{name}{_SIGMA}"]
    columns += ["outcome", "reason", "instrument", "started", "ended"]
    return [*columns, "recipe"] if recipe else columns


def read_rows(raw: bytes) -> list[dict[str, str]]:
    """Reads a CSV file; empty cells are left out.

    Raises:
        InputError: If it is too large, is no CSV in UTF-8, or a row has no job.
    """
    if len(raw) > LARGEST:
        raise InputError(f"It has {len(raw) / 1e6:.0f} MB.", hint="Send one row per job.")
    try:
        lines = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        rows = []
        for line in lines:
            if None in line:
                raise InputError("A row has more cells than the header.", hint="Quote commas.")
            cells = {(k or "").strip(): (v or "").strip() for k, v in line.items()}
            rows.append({k: v for k, v in cells.items() if v})
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"It is no CSV in UTF-8: {error}.", hint="Save it as CSV.") from error
    rows = [row for row in rows if row]
    if not rows or any("job_id" not in row for row in rows):
        raise InputError("A row has no job_id.", hint="Copy it from the order.")
    return rows


def outcome_of(row: Mapping[str, str], job: Job, units: Mapping[str, str]) -> Outcome:
    """Returns what a row says about a job.

    Args:
        row: Column -> text.
        job: The job that it is about.
        units: Property -> unit of a column that names none.

    Raises:
        InputError: If the row cannot be about this job, or says something impossible.
    """
    if row.get("formula", job.request["label"]) != job.request["label"]:
        raise InputError(
            f"It is about {row['formula']}, and the job {job.handle} is about"
            f" {job.request['label']}.",
            hint="Was a sample mixed up?",
        )
    try:
        outcome = Outcome(
            kind=OutcomeKind(row.get("outcome", "measured")),
            measurements=tuple(_measurements(row, units)),
            reason=row.get("reason", ""),
            failure=FailureKind(row["failure"]) if "failure" in row else None,
            instrument=_instrument(row),
            started=_time(row.get("started")),
            ended=_time(row.get("ended")),
            duration=_float(row, "duration"),
            cost=_float(row, "cost"),
            details=_details(row),
            recipe=_recipe(row, job),
            simulated=_flag(row, "simulated"),
        )
        outcome = Outcome.from_json(outcome.to_json())
    except InputError:
        raise
    except CloudseedError as error:
        raise InputError(error.message, hint=error.hint) from error
    except ValueError as error:
        raise InputError(f"A cell cannot be read: {error}.", hint="See docs/labs.md.") from error
    check_outcome(outcome, job, units)
    return outcome


def check_outcome(outcome: Outcome, job: Job, units: Mapping[str, str]) -> None:
    """Refuses an outcome that does not answer its job.

    Raises:
        InputError: If it ends nothing, a property is missing or in a wrong unit, or a failure has
            no reason.
    """
    if outcome.kind not in FINAL:
        raise InputError(
            f"{outcome.kind.value!r} does not end a job.",
            hint=f"An outcome is one of: {', '.join(FINAL)}.",
        )
    found = {m.property: m for m in outcome.measurements}
    if outcome.kind is not OutcomeKind.MEASURED:
        if not outcome.reason:
            raise InputError("An outcome without a value needs a reason.", hint="Say why.")
        return
    if missing := [p for p in job.request["properties"] if p not in found]:
        raise InputError(
            f"The job {job.handle} asks for {missing[0]}, which has no value.",
            hint="Or say which `outcome` it had, and the `reason`.",
        )
    for name, m in found.items():
        if name in units:
            convert(m.value, m.unit, units[name])


def parse_value(text: str, units: Mapping[str, str]) -> Measurement:
    """Reads "bulk_modulus=171.2±3 GPa".

    Raises:
        InputError: If it does not read so, or the property is not this lab's.
    """
    pattern = r"\s*([\w@.]+)\s*=\s*([^\s±+]+)\s*(?:(?:±|\+-|\+/-)\s*(\S+))?\s*(.*?)\s*"
    match = re.fullmatch(pattern, text)
    try:
        if match is None:
            raise ValueError(text)
        name, value, sigma, unit = match.groups()
        found = float(value), None if sigma is None else float(sigma)
    except ValueError as error:
        raise InputError(
            f"{text!r} is no value.", hint='Write it as "bulk_modulus=171.2±3 GPa".'
        ) from error
    if name not in units:
        raise InputError(
            f"The job does not ask for {name!r}.", hint=f"It asks for: {', '.join(units)}."
        )
    return Measurement(name, found[0], unit or units[name], found[1], "reported by hand")


def _measurements(row: Mapping[str, str], units: Mapping[str, str]) -> list[Measurement]:
    found = []
    for column, text in row.items():
        match = _HEADER.fullmatch(column)
        if match is None or match[1] not in units:
            continue
        name = match[1]
        raw = RawData(row["raw"], row.get("raw_sha256", "")) if "raw" in row else None
        found.append(
            Measurement(
                name,
                float(text),
                units[name] if match[2] is None else match[2].strip(),
                _float(row, f"{name}{_SIGMA}"),
                row.get("method", ""),
                row.get("sigma_method", ""),
                int(row["n"]) if "n" in row else None,
                Quality(row.get("quality", "good")),
                raw,
            )
        )
    return found


def _details(row: Mapping[str, str]) -> dict[str, Any]:
    """Returns the columns that nobody asked for."""
    return {
        name: text
        for name, text in row.items()
        if name not in _KNOWN and not name.endswith(_SIGMA) and "[" not in name
    }


def _instrument(row: Mapping[str, str]) -> Instrument | None:
    if "instrument" not in row:
        return None
    age = _float(row, "calibration_age")
    return Instrument(row["instrument"], row.get("firmware", ""), age)


def _recipe(row: Mapping[str, str], job: Job) -> dict[str, Any] | None:
    """Returns the recipe as executed.

    Raises:
        InputError: If the cell is neither a recipe nor says that the order's was followed.
    """
    text = row.get("recipe")
    if text is None:
        return None
    found: Any = None
    if text.casefold() == AS_ORDERED:
        found = job.request.get("recipe")
    else:
        with suppress(ValueError, RecursionError):
            found = json.loads(text)
    if not isinstance(found, dict):
        raise InputError(
            f"{text[:80]!r} is no recipe.",
            hint=f"Write {AS_ORDERED!r} where the order's was followed, or a JSON object.",
        )
    return found


def _flag(row: Mapping[str, str], name: str) -> bool | None:
    if name not in row:
        return None
    if row[name].casefold() not in _FLAGS:
        raise InputError(f"{row[name]!r} is no answer to {name}.", hint="Write true or false.")
    return _FLAGS[row[name].casefold()]


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _float(row: Mapping[str, str], name: str) -> float | None:
    return float(row[name]) if name in row else None
