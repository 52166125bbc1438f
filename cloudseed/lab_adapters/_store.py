"""A folder of jobs that survives any crash: a request goes in once, a result comes out once.

    jobs/NAME.json     the request; written before `add` returns
    results/NAME.json  the outcome's bytes; the first to be written stands for ever
    runs.jsonl         when runs began and ended, for people

Files appear whole or not at all: they are written aside, flushed to the disk, then linked into
place.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudseed.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Job", "JobStore", "handle_of", "write_whole"]

_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_HINTS = {
    errno.ENOSPC: "The disk is full: free some space; what was accepted so far is kept.",
    errno.EDQUOT: "The disk quota is used up: free some space; what was accepted so far is kept.",
    errno.EROFS: "The disk is read-only: choose another folder.",
    errno.EACCES: "Give this user the right to write there, or choose another folder.",
}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True, slots=True)
class Job:
    """A request that was accepted.

    Attributes:
        handle: The name of its files, made from the key.
        key: The request's idempotency key.
        request: The request, as plain values.
        due: Seconds since the epoch before which it must not be answered; 0 for at once.
    """

    handle: str
    key: str
    request: Mapping[str, Any]
    due: float = 0.0


class JobStore:
    """Jobs and their results in a folder.

    Nothing is created before the first job is added.

    Args:
        folder: Where to keep them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._jobs = folder / "jobs"
        self._results = folder / "results"

    def add(self, key: str, request: Mapping[str, Any], *, due: float = 0.0) -> Job:
        """Accepts a request, or returns the job that the key already stands for.

        Raises:
            LabError: If the key stands for another request, or the folder cannot be written.
        """
        job = Job(handle_of(key), key, json.loads(json.dumps(request)), due)
        known = self.job(job.handle)
        if known is None:
            record = {"key": key, "request": job.request, "due": due}
            self._publish(self._jobs, job.handle, json.dumps(record).encode())
            known = self.job(job.handle)
        if known is None or known.key != key or known.request != job.request:
            raise LabError(
                f"The key {key!r} already stands for another request.",
                hint="A key names one request for ever; use a new key for a new request.",
                key=key,
            )
        return known

    def job(self, handle: str) -> Job | None:
        """Returns a job, or None if there is none under this handle."""
        raw = self._read(self._jobs, handle)
        if raw is None:
            return None
        try:
            data = json.loads(raw)
            return Job(handle, data["key"], data["request"], data["due"])
        except (ValueError, KeyError, TypeError) as error:
            raise LabError(
                f"The job file {handle}.json is damaged.",
                hint=f"Remove it from {self._jobs}; the campaign will send the request again.",
                handle=handle,
            ) from error

    def jobs(self) -> list[Job]:
        """Returns all jobs, the oldest first."""
        found = (self.job(handle) for handle in self._handles())
        return [job for job in found if job is not None]

    def unfinished(self) -> list[Job]:
        """Returns the jobs that have no result, the oldest first."""
        # Of what is finished, however much, no file is read.
        found = (self.job(h) for h in self._handles() if not self.is_finished(h))
        return [job for job in found if job is not None]

    def _handles(self) -> list[str]:
        """Returns the handles of all jobs, the oldest first."""
        with self._storage():
            if not self._jobs.is_dir():
                return []
            stamped = [(p.stat().st_mtime_ns, p.stem) for p in self._jobs.glob("*.json")]
        return [handle for _, handle in sorted(stamped)]

    def is_finished(self, handle: str) -> bool:
        """Says whether a job has its result."""
        return _path(self._results, handle).is_file()

    def result(self, handle: str) -> bytes | None:
        """Returns the bytes of a job's outcome, or None if it has none yet."""
        return self._read(self._results, handle)

    def finish(self, handle: str, raw: bytes) -> None:
        """Stores a job's outcome; where one is stored already, that one stays.

        Raises:
            LabError: If the folder cannot be written.
        """
        self._publish(self._results, handle, raw)

    def read(self, name: str) -> bytes | None:
        """Returns the bytes of a file of the folder's own, or None if it is not there."""
        with self._storage():
            try:
                return (self.folder / name).read_bytes()
            except FileNotFoundError:
                return None

    def write(self, name: str, raw: bytes) -> None:
        """Writes a file of the folder's own whole, in place of an earlier one.

        Raises:
            LabError: If the folder cannot be written.
        """
        with self._storage():
            write_whole(self.folder / name, raw)

    def log(self, event: str, handle: str, **details: Any) -> None:
        """Appends a line to `runs.jsonl`."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, "job": handle, **details}) + "\n"
        with self._storage():
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            descriptor = os.open(self.folder / "runs.jsonl", flags, 0o644)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)

    def _read(self, folder: Path, handle: str) -> bytes | None:
        with self._storage():
            try:
                return _path(folder, handle).read_bytes()
            except FileNotFoundError:
                return None

    def _publish(self, folder: Path, handle: str, raw: bytes) -> None:
        """Makes a file appear whole, unless it is there already."""
        with self._storage():
            folder.mkdir(parents=True, exist_ok=True)
            aside = _write_aside(folder, raw)
            try:
                _link(aside, str(_path(folder, handle)))
            finally:
                _remove(aside)
            _flush_folder(folder)

    @contextmanager
    def _storage(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LabError(
                f"The lab's folder {self.folder} cannot be used: {error.strerror or error}.",
                hint=_HINTS.get(error.errno or 0, "Check the folder and its disk."),
                folder=str(self.folder),
            ) from error


def write_whole(path: Path, raw: bytes) -> None:
    """Puts a file in place at one stroke, flushed to the disk.

    Raises:
        OSError: If the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _write_aside(path.parent, raw)
    try:
        os.replace(aside, path)  # noqa: PTH105
    except OSError:
        _remove(aside)
        raise
    _flush_folder(path.parent)


def handle_of(key: str) -> str:
    """Returns the handle of a key: the key itself where it can name a file, else its digest."""
    if _SAFE_NAME.fullmatch(key):
        return key
    return "sha256-" + hashlib.sha256(key.encode()).hexdigest()


def _path(folder: Path, handle: str) -> Path:
    if not _SAFE_NAME.fullmatch(handle):
        raise LabError(f"{handle!r} is no handle of this lab.", hint="Pass what `submit` returned.")
    return folder / f"{handle}.json"


def _write_aside(folder: Path, raw: bytes) -> str:
    descriptor, aside = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        _remove(aside)
        raise
    return aside


def _link(aside: str, target: str) -> None:
    try:
        os.link(aside, target)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A disk without hard links: the window between the two calls is the price.
        if not os.path.exists(target):  # noqa: PTH110
            os.replace(aside, target)  # noqa: PTH105


def _remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
