"""A lab under AlabOS, the operating system of the A-Lab.

Its REST API knows no keys, so each task and sample gets an id made from ours. What it has is read
from its tasks: it calls an experiment completed when its tasks have failed, and its own check for
doubles sees an experiment only once a slow loop has taken it up, so that a send without an answer
is given time to appear before it is repeated.
"""

from __future__ import annotations

import hashlib
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cloudseed.errors import LabError
from cloudseed.lab_adapters._facts import RemoteSettings, filled, number_at
from cloudseed.lab_adapters._http import JsonLine, check_url
from cloudseed.lab_adapters._remote import PAUSE, RemoteLab
from cloudseed.lab_adapters._settings import read_settings
from cloudseed.lab_adapters.protocols import FailureKind, Measurement, Outcome, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

    from cloudseed.lab_adapters._store import Job
    from cloudseed.lab_adapters.protocols import ExperimentRequest

__all__ = ["AlabosLab", "AlabosSettings", "AlabosTask"]

ENDED = frozenset({"COMPLETED", "ERROR", "CANCELLED", "STOPPED"})
ENDING = frozenset({"CANCELLING", "CANCELING", "STOPPING"})
NO_TASK = re.compile(r"no task exists|cannot find", re.IGNORECASE)


class AlabosTask(BaseModel):
    """One step of the recipe: a task type of the lab, and what to read from its result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(min_length=1, description="Name of the task's class.")
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="With {formula}, {cif}, {key} and {properties} filled in."
    )
    results: dict[str, str] = Field(
        default_factory=dict,
        description="Property, or PROPERTY_sigma -> dotted path in the task's result.",
    )


class AlabosSettings(RemoteSettings):
    """What an owner may set about a lab under AlabOS."""

    url: str = Field(default="http://127.0.0.1:8895", description="Where its API is.")
    insecure: bool = Field(
        default=False, description="Whether it may go beyond this machine without TLS."
    )
    tasks: tuple[AlabosTask, ...] = Field(
        min_length=1, description="The recipe; each task waits for the one before it."
    )
    simulated: bool = Field(
        description="Whether AlabOS runs in simulation mode, its default, which it does not tell."
    )
    timezone: str | None = Field(
        default=None, description="Zone of its clock, such as America/Los_Angeles; none: no times."
    )
    settle: float = Field(
        default=30.0,
        gt=0,
        description="Seconds within which its manager surely takes up an experiment.",
    )

    @field_validator("timezone")
    @classmethod
    def _check_zone(cls, zone: str | None) -> str | None:
        try:
            _ = zone is None or ZoneInfo(zone)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"there is no time zone {zone!r}") from error
        return zone

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_url(self.url, insecure=self.insecure)
        told = {name for task in self.tasks for name in task.results}
        if missing := sorted(set(self.properties) - told):
            raise ValueError(f"no task tells {missing[0]!r} in its `results`")
        return self


class AlabosLab(RemoteLab):
    """A lab under AlabOS."""

    def __init__(self, settings: AlabosSettings, workdir: Path) -> None:
        super().__init__(settings, workdir)
        self.settings = settings
        self._line = JsonLine(settings.url, settings.timeout)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> AlabosLab:
        """Opens the lab from plain values.

        Raises:
            SpecError: If a setting is unknown or wrong.
        """
        return cls(read_settings(AlabosSettings, config, "alabos"), workdir)

    def close(self, *, stop_jobs: bool = False) -> None:
        """Closes the connections; what the lab has taken goes on there."""
        del stop_jobs
        self._line.close()

    def _recipe(self, request: ExperimentRequest) -> Mapping[str, Any]:
        steps = self.settings.tasks
        return {
            "tasks": [{"type": s.type, "parameters": filled(s.parameters, request)} for s in steps]
        }

    def _send(self, job: Job, request: ExperimentRequest) -> str:
        sample = f"cloudseed-{_object_id(job.key, 'sample')}"
        tasks = [
            step
            | {
                "prev_tasks": [] if n == 0 else [n - 1],
                "samples": [sample],
                "task_id": _object_id(job.key, n),
            }
            for n, step in enumerate(self._recipe(request)["tasks"])
        ]
        order = {
            "name": sample,
            "tags": ["cloudseed"],
            "metadata": {"cloudseed_key": job.key, "formula": request.label},
            "samples": [
                {
                    "name": sample,
                    "sample_id": _object_id(job.key, "sample"),
                    "tags": ["cloudseed"],
                    "metadata": {"cloudseed_key": job.key},
                }
            ],
            "tasks": tasks,
        }
        status, answer = self._line.ask("POST", "/api/experiment/submit", order)
        if status == 200 and answer.get("status") == "success":
            return _object_id(job.key, 0)
        name = self._look(job.key)
        if name is not None:
            return name
        raise LabError(
            f"AlabOS does not take it: {_error(answer)}", hint="Check `tasks` against the lab's."
        )

    def _ask(self, job: Job, name: str) -> Outcome | None:
        del name  # each task has its own
        tasks = [self._task(_object_id(job.key, n)) for n in range(len(self.settings.tasks))]
        found = [task for task in tasks if task is not None]
        if len(found) < len(tasks):
            return self._missing(job)
        if any(task.get("status") not in ENDED for task in found):
            return None
        return self._outcome(job, found)

    def _missing(self, job: Job) -> Outcome | None:
        """Gives a submission time to be taken up, and then says that nobody knows."""
        sending = self._sending(job.handle)
        if sending is not None and time.time() < sending.at + self.settings.settle:
            return None
        reason = "AlabOS took it and shows no task for it: does it run, and know the task types?"
        return Outcome(OutcomeKind.UNKNOWN, reason=reason, failure=FailureKind.UNKNOWN)

    def _outcome(self, job: Job, tasks: list[dict[str, Any]]) -> Outcome:
        shared = self._told(job, tasks)
        for failed, kind in (
            ("ERROR", FailureKind.INSTRUMENT_FAULT),
            ("STOPPED", FailureKind.STOPPED),
            ("CANCELLED", FailureKind.STOPPED),
        ):
            for step, task in zip(self.settings.tasks, tasks, strict=True):
                if task.get("status") == failed:
                    words = " ".join(str(task.get("message") or "").split())[:300]
                    reason = (
                        f"The task {step.type} ended as {failed}{': ' if words else '.'}{words}"
                    )
                    return Outcome.failed(kind, reason, **shared)
        values: dict[str, float] = {}
        for step, task in zip(self.settings.tasks, tasks, strict=True):
            for name, path in step.results.items():
                value = number_at(task.get("result"), path)
                values |= {} if value is None else {name: value}
        wanted = job.request["properties"]
        if missing := [p for p in wanted if p not in values]:
            reason = f"The tasks are completed and their results lack {missing[0]}."
            return Outcome.failed(FailureKind.MEASUREMENT_INVALID, reason, **shared)
        units = self.settings.properties
        measurements = tuple(
            Measurement(p, values[p], units[p], values.get(f"{p}_sigma"), method="AlabOS")
            for p in wanted
        )
        return Outcome(OutcomeKind.MEASURED, measurements, **shared)

    def _told(self, job: Job, tasks: list[dict[str, Any]]) -> dict[str, Any]:
        told: dict[str, Any] = {
            "simulated": self.settings.simulated,
            "details": {"tasks": [_object_id(job.key, n) for n in range(len(tasks))]},
            "recipe": {
                "tasks": [
                    {"type": s.type, "parameters": t.get("parameters") or {}}
                    for s, t in zip(self.settings.tasks, tasks, strict=True)
                ]
            },
        }
        started = [t for task in tasks if (t := self._time(task.get("started_at"))) is not None]
        ended = [t for task in tasks if (t := self._time(task.get("completed_at"))) is not None]
        if started and ended and min(started) <= max(ended):
            told |= {"started": min(started), "ended": max(ended)}
        return told

    def _time(self, text: Any) -> datetime | None:
        """Reads a time of the lab, which has no zone of its own."""
        if self.settings.timezone is None or not isinstance(text, str):
            return None
        try:
            time_ = datetime.fromisoformat(text)
        except ValueError:
            return None
        if time_.tzinfo is None:
            time_ = time_.replace(tzinfo=ZoneInfo(self.settings.timezone))
        return time_.astimezone(UTC)

    def _withdraw(self, job: Job, name: str) -> bool:
        """Cancels the tasks and waits until they have ended; the result tells how."""
        until = time.monotonic() + self.settings.timeout
        while time.monotonic() < until:
            for n in range(len(self.settings.tasks)):
                task_id = _object_id(job.key, n)
                task = self._task(task_id)
                if task is not None and task.get("status") not in ENDED | ENDING:
                    self._line.ask("GET", f"/api/task/cancel/{task_id}")
            outcome = self._ask(job, name)
            if outcome is not None and outcome.kind is not OutcomeKind.UNKNOWN:
                self._store.finish(job.handle, outcome.to_json())
                return False
            time.sleep(PAUSE)
        raise LabError(
            "AlabOS was asked to cancel, and the tasks have not ended yet.",
            hint="They end when the lab lets them; ask again.",
            handle=job.handle,
        )

    def _greet(self) -> Mapping[str, Any]:
        status, answer = self._line.ask("GET", "/api/experiment/get_all_ids")
        if status != 200 or answer.get("status") != "success":
            raise LabError(f"AlabOS is not well: {_error(answer)}")
        return {}

    def _look(self, key: str) -> str | None:
        name = _object_id(key, 0)
        return None if self._task(name) is None else name

    def _task(self, task_id: str) -> dict[str, Any] | None:
        """Returns a task as AlabOS has it, or None if it has none of this id.

        Raises:
            LabError: If it cannot say: it answers 400 for whatever goes wrong.
        """
        status, answer = self._line.ask("GET", f"/api/task/{task_id}")
        data = answer.get("data")
        if status == 200 and answer.get("status") == "success" and isinstance(data, dict):
            return data
        if NO_TASK.search(_error(answer)):
            return None
        raise LabError(f"AlabOS cannot say what became of a task: {_error(answer)}")


def _object_id(key: str, part: int | str) -> str:
    """Returns the 24 hexadecimal digits that stand for a part of a key in the lab's database."""
    return hashlib.sha256(f"{key}/{part}".encode()).hexdigest()[:24]


def _error(answer: Mapping[str, Any]) -> str:
    return " ".join(str(answer.get("errors") or answer.get("reason") or answer).split())[:300]
