"""A backup is whole, can be taken under writers, and is read before it counts."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from cloudseed.db import backups
from cloudseed.db.backups import backup
from cloudseed.db.engine import locate
from cloudseed.db.ledger import SqlLedger, open_ledger
from cloudseed.errors import MissingDependencyError, SchemaError, StorageError, UsageError

from .kit import Lab, sql

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Server


@pytest.fixture(autouse=True)
def _programs(request: pytest.FixtureRequest) -> None:
    """PostgreSQL's programs are a matter of the machine."""
    server_tests = {"postgresql_url", "url", "empty_url"} & set(request.fixturenames)
    if server_tests and not shutil.which("pg_dump"):
        pytest.skip("pg_dump is not installed")


@pytest.fixture
def filled(ledger: SqlLedger, lab: Lab) -> SqlLedger:
    lab.plan("a", "b")
    lab.run()
    return ledger


def test_a_copy_has_all_and_its_sum_beside_it(filled: SqlLedger, url: str, tmp_path: Path) -> None:
    made = backup(url, tmp_path / "copy")
    assert made.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert (tmp_path / "copy.sha256").read_text() == f"{made.sha256}  copy\n"
    assert made.size == made.path.stat().st_size > 0
    assert made.contradictions == ()
    assert {p.name for p in tmp_path.iterdir()} == {"copy", "copy.sha256"}


def test_a_copy_of_a_file_is_a_ledger(sqlite_url: str, tmp_path: Path) -> None:
    with open_ledger(sqlite_url) as ledger:
        row = ledger.create_campaign("a", {})
        with ledger.claim(row.id) as claim:
            Lab(ledger, claim).plan("x", "y")
        events = ledger.events(row.id)
        made = backup(sqlite_url, tmp_path)
    assert made.path.parent == tmp_path
    assert made.path.name.startswith("ledger-2")
    with open_ledger(str(made.path)) as copy:
        assert [c.key for c in copy.candidates(row.id)] == ["x", "y"]
        assert copy.events(row.id)[: len(events)] == events
        assert copy.verify() == []


def test_a_dump_restores(postgresql_url: str, server: Server, tmp_path: Path) -> None:
    with open_ledger(postgresql_url) as ledger:
        row = ledger.create_campaign("a", {})
        with ledger.claim(row.id) as claim:
            Lab(ledger, claim).plan("x", "y")
        made = backup(postgresql_url, tmp_path / "a.dump")
    name = server.create()
    url = server.url(name)
    libpq = url.replace("postgresql+psycopg", "postgresql")
    subprocess.run(["pg_restore", "--no-owner", f"--dbname={libpq}", str(made.path)], check=True)
    with open_ledger(url) as copy:
        assert [c.key for c in copy.candidates(row.id)] == ["x", "y"]
        assert copy.verify() == []


def test_a_copy_under_a_writer_is_one_state(sqlite_url: str, tmp_path: Path) -> None:
    stop = threading.Event()
    with open_ledger(sqlite_url) as ledger:
        row = ledger.create_campaign("a", {})

        def write() -> None:
            with ledger.claim(row.id) as claim:
                lab, n = Lab(ledger, claim), 0
                while not stop.is_set():
                    lab.plan(f"k{n}", f"l{n}")
                    n += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            made = [backup(sqlite_url, tmp_path / f"{n}.db") for n in range(3)]
        finally:
            stop.set()
            writer.join()
    assert all(m.contradictions == () for m in made)
    counts = []
    for m in made:
        with open_ledger(f"sqlite:///{m.path}?mode=ro", create=False) as copy:
            counts.append(len(copy.experiments(row.id)))
    assert counts == sorted(counts)
    assert all(count % 2 == 0 for count in counts)


def test_a_contradiction_is_told_and_the_copy_kept(sqlite_url: str, tmp_path: Path) -> None:
    with open_ledger(sqlite_url) as ledger:
        ledger.create_campaign("a", {})
        with sql(ledger) as connection:
            connection.execute(text("UPDATE campaign SET epoch = 9"))
    made = backup(sqlite_url, tmp_path / "copy.db")
    assert made.path.exists()
    assert any("at epoch 9" in line for line in made.contradictions)


def test_nothing_is_overwritten(filled: SqlLedger, url: str, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        backup(url, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"
    with pytest.raises(StorageError, match="does not exist"):
        backup(url, tmp_path / "no" / "where")


def test_what_is_no_ledger_is_not_copied(empty_url: str, tmp_path: Path) -> None:
    with pytest.raises((SchemaError, StorageError)):
        backup(empty_url, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_missing_program_is_named(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependencyError, match="pg_dump"):
        backup(postgresql_url, tmp_path / "copy")


def test_a_failing_program_leaves_nothing(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'server version mismatch' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(StorageError, match="version mismatch"):
        backup(postgresql_url, tmp_path / "copy")
    assert {p.name for p in tmp_path.iterdir()} == {"bin"}


def test_a_password_is_not_on_the_command_line() -> None:
    location = locate("postgresql://ada:secret@db:5433/lab?sslmode=require")
    told = backups._environment(location)
    assert (told["PGPASSWORD"], told["PGPORT"], told["PGSSLMODE"]) == ("secret", "5433", "require")
