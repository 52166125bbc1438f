"""One engine per campaign, also across processes.

SQLite has a lock file beside the database, PostgreSQL an advisory lock held by a connection of its
own. The system, or the server, frees either when the process dies, however it dies. Where a lock is
lost all the same (the server restarts), the epoch of `campaigns.fenced` still stops the older one.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cloudseed.db.failures import translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.engine import Connection

    from cloudseed.db.engine import Database

__all__ = ["exclusive"]

PATIENCE = 1.0
"""Seconds to wait for a PostgreSQL server to end the session of a process that was killed."""

_FREE = text("SELECT pg_advisory_unlock_all()")
_TRY = text("SELECT pg_try_advisory_lock(hashtext('cloudseed.' || current_schema()), :campaign)")


@contextmanager
def exclusive(database: Database, campaign_id: int) -> Iterator[bool]:
    """Takes a campaign's lock, and yields whether it was free.

    Raises:
        StorageError: If the lock cannot be made.
    """
    path = database.location.path
    if path is None:
        with _advisory_lock(database, campaign_id) as free:
            yield free
    else:
        lock = path.with_name(f"{path.name}.campaign-{campaign_id}.lock")
        with _file_lock(lock, database.name) as free:
            yield free


@contextmanager
def _file_lock(path: Path, name: str) -> Iterator[bool]:
    """Takes a lock that the operating system keeps on a file."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, thread_local=False)
    with translated(name), suppress(Timeout):
        lock.acquire(blocking=False)
    try:
        yield lock.is_locked
    finally:
        lock.release()


@contextmanager
def _advisory_lock(database: Database, campaign_id: int) -> Iterator[bool]:
    """Takes a lock that the server keeps for a connection."""
    with translated(database.name):
        connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # Out of the pool: closing it then ends the server's session, and the lock with it.
        connection.detach()
    try:
        with translated(database.name):
            free = _try(connection, campaign_id)
        yield free
    finally:
        # Unlocked by name, for the server ends a closed session a little later. A lost connection
        # has lost its lock already.
        with suppress(SQLAlchemyError):
            connection.execute(_FREE)
        with suppress(SQLAlchemyError):
            connection.close()


def _try(connection: Connection, campaign_id: int) -> bool:
    """Tries for as long as a server may take to notice that the last holder died."""
    deadline = time.monotonic() + PATIENCE
    while not connection.scalar(_TRY, {"campaign": campaign_id}):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
