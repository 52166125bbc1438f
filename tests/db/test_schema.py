"""Migrations, and databases that are not this program's."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from cloudseed.db import engine, schema
from cloudseed.db.engine import Database, locate, sqlite_module
from cloudseed.db.ledger import open_ledger
from cloudseed.db.models import Base
from cloudseed.db.schema import SchemaState, check, upgrade
from cloudseed.errors import SchemaError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

SQLITE_TABLES = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
POSTGRESQL_TABLES = """
    SELECT tablename || '.' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT table_name || '.' || column_name,
           data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
    FROM information_schema.columns WHERE table_schema = 'public'
"""


def test_head_is_the_newest_migration_and_all_are_known() -> None:
    scripts = ScriptDirectory.from_config(schema.alembic_config())
    assert scripts.get_current_head() == schema.HEAD
    assert {s.revision for s in scripts.walk_revisions()} == schema.KNOWN


def test_migrations_make_the_tables_of_the_models(empty_url: str) -> None:
    upgrade(empty_url)
    database = Database(locate(empty_url))
    with database.migrating() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": schema.VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def _definitions(url: str) -> dict[str, list[str]]:
    """Tables, indexes and constraints as the database itself words them; no triggers."""
    database = Database(locate(url))
    query = SQLITE_TABLES if url.startswith("sqlite") else POSTGRESQL_TABLES
    with database.reading() as session:
        found = {
            # In any order: the models and the migration list constraints in different ones.
            name: sorted(line.strip().rstrip(",") for line in sql.splitlines())
            for name, sql in session.execute(text(query))
            if schema.VERSION_TABLE not in name and not name.startswith("event_no_")
        }
    database.close()
    return found


def test_they_are_the_same_to_the_letter(empty_url: str) -> None:
    """`compare_metadata` sees neither checks nor the conditions of partial indexes."""
    upgrade(empty_url)
    migrated = _definitions(empty_url)
    database = Database(locate(empty_url))
    with database.migrating() as connection:
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)
    database.close()
    assert _definitions(empty_url) == migrated
    assert any("WHERE" in line for lines in migrated.values() for line in lines)


def test_a_new_database_is_made_at_head(empty_url: str) -> None:
    assert check(empty_url) is SchemaState.EMPTY
    open_ledger(empty_url).close()
    assert check(empty_url) is SchemaState.CURRENT
    assert upgrade(empty_url) is SchemaState.CURRENT


def test_upgrade_makes_tables_once(empty_url: str) -> None:
    assert upgrade(empty_url) is SchemaState.EMPTY
    assert upgrade(empty_url) is SchemaState.CURRENT


def test_nothing_is_made_unless_asked(empty_url: str, tmp_path: Path) -> None:
    with pytest.raises((SchemaError, StorageError), match="no ledger") as caught:
        open_ledger(empty_url, create=False)
    assert caught.value.hint
    assert check(empty_url) is SchemaState.EMPTY
    assert list(tmp_path.iterdir()) == []


def _set_version(url: str, version: str) -> None:
    database = Database(locate(url))
    with database.migrating() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{version}'"))
    database.close()


def test_a_newer_schema_is_refused_and_left_alone(empty_url: str) -> None:
    upgrade(empty_url)
    _set_version(empty_url, "9999")
    assert check(empty_url) is SchemaState.UNKNOWN
    for deed in (open_ledger, upgrade):
        with pytest.raises(SchemaError, match="does not know") as caught:
            deed(empty_url)
        assert "newer" in caught.value.hint
    assert check(empty_url) is SchemaState.UNKNOWN


def test_an_older_schema_asks_for_the_upgrade(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(empty_url)
    monkeypatch.setattr(schema, "HEAD", "9998")
    monkeypatch.setattr(schema, "KNOWN", schema.KNOWN | {"9998"})
    assert check(empty_url) is SchemaState.OLDER
    with pytest.raises(SchemaError, match="older") as caught:
        open_ledger(empty_url)
    assert "cloudseed db upgrade" in caught.value.hint


def test_tables_of_another_program_are_refused_and_left_alone(empty_url: str) -> None:
    database = Database(locate(empty_url), create=True)
    with database.migrating() as connection:
        connection.execute(text("CREATE TABLE recipes (id INTEGER)"))
    before = _definitions(empty_url)
    database.close()
    assert check(empty_url) is SchemaState.FOREIGN
    for deed in (open_ledger, upgrade):
        with pytest.raises(SchemaError, match="another program") as caught:
            deed(empty_url)
        assert caught.value.hint
    assert _definitions(empty_url) == before


def test_a_foreign_sqlite_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "firefox.sqlite"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE bookmarks (id INTEGER)")
    foreign.commit()
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(SchemaError):
        open_ledger(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "thesis.docx"
    path.write_bytes(b"PK\x03\x04 my only copy" * 100)
    for deed in (open_ledger, upgrade, check):
        with pytest.raises(SchemaError, match="not a database"):
            deed(f"sqlite:///{path}")
    assert path.read_bytes() == b"PK\x03\x04 my only copy" * 100


def test_an_upgrade_that_fails_leaves_no_half_made_tables(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Operations, "execute", fail)
    with pytest.raises(StorageError, match="full"):
        upgrade(empty_url)
    monkeypatch.undo()
    assert check(empty_url) is SchemaState.EMPTY
    open_ledger(empty_url).close()


def test_several_may_make_the_same_ledger_at_once(empty_url: str) -> None:
    start = threading.Barrier(4)

    def make() -> None:
        database = Database(locate(empty_url), create=True)
        start.wait()
        schema.bring_to_head(database)
        database.close()

    with ThreadPoolExecutor(4) as pool:
        for made in [pool.submit(make) for _ in range(4)]:
            made.result()
    assert check(empty_url) is SchemaState.CURRENT


def test_the_journal_is_set_once_nobody_holds_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "held.db"
    holder = sqlite_module().connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    database = Database(locate(str(path)), create=True)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "BUSY_SECONDS", 0.0)
        with pytest.raises(StorageError, match="locked") as caught:
            database.use_wal()
        assert caught.value.hint
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(database.use_wal)
        assert not wait([waits], timeout=0.2).done
        holder.execute("ROLLBACK")
        waits.result()
    assert holder.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
    holder.close()


@pytest.mark.parametrize("name", ["100% sure", "a?b#c", "ü ß", "with space"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with open_ledger(str(path)) as ledger:
        ledger.create_campaign("a", {})
    assert path.exists()
    assert check(str(path)) is SchemaState.CURRENT
