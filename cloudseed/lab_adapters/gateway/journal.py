"""What a gateway's server must not forget: keys and handles, events, nonces."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudseed.errors import LabError
from cloudseed.lab_adapters.protocols import (
    EventPage,
    JobState,
    JobStatus,
    LabEvent,
    LabMessage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Journal"]

PAGE = 500
"""Events in one answer."""

_TABLES = """
CREATE TABLE IF NOT EXISTS job (
    key TEXT PRIMARY KEY, digest TEXT NOT NULL, handle TEXT, ended INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS event (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, handle TEXT, state TEXT NOT NULL,
    at TEXT NOT NULL, message TEXT UNIQUE, raw BLOB
);
CREATE TABLE IF NOT EXISTS nonce (
    key_id TEXT NOT NULL, nonce TEXT NOT NULL, expires REAL NOT NULL, PRIMARY KEY (key_id, nonce)
);
"""


class Journal:
    """A database of one file; every change is on the disk before the call returns.

    Args:
        path: The file.

    Raises:
        LabError: If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._storage():
            self._db = sqlite3.connect(path, check_same_thread=False, timeout=30)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_TABLES)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    def begin(self, key: str, digest: str) -> tuple[str | None, bool]:
        """Notes that a request is about to be sent; returns its handle, and whether it was known.

        Raises:
            LabError: If the key stands for another request.
        """
        with self._change() as db:
            row = db.execute("SELECT digest, handle FROM job WHERE key = ?", (key,)).fetchone()
            if row is None:
                db.execute("INSERT INTO job (key, digest) VALUES (?, ?)", (key, digest))
                return None, False
            if row[0] != digest:
                raise LabError(
                    f"The key {key!r} already stands for another request.",
                    hint="A key names one request for ever; use a new key for a new request.",
                )
            return row[1], True

    def sent(self, key: str, handle: str) -> None:
        """Notes the handle that the lab gave."""
        with self._change() as db:
            db.execute("UPDATE job SET handle = ? WHERE key = ?", (handle, key))
            self._tell(db, JobStatus(key, handle, JobState.QUEUED), None)

    def handle(self, key: str) -> tuple[str | None, bool]:
        """Returns a key's handle, and whether the key is known."""
        with self._change() as db:
            row = db.execute("SELECT handle FROM job WHERE key = ?", (key,)).fetchone()
        return (None, False) if row is None else (row[0], True)

    def open_handles(self) -> list[str]:
        """Returns the handles that have no final message yet."""
        with self._change() as db:
            query = "SELECT handle FROM job WHERE ended = 0 AND handle IS NOT NULL"
            return [row[0] for row in db.execute(query)]

    def take(self, messages: Iterable[LabMessage]) -> None:
        """Notes what ended, each once."""
        with self._change() as db:
            for message in messages:
                query = "SELECT handle FROM job WHERE key = ?"
                row = db.execute(query, (message.key,)).fetchone()
                handle = None if row is None else row[0]
                self._tell(db, JobStatus(message.key, handle, JobState.FINISHED), message)
                db.execute("UPDATE job SET ended = 1 WHERE key = ?", (message.key,))

    def events(self, cursor: str | None) -> EventPage:
        """Returns the events after a cursor.

        Raises:
            LabError: If the cursor is none of this journal's.
        """
        with self._change() as db:
            last = db.execute("SELECT coalesce(max(number), 0) FROM event").fetchone()[0]
            start = int(cursor) if cursor and cursor.isascii() and cursor.isdigit() else 0
            if start > last or (cursor and str(start) != cursor):
                raise LabError(
                    f"This lab never gave the cursor {cursor!r}.",
                    hint="Was its folder replaced? Read its events from the beginning.",
                )
            rows = db.execute(
                "SELECT number, key, handle, state, at, message, raw FROM event"
                " WHERE number > ? ORDER BY number LIMIT ?",
                (start, PAGE),
            ).fetchall()
        events = tuple(
            LabEvent(
                JobStatus(key, handle, JobState(state)),
                datetime.fromisoformat(at),
                None if message is None else LabMessage(message, key, bytes(raw)),
            )
            for _, key, handle, state, at, message, raw in rows
        )
        return EventPage(events, str(rows[-1][0] if rows else start))

    def is_new(self, key_id: str, nonce: str, now: float, window: float) -> bool:
        """Notes a nonce until its window has passed; says whether it was never seen."""
        with self._change() as db:
            db.execute("DELETE FROM nonce WHERE expires < ?", (now,))
            added = db.execute(
                "INSERT OR IGNORE INTO nonce VALUES (?, ?, ?)", (key_id, nonce, now + 2 * window)
            )
            return added.rowcount == 1

    def _tell(self, db: sqlite3.Connection, status: JobStatus, message: LabMessage | None) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = (None, None) if message is None else (message.message_id, message.raw)
        db.execute(
            "INSERT OR IGNORE INTO event (key, handle, state, at, message, raw)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (status.key, status.handle, status.state.value, now, *told),
        )

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._storage(), self._db:
            yield self._db

    @contextmanager
    def _storage(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LabError(
                f"The journal {self._path} cannot be used: {error}.",
                hint="Check the disk and that no other program uses the file.",
            ) from error
