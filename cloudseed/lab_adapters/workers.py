"""A durable pool of local workers: what every computed lab hands its jobs to.

A job is on disk before `submit` returns, its result before anyone is told of it. Workers are
processes of their own: one that crashes, hangs or runs out of memory costs its job a typed failure
and nothing else. When the owner dies, however suddenly, its workers end too, and the next pool on
the same folder takes up what has no result.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from typing import TYPE_CHECKING, Any

from cloudseed.errors import LabError
from cloudseed.lab_adapters._process import WorkerProcess
from cloudseed.lab_adapters._store import Job, JobStore, handle_of
from cloudseed.lab_adapters.protocols import FailureKind, LabMessage, Outcome, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["JobPool"]

_PAUSES = (1.0, 5.0, 30.0)
"""Seconds before the first, second and every later try to start a worker that would not start."""


class JobPool:
    """Runs a task for each request, in worker processes, each key once.

    Nothing starts before the first `submit` or before a `poll` for something unfinished.

    Args:
        folder: Where jobs, results and logs are kept.
        task: "module:function"; the function takes a request and the options as plain values and
            returns an `Outcome`. Its module may have a `warm_up(options)`, called once per worker.
        options: Plain values handed to the task.
        concurrency: Number of workers.
        timeout: Seconds after which a job is stopped.
        threads: Threads per worker that numerical libraries may use.

    Attributes:
        store: Its jobs and results.
    """

    def __init__(
        self,
        folder: Path,
        task: str,
        *,
        options: Mapping[str, Any] | None = None,
        concurrency: int = 1,
        timeout: float = 3600.0,
        threads: int = 1,
    ) -> None:
        self.store = self._store = JobStore(folder)
        hello = {"folder": str(folder.absolute()), "task": task, "options": dict(options or {})}
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._queued: set[str] = set()
        self._closing = threading.Event()
        self._started = False
        logs = folder / "logs"
        self._feeders = [
            _Feeder(
                self._store,
                WorkerProcess(hello, logs / f"worker-{number}.log", threads),
                timeout,
                self._queue,
                self._closing,
            )
            for number in range(concurrency)
        ]

    def submit(self, key: str, request: Mapping[str, Any]) -> str:
        """Takes a request, once for each key, and returns its handle.

        Raises:
            LabError: If the key stands for another request, or the folder cannot be written.
        """
        self._check_open()
        job = self._store.add(key, request)
        self._start()
        self._enqueue(job)
        return job.handle

    def lookup(self, key: str) -> str | None:
        """Returns the handle under which a key was submitted, or None."""
        job = self._store.job(handle_of(key))
        return None if job is None else job.handle

    def poll(self, handles: Sequence[str]) -> list[LabMessage]:
        """Returns the results that are there, also of an earlier process.

        Raises:
            LabError: If nothing can be told because the workers do not start or the disk fails.
        """
        self._check_open()
        messages = []
        for handle in handles:
            message = read_result(self._store, handle)
            if message is not None:
                messages.append(message)
            else:
                self._start()
        troubles = [feeder.trouble for feeder in self._feeders if feeder.trouble is not None]
        if troubles and not messages:
            raise troubles[0]
        return messages

    def drop(self, handle: str) -> None:
        """Stops the work on a job, whose outcome must be stored already."""
        for feeder in self._feeders:
            feeder.drop(handle)

    def close(self, *, stop_jobs: bool = False) -> None:
        """Ends the workers.

        A local pool has nobody to leave its jobs with, so what runs is stopped in either case. What
        has no result yet stays in the folder and starts over with the next pool.

        Args:
            stop_jobs: Accepted for the protocol's sake.
        """
        del stop_jobs
        if self._closing.is_set():
            return
        self._closing.set()
        for _ in self._feeders:
            self._queue.put(None)
        for feeder in self._feeders:
            feeder.close()

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise LabError("This lab is closed.", hint="Open it again.")

    def _start(self) -> None:
        """Starts the workers and takes up what an earlier process left."""
        if self._started:
            return
        for job in self._store.unfinished():
            self._enqueue(job)
        self._started = True
        for feeder in self._feeders:
            feeder.start()

    def _enqueue(self, job: Job) -> None:
        if job.handle not in self._queued and not self._store.is_finished(job.handle):
            self._queued.add(job.handle)
            self._queue.put(job.handle)


def read_result(store: JobStore, handle: str) -> LabMessage | None:
    """Returns a finished job's message; None while it is unfinished.

    A handle that the folder does not know gets an outcome of kind unknown.
    """
    raw = store.result(handle)
    job = store.job(handle)
    if raw is None:
        if job is not None:
            return None
        reason = "The lab's folder has no such job: was it moved or cleaned?"
        raw = Outcome(OutcomeKind.UNKNOWN, reason=reason).to_json()
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return LabMessage(f"{handle}.{digest}", handle if job is None else job.key, raw)


class _Feeder:
    """A thread that takes jobs from the queue and has one worker process do them."""

    def __init__(
        self,
        store: JobStore,
        process: WorkerProcess,
        timeout: float,
        jobs: queue.Queue[str | None],
        closing: threading.Event,
    ) -> None:
        self.trouble: LabError | None = None
        self._store = store
        self._process = process
        self._timeout = timeout
        self._jobs = jobs
        self._closing = closing
        self._current: str | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._feed, name="cloudseed-lab", daemon=True)

    def start(self) -> None:
        """Begins to take jobs."""
        self._thread.start()

    def drop(self, handle: str) -> None:
        """Kills the process if it works on a job."""
        with self._lock:
            if self._current == handle:
                self._process.interrupt()

    def close(self) -> None:
        """Kills the process and waits for the thread, which `closing` and the queue must end."""
        self._process.close()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _feed(self) -> None:
        while (handle := self._jobs.get()) is not None:
            failures = 0
            while not self._closing.is_set():
                try:
                    self._run(handle)
                except LabError as error:
                    self._process.discard()
                    self.trouble = error
                    self._closing.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])
                    failures += 1
                else:
                    self.trouble = None
                    break
        self._process.discard()

    def _run(self, handle: str) -> None:
        """Has one job done.

        Raises:
            LabError: If no worker can be started or the outcome cannot be stored.
        """
        with self._lock:
            if self._store.is_finished(handle):
                return
            self._current = handle
        try:
            answer = self._process.ask(handle, self._timeout)
        except TimeoutError:
            self._fail(handle, f"It took longer than {self._timeout:g} s and was stopped.")
        except EOFError as error:
            if not self._closing.is_set():
                self._fail(handle, f"The worker {error}.")
        else:
            if "error" in answer:
                raise LabError(answer["error"], hint=answer.get("hint", ""))
        finally:
            with self._lock:
                self._current = None

    def _fail(self, handle: str, reason: str) -> None:
        """Drops a worker that crashed or hung; its job gets a failure, unless it has a result."""
        self._process.discard()
        if self._store.is_finished(handle):
            return
        outcome = Outcome.failed(FailureKind.INSTRUMENT_FAULT, reason)
        self._store.finish(handle, outcome.to_json())
        self._store.log("lost", handle, reason=reason)
