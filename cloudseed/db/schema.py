"""Which tables a database has, and how it gets those of this program.

A database belongs to this program if it has the table `cloudseed_schema`, which Alembic writes.
Nothing is changed in any other: it may be somebody's.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from cloudseed.db.engine import Database, locate
from cloudseed.errors import SchemaError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import Connection

__all__ = ["HEAD", "VERSION_TABLE", "SchemaState", "alembic_config", "check", "rehearse", "upgrade"]

HEAD = "0003"
"""The newest revision under `migrations/versions`."""

KNOWN = frozenset({"0001", "0002", HEAD})
"""All revisions there."""

VERSION_TABLE = "cloudseed_schema"


class SchemaState(StrEnum):
    """What a database holds.

        empty ──upgrade──> current <──upgrade── older

    `unknown` was written by a newer cloudseed, and `foreign` by another program: both are left
    alone.
    """

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"
    UNKNOWN = "unknown"
    FOREIGN = "foreign"


def check(url: str) -> SchemaState:
    """Says what a database holds, without changing it; a missing file is empty.

    Raises:
        StorageError: If it cannot be reached.
        SchemaError: If the file is no database.
    """
    location = locate(url)
    if location.path is not None and location.path.parent.is_dir() and not location.path.exists():
        return SchemaState.EMPTY
    database = Database(location)
    try:
        return state_of(database)
    finally:
        database.close()


def upgrade(url: str) -> SchemaState:
    """Brings a database to this program's schema; returns what it held before.

    Raises:
        StorageError: If it cannot be reached or written.
        SchemaError: If it belongs to a newer cloudseed or to another program.
    """
    database = Database(locate(url), create=True)
    try:
        return bring_to_head(database)
    finally:
        database.close()


def rehearse(url: str) -> list[str]:
    """Tries the migrations that a database lacks and takes them back; returns their numbers.

    Raises:
        StorageError: If it cannot be reached or written.
        SchemaError: If there is no ledger, or not one that can be upgraded.
    """
    database = Database(locate(url))
    try:
        before = state_of(database)
        _refuse(database.name, before, allowed={SchemaState.OLDER, SchemaState.CURRENT})
        if before is SchemaState.CURRENT:
            return []
        with suppress(_TakenBackError), database.migrating() as connection:
            (version,) = _versions(connection)
            _migrate(connection)
            raise _TakenBackError
        return _after(version)
    finally:
        database.close()


class _TakenBackError(Exception):
    """Ends a rehearsal, and with it its transaction."""


def state_of(database: Database) -> SchemaState:
    """Says what an open database holds."""
    with database.reading() as session:
        return _state(session.connection())


def require_current(database: Database) -> None:
    """Refuses a database with other tables.

    Raises:
        SchemaError: If it has.
    """
    _refuse(database.name, state_of(database), allowed={SchemaState.CURRENT})


def bring_to_head(database: Database) -> SchemaState:
    """Runs the migrations that an open database lacks, in one transaction."""
    movable = {SchemaState.EMPTY, SchemaState.OLDER, SchemaState.CURRENT}
    before = state_of(database)
    _refuse(database.name, before, allowed=movable)
    database.use_wal()
    with database.migrating() as connection:
        # Another process may have been faster.
        state = _state(connection)
        _refuse(database.name, state, allowed=movable)
        if state is not SchemaState.CURRENT:
            _migrate(connection)
    return before


def alembic_config() -> Config:
    """Returns the configuration by which Alembic finds the migrations."""
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "os")
    return config


def _migrate(connection: Connection) -> None:
    """Runs Alembic on an open transaction."""
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _state(connection: Connection) -> SchemaState:
    """Reads the version off the tables."""
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in tables:
        return SchemaState.FOREIGN if tables else SchemaState.EMPTY
    versions = _versions(connection)
    if not versions:
        return SchemaState.EMPTY if tables == {VERSION_TABLE} else SchemaState.UNKNOWN
    if versions == {HEAD}:
        return SchemaState.CURRENT
    return SchemaState.OLDER if versions <= KNOWN else SchemaState.UNKNOWN


def _versions(connection: Connection) -> set[str]:
    """Reads which revisions a database is at: one, or none."""
    return set(connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")))  # noqa: S608


def _after(version: str) -> list[str]:
    """Returns the revisions that follow one, in order."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(alembic_config())
    return [s.revision for s in scripts.iterate_revisions(HEAD, version)][::-1]


def _refuse(name: str, state: SchemaState, *, allowed: set[SchemaState]) -> None:
    """Raises what fits a state that is not allowed."""
    if state in allowed:
        return
    message, hint = _REFUSALS[state]
    raise SchemaError(message.format(name=name), hint=hint, database=name, state=state.value)


_REFUSALS = {
    SchemaState.EMPTY: (
        "{name} holds no ledger yet.",
        "Run `cloudseed db upgrade`, or `cloudseed run`, which makes one.",
    ),
    SchemaState.OLDER: (
        "The ledger {name} was made by an older cloudseed.",
        "Make a copy, then run `cloudseed db upgrade`.",
    ),
    SchemaState.UNKNOWN: (
        "The ledger {name} has a schema that this cloudseed does not know.",
        "Install the newer cloudseed that wrote it; `cloudseed db upgrade` does not go back.",
    ),
    SchemaState.FOREIGN: (
        "The database {name} holds tables of another program.",
        "Choose another file, database or schema; this one was left as it is.",
    ),
}
