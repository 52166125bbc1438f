"""Labs that break one promise each, so that the conformance kit can be seen to notice."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloudseed.lab_adapters import (
    DeliveryClass,
    Estimate,
    EventPage,
    Feature,
    Health,
    JobState,
    JobStatus,
    LabDescription,
    LabEvent,
    LabMessage,
    Measurement,
    Outcome,
    OutcomeKind,
    Validation,
)
from cloudseed.lab_adapters._store import JobStore
from cloudseed.lab_adapters._stored import STORED_FEATURES, StoredLab

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cloudseed.lab_adapters import ExperimentRequest


class HonestLab(StoredLab):
    """Keeps every promise; its subclasses break one each."""

    delivery = DeliveryClass.A
    unit = "eV/atom"

    def __init__(self, workdir: Path) -> None:
        super().__init__(JobStore(workdir))
        self.workdir = workdir

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> HonestLab:
        return cls(workdir)

    def describe(self) -> LabDescription:
        return LabDescription(
            "honest",
            {"energy": self.unit},
            2,
            self.delivery,
            simulated=True,
            elements=frozenset({"Sr", "Ca", "Ba", "Ti", "O"}),
            largest_cell=20,
            duration=Estimate(0.1, 0.5, "s"),
            features=STORED_FEATURES | {Feature.EVENTS, Feature.RECIPES},
        )

    def validate(self, request: ExperimentRequest) -> Validation:
        can = self.describe()
        reasons = [f"no {p}" for p in request.properties if p not in can.properties]
        reasons += [f"no {s}" for s in set(request.cell.species) - (can.elements or set())]
        if len(request.cell.species) > (can.largest_cell or 0):
            reasons.append("too large")
        return Validation(not reasons, tuple(reasons))

    def submit(self, request: ExperimentRequest) -> str:
        self._check_running()
        return self._store.add(request.key, request.to_json()).handle

    def events(self, cursor: str | None = None) -> EventPage:
        jobs = self._store.jobs()
        done = [(job, message) for job in jobs for message in self.poll([job.handle])]
        start = int(cursor or 0)
        events = tuple(
            LabEvent(
                JobStatus(job.key, job.handle, JobState.FINISHED),
                datetime(2026, 1, 1, tzinfo=UTC),
                m,
            )
            for job, m in done
        )
        return EventPage(events[start:], str(len(events)))

    def outcome(self, request: Mapping[str, Any]) -> Outcome:
        now = datetime.now(UTC)
        value = Measurement("energy", -8.0, "eV/atom", 0.1)
        return Outcome(OutcomeKind.MEASURED, (value,), simulated=True, started=now, ended=now)

    def _advance(self, handle: str) -> None:
        job = self._store.job(handle)
        if (
            job is not None
            and time.time() > (self.workdir / "jobs" / f"{handle}.json").stat().st_mtime + 0.1
        ):
            self._store.finish(handle, self.outcome(job.request).to_json())


class WrongUnit(HonestLab):
    unit = "parsec/fortnight^x"


class Accepting(HonestLab):
    def validate(self, request: ExperimentRequest) -> Validation:
        return Validation(accepted=True)


class Boundless(HonestLab):
    def validate(self, request: ExperimentRequest) -> Validation:
        reasons = [f"no {p}" for p in request.properties if p != "energy"]
        return Validation(not reasons, tuple(reasons))


class Habitual(HonestLab):
    """Does what it always did, whichever recipe it is sent."""

    def validate(self, request: ExperimentRequest) -> Validation:
        return replace(super().validate(request), recipe={"temperature": 1000.0})


class Choosy(HonestLab):
    """Says that it follows recipes, and refuses them."""

    def validate(self, request: ExperimentRequest) -> Validation:
        if request.recipe is not None:
            return Validation(False, ("no recipes today",))
        return super().validate(request)


class Leaving(HonestLab):
    def validate(self, request: ExperimentRequest) -> Validation:
        self._store.write("seen", b"x")
        return super().validate(request)


class Forgetful(HonestLab):
    """Gives each submission a handle of its own."""

    def submit(self, request: ExperimentRequest) -> str:
        self._store.add(request.key, request.to_json())
        return self._store.add(f"{request.key}-{time.time_ns()}", request.to_json()).handle


class Careless(HonestLab):
    """Takes anything under a key that it has."""

    def submit(self, request: ExperimentRequest) -> str:
        known = self.lookup(request.key)
        return known if known is not None else super().submit(request)


class InMemory(HonestLab):
    """Knows nothing after a restart."""

    def __init__(self, workdir: Path) -> None:
        super().__init__(workdir / str(time.time_ns()))


class Boasting(HonestLab):
    """Declares what it does not measure."""

    def describe(self) -> LabDescription:
        can = super().describe()
        return replace(can, properties={**can.properties, "volume": "angstrom^3/atom"})


class Posing(HonestLab):
    """Calls computed values measured."""

    def describe(self) -> LabDescription:
        return replace(super().describe(), simulated=False)


class Grams(HonestLab):
    def outcome(self, request: Mapping[str, Any]) -> Outcome:
        return Outcome(OutcomeKind.MEASURED, (Measurement("energy", 1.0, "g"),))


class Late(HonestLab):
    def health(self) -> Health:
        return replace(super().health(), clock=datetime.now(UTC) - timedelta(minutes=10))


class Ill(HonestLab):
    def health(self) -> Health:
        return Health(ready=False, reason="no argon")


class Wavering(HonestLab):
    """Says something else each time."""

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        now = str(time.time_ns())
        return [replace(m, message_id=m.message_id + now) for m in super().poll(handles)]


class Inventing(HonestLab):
    """Calls what it never had a failure."""

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        raw = Outcome(OutcomeKind.FAILED_FINAL, reason="who?").to_json()
        return [
            replace(m, raw=raw) if self._store.job(m.key) is None else m
            for m in super().poll(handles)
        ]


class Claiming(HonestLab):
    def reconcile(self, keys: Sequence[str]) -> Sequence[JobStatus]:
        return [JobStatus(k, k, JobState.FINISHED) for k in keys]


class Looping(HonestLab):
    """Its feed begins again after each cursor."""

    def events(self, cursor: str | None = None) -> EventPage:
        return super().events(None)


class Deaf(HonestLab):
    """Says that it cancelled, and goes on."""

    def cancel(self, handle: str) -> JobState:
        finished = self._store.is_finished(handle)
        return JobState.FINISHED if finished else JobState.CANCELLED


class Unmoved(HonestLab):
    """Never cancels, and says so."""

    def cancel(self, handle: str) -> JobState:
        return JobState.RUNNING


class Brisk(HonestLab):
    """Has begun with a job before it can be taken back, unless others stand before it."""

    def cancel(self, handle: str) -> JobState:
        alone = len(self._store.unfinished()) < 4
        begun = alone and not self._store.is_finished(handle)
        return JobState.RUNNING if begun else super().cancel(handle)


class Restless(HonestLab):
    """Takes work although it was stopped."""

    def submit(self, request: ExperimentRequest) -> str:
        return self._store.add(request.key, request.to_json()).handle


class Postponing(HonestLab):
    """Answers before the request is on the disk, and loses it when the sender dies."""

    def __init__(self, workdir: Path) -> None:
        super().__init__(workdir)
        self._held: list[ExperimentRequest] = []

    def submit(self, request: ExperimentRequest) -> str:
        self._check_running()
        if self.lookup(request.key) is None:
            self._held.append(request)
            return request.key
        return super().submit(request)

    def lookup(self, key: str) -> str | None:
        self._flush()
        return super().lookup(key)

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        self._flush()
        return super().poll(handles)

    def close(self, *, stop_jobs: bool = False) -> None:
        self._flush()

    def _flush(self) -> None:
        held, self._held = getattr(self, "_held", []), []
        for request in held:
            HonestLab.submit(self, request)


class ClassB(HonestLab):
    """Keeps what class B promises and no more: sent twice, it runs twice."""

    delivery = DeliveryClass.B


class ClassC(HonestLab):
    delivery = DeliveryClass.C


def talk(workdir: Path, config: Mapping[str, Any], ended: Any) -> None:
    """An operator that leaves a note and waits for its end."""
    workdir.mkdir(parents=True, exist_ok=True)
    ended.wait()
    (workdir.parent / "operator").write_text(json.dumps(dict(config)))
