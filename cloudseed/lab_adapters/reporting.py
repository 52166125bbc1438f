"""Results typed in by a person: what `cloudseed lab report` writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudseed.errors import InputError
from cloudseed.lab_adapters._result_rows import check_outcome, parse_value
from cloudseed.lab_adapters._store import JobStore, handle_of
from cloudseed.lab_adapters.protocols import Outcome, OutcomeKind
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cloudseed.lab_adapters._store import Job

__all__ = ["open_jobs", "report_result"]

UNITS = "properties.json"
"""The file in a lab's folder that holds property -> unit."""


def open_jobs(folder: Path) -> list[tuple[str, str, tuple[str, ...]]]:
    """Returns job, formula and wanted properties of what has no result, the oldest first.

    Raises:
        LabError: If the folder cannot be read.
    """
    return [
        (job.handle, str(job.request["label"]), tuple(job.request["properties"]))
        for job in JobStore(folder).unfinished()
    ]


def report_result(
    folder: Path, job: str, values: Sequence[str], *, kind: OutcomeKind, reason: str = ""
) -> Outcome:
    """Stores a job's outcome and returns it.

    Args:
        folder: The lab's folder.
        job: The job's handle, as on the sheet, or its key.
        values: Such as "bulk_modulus=171.2±3 GPa".
        kind: How it ended.
        reason: Why, where there is no value.

    Raises:
        InputError: If there is no such job, it has a result, or the values do not answer it.
        UnitError: If a unit does not fit.
        LabError: If the folder cannot be used.
    """
    store = JobStore(folder)
    found = store.job(handle_of(job))
    if found is None:
        raise InputError(
            f"There is no job {job!r} in {folder}.",
            hint="`cloudseed lab report` without a job lists the open ones.",
        )
    if store.is_finished(found.handle):
        raise InputError(f"The job {job} has a result already.", hint="The first one stands.")
    units = _units(store, found)
    outcome = Outcome(
        kind,
        tuple(parse_value(text, units) for text in values),
        reason=reason,
        ended=datetime.now(UTC),
    )
    outcome = Outcome.from_json(outcome.to_json())
    check_outcome(outcome, found, units)
    store.finish(found.handle, outcome.to_json())
    store.log("reported", found.handle, kind=kind.value)
    return outcome


def _units(store: JobStore, job: Job) -> Mapping[str, str]:
    raw = store.read(UNITS)
    known = {} if raw is None else json.loads(raw)
    return {name: known.get(name, unit_of(name) or "") for name in job.request["properties"]}
