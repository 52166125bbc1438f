"""Labs whose jobs and results are files: cancelling, stopping and reconciling are the same for all.

A stop is a file too, `stopped.json`: it outlives the process, and a person takes it away.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudseed.errors import LabError
from cloudseed.lab_adapters._store import handle_of
from cloudseed.lab_adapters.base import BaseLab, reasons_against
from cloudseed.lab_adapters.protocols import (
    FailureKind,
    Feature,
    Health,
    JobState,
    JobStatus,
    Outcome,
    Validation,
)
from cloudseed.lab_adapters.workers import read_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.lab_adapters._store import JobStore
    from cloudseed.lab_adapters.protocols import ExperimentRequest, LabMessage

__all__ = ["STORED_FEATURES", "StoredLab"]

STORED_FEATURES = frozenset({Feature.CANCEL, Feature.SAFE_STOP})


class StoredLab(BaseLab):
    """A lab over a `JobStore`.

    Args:
        store: Its jobs and results.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def validate(self, request: ExperimentRequest) -> Validation:
        """Refuses what the lab does not declare."""
        reasons = reasons_against(self.describe(), request)
        failure = FailureKind.REJECTED_CAPABILITY if reasons else None
        return Validation(not reasons, reasons, failure=failure)

    def lookup(self, key: str) -> str | None:
        """Returns the handle under which a key was submitted, or None."""
        job = self._store.job(handle_of(key))
        return None if job is None else job.handle

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        """Returns the results that are there.

        Raises:
            LabError: If the folder cannot be used.
        """
        at_rest = self.stopped() is not None
        messages = []
        for handle in handles:
            if not at_rest:
                self._advance(handle)
            message = read_result(self._store, handle)
            if message is not None:
                messages.append(message)
        return messages

    def cancel(self, handle: str) -> JobState:
        """Ends a submission that has no result; returns its state then.

        Raises:
            LabError: If the folder cannot be written.
        """
        if self._store.job(handle) is None:
            return JobState.UNKNOWN
        if not self._store.is_finished(handle):
            outcome = Outcome.failed(FailureKind.STOPPED, "It was cancelled.")
            self._store.finish(handle, outcome.to_json())
            self._store.log("cancelled", handle)
            self._drop(handle)
        return self._state(handle)

    def safe_stop(self, reason: str) -> None:
        """Halts the work; what has no result waits until `stopped.json` is taken away.

        Raises:
            LabError: If the folder cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._store.write("stopped.json", json.dumps({"reason": reason, "time": now}).encode())
        self._halt()

    def stopped(self) -> str | None:
        """Returns why the lab is stopped, or None."""
        raw = self._store.read("stopped.json")
        if raw is None:
            return None
        try:
            return str(json.loads(raw)["reason"])
        except (ValueError, KeyError, TypeError):
            return "for a reason that cannot be read"

    def health(self) -> Health:
        """Says whether the lab takes work."""
        details: dict[str, Any] = {}
        try:
            details["unfinished"] = len(self._store.unfinished())
            reason = self.stopped()
        except LabError as error:
            return Health(ready=False, reason=error.message, clock=datetime.now(UTC))
        return Health(
            ready=reason is None,
            reason="" if reason is None else f"It is stopped: {reason}",
            clock=datetime.now(UTC),
            details=details,
        )

    def reconcile(self, keys: Sequence[str]) -> Sequence[JobStatus]:
        """Says what the folder has of each key."""
        return [JobStatus(key, self.lookup(key), self._state(handle_of(key))) for key in keys]

    def _check_running(self) -> None:
        reason = self.stopped()
        if reason is not None:
            raise LabError(
                f"The lab is stopped: {reason}",
                hint=f"When it is safe to go on, remove {self._store.folder / 'stopped.json'}.",
            )

    def _state(self, handle: str) -> JobState:
        raw = self._store.result(handle)
        if raw is not None:
            stopped = Outcome.from_json(raw).failure is FailureKind.STOPPED
            return JobState.CANCELLED if stopped else JobState.FINISHED
        if self._store.job(handle) is None:
            return JobState.UNKNOWN
        return JobState.QUEUED if self.stopped() is None else JobState.HELD

    def _advance(self, handle: str) -> None:
        """Does what there is to do for a job before its result is read."""

    def _drop(self, handle: str) -> None:
        """Stops the work on a job that was cancelled."""

    def _halt(self) -> None:
        """Stops all work."""
