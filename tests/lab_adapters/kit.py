"""What the tests of this part share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cloudseed.crystal import Cell
from cloudseed.lab_adapters import (
    DeliveryClass,
    ExperimentRequest,
    LabDescription,
    LabMessage,
    Validation,
)
from cloudseed.lab_adapters.workers import JobPool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cloudseed.lab_adapters import LabAdapter


def perovskite(a: float = 3.905, species: str = "Sr Ti O") -> Cell:
    """Returns a cubic perovskite; `a` in angstrom."""
    big, small, anion = species.split()
    coords = ((0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5))
    return Cell(
        ((a, 0.0, 0.0), (0.0, a, 0.0), (0.0, 0.0, a)),
        (big, small, anion, anion, anion),
        tuple((float(x), float(y), float(z)) for x, y, z in coords),
    )


def request(key: str = "k-1", label: str = "SrTiO3", **changes: Any) -> ExperimentRequest:
    values: dict[str, Any] = {
        "key": key,
        "label": label,
        "candidate": f"candidate-{label}",
        "cell": perovskite(),
        "properties": ("energy",),
    }
    return ExperimentRequest(**{**values, **changes})


def wait(
    lab: LabAdapter | JobPool, handles: Sequence[str], seconds: float = 60.0
) -> dict[str, LabMessage]:
    """Polls until every handle is answered; returns key -> message."""
    deadline = time.monotonic() + seconds
    while True:
        found = {m.key: m for m in lab.poll(handles)}
        if len(found) == len(set(handles)):
            return found
        assert time.monotonic() < deadline, f"only {sorted(found)} of {handles} in time"
        time.sleep(0.02)


class PoolLab:
    """The smallest lab over a job pool."""

    def __init__(self, workdir: Path, **options: Any) -> None:
        self.pool = JobPool(
            workdir, "tests.lab_adapters.tasks:answer", options=options, concurrency=2
        )

    def describe(self) -> LabDescription:
        units = {"energy": "eV/atom", "bulk_modulus": "GPa"}
        return LabDescription("pool", units, 2, DeliveryClass.A, simulated=True)

    def validate(self, wanted: ExperimentRequest) -> Validation:
        missing = [p for p in wanted.properties if p not in self.describe().properties]
        return Validation(not missing, tuple(f"no {p}" for p in missing))

    def submit(self, wanted: ExperimentRequest) -> str:
        return self.pool.submit(wanted.key, wanted.to_json())

    def lookup(self, key: str) -> str | None:
        return self.pool.lookup(key)

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        return self.pool.poll(handles)

    def close(self, *, stop_jobs: bool = False) -> None:
        self.pool.close(stop_jobs=stop_jobs)
