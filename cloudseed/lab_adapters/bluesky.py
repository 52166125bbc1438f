"""A beamline or lab behind Bluesky's queue server, over its HTTP server.

The server gives each plan a uid of its own, so that the same plan added twice runs twice. Our key
travels in the plan's metadata; queue, running plan and history are searched for it, in this order,
the order in which a plan passes through them, before anything is sent again. A plan that failed
comes back into the queue and would run again: it is taken out. Values come from the documents of
the run, which the server does not hand out: a folder that its `JSONLinesWriter` writes to.
"""

from __future__ import annotations

import os
import time
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from cloudseed.errors import LabError, SpecError
from cloudseed.lab_adapters._documents import read_run
from cloudseed.lab_adapters._facts import RemoteSettings, filled
from cloudseed.lab_adapters._http import JsonLine, check_url
from cloudseed.lab_adapters._remote import RemoteLab
from cloudseed.lab_adapters._settings import read_settings
from cloudseed.lab_adapters._store import handle_of
from cloudseed.lab_adapters.protocols import FailureKind, Outcome, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from cloudseed.lab_adapters._documents import Run
    from cloudseed.lab_adapters._store import Job
    from cloudseed.lab_adapters.protocols import ExperimentRequest

__all__ = ["BlueskyLab", "BlueskySettings"]

KEY = "cloudseed_key"
"""Where in a plan's metadata our key is."""

FRESH = {"reload": True}
"""What makes the HTTP server ask the manager, instead of telling what it remembers."""

_FAILURES = {
    "failed": FailureKind.INSTRUMENT_FAULT,
    "stopped": FailureKind.STOPPED,
    "aborted": FailureKind.STOPPED,
    "halted": FailureKind.STOPPED,
}


class BlueskySettings(RemoteSettings):
    """What an owner may set about a lab behind a queue server."""

    url: str = Field(default="http://127.0.0.1:60610", description="Where the HTTP server is.")
    insecure: bool = Field(
        default=False, description="Whether it may go beyond this machine without TLS."
    )
    api_key_env: str | None = Field(
        default=None, description="Environment variable with the API key."
    )
    plan: str = Field(min_length=1, description="Name of the plan.")
    args: tuple[Any, ...] = Field(default=(), description="Its arguments.")
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="With {formula}, {cif}, {key} and {properties} filled in."
    )
    documents: Path = Field(description="The folder that `JSONLinesWriter` writes to.")
    fields: dict[str, str] = Field(
        description="Property -> field of the primary stream; the mean over its events is taken."
    )
    start: bool = Field(
        default=True, description="Whether to start an idle queue whose next plan is one of ours."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_url(self.url, insecure=self.insecure)
        if missing := sorted(set(self.properties) - set(self.fields)):
            raise ValueError(f"`fields` does not say where {missing[0]!r} is")
        return self


class _Books:
    """Queue, running plan and history, read anew where they have changed."""

    def __init__(self, line: JsonLine) -> None:
        self._line = line
        self._uids: tuple[str, str] | None = None
        self.status: Mapping[str, Any] = {}
        self.queue: Sequence[Mapping[str, Any]] = ()
        self.running: Mapping[str, Any] = {}
        self.history: Sequence[Mapping[str, Any]] = ()

    def read(self) -> None:
        """Reads the queue before the history: a plan on its way cannot slip between the two."""
        self.status = _asked(self._line, "GET", "/api/status", FRESH)
        uids = (str(self.status.get("plan_queue_uid")), str(self.status.get("plan_history_uid")))
        if uids == self._uids:
            return
        queue = _asked(self._line, "GET", "/api/queue/get", FRESH)
        history = _asked(self._line, "GET", "/api/history/get", FRESH)
        self.queue = [item for item in queue.get("items") or () if isinstance(item, dict)]
        self.running = queue.get("running_item") or {}
        self.history = [item for item in history.get("items") or () if isinstance(item, dict)]
        self._uids = (str(queue.get("plan_queue_uid")), str(history.get("plan_history_uid")))


class BlueskyLab(RemoteLab):
    """A lab behind a queue server."""

    settings_type = BlueskySettings

    def __init__(self, settings: BlueskySettings, workdir: Path) -> None:
        super().__init__(settings, workdir)
        self.settings = settings
        self._line = JsonLine(settings.url, settings.timeout, _headers(settings))
        self._books = _Books(self._line)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> BlueskyLab:
        """Opens the lab from plain values.

        Raises:
            SpecError: If a setting is unknown or wrong.
        """
        return cls(read_settings(BlueskySettings, config, "bluesky"), workdir)

    def close(self, *, stop_jobs: bool = False) -> None:
        """Closes the connections; what the lab has taken goes on there."""
        del stop_jobs
        self._line.close()

    def _recipe(self, request: ExperimentRequest) -> Mapping[str, Any]:
        return {
            "plan": self.settings.plan,
            "args": filled(self.settings.args, request),
            "kwargs": filled(self.settings.kwargs, request),
        }

    def _send(self, job: Job, request: ExperimentRequest) -> str:
        recipe = self._recipe(request)
        item = {
            "item_type": "plan",
            "name": recipe["plan"],
            "args": recipe["args"],
            "kwargs": recipe["kwargs"],
            "meta": {KEY: job.key, "formula": request.label, "candidate": request.candidate},
        }
        answer = _asked(self._line, "POST", "/api/queue/item/add", {"item": item, "pos": "back"})
        name = str((answer.get("item") or {}).get("item_uid") or job.key)
        self._start()
        return name

    def _look(self, key: str) -> str | None:
        self._books.read()
        for item in (*self._books.queue, self._books.running, *self._books.history):
            if _key(item) == key:
                return str(item.get("item_uid"))
        return None

    def _ask(self, job: Job, name: str) -> Outcome | None:
        del name  # a plan that failed comes back under another
        self._books.read()
        if _key(self._books.running) == job.key:
            return None
        ended = [item for item in self._books.history if _key(item) == job.key]
        waiting = [item for item in self._books.queue if _key(item) == job.key]
        if not ended and waiting:
            self._start()
            return None
        for copy in waiting:
            if not self._remove(copy):
                return None
        if not ended:
            reason = "The queue server has no such plan any more: was its history cleared?"
            return Outcome(OutcomeKind.UNKNOWN, reason=reason, failure=FailureKind.UNKNOWN)
        completed = [item for item in ended if _result(item).get("exit_status") == "completed"]
        return self._outcome(job, (completed or ended)[-1])

    def _outcome(self, job: Job, item: Mapping[str, Any]) -> Outcome | None:
        result = _result(item)
        status = str(result.get("exit_status"))
        uids = [str(uid) for uid in result.get("run_uids") or ()]
        shared: dict[str, Any] = {
            "simulated": self.settings.simulated,
            "details": {"item_uid": item.get("item_uid"), "run_uids": uids},
            "recipe": {part: item.get(part) for part in ("name", "args", "kwargs")},
        }
        if status in _FAILURES:
            words = " ".join(str(result.get("msg") or "").split())[:300] or "no reason given"
            return Outcome.failed(_FAILURES[status], f"The plan {status}: {words}", **shared)
        if status != "completed":
            reason = f"The queue server does not know how the plan ended ({status})."
            return Outcome(OutcomeKind.UNKNOWN, reason=reason, failure=FailureKind.UNKNOWN)
        if not uids:
            reason = "The plan completed without a run, so that there is nothing to read."
            return Outcome.failed(FailureKind.MEASUREMENT_INVALID, reason, **shared)
        try:
            run = read_run(self.settings.documents, uids[-1])
        except LabError as error:  # of this run alone: the others are asked for all the same
            reason = error.message
            return Outcome(OutcomeKind.UNKNOWN, reason=reason, failure=FailureKind.UNKNOWN)
        if run is None:
            return self._undocumented(result, uids[-1])
        return self._measured(job, run, shared)

    def _undocumented(self, result: Mapping[str, Any], uid: str) -> Outcome | None:
        """Gives the documents time to come through, and then says that nobody knows."""
        if time.time() < float(result.get("time_stop") or 0.0) + self.settings.settle:
            return None
        reason = f"The run {uid} is completed and its documents are not in the folder."
        return Outcome(OutcomeKind.UNKNOWN, reason=reason, failure=FailureKind.UNKNOWN)

    def _measured(self, job: Job, run: Run, shared: Mapping[str, Any]) -> Outcome:
        if run.start.get(KEY) != job.key:
            reason = "The documents of the run are those of another experiment."
            return Outcome.failed(FailureKind.MEASUREMENT_INVALID, reason, **shared)
        found = []
        for name in job.request["properties"]:
            unit = self.settings.properties[name]
            value = run.measurement(name, self.settings.fields[name], unit)
            if value is None:
                reason = f"The run has no finite number in {self.settings.fields[name]!r}."
                return Outcome.failed(FailureKind.MEASUREMENT_INVALID, reason, **shared)
            found.append(value)
        return Outcome(OutcomeKind.MEASURED, tuple(found), **shared, **run.times())

    def _withdraw(self, job: Job, name: str) -> bool:
        del name
        self._books.read()
        waiting = [item for item in self._books.queue if _key(item) == job.key]
        removed = [self._remove(item) for item in waiting]
        return bool(removed) and all(removed)

    def _remove(self, item: Mapping[str, Any]) -> bool:
        """Takes a plan out of the queue; says whether it was still there."""
        uid = {"uid": item.get("item_uid")}
        _, answer = self._line.ask("POST", "/api/queue/item/remove", uid)
        return answer.get("success") is True

    def _start(self) -> None:
        """Starts an idle queue, but only where the next plan is ours.

        A queue stands still when another's plan has failed: that plan is the next, and must not
        run again because we want to go on.
        """
        if not self.settings.start or self.stopped() is not None:
            return
        self._books.read()
        status, first = self._books.status, next(iter(self._books.queue), {})
        idle = status.get("manager_state") == "idle" and status.get("worker_environment_exists")
        key = _key(first)
        if (
            idle
            and key is not None
            and "result" not in first
            and self._store.job(handle_of(key)) is not None
        ):
            self._line.ask("POST", "/api/queue/start", {})

    def _halt(self) -> None:
        self._books.read()
        if self._books.status.get("manager_state") == "executing_queue":
            _asked(self._line, "POST", "/api/queue/stop", {})

    def _greet(self) -> Mapping[str, Any]:
        self._books.read()
        status = self._books.status
        if not status.get("worker_environment_exists"):
            raise LabError("The environment of the queue server is not open.")
        if (status.get("plan_queue_mode") or {}).get("loop"):
            raise LabError("The queue loops: each plan would run again and again.")
        return {"manager_state": status.get("manager_state")}


def _headers(settings: BlueskySettings) -> dict[str, str]:
    if settings.api_key_env is None:
        return {}
    secret = os.environ.get(settings.api_key_env, "")
    if not secret:
        raise SpecError(
            f"The environment variable {settings.api_key_env!r} holds no API key.",
            hint="Set it to the key of the HTTP server.",
            key="api_key_env",
        )
    return {"Authorization": f"ApiKey {secret}"}


def _asked(line: JsonLine, method: str, target: str, data: Any) -> dict[str, Any]:
    """Asks and returns the answer.

    Raises:
        LabError: If the server cannot be reached, or says no.
    """
    status, answer = line.ask(method, target, data)
    if status != 200 or answer.get("success") is False:
        words = " ".join(str(answer.get("msg") or answer.get("detail") or status).split())[:300]
        raise LabError(
            f"The queue server does not do {target}: {words}",
            hint="Check the API key, the plan and its arguments.",
        )
    return answer


def _key(item: Mapping[str, Any]) -> str | None:
    meta = item.get("meta")
    found = [part.get(KEY) for part in (meta if isinstance(meta, list) else [meta]) if part]
    return next((str(key) for key in found if key is not None), None)


def _result(item: Mapping[str, Any]) -> Mapping[str, Any]:
    result = item.get("result")
    return result if isinstance(result, dict) else {}
