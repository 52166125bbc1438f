"""One worker process as its owner sees it: started when needed, asked, killed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from cloudseed.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["WorkerProcess"]

START_TIMEOUT = 300.0
"""Seconds a worker may take to load its task: a cold disk and a slow machine included."""

LARGEST_LOG = 5_000_000
"""Bytes after which a worker's log is moved aside."""


class WorkerProcess:
    """A process that runs `cloudseed.lab_adapters._worker`.

    Args:
        hello: The folder, task and options that it is told first.
        log: The file that gets whatever it prints.
        threads: Threads that numerical libraries may use in it.
    """

    def __init__(self, hello: Mapping[str, Any], log: Path, threads: int) -> None:
        self._hello = hello
        self._log = log
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, handle: str, timeout: float) -> dict[str, Any]:
        """Has a job done and returns the worker's answer; starts a process if there is none.

        Args:
            handle: The job.
            timeout: Seconds the job may take; the start comes on top.

        Raises:
            LabError: If no process can be started.
            TimeoutError: If the job takes too long.
            EOFError: If the process ends; the text says how.
        """
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        return _ask(process, {"job": handle}, timeout)

    def discard(self) -> None:
        """Ends the process, if there is one; the next `ask` starts another."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            try:
                if stream is not None:
                    stream.close()
            except OSError:
                continue

    def interrupt(self) -> None:
        """Kills the process while another thread waits in `ask`; the next `ask` starts another."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def close(self) -> None:
        """Kills the process for good; safe to call while another thread waits in `ask`."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        self.discard()
        process = self._spawn()
        try:
            answer = _ask(process, self._hello, START_TIMEOUT)
        except TimeoutError:
            answer = {"error": f"it was not ready after {START_TIMEOUT:g} s"}
        except EOFError as error:
            answer = {"error": f"it {error}"}
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
                if self._closed:
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


def _ask(
    process: subprocess.Popen[bytes], message: Mapping[str, Any], timeout: float
) -> dict[str, Any]:
    """Sends a line and returns the line that answers it.

    Raises:
        TimeoutError: If there is no answer in time.
        EOFError: If the process ends; the text says how.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    deadline = time.monotonic() + timeout
    watch = select.poll()  # not select(): it fails on descriptors above 1023
    watch.register(process.stdout, select.POLLIN | select.POLLHUP)
    try:
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise EOFError(_fate(process.wait())) from None
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not watch.poll(left * 1000):
            raise TimeoutError
        chunk = os.read(process.stdout.fileno(), 65536)
        if not chunk:
            raise EOFError(_fate(process.wait()))
        line += chunk
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        raise EOFError("answered in another language") from None
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
