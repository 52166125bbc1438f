"""Any lab, made unreliable: what a campaign must survive, by seed and on a virtual clock.

What goes wrong with an experiment depends on the seed and its key alone, so that a run that is
killed and resumed meets the same faults.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from cloudseed.errors import LabError
from cloudseed.lab_adapters._settings import LabSettings, read_settings
from cloudseed.lab_adapters._store import Job, JobStore, handle_of
from cloudseed.lab_adapters.base import BaseLab, operable
from cloudseed.lab_adapters.protocols import FailureKind, Feature, Outcome, OutcomeKind
from cloudseed.lab_adapters.registry import load_lab

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cloudseed.lab_adapters.protocols import (
        ExperimentRequest,
        Health,
        JobState,
        LabAdapter,
        LabDescription,
        LabMessage,
        Measurement,
        Validation,
    )

__all__ = ["UnreliableLab", "UnreliableSettings"]


class UnreliableSettings(LabSettings):
    """What goes wrong, and how often; every chance is between 0 and 1."""

    lab: str = Field(description="The lab behind it, by its adapter's name.")
    config: dict[str, Any] = Field(default_factory=dict, description="That lab's own settings.")
    seed: int = Field(default=0, ge=0, description="Seed of all faults.")
    tick: float | None = Field(
        default=None,
        gt=0,
        description="Seconds that pass at each poll, on a virtual clock; by default time is real.",
    )
    latency: float = Field(
        default=0.0, ge=0, description="Mean seconds by which results are late, exponential."
    )
    drop: float = Field(default=0.0, ge=0, le=1, description="A request never arrives.")
    lost_reply: float = Field(
        default=0.0, ge=0, le=1, description="A request arrives and its acknowledgement does not."
    )
    outage: float = Field(default=0.0, ge=0, le=1, description="A poll fails.")
    duplicate: float = Field(default=0.0, ge=0, le=1, description="A result comes twice.")
    late: float = Field(default=0.0, ge=0, le=1, description="A result waits for `late_by`.")
    late_by: float = Field(default=60.0, ge=0, description="Seconds.")
    wrong_sample: float = Field(
        default=0.0, ge=0, le=1, description="The values are those of the sample before."
    )
    crash: float = Field(default=0.0, ge=0, le=1, description="The instrument breaks down.")
    drift: float = Field(
        default=0.0, description="Relative change of every value per experiment, unknown to it."
    )
    noise: float = Field(
        default=0.0, ge=0, description="Relative standard deviation of every value, known to it."
    )


class UnreliableLab(BaseLab):
    """Passes everything on to another lab, and spoils some of it.

    Args:
        lab: The lab behind it.
        settings: What goes wrong.
        workdir: Where it keeps what it was given, and its clock.
    """

    settings_type = UnreliableSettings

    def __init__(self, lab: LabAdapter, settings: UnreliableSettings, workdir: Path) -> None:
        self.settings = settings
        self._lab = operable(lab)
        self._store = JobStore(workdir)
        self._keys: list[str] | None = None
        self._jobs: dict[str, Job] = {}
        self._tries: Counter[str] = Counter()
        self._polls = 0
        raw = self._store.read("clock.json")
        self._clock = 0.0 if raw is None else float(json.loads(raw)["seconds"])

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> UnreliableLab:
        """Opens the lab and the one behind it from plain values.

        Raises:
            SpecError: If a setting is unknown or wrong.
            UsageError: If there is no such lab behind it.
        """
        settings = read_settings(UnreliableSettings, config, "unreliable")
        return cls(load_lab(settings.lab, settings.config, workdir / "lab"), settings, workdir)

    @property
    def now(self) -> float:
        """Seconds, by the virtual clock or since the epoch."""
        return time.time() if self.settings.tick is None else self._clock

    def describe(self) -> LabDescription:
        """Returns what the lab behind it says; it keeps no feed of events."""
        can = self._lab.describe()
        features = can.features - {Feature.EVENTS}
        return replace(can, name=f"unreliable {can.name}", features=features)

    def validate(self, request: ExperimentRequest) -> Validation:
        """Asks the lab behind it."""
        return self._lab.validate(request)

    def submit(self, request: ExperimentRequest) -> str:
        """Passes a request on, unless it is lost.

        Raises:
            LabError: If the request or its acknowledgement is lost, or the lab behind it raises.
        """
        self._tries[request.key] += 1
        fate = self._draws(f"submit {self._tries[request.key]} {request.key}")
        if fate.random() < self.settings.drop:
            raise LabError("The request was lost on its way.", hint="This lab is unreliable.")
        self._note(request.key)
        handle = self._lab.submit(request)
        if fate.random() < self.settings.lost_reply:
            raise LabError("The answer was lost on its way.", hint="This lab is unreliable.")
        return handle

    def lookup(self, key: str) -> str | None:
        """Asks the lab behind it."""
        return self._lab.lookup(key)

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        """Returns what the lab behind it says and what is due, spoilt, in any order.

        Raises:
            LabError: If this poll fails, or the lab behind it raises.
        """
        self._tick()
        fate = self._draws(f"poll {self._polls} {self._clock}")
        if fate.random() < self.settings.outage:
            raise LabError("The lab does not answer.", hint="This lab is unreliable.")
        messages = []
        for message in self._lab.poll(handles):
            spoilt = self._spoilt(message)
            if spoilt is not None:
                twice = fate.random() < self.settings.duplicate
                messages += [spoilt, spoilt] if twice else [spoilt]
        if self.settings.duplicate or self.settings.late:
            messages = [messages[n] for n in fate.permutation(len(messages))]
        return messages

    def cancel(self, handle: str) -> JobState:
        """Asks the lab behind it."""
        return self._lab.cancel(handle)

    def safe_stop(self, reason: str) -> None:
        """Tells the lab behind it."""
        self._lab.safe_stop(reason)

    def health(self) -> Health:
        """Asks the lab behind it."""
        return self._lab.health()

    def close(self, *, stop_jobs: bool = False) -> None:
        """Lets go of the lab behind it."""
        self._lab.close(stop_jobs=stop_jobs)

    def _tick(self) -> None:
        self._polls += 1
        if self.settings.tick is not None:
            self._clock += self.settings.tick
            self._store.write("clock.json", json.dumps({"seconds": self._clock}).encode())

    def _note(self, key: str) -> None:
        """Writes down when a request came and when its result is due."""
        if self._job(key) is not None:
            return
        fate = self._draws(f"time {key}")
        wait = fate.exponential(self.settings.latency) if self.settings.latency else 0.0
        if fate.random() < self.settings.late:
            wait += self.settings.late_by
        keys = self._in_order()
        self._store.add(key, {"ordinal": len(keys)}, due=self.now + wait)
        keys.append(key)

    def _job(self, key: str) -> Job | None:
        found = self._jobs.get(key) or self._store.job(handle_of(key))
        if found is not None:
            self._jobs[key] = found
        return found

    def _in_order(self) -> list[str]:
        if self._keys is None:
            jobs = sorted(self._store.jobs(), key=lambda job: int(job.request["ordinal"]))
            self._keys = [job.key for job in jobs]
        return self._keys

    def _spoilt(self, message: LabMessage) -> LabMessage | None:
        """Returns a message as it arrives, or None while it is on its way."""
        job = self._job(message.key)
        if job is None:
            return message
        if self.now < job.due:
            return None
        outcome = Outcome.from_json(message.raw)
        if outcome.kind is not OutcomeKind.MEASURED:
            return message
        fate = self._draws(f"result {message.key}")
        if fate.random() < self.settings.crash:
            broken = Outcome.failed(FailureKind.INSTRUMENT_FAULT, "The instrument broke down.")
            return replace(message, raw=broken.to_json())
        if fate.random() < self.settings.wrong_sample and job.request["ordinal"] > 0:
            other = self._before(job)
            if other is None:
                return None
            outcome = replace(outcome, measurements=_mixed_up(outcome, other))
        drift = 1.0 + self.settings.drift * int(job.request["ordinal"])
        values = tuple(self._noisy(m, drift, fate) for m in outcome.measurements)
        return replace(message, raw=replace(outcome, measurements=values).to_json())

    def _before(self, job: Job) -> Outcome | None:
        """Returns the outcome of the sample before, or None while it has none."""
        handle = self._lab.lookup(self._in_order()[int(job.request["ordinal"]) - 1])
        found = () if handle is None else self._lab.results(handle)
        return found[0] if found else None

    def _noisy(self, m: Measurement, drift: float, fate: np.random.Generator) -> Measurement:
        value = m.value * drift
        spread = self.settings.noise * abs(value)
        if not spread:
            return replace(m, value=value)
        sigma = math.hypot(m.sigma or 0.0, spread)
        return replace(m, value=value + float(fate.normal(0.0, spread)), sigma=sigma)

    def _draws(self, purpose: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.settings.seed} {purpose}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _mixed_up(outcome: Outcome, other: Outcome) -> tuple[Measurement, ...]:
    """Returns the other sample's values where it has them."""
    values = {m.property: m for m in other.measurements}
    return tuple(values.get(m.property, m) for m in outcome.measurements)
