"""A lab that writes down each time that an experiment begins: what ran twice stands there twice."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudseed.lab_adapters import (
    BaseLab,
    DeliveryClass,
    ExperimentRequest,
    LabDescription,
    LabMessage,
    Measurement,
    Outcome,
    OutcomeKind,
    Validation,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class CountingLab(BaseLab):
    """A robot of class B: sent twice, it runs twice; but it can be asked what it has."""

    def __init__(self, count: Path) -> None:
        self._count = count

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> CountingLab:
        return cls(Path(config["count"]))

    def describe(self) -> LabDescription:
        return LabDescription("counting", {"energy": "eV/atom"}, 8, DeliveryClass.B, simulated=True)

    def validate(self, request: ExperimentRequest) -> Validation:
        return Validation(accepted=True)

    def submit(self, request: ExperimentRequest) -> str:
        descriptor = os.open(self._count, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, f"{request.key}\n".encode())
        finally:
            os.close(descriptor)
        time.sleep(0.01)  # a kill in here finds it taken and not acknowledged
        return request.key

    def lookup(self, key: str) -> str | None:
        known = self._count.read_text().split() if self._count.exists() else []
        return key if key in known else None

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        value = Measurement("energy", -8.0, "eV/atom", 0.1)
        outcome = Outcome(OutcomeKind.MEASURED, (value,), simulated=True, started=moment)
        return [LabMessage(f"{h}-result", h, outcome.to_json()) for h in handles]
