"""Labs with books of their own: what was sent, what the lab calls it, and what came of it.

    jobs/NAME.json     the request, before anything is sent
    sent/NAME.json     when it was sent, and then the lab's own name for it
    results/NAME.json  the outcome's bytes; the first stands for ever

A send that got no answer is looked for in the lab before it is repeated. What only the lab knows,
and has lost, is unknown: a person decides.
"""

from __future__ import annotations

import hashlib
import json
import time
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cloudseed.errors import LabError
from cloudseed.lab_adapters._store import JobStore, handle_of
from cloudseed.lab_adapters._stored import STORED_FEATURES, StoredLab
from cloudseed.lab_adapters.base import reasons_against
from cloudseed.lab_adapters.protocols import (
    DeliveryClass,
    Estimate,
    FailureKind,
    Feature,
    Health,
    JobState,
    JobStatus,
    LabDescription,
    LabMessage,
    Outcome,
    OutcomeKind,
    Validation,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cloudseed.lab_adapters._facts import RemoteSettings
    from cloudseed.lab_adapters._store import Job
    from cloudseed.lab_adapters.protocols import ExperimentRequest

__all__ = ["PAUSE", "RemoteLab", "Sending"]

PAUSE = 0.2
"""Seconds between two looks at what is to appear or to end."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A send: when it began, in seconds since the epoch, and the lab's name for it once known."""

    at: float
    name: str | None = None


class RemoteLab(StoredLab):
    """A lab that is asked over a wire.

    Args:
        settings: What the owner set.
        workdir: Where submissions and results are kept.
    """

    delivery = DeliveryClass.B
    features: frozenset[Feature] = STORED_FEATURES

    def __init__(self, settings: RemoteSettings, workdir: Path) -> None:
        super().__init__(JobStore(workdir))
        self.facts = settings

    def describe(self) -> LabDescription:
        """Returns what the owner told."""
        facts = self.facts
        return LabDescription(
            name=facts.name,
            properties=dict(facts.properties),
            concurrency=facts.concurrency,
            delivery=self.delivery,
            simulated=facts.simulated,
            elements=None if facts.elements is None else frozenset(facts.elements),
            largest_cell=facts.largest_cell,
            duration=None if facts.hours is None else Estimate(facts.hours, 2 * facts.hours, "h"),
            features=self.features | ({Feature.RECIPES} if self._takes_recipes else set()),
        )

    def validate(self, request: ExperimentRequest) -> Validation:
        """Refuses unknown properties and elements; returns the recipe that it would follow."""
        reasons = reasons_against(self.describe(), request)
        if reasons:
            return Validation(False, reasons, failure=FailureKind.REJECTED_CAPABILITY)
        return Validation(True, recipe=self._recipe(replace(request, key="")))

    def submit(self, request: ExperimentRequest) -> str:
        """Sends a request; one that the lab has already is not sent again.

        Raises:
            LabError: If the key stands for another request, the lab is stopped, does not take it,
                cannot be reached or cannot say whether it has an earlier send.
        """
        self._check_running()
        job = self._store.add(request.key, request.to_json())
        sending = self._sending(job.handle)
        if self._store.is_finished(job.handle) or (sending is not None and sending.name):
            return job.handle
        name = self._find(job, sending)
        if name is None:
            self._open()
            self._keep(job.handle, Sending(time.time()))
            name = self._send(job, request)
        self._keep(job.handle, Sending(time.time(), name))
        return job.handle

    def lookup(self, key: str) -> str | None:
        """Returns the handle of a key, or None where the lab has no experiment under it.

        Raises:
            LabError: If the lab cannot be reached or cannot say.
        """
        job = self._store.job(handle_of(key))
        if job is None:
            return None
        known = self._store.is_finished(job.handle) or self._name(job) is not None
        return job.handle if known else None

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        """Asks the lab about what has no result yet; also while it is stopped.

        Raises:
            LabError: If the lab cannot be reached, or the folder cannot be used.
        """
        silent = [self._advance_one(handle) for handle in dict.fromkeys(handles)]
        return [*super().poll(handles), *(m for m in silent if m is not None)]

    def cancel(self, handle: str) -> JobState:
        """Asks the lab to take a submission back; what runs may be beyond that.

        Raises:
            LabError: If the lab cannot be reached.
        """
        job = self._store.job(handle)
        if job is None:
            return JobState.UNKNOWN
        self._advance_one(handle)
        if not self._store.is_finished(handle):
            name = self._name(job)
            if name is None or self._withdraw(job, name):
                outcome = Outcome.failed(FailureKind.STOPPED, "It was cancelled.")
                self._store.finish(handle, outcome.to_json())
        return self._state(handle)

    def health(self) -> Health:
        """Says whether the lab answers and takes work."""
        found = super().health()
        if not found.ready:
            return found
        try:
            return replace(found, details=dict(found.details) | dict(self._greet()))
        except LabError as error:
            return replace(found, ready=False, reason=error.message)

    def reconcile(self, keys: Sequence[str]) -> Sequence[JobStatus]:
        """Asks the lab about each key.

        Raises:
            LabError: If the lab cannot be reached or cannot say.
        """
        found = []
        for key in keys:
            handle = self.lookup(key)
            if handle is None:
                found.append(JobStatus(key, None, JobState.UNKNOWN))
                continue
            message = self._advance_one(handle)
            state = self._state(handle) if message is None else JobState.UNKNOWN
            found.append(JobStatus(key, handle, state))
        return found

    def _state(self, handle: str) -> JobState:
        state = super()._state(handle)
        return JobState.RUNNING if state in {JobState.QUEUED, JobState.HELD} else state

    def _advance_one(self, handle: str) -> LabMessage | None:
        """Stores a result that is there; returns a message where the lab has lost the job."""
        job = self._store.job(handle)
        if job is None or self._store.is_finished(handle):
            return None
        name = self._name(job)
        if name is None:
            return None
        outcome = self._ask(job, name)
        if outcome is None:
            return None
        raw = outcome.to_json()
        if outcome.kind is OutcomeKind.UNKNOWN:
            digest = hashlib.sha256(raw).hexdigest()[:16]
            return LabMessage(f"{handle}.{digest}", job.key, raw)
        self._store.finish(handle, raw)
        return None

    def _name(self, job: Job) -> str | None:
        sending = self._sending(job.handle)
        if sending is None or sending.name is not None:
            return None if sending is None else sending.name
        name = self._find(job, sending)
        if name is not None:
            self._keep(job.handle, Sending(sending.at, name))
        return name

    def _find(self, job: Job, sending: Sending | None) -> str | None:
        """Looks for a job, and where a send got no answer, until it has surely arrived or not.

        Raises:
            LabError: If the lab cannot be reached or cannot say.
        """
        name = self._look(job.key)
        if name is not None or sending is None:
            return name
        until = min(sending.at, time.time()) + self.facts.settle
        while name is None and time.time() < until:
            time.sleep(PAUSE)
            name = self._look(job.key)
        return name

    def _sending(self, handle: str) -> Sending | None:
        raw = self._store.read(f"sent/{handle}.json")
        try:
            return None if raw is None else Sending(**json.loads(raw))
        except (ValueError, TypeError) as error:
            raise LabError(
                f"The file sent/{handle}.json is damaged.",
                hint=f"Ask the lab what it has, then mend it in {self._store.folder}.",
            ) from error

    def _keep(self, handle: str, sending: Sending) -> None:
        text = json.dumps({"at": sending.at, "name": sending.name})
        self._store.write(f"sent/{handle}.json", text.encode())

    def _forget(self, handle: str) -> None:
        """Takes back that something was sent: the lab said no."""
        (self._store.folder / "sent" / f"{handle}.json").unlink(missing_ok=True)

    def _open(self) -> None:
        """Makes sure that the lab can be reached, before a send begins.

        Raises:
            LabError: If it cannot; nothing was sent then.
        """

    @property
    def _takes_recipes(self) -> bool:
        """Whether a placeholder in what the owner set is for the recipe that a request carries."""
        return "{recipe}" in json.dumps(self.facts.model_dump(mode="json"))

    @abstractmethod
    def _recipe(self, request: ExperimentRequest) -> Mapping[str, Any]:
        """Returns what the lab would be told to do; plain JSON values."""

    @abstractmethod
    def _look(self, key: str) -> str | None:
        """Returns the lab's name for what it has under a key now, or None.

        Raises:
            LabError: If the lab cannot be reached or cannot say.
        """

    @abstractmethod
    def _send(self, job: Job, request: ExperimentRequest) -> str:
        """Sends a request and returns the lab's name for it."""

    @abstractmethod
    def _ask(self, job: Job, name: str) -> Outcome | None:
        """Returns what came of a job; None while it is under way.

        An outcome of kind unknown is passed on and not kept: the lab may find it again.
        """

    def _withdraw(self, job: Job, name: str) -> bool:
        """Takes a job back; returns whether it will surely not run any more."""
        del job, name
        return False

    def _greet(self) -> Mapping[str, Any]:
        """Returns what the lab tells of itself.

        Raises:
            LabError: If it cannot be reached or takes no work.
        """
        return {}
