"""What databases say when they fail, in this program's words.

Every transaction runs inside `translated`, so that no SQLAlchemy or driver error leaves this part.
Messages name the database without its password, and carry no parameters.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from cloudseed.errors import LedgerError, SchemaError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["translated"]

_Words = tuple[type[LedgerError], str, str]

_FULL: _Words = (
    StorageError,
    "The disk under {name} is full.",
    "Free some space and resume; what was committed is safe.",
)
_READ_ONLY: _Words = (
    StorageError,
    "{name} cannot be written: it, or its folder, is read-only.",
    "Give this user the right to write there, or choose another place.",
)
_LOST: _Words = (
    StorageError,
    "The database {name} cannot be reached.",
    "Check that the server runs and that host and port are right, then resume.",
)
_DAMAGED: _Words = (
    StorageError,
    "The database {name} is damaged.",
    "Restore it from a backup; `cloudseed db check` lists the damage.",
)
_BUSY: _Words = (
    StorageError,
    "The database {name} stayed locked by another program.",
    "Close that program, or wait, then resume.",
)
_TABLES: _Words = (
    SchemaError,
    "The tables of {name} are not those of this program.",
    "Run `cloudseed db upgrade`; if that does not help, `cloudseed db check`.",
)
_CLOSED: _Words = (
    StorageError,
    "The database {name} does not let this user in.",
    "Check user and password in the database URL.",
)
_ABSENT: _Words = (
    StorageError,
    "The database {name} does not exist.",
    "Create it with `createdb`, or correct the database URL.",
)

_SQLITE: dict[str, _Words] = {
    "SQLITE_FULL": _FULL,
    "SQLITE_READONLY": _READ_ONLY,
    "SQLITE_PERM": _READ_ONLY,
    "SQLITE_CANTOPEN": (
        StorageError,
        "The file {name} cannot be opened.",
        "Check that its folder exists and that this user may write there.",
    ),
    "SQLITE_NOTADB": (
        SchemaError,
        "{name} is not a database.",
        "Choose another file; this one was left as it is.",
    ),
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_IOERR": (
        StorageError,
        "The disk under {name} fails to read or write.",
        "Is it full? Free some space. SQLite needs a local disk, not a network folder.",
    ),
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
}

_POSTGRESQL: dict[str, _Words] = {
    "53100": _FULL,
    "25006": _READ_ONLY,
    "28": _CLOSED,
    "3D000": _ABSENT,
    "42501": (
        StorageError,
        "This user may not write to {name}.",
        "Grant it the rights to the schema and its tables.",
    ),
    "42P01": _TABLES,
    "42703": _TABLES,
    "53": (
        StorageError,
        "The server of {name} is out of memory or connections.",
        "Lower its load or raise its limits, then resume.",
    ),
    "55P03": _BUSY,
    "40": _BUSY,
    "08": _LOST,
    "57P": _LOST,
    "XX": _DAMAGED,
}


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turns every error of the layers below into a `LedgerError`.

    Args:
        name: The database, as people may see it: a path, or a URL without user and password.

    Raises:
        StorageError: If the database cannot be reached, read or written.
        SchemaError: If it has other tables than expected.
        LedgerError: If it refuses a value.
    """
    try:
        yield
    except NoSuchModuleError as error:
        raise LedgerError(
            "cloudseed keeps its ledger in SQLite or PostgreSQL only.",
            hint="Give sqlite:///path/to/file.db or postgresql://user@host/database.",
        ) from error
    except (SQLAlchemyError, OSError, UnicodeError, OverflowError) as error:
        kind, message, hint = _words(error)
        raise kind(message.format(name=name), hint=hint, database=name) from error


def _words(error: BaseException) -> _Words:
    """Returns kind, message and hint for an error."""
    if isinstance(error, OSError):
        return _of_operating_system(error)
    if isinstance(error, DBAPIError):
        named = _named(error)
        if named is not None:
            return named
        if error.connection_invalidated:
            return _LOST
        if isinstance(error, IntegrityError):
            return (
                LedgerError,
                "{name} refused a row that contradicts another.",
                "This is a fault in cloudseed; the ledger is unchanged. Please report it.",
            )
    return (
        LedgerError,
        f"The database {{name}} refused a request ({type(error).__name__}).",
        "The ledger is unchanged; the cause is chained to this error.",
    )


def _named(error: DBAPIError) -> _Words | None:
    """Returns the words for an error code, or None."""
    original = error.orig
    state = getattr(original, "sqlstate", None)
    if state:
        prefixes = (state[:n] for n in (5, 3, 2))
        return next((_POSTGRESQL[p] for p in prefixes if p in _POSTGRESQL), None)
    code = getattr(original, "sqlite_errorname", None)
    if code:
        if code == "SQLITE_ERROR" and "no such" in str(original):
            return _TABLES
        return _SQLITE.get("_".join(code.split("_")[:2]))
    driver, kind = type(original).__module__, type(original).__name__
    if driver.startswith("psycopg") and kind in {"OperationalError", "ConnectionTimeout"}:
        return _unconnected(str(original))
    return None


def _unconnected(answer: str) -> _Words:
    """Returns the words for a connection that was never made, for which psycopg has no code."""
    if "authentication failed" in answer or "pg_hba.conf" in answer:
        return _CLOSED
    if re.search(r'database "[^"]*" does not exist', answer):
        return _ABSENT
    return _LOST


def _of_operating_system(error: OSError) -> _Words:
    """Returns the words for a failure of a file or a socket."""
    import errno

    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _FULL
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return _READ_ONLY
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return (
            StorageError,
            "The folder of {name} does not exist.",
            "Create it, or correct the path.",
        )
    return (StorageError, "{name} cannot be used: the system refused a file.", "Check the disk.")
