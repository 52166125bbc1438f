"""A lab that fetches its work: jobs wait here, workers lease them, hold them and report.

A lease that runs out makes the job free for another worker; only the holder of the newest lease may
report. Files and a small database make it safe for several processes on one folder: the campaign,
and the gateway's server that the workers talk to.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cloudseed.errors import InputError, LabError
from cloudseed.lab_adapters._result_rows import check_outcome
from cloudseed.lab_adapters._settings import LabSettings, read_settings
from cloudseed.lab_adapters._store import JobStore
from cloudseed.lab_adapters._stored import STORED_FEATURES, StoredLab
from cloudseed.lab_adapters.protocols import (
    DeliveryClass,
    ExperimentRequest,
    Feature,
    JobState,
    LabDescription,
    Lease,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cloudseed.lab_adapters.protocols import Outcome

__all__ = ["MailboxLab", "MailboxSettings"]

_TABLE = """
CREATE TABLE IF NOT EXISTS lease (
    handle TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, worker TEXT NOT NULL, until REAL NOT NULL
)
"""


class MailboxSettings(LabSettings):
    """What an owner may set about a lab that fetches its work."""

    name: str = Field(default="mailbox", min_length=1, description="What the lab is called.")
    properties: dict[str, str] = Field(
        min_length=1, description="What it measures: property -> unit."
    )
    elements: tuple[str, ...] | None = Field(
        default=None, description="Elements that it can handle; by default any."
    )
    concurrency: int = Field(default=4, ge=1, description="Jobs that wait or run at a time.")
    simulated: bool = Field(default=False, description="Whether it only rehearses.")
    recipes: bool = Field(
        default=False, description="Whether its workers follow the recipe that a job carries."
    )


class MailboxLab(StoredLab):
    """Keeps jobs until workers fetch them.

    Args:
        settings: What the owner set.
        workdir: Where jobs, results and leases are kept.
    """

    settings_type = MailboxSettings

    def __init__(self, settings: MailboxSettings, workdir: Path) -> None:
        super().__init__(JobStore(workdir))
        self.settings = settings

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> MailboxLab:
        """Opens the lab from plain values.

        Raises:
            SpecError: If a setting is unknown or wrong.
        """
        return cls(read_settings(MailboxSettings, config, "mailbox"), workdir)

    def describe(self) -> LabDescription:
        """Returns what the owner told."""
        elements = self.settings.elements
        return LabDescription(
            name=self.settings.name,
            properties=dict(self.settings.properties),
            concurrency=self.settings.concurrency,
            delivery=DeliveryClass.A,
            simulated=self.settings.simulated,
            elements=None if elements is None else frozenset(elements),
            features=STORED_FEATURES | ({Feature.RECIPES} if self.settings.recipes else set()),
        )

    def submit(self, request: ExperimentRequest) -> str:
        """Takes a request; the same key always gives the same handle.

        Raises:
            LabError: If the key stands for another request, the lab is stopped, or the folder
                cannot be written.
        """
        self._check_running()
        return self._store.add(request.key, request.to_json()).handle

    def lease(self, worker: str, count: int, seconds: float) -> Sequence[Lease]:
        """Hands out up to `count` jobs, the oldest first; none while the lab is stopped.

        Raises:
            LabError: If the folder cannot be used.
        """
        if self.stopped() is not None:
            return []
        leases: list[Lease] = []
        now = time.time()
        with self._leases() as db:
            held = {h for (h,) in db.execute("SELECT handle FROM lease WHERE until > ?", (now,))}
            for job in self._store.unfinished():
                if len(leases) == count:
                    break
                if job.handle in held:
                    continue
                token, until = secrets.token_urlsafe(24), now + seconds
                db.execute(
                    "INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?)",
                    (job.handle, token, worker, until),
                )
                request = ExperimentRequest.from_json(job.request)
                leases.append(Lease(job.handle, request, token, datetime.fromtimestamp(until, UTC)))
        return leases

    def heartbeat(self, token: str, seconds: float) -> datetime:
        """Holds a job for longer and returns until when.

        Raises:
            LabError: If another worker has the job, or it has ended.
        """
        with self._leases() as db:
            handle = _holder(db, token)
            if self._store.is_finished(handle):
                raise LabError(f"The job {handle} has ended.", hint="Stop working on it.")
            until = time.time() + seconds
            db.execute("UPDATE lease SET until = ? WHERE token = ?", (until, token))
        return datetime.fromtimestamp(until, UTC)

    def complete(self, token: str, outcome: Outcome) -> None:
        """Stores a job's outcome; the same report again changes nothing.

        Raises:
            LabError: If another worker has the job, it has another outcome, or this one does not
                answer it.
        """
        with self._leases() as db:
            handle = _holder(db, token)
            job = self._store.job(handle)
            assert job is not None
            raw = outcome.to_json()
            try:
                check_outcome(outcome, job, self.settings.properties)
            except InputError as error:
                raise LabError(error.message, hint=error.hint) from error
            if not self._store.is_finished(handle):
                self._store.finish(handle, raw)
        if self._store.result(handle) != raw:
            raise LabError(
                f"The job {handle} has another outcome already.", hint="The first one stands."
            )

    def _state(self, handle: str) -> JobState:
        state = super()._state(handle)
        if state is JobState.QUEUED:
            with self._leases() as db:
                query = "SELECT 1 FROM lease WHERE handle = ? AND until > ?"
                if db.execute(query, (handle, time.time())).fetchone():
                    return JobState.RUNNING
        return state

    @contextmanager
    def _leases(self) -> Iterator[sqlite3.Connection]:
        """Opens the leases, for this process alone while it changes them."""
        path = self._store.folder / "leases.db"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = FULL")
                db.execute(_TABLE)
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                except BaseException:
                    db.execute("ROLLBACK")
                    raise
                db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise LabError(
                f"The leases in {path} cannot be used: {error}.", hint="Check the folder."
            ) from error


def _holder(db: sqlite3.Connection, token: str) -> str:
    row = db.execute("SELECT handle FROM lease WHERE token = ?", (token,)).fetchone()
    if row is None:
        raise LabError(
            "Another worker has this job.", hint="The lease ran out: drop the job, do not report."
        )
    return str(row[0])
