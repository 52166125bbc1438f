"""Connections: from a URL to transactions, on SQLite and PostgreSQL.

    locate(url) ──> Location ──> Database ──> reading() / writing(): one Session, one transaction

SQLite: WAL, so that readers do not block the writer nor it them; `synchronous=FULL`, for an intent
lost with the power would be sent twice; `BEGIN IMMEDIATE` for writers, so that waiting happens
before anything is read. Up to 3.51.2 the library can corrupt a WAL file that two connections
use, hence `pysqlite3` where Python's own is older; without it the file has a rollback journal, and
one process alone may use it. PostgreSQL: READ COMMITTED for writers, which
lock their campaign's row; snapshots for readers.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session

from cloudseed._failpoints import passing
from cloudseed.db.alone import alone
from cloudseed.db.failures import translated
from cloudseed.errors import LedgerError, MissingDependencyError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from sqlalchemy.engine import Connection, Engine

__all__ = ["Database", "Location", "is_safe", "locate", "sqlite_module"]

SAFE_SQLITE = (3, 51, 3)
"""The first SQLite without the WAL-reset bug, https://www.sqlite.org/wal.html#walresetbug."""

BUSY_SECONDS = 30.0
"""How long a writer waits for another; with four writers the longest wait seen was 8 s."""

_PAUSE = 0.02
"""Seconds between two tries of what SQLite does not wait for."""

_WRITES = "cloudseed_writes"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a ledger is.

    Attributes:
        url: The whole URL, with its password; never to be shown.
        name: What people may see: a path, or a URL without user, password and options.
        path: The file; None for a server.
        read_only: Whether the URL asks for `mode=ro`.
    """

    url: URL
    name: str
    path: Path | None
    read_only: bool = False


def locate(url: str) -> Location:
    """Reads a database URL; what has no scheme is the path of a SQLite file.

    Raises:
        LedgerError: If it is no URL of SQLite or PostgreSQL.

    >>> locate("postgresql://ada:secret@db.example/lab?sslmode=require").name
    'postgresql://db.example/lab'
    """
    if "://" not in url:
        return _sqlite_file(URL.create("sqlite", database=url))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not chained: the text of the cause may hold the password.
        raise LedgerError(
            "The database URL cannot be read.",
            hint="Give sqlite:///path/to/file.db or postgresql://user@host/database.",
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite_file(parsed)
    if backend in {"postgresql", "postgres"}:
        port = f":{parsed.port}" if parsed.port else ""
        name = f"postgresql://{parsed.host or ''}{port}/{parsed.database or ''}"
        return Location(parsed.set(drivername="postgresql+psycopg"), name, None)
    raise LedgerError(
        f"cloudseed keeps its ledger in SQLite or PostgreSQL, not in {backend!r}.",
        hint="Give sqlite:///path/to/file.db or postgresql://user@host/database.",
    )


def _sqlite_file(url: URL) -> Location:
    """Returns the location of a SQLite file, by absolute path."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise LedgerError(
            "A ledger must outlive its process, so it needs a plain file.",
            hint="Give sqlite:///path/to/file.db.",
        )
    mode = url.query.get("mode", "rw")
    if set(url.query) - {"mode"} or mode not in {"ro", "rw"}:
        raise LedgerError(
            "The only option of a SQLite URL is mode=ro or mode=rw.",
            hint="Give sqlite:///path/to/file.db.",
        )
    path = Path(url.database).expanduser().resolve()
    return Location(url, str(path), path, read_only=mode == "ro")


def sqlite_module() -> ModuleType:
    """Returns the newest SQLite driver that is installed."""
    import sqlite3

    if is_safe(sqlite3):
        return sqlite3
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        return sqlite3
    return dbapi2  # type: ignore[no-any-return]


def is_safe(module: ModuleType) -> bool:
    """Whether several processes may share a WAL file through a driver."""
    return bool(module.sqlite_version_info >= SAFE_SQLITE)


class Database:
    """Transactions on one database.

    Args:
        location: Where it is.
        create: Whether a missing SQLite file is made.

    Raises:
        StorageError: If there is no such file or folder, or another process uses a SQLite file that
            this one's old library cannot share.
        MissingDependencyError: If the driver is not installed.
    """

    def __init__(self, location: Location, *, create: bool = False) -> None:
        self.location = location
        self.name = location.name
        self._reader: Engine
        self._alone = ExitStack()
        if location.path is None:
            self.engine = _postgresql_engine(location)
            self._reader = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        else:
            _require_file(location.path, create=create)
            self._shares = is_safe(sqlite_module())
            if not self._shares:
                self._alone.enter_context(alone(location.path))
            self.engine = _sqlite_engine(location, create=create)
            self._reader = self.engine
        self._writer = self.engine.execution_options(**{_WRITES: True})

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that sees one state of the database and blocks nobody."""
        # Begins by itself and ends in a rollback, which works even in a damaged file.
        with translated(self.name), Session(self._reader) as session:
            yield session

    @contextmanager
    def writing(self, deed: str = "") -> Iterator[Session]:
        """A transaction that commits if its block ends well; `deed` names it to failpoints."""
        with translated(self.name), Session(self._writer, expire_on_commit=False) as session:
            with session.begin():
                yield session
                passing(f"{deed}.before")
            passing(f"{deed}.after")

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A transaction for changes of the tables, alone at that."""
        with translated(self.name), self._writer.begin() as connection:
            if self.location.path is None:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('cloudseed'))")
            yield connection

    def use_wal(self) -> None:
        """Sets a SQLite file's journal, which the file then remembers: WAL where it is safe."""
        if self.location.path is None or self.location.read_only:
            return
        wanted = "wal" if self._shares else "delete"
        with translated(self.name):
            mode = self._set_journal(wanted)
        if mode != wanted:
            raise StorageError(
                f"The folder of {self.name} does not support SQLite's write-ahead log.",
                hint="Put the file on a local disk, or use PostgreSQL.",
            )

    def _set_journal(self, mode: str) -> str:
        """Returns the journal that the file has then; SQLite itself waits for nobody here."""
        patient_until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                with (
                    closing(self.engine.raw_connection()) as connection,
                    closing(connection.cursor()) as cursor,
                ):
                    return str(cursor.execute(f"PRAGMA journal_mode={mode}").fetchone()[0])
            except sqlite_module().OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > patient_until:
                    raise DBAPIError(f"PRAGMA journal_mode={mode}", None, error) from error
                time.sleep(_PAUSE)

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()
        self._alone.close()


def _require_file(path: Path, *, create: bool) -> None:
    """Checks that a file is there, or its folder where the file is to be made."""
    if not path.parent.is_dir():
        raise StorageError(
            f"The folder {path.parent} does not exist.",
            hint="Create it, or correct the database URL.",
            path=str(path),
        )
    if path.is_dir():
        raise StorageError(f"{path} is a folder.", hint="Give the path of a file.", path=str(path))
    if not create and not path.exists():
        raise StorageError(
            f"There is no ledger at {path}.",
            hint="Correct the path; `cloudseed run` makes a new ledger.",
            path=str(path),
        )


def _sqlite_engine(location: Location, *, create: bool) -> Engine:
    """Makes an engine whose later connections never create the file anew."""
    module = sqlite_module()
    mode = "ro" if location.read_only else "rwc" if create else "rw"
    uri = f"file:{quote(str(location.path))}?mode={mode}"

    def connect() -> Any:
        return module.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )

    plain = URL.create("sqlite", database=str(location.path))
    engine = create_engine(plain, module=module, creator=connect, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Sets what SQLite forgets between connections."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=FULL")
    # Else INSERT OR REPLACE would delete rows past the triggers that guard the event log.
    cursor.execute("PRAGMA recursive_triggers=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Begins a transaction; a writer takes its lock at once, for a later upgrade could deadlock."""
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql_engine(location: Location) -> Engine:
    """Makes an engine that notices a dead server."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "PostgreSQL needs the psycopg driver, which is not installed.",
            hint="`pip install 'cloudseed[postgresql]'`",
        ) from error
    defaults: dict[str, Any] = {
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "tcp_user_timeout": 30_000,
        "application_name": "cloudseed",
        # A plan made once for any values searches long IN lists one by one: minutes instead of
        # milliseconds at 1e5 rows.
        "prepare_threshold": None,
    }
    given = location.url.query
    engine = create_engine(
        location.url,
        hide_parameters=True,
        pool_pre_ping=True,
        connect_args={k: v for k, v in defaults.items() if k not in given},
    )
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    """Sets what a session of ours needs whatever the server's defaults are."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS:.0f}s'")
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()
