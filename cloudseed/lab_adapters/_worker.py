"""A worker process: takes jobs from its standard input, puts results into the store.

It reads JSON lines: first `{"folder", "task", "options"}`, then `{"job": HANDLE}` for each job, and
answers `{"ready": true}`, then `{"done": HANDLE}`, or `{"error": TEXT}`. It ends when its input
does, which also happens when its parent is killed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudseed.errors import CloudseedError
from cloudseed.lab_adapters._store import JobStore
from cloudseed.lab_adapters.protocols import FailureKind, Outcome, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Task = Callable[[Mapping[str, Any], Mapping[str, Any]], Outcome]


def main() -> None:
    """Works until the input ends."""
    answers = _claim_stdout()
    lines: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    hello = lines.get()
    store = JobStore(Path(hello["folder"]))
    try:
        task = _load(hello["task"], hello["options"])
    except BaseException as error:
        traceback.print_exc()
        _answer(answers, {"error": one_line(error)})
        return
    _answer(answers, {"ready": True})
    while True:
        handle = lines.get()["job"]
        try:
            _work(store, handle, task, hello["options"])
        except CloudseedError as error:
            traceback.print_exc()
            _answer(answers, {"error": error.message, "hint": error.hint})
        else:
            _answer(answers, {"done": handle})


def _claim_stdout() -> int:
    """Keeps the real standard output for answers; what libraries print goes to the log."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _listen(lines: queue.Queue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        lines.put(json.loads(line))
    os._exit(0)


def _answer(descriptor: int, message: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(descriptor, json.dumps(message).encode() + b"\n")


def _load(path: str, options: Mapping[str, Any]) -> Task:
    """Imports a task; a module may have a `warm_up(options)` that loads what all jobs share."""
    name, _, function = path.partition(":")
    module = importlib.import_module(name)
    task: Task = getattr(module, function)
    warm_up = getattr(module, "warm_up", None)
    if warm_up is not None:
        warm_up(options)
    return task


def _work(store: JobStore, handle: str, task: Task, options: Mapping[str, Any]) -> None:
    job = store.job(handle)
    if job is None or store.is_finished(handle):
        return
    store.log("start", handle, pid=os.getpid())
    began, started = time.monotonic(), datetime.now(UTC)
    try:
        outcome = task(job.request, options)
        raw = _dated(outcome, started).to_json()
    except Exception as error:
        traceback.print_exc()
        outcome = _failure(error)
        raw = _dated(outcome, started).to_json()
    seconds = round(time.monotonic() - began, 3)
    store.finish(handle, raw)
    store.log("end", handle, pid=os.getpid(), kind=outcome.kind.value, seconds=seconds)


def _dated(outcome: Outcome, started: datetime) -> Outcome:
    """Adds when the work was done, unless the task said so."""
    if outcome.started is not None:
        return outcome
    ended = datetime.now(UTC)
    seconds = round((ended - started).total_seconds(), 3)
    duration = seconds if outcome.duration is None else outcome.duration
    return replace(outcome, started=started, ended=ended, duration=max(duration, 0.0))


def _failure(error: Exception) -> Outcome:
    """A machine's trouble may pass; anything else would come again."""
    passing = isinstance(error, MemoryError | OSError) or "out of memory" in str(error).lower()
    reason = f"The calculation failed: {one_line(error)}"
    if passing:
        return Outcome.failed(FailureKind.INSTRUMENT_FAULT, reason)
    return Outcome(OutcomeKind.FAILED_FINAL, reason=reason)


def one_line(error: BaseException) -> str:
    """Returns an error's kind and the beginning of its text, on one line."""
    text = " ".join(str(error).split())
    short = text if len(text) <= 200 else text[:197] + "..."
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


if __name__ == "__main__":
    main()
