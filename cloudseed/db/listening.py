"""Hints between processes: a waiting engine hears at once that somebody told it something.

PostgreSQL carries them by LISTEN and NOTIFY. A hint says nothing but "look now": what was told
stands in the tables, so a lost one costs no more than the rest of the wait, and one too many costs
a look. SQLite has none, and a wait there lasts as long as it was asked to.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

    from cloudseed.db.engine import Database

__all__ = ["Listener", "hint"]

log = logging.getLogger(__name__)

AGAIN = 30.0
"""Seconds until a lost connection is tried again."""

_NOTIFY = text("SELECT pg_notify(:channel, '')")


def hint(session: Session, campaign_id: int) -> None:
    """Wakes the engine that waits for a campaign's news, once this transaction is committed."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_NOTIFY, {"channel": _channel(campaign_id)})


class Listener:
    """Waits, but not past a hint; it has a connection of its own.

    Args:
        database: Where hints come from.
        campaign_id: Whose.
    """

    def __init__(self, database: Database, campaign_id: int) -> None:
        self._database = database
        self._channel = _channel(campaign_id)
        self._connection: Connection | None = None
        self._next_try = 0.0 if database.location.path is None else float("inf")
        self._connect()

    def wait(self, seconds: float) -> bool:
        """Waits for so long, or until a hint comes; returns whether one came."""
        end = time.monotonic() + seconds
        self._connect()
        heard = self._hear(seconds)
        if not heard and (left := end - time.monotonic()) > 0:
            time.sleep(left)
        return heard

    def close(self) -> None:
        """Lets go of the connection."""
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None

    def _connect(self) -> None:
        if self._connection is not None or time.monotonic() < self._next_try:
            return
        self._next_try = time.monotonic() + AGAIN
        try:
            engine = self._database.engine
            self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            # Out of the pool, so that nobody else gets a connection that listens.
            self._connection.detach()
            self._connection.exec_driver_sql(f"LISTEN {self._channel}")
        except SQLAlchemyError as error:
            self._lose(error)

    def _hear(self, seconds: float) -> bool:
        if self._connection is None:
            return False
        import psycopg

        driver: Any = self._connection.connection.dbapi_connection
        try:
            return any(True for _ in driver.notifies(timeout=seconds, stop_after=1))
        except psycopg.Error as error:
            self._lose(error)
            return False

    def _lose(self, error: Exception) -> None:
        log.warning("no hints", extra={"why": type(error).__name__})
        self.close()


def _channel(campaign_id: int) -> str:
    return f"cloudseed_campaign_{campaign_id:d}"
