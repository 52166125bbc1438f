"""A durable pool of local workers: what every computed lab hands its jobs to.

A job is on disk before `submit` returns, its result before anyone is told of it. Workers are
processes of their own: one that crashes, hangs or runs out of memory costs its job a typed failure
and nothing else. When the owner dies, however suddenly, its workers end too, and the next pool on
the same folder takes up what has no result.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from cloudseed.errors import LabError
from cloudseed.lab_adapters._store import Job, JobStore, handle_of
from cloudseed.lab_adapters.protocols import LabMessage, Outcome, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["JobPool"]

START_TIMEOUT = 300.0
"""Seconds a worker may take to load its task: a cold disk and a slow machine included."""

LARGEST_LOG = 5_000_000
"""Bytes after which a worker's log is moved aside."""

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
        self._store = JobStore(folder)
        hello = {"folder": str(folder.absolute()), "task": task, "options": dict(options or {})}
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._queued: set[str] = set()
        self._closing = threading.Event()
        self._started = False
        self._workers = [
            _Worker(self._store, number, hello, timeout, threads, self._queue, self._closing)
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
        if not messages and len(handles) > 0:
            self._raise_trouble()
        return messages

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
        for worker in self._workers:
            self._queue.put(None)
            worker.stop()
        if self._started:
            for worker in self._workers:
                worker.thread.join(timeout=10)

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
        for worker in self._workers:
            worker.thread.start()

    def _enqueue(self, job: Job) -> None:
        if job.handle not in self._queued and not self._store.is_finished(job.handle):
            self._queued.add(job.handle)
            self._queue.put(job.handle)

    def _raise_trouble(self) -> None:
        troubles = [worker.trouble for worker in self._workers]
        if self._started and all(troubles) and troubles[0] is not None:
            raise troubles[0]


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


class _Worker:
    """One worker process and the thread that feeds it."""

    def __init__(
        self,
        store: JobStore,
        number: int,
        hello: Mapping[str, Any],
        timeout: float,
        threads: int,
        jobs: queue.Queue[str | None],
        closing: threading.Event,
    ) -> None:
        self.thread = threading.Thread(
            target=self._feed, name=f"cloudseed-worker-{number}", daemon=True
        )
        self.trouble: LabError | None = None
        self._store = store
        self._hello = hello
        self._timeout = timeout
        self._threads = threads
        self._jobs = jobs
        self._closing = closing
        self._log = store.folder / "logs" / f"worker-{number}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Kills the process, if there is one."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def _feed(self) -> None:
        failures = 0
        while (handle := self._jobs.get()) is not None:
            done = False
            while not done and not self._closing.is_set():
                try:
                    self._run(handle)
                    self.trouble, failures, done = None, 0, True
                except LabError as error:
                    self._discard()
                    if not self._closing.is_set():
                        self.trouble = error
                    self._closing.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])
                    failures += 1
        self._discard()

    def _run(self, handle: str) -> None:
        """Has one job done.

        Raises:
            LabError: If no worker can be started or the outcome cannot be stored.
        """
        if self._store.is_finished(handle):
            return
        process = self._ready_process()
        try:
            answer = _ask(process, {"job": handle}, self._timeout)
        except TimeoutError:
            self._fail(handle, f"It took longer than {self._timeout:g} s and was stopped.")
            return
        if answer is None:
            if not self._closing.is_set():
                self._fail(handle, f"The worker {_fate(process.wait())}.")
        elif "error" in answer:
            raise LabError(answer["error"], hint=answer.get("hint", ""))

    def _fail(self, handle: str, reason: str) -> None:
        """Replaces a worker that crashed or hung; its job gets a failure, unless it just ended."""
        self._discard()
        outcome = Outcome(OutcomeKind.FAILED_RETRYABLE, reason=reason)
        self._store.finish(handle, outcome.to_json())
        self._store.log("lost", handle, reason=reason)

    def _ready_process(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._discard()
        process = self._spawn()
        try:
            answer = _ask(process, self._hello, START_TIMEOUT)
        except TimeoutError:
            answer = {"error": f"it was not ready after {START_TIMEOUT:g} s"}
        if answer is None:
            answer = {"error": f"it {_fate(process.wait())}"}
        if "error" in answer:
            raise LabError(
                f"A worker of the lab could not start: {answer['error']}",
                hint=f"Its log is {self._log}.",
                log=str(self._log),
            )
        return process

    def _spawn(self) -> subprocess.Popen[bytes]:
        # -P: a file of the user's that is called like a library must not be taken for it.
        command = [sys.executable, "-P", "-m", "cloudseed.lab_adapters._worker"]
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            if self._log.exists() and self._log.stat().st_size > LARGEST_LOG:
                self._log.replace(self._log.with_suffix(".old"))
            with self._log.open("ab") as log, self._lock:
                if self._closing.is_set():
                    raise LabError("This lab is closed.")
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=_environment(self._threads),
                    start_new_session=True,  # Ctrl-C is for the owner alone
                )
        except OSError as error:
            raise LabError(
                f"A worker of the lab could not start: {error}.",
                hint="Check the lab's folder and the machine's limits on processes.",
            ) from error
        return self._process

    def _discard(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                _close_quietly(stream)


def _ask(
    process: subprocess.Popen[bytes], message: Mapping[str, Any], timeout: float
) -> dict[str, Any] | None:
    """Sends a line and returns the line that answers it; None if the process has ended.

    Raises:
        TimeoutError: If there is no answer in time.
    """
    import select

    assert process.stdin is not None
    assert process.stdout is not None
    deadline = time.monotonic() + timeout
    try:
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            # Not select(): it fails on descriptors above 1023.
            watch = select.poll()
            watch.register(process.stdout, select.POLLIN | select.POLLHUP)
            if left <= 0 or not watch.poll(left * 1000):
                raise TimeoutError
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                return None
            line += chunk
    except (BrokenPipeError, ValueError):
        return None
    answer: dict[str, Any] = json.loads(line)
    return answer


def _environment(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONUNBUFFERED": "1"}


def _fate(code: int) -> str:
    """Says how a process ended."""
    if code >= 0:
        return f"ended by itself with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = "; the machine may be out of memory" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _close_quietly(stream: Any) -> None:
    try:
        stream.close()
    except OSError:
        return
