"""Foreign structure files, parsed in a process of their own under limits of size, time and memory.

A small CIF can ask for minutes of work or gigabytes (many sites times many operations), and
parsers meet broken files daily. `read_cells` therefore sends each text to a worker process and
kills it when it exceeds its limits; the next text gets a fresh worker. One JSON line goes each
way; a worker whose parent is gone reads the end of its input and leaves.
"""

from __future__ import annotations

import json
import os
import queue
import selectors
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudseed._parsing import LIMITS, Disorder, Limits, PlainCell, Task
from cloudseed.errors import InputError, StructureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


__all__ = ["LIMITS", "Disorder", "Source", "Worker", "read_cells"]

STARTUP_SECONDS = 120.0
"""What a worker may take to import its parsers, on a busy machine with a cold disk."""

Source = str | Path | tuple[str, str] | Task
"""A path, a name and the text of a CIF, or a task for the parser."""


def read_cells(
    sources: Iterable[Source],
    *,
    workers: int = 1,
    limits: Limits = LIMITS,
    disorder: Disorder = "refuse",
) -> Iterator[PlainCell | InputError]:
    """Yields, in order, the checked cell of each source or the error that it gave.

    Args:
        sources: Paths, pairs of a name and the text of a CIF, or tasks.
        workers: Processes that parse at the same time.
        limits: What one structure may cost.
        disorder: What is done with partly occupied sites.
    """
    tasks = (_task(source, limits, disorder) for source in sources)
    with _pool(workers, limits) as read:
        yield from read(tasks)


def _task(source: Source, limits: Limits, disorder: Disorder) -> Task | InputError:
    """Reads a source's text, or says why it cannot be read."""
    try:
        if isinstance(source, tuple):
            task = source if isinstance(source, Task) else Task(source[0], "cif", source[1])
            _refuse_large(task.name, len(task.text), limits)
            return task._replace(disorder=disorder)
        path = Path(source)
        _refuse_no_file(path)
        return Task(str(path), _format(path), _text(path, limits), disorder)
    except InputError as error:
        return error


def _refuse_no_file(path: Path) -> None:
    if not path.exists():
        raise InputError(
            f"There is no file {path}.",
            hint="Check the path; it is relative to the folder you are in.",
            path=str(path),
        )
    if not path.is_file():
        raise InputError(
            f"{path} is not a file.",
            hint="Give the files in it, for instance folder/*.cif.",
            path=str(path),
        )


def _text(path: Path, limits: Limits) -> str:
    _refuse_large(str(path), path.stat().st_size, limits)
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}.",
            hint="Check its permissions.",
            path=str(path),
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not a text file.", hint="Save it as UTF-8 text.", path=str(path)
        ) from error


def _refuse_large(name: str, size: int, limits: Limits) -> None:
    if size > limits.megabytes * 1e6:
        raise StructureError(
            f"{name} has {size / 1e6:.1f} MB; at most {limits.megabytes:g} MB are read.",
            hint="Give one crystal a file, without reflection data.",
            source=name,
        )


def _format(path: Path) -> str:
    suffix, name = path.suffix.lower(), path.name.upper()
    if suffix in {".cif", ".mcif"}:
        return "cif"
    if suffix in {".vasp", ".poscar"} or name.startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    if suffix in {".xyz", ".extxyz"}:
        return "extxyz"
    raise InputError(
        f"{path} has no known structure format.",
        hint="Name it .cif, .vasp, .extxyz or POSCAR, by what it holds.",
        path=str(path),
    )


@contextmanager
def _pool(workers: int, limits: Limits) -> Iterator[Any]:
    """Gives a function that turns tasks into results, in order, with that many workers."""
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    everyone = [Worker(limits) for _ in range(max(1, workers))]
    for worker in everyone:
        idle.put(worker)
    executor = ThreadPoolExecutor(len(everyone), thread_name_prefix="cloudseed-reading")

    def one(task: Task | InputError) -> PlainCell | InputError:
        if isinstance(task, InputError):
            return task
        worker = idle.get()
        try:
            return worker.read(task)
        finally:
            idle.put(worker)

    def read(tasks: Iterator[Task | InputError]) -> Iterator[PlainCell | InputError]:
        pending: deque[Future[PlainCell | InputError]] = deque()
        for task in tasks:
            pending.append(executor.submit(one, task))
            if len(pending) > 2 * len(everyone):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    try:
        yield read
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        for worker in everyone:
            worker.stop()


class Worker:
    """A parsing process, started when first needed and replaced when it had to be killed."""

    code = "from cloudseed._parsing import serve; serve()"
    """What the process runs: it reads the limits, answers "ready", then each line by one line."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, task: Task) -> PlainCell | InputError:
        """Parses one text."""
        try:
            answer = self.ask(task.name, task._asdict())
        except StructureError as error:
            return error
        if "error" in answer:
            data = answer.get("data", {}) | {"source": task.name}
            return StructureError(f"{task.name}: {answer['error']}", hint=answer["hint"], **data)
        return PlainCell.of(answer["lattice"], answer["species"], answer["frac_coords"])

    def ask(self, name: str, question: object) -> dict[str, Any]:
        """Returns the answer to one question.

        Raises:
            StructureError: If there is none within the limits; calls its source by `name`.
        """
        try:
            process = self._process or self._start()
            assert process.stdin is not None
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            line = self._line(process, self.limits.wall_seconds)
        except OSError:
            line = b""
        if line is None or not line.endswith(b"\n"):
            raise self._died(name, waited=line is None)
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        """Ends the process, if there is one."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        home = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        self._process = process = subprocess.Popen(
            [sys.executable, "-P", "-c", self.code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(self.limits)).encode() + b"\n")
        process.stdin.flush()
        if self._line(process, STARTUP_SECONDS) != b"ready\n":
            self.stop()
            raise InputError(
                "The process that parses structure files did not start.",
                hint="Check that `python -c 'import pymatgen.core'` works and that memory is free.",
            )
        return process

    def _died(self, name: str, *, waited: bool) -> StructureError:
        """Puts away a worker that gave no answer, and says why it gave none."""
        limits, process = self.limits, self._process
        code = None if process is None or waited else process.wait(timeout=10)
        self.stop()
        # SIGXCPU is the processor-time limit.
        if waited or code == -24:
            why = f"takes longer to parse than {limits.cpu_seconds:g} s and was stopped"
        else:
            why = "made its parser crash"
        return StructureError(
            f"{name}: {why}.",
            hint="Simplify it: one crystal, ordered, few sites before the symmetry operations.",
            source=name,
        )

    @staticmethod
    def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
        """Returns the next line, what there is of it at the end of output, or None when late."""
        assert process.stdout is not None
        handle, deadline, parts = process.stdout.fileno(), time.monotonic() + seconds, b""
        with selectors.DefaultSelector() as selector:
            selector.register(handle, selectors.EVENT_READ)
            while not parts.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                chunk = os.read(handle, 1 << 16)
                if not chunk:
                    break
                parts += chunk
        return parts
