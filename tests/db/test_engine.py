"""URLs, connections and their settings."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from cloudseed.db import engine
from cloudseed.db.engine import Database, locate, sqlite_module
from cloudseed.db.ledger import open_ledger
from cloudseed.errors import LedgerError, MissingDependencyError, StorageError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_path_is_a_sqlite_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = tmp_path / "a.db"
    assert locate("a.db").path == expected
    assert locate("sqlite:///a.db").path == expected
    assert locate(f"sqlite:///{expected}").path == expected


def test_a_relative_path_holds_after_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_ledger("a.db") as ledger:
        monkeypatch.chdir("/")
        ledger._database.engine.dispose()
        ledger.create_campaign("a", {})
    assert (tmp_path / "a.db").exists()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_name_of_postgresql_means_psycopg(scheme: str) -> None:
    location = locate(f"{scheme}://ada:secret@db.example:5433/lab?sslmode=require")
    assert location.url.drivername == "postgresql+psycopg"
    assert location.name == "postgresql://db.example:5433/lab"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///a.db?cache=shared",
        "sqlite:///file:a.db?uri=true",
        "mysql://ada:secret@db.example/lab",
        "postgresql://ada:secret@db.example:port/lab",
        "nonsense://",
        "://",
        "",
    ],
)
def test_other_urls_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(LedgerError) as caught:
        open_ledger(url)
    assert caught.value.hint
    assert "secret" not in _everything(caught.value)


def _everything(error: BaseException | None) -> str:
    """All text of an error and of what caused it."""
    told = getattr(error, "hint", ""), getattr(error, "data", {})
    return "".join(traceback.format_exception(error)) + str(told)


def test_no_error_tells_the_password(caplog: pytest.LogCaptureFixture) -> None:
    url = "postgresql://ada:secret@127.0.0.1:1/lab?password=secret2&connect_timeout=2"
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        open_ledger(url)
    assert "secret" not in _everything(caught.value)
    assert "secret" not in caplog.text


def test_sqlite_is_set_for_safety(sqlite_url: str) -> None:
    with open_ledger(sqlite_url) as ledger, ledger._database.reading() as session:
        settings = {
            name: session.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


def test_a_safe_sqlite_is_used() -> None:
    assert sqlite_module().sqlite_version_info >= engine.SAFE_SQLITE


@pytest.fixture
def old_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python whose SQLite cannot share a WAL file."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    monkeypatch.setitem(sys.modules, "pysqlite3", None)


@pytest.mark.usefixtures("old_sqlite")
def test_an_old_sqlite_has_a_file_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    script = (
        "import sqlite3, sys\n"
        "sqlite3.sqlite_version_info = (3, 40, 1)\n"
        "sys.modules['pysqlite3'] = None\n"
        "from cloudseed.db import open_ledger\n"
        f"open_ledger({str(path)!r}).close()\n"
    )

    def another_process() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )

    with open_ledger(str(path)) as ledger:
        with ledger._database.reading() as session:
            assert session.execute(text("PRAGMA journal_mode")).scalar_one() == "delete"
        with open_ledger(str(path)) as again:
            assert again.campaigns() == []
        refused = another_process()
        assert refused.returncode != 0
        assert "Another process uses" in refused.stderr
    assert another_process().returncode == 0


@pytest.mark.usefixtures("old_sqlite")
def test_an_old_sqlite_takes_over_a_file_with_a_log(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as plain:
        plain.execute("PRAGMA journal_mode=WAL")
    plain.close()
    with open_ledger(str(path)) as ledger:
        ledger.create_campaign("c", {})
    assert not path.with_name("a.db-wal").exists()
    with open_ledger(str(path)) as ledger, ledger.claim(1) as claim:
        ledger.heartbeat(claim, "stage")
        assert ledger.lease(1).stage == "stage"


def test_the_newer_of_two_sqlites_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 60, 0))
    assert sqlite_module() is sqlite3


def test_postgresql_without_its_driver_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingDependencyError) as caught:
        open_ledger("postgresql://ada@db.example/lab")
    assert "cloudseed[postgresql]" in caught.value.hint


def test_a_reader_cannot_write_on_postgresql(postgresql_url: str) -> None:
    database = Database(locate(postgresql_url))
    with pytest.raises(StorageError, match="read-only"), database.reading() as session:
        session.execute(text("DELETE FROM outbox"))
    database.close()


def test_a_failed_block_leaves_nothing(url: str) -> None:
    with open_ledger(url) as ledger:
        row = "INSERT INTO embedding (encoder_id, string_sha, vector) VALUES ('e', :sha, :sha)"
        with contextlib.suppress(RuntimeError), ledger._database.writing() as session:
            session.execute(text(row), {"sha": b"x"})
            raise RuntimeError
        with ledger._database.reading() as session:
            assert session.execute(text("SELECT count(*) FROM embedding")).scalar_one() == 0


def test_a_ledger_says_where_it_is_but_not_how_to_get_in(sqlite_url: str) -> None:
    with open_ledger(sqlite_url) as ledger:
        assert repr(ledger).startswith("SqlLedger('/")
