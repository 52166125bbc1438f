"""Copies of a ledger that are taken while it is written to, and checked before they count.

SQLite copies one state of the file by its backup interface; PostgreSQL's `pg_dump` does the like.
The copy is made beside its place, read again, flushed, and renamed: a path that exists is a whole
backup. Its SHA-256 stands beside it, as `sha256sum --check` reads it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cloudseed.db import schema, verify
from cloudseed.db.engine import BUSY_SECONDS, Database, Location, locate, sqlite_module
from cloudseed.db.failures import translated
from cloudseed.db.models import Base
from cloudseed.errors import MissingDependencyError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Backup", "backup"]

_CHUNK = 1 << 20
_CLIENT = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "options": "PGOPTIONS",
    "host": "PGHOST",
    "port": "PGPORT",
}
"""Options of a database URL -> what PostgreSQL's programs read them from."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy that was read again.

    Attributes:
        path: The file.
        sha256: Of its bytes; it also stands in the file of that name with `.sha256` added.
        size: Bytes.
        contradictions: What the ledger contradicts itself in, and its copy with it; only a copy of
            a SQLite file is read so thoroughly.
    """

    path: Path
    sha256: str
    size: int
    contradictions: tuple[str, ...]


def backup(url: str, destination: Path) -> Backup:
    """Copies a ledger; engines may go on writing to it.

    Args:
        url: The ledger.
        destination: A new file, or a folder, where the file is named by the time.

    Raises:
        UsageError: If the file exists.
        SchemaError: If there is no ledger, or one of another version.
        StorageError: If it cannot be read, or the copy not written.
        MissingDependencyError: If `pg_dump` is needed and not there.
    """
    location = locate(url)
    database = Database(location)
    try:
        schema.require_current(database)
    finally:
        database.close()
    path = _path(destination, ".db" if location.path is not None else ".dump")
    partial = path.with_name(f".{path.name}.part")
    try:
        with translated(str(path)):
            partial.unlink(missing_ok=True)
            if location.path is not None:
                _copy_sqlite(location.path, partial)
                found = _read_sqlite(partial)
            else:
                _dump_postgresql(location, partial)
                found = ()
            digest = _flushed_sha(partial)
            partial.replace(path)
            path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
    finally:
        for left in (partial, *(Path(f"{partial}{end}") for end in ("-wal", "-shm", "-journal"))):
            with suppress(OSError):
                left.unlink()
    return Backup(path, digest, path.stat().st_size, found)


def _path(destination: Path, suffix: str) -> Path:
    """Returns the file to write; a folder gets a name that tells the time."""
    if destination.is_dir():
        destination /= f"ledger-{datetime.now(UTC):%Y%m%dT%H%M%SZ}{suffix}"
    if destination.exists():
        raise UsageError(
            f"{destination} exists already.",
            hint="Name another file, or a folder: backups in it are named by their time.",
            path=str(destination),
        )
    if not destination.parent.is_dir():
        raise StorageError(
            f"The folder {destination.parent} does not exist.",
            hint="Create it, or correct the path.",
            path=str(destination),
        )
    return destination


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copies one state of a SQLite file into a file that needs no log beside it."""
    module = sqlite_module()
    try:
        with (
            closing(module.connect(f"{source.as_uri()}?mode=rw", uri=True)) as old,
            closing(module.connect(str(target), timeout=BUSY_SECONDS)) as new,
        ):
            # All pages in one step: a copy in steps begins anew whenever somebody writes.
            old.backup(new, pages=-1)
            new.execute("PRAGMA journal_mode=DELETE")
    except module.Error as error:
        raise StorageError(
            f"{source} cannot be copied: {error}.",
            hint="Is the disk full? Is the file damaged? `cloudseed db verify` tells.",
            path=str(target),
        ) from error


def _read_sqlite(path: Path) -> tuple[str, ...]:
    """Reads a copy from end to end; returns what it contradicts itself in."""
    database = Database(locate(f"sqlite:///{path}?mode=ro"))
    try:
        with database.reading() as session:
            return tuple(verify.contradictions(session))
    finally:
        database.close()


def _dump_postgresql(location: Location, target: Path) -> None:
    """Dumps a PostgreSQL database in its custom format, and lists what the dump holds."""
    environment = _environment(location)
    _client("pg_dump", ["--format=custom", "--no-owner", f"--file={target}"], environment)
    listing = _client("pg_restore", ["--list", str(target)], environment)
    absent = [t for t in Base.metadata.tables if f" {t} " not in listing]
    if absent:
        raise StorageError(
            f"The dump lacks the tables {', '.join(absent)}.",
            hint="May this user read them?",
            path=str(target),
        )


def _environment(location: Location) -> dict[str, str]:
    """Returns variables for PostgreSQL's programs: a command line would show the password."""
    url = location.url
    told = {
        "PGHOST": url.host,
        "PGPORT": None if url.port is None else str(url.port),
        "PGUSER": url.username,
        "PGPASSWORD": None if url.password is None else str(url.password),
        "PGDATABASE": url.database,
        **{_CLIENT[k]: str(v) for k, v in url.query.items() if k in _CLIENT},
    }
    return {**os.environ, **{name: value for name, value in told.items() if value}}


def _client(program: str, arguments: list[str], environment: Mapping[str, str]) -> str:
    """Runs one of PostgreSQL's programs and returns what it prints."""
    found = shutil.which(program)
    if found is None:
        raise MissingDependencyError(
            f"A backup of PostgreSQL needs the program {program}, which is not on the PATH.",
            hint="Install PostgreSQL's client programs (Debian: postgresql-client), of the"
            " server's version or newer.",
        )
    done = subprocess.run(
        [found, *arguments], env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it does not say why"]
        raise StorageError(
            f"{program} failed: {lines[-1]}",
            hint="Is it as new as the server? Does the disk have space?",
            output=lines[-5:],
        )
    return done.stdout


def _flushed_sha(path: Path) -> str:
    """Flushes a file to the disk and returns its SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb+") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        os.fsync(file.fileno())
    return digest.hexdigest()
