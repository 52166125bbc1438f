"""One process alone on a SQLite file: what an old library needs that could corrupt a shared one."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cloudseed.db.failures import translated
from cloudseed.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filelock import BaseFileLock

__all__ = ["alone"]

log = logging.getLogger(__name__)

_guard = threading.Lock()
_held: dict[Path, tuple[BaseFileLock, int]] = {}
"""Locks of this process, each with how many users it has here."""


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keeps other processes that use this function away from a file, as long as the context lasts.

    Raises:
        StorageError: If another process is there.
    """
    _enter(path)
    try:
        yield
    finally:
        _leave(path)


def _enter(path: Path) -> None:
    from filelock import FileLock, Timeout

    with _guard:
        lock, users = _held.get(path, (None, 0))
        if lock is None:
            lock = FileLock(path.with_name(f"{path.name}.process.lock"), thread_local=False)
            with translated(str(path)), suppress(Timeout):
                lock.acquire(blocking=False)
            if not lock.is_locked:
                raise StorageError(
                    f"Another process uses {path}, and this SQLite could corrupt a shared file.",
                    hint="`pip install pysqlite3`, use PostgreSQL, or wait until it has ended.",
                    path=str(path),
                )
            log.warning("old SQLite: one process only", extra={"path": str(path)})
        _held[path] = lock, users + 1


def _leave(path: Path) -> None:
    with _guard:
        lock, users = _held.pop(path)
        if users > 1:
            _held[path] = lock, users - 1
        else:
            lock.release()
