"""Disks fill, servers go away: work stops with one clear sentence and the ledger stays sound."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from cloudseed.db import leases
from cloudseed.db.failures import translated
from cloudseed.db.ledger import SqlLedger, open_ledger
from cloudseed.db.rows import NewMeasurement
from cloudseed.db.schema import check, upgrade
from cloudseed.db.states import ExperimentState
from cloudseed.errors import LedgerError, SchemaError, StorageError

from .kit import Lab, candidate, sql

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

S = ExperimentState


@pytest.mark.parametrize("deed", [open_ledger, upgrade, check])
def test_a_missing_folder_is_named(tmp_path: Path, deed: Callable[[str], object]) -> None:
    with pytest.raises(StorageError, match="nowhere does not exist") as caught:
        deed(f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}")
    assert caught.value.hint


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is a folder"):
        open_ledger(str(tmp_path))


def test_a_read_only_ledger_is_read_and_not_written(sqlite_url: str) -> None:
    with open_ledger(sqlite_url) as ledger:
        made = ledger.create_campaign("a", {})
    with open_ledger(f"{sqlite_url}?mode=ro") as reader:
        assert reader.campaigns() == [made]
        assert reader.verify() == []
        with pytest.raises(StorageError, match="read-only") as caught:
            reader.create_campaign("b", {})
        assert caught.value.hint
        with pytest.raises(StorageError, match="read-only"):
            reader.claim(made.id).__enter__()


def _fill(ledger: SqlLedger) -> Callable[[], None]:
    """Lets the file grow no further; returns what frees the disk again."""

    def limit(connection: Any, _record: Any = None) -> None:
        cursor = connection.cursor()
        pages = cursor.execute("PRAGMA page_count").fetchone()[0]
        cursor.execute(f"PRAGMA max_page_count={pages}")
        cursor.close()

    database = ledger._database.engine
    database.dispose()
    event.listen(database, "connect", limit)

    def free() -> None:
        event.remove(database, "connect", limit)
        database.dispose()

    return free


def test_a_full_disk_stops_work_and_loses_none(sqlite_url: str) -> None:
    with open_ledger(sqlite_url) as ledger:
        campaign = ledger.create_campaign("a", {})
        with ledger.claim(campaign.id) as claim:
            lab = Lab(ledger, claim)
            lab.plan("a", "b")
            row = lab.run()
            before = (ledger.candidates(campaign.id), ledger.experiments(campaign.id))
            free = _fill(ledger)
            big = candidate("c", papers={"x": "y" * 10**6})
            with pytest.raises(StorageError, match="full") as caught:
                ledger.add_candidates(claim, [candidate("d"), big])
            assert caught.value.hint
            with pytest.raises(StorageError, match="full"):
                ledger.receive(claim, "lab", "1", row.idem_key, b"x" * 10**6)
            assert (ledger.candidates(campaign.id), ledger.experiments(campaign.id)) == before
            assert ledger.unprocessed(campaign.id) == []
            assert ledger.verify() == []
            free()
            assert ledger.add_candidates(claim, [candidate("d"), big]) == 2
            assert ledger.receive(claim, "lab", "1", row.idem_key, b"x" * 10**6)
            assert ledger.verify() == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "read-only"),
        (errno.ENOENT, "does not exist"),
        (errno.EIO, "refused a file"),
    ],
)
def test_errors_of_the_system_become_storage_errors(number: int, words: str) -> None:
    with pytest.raises(StorageError, match=words) as caught, translated("ledger.db"):
        raise OSError(number, "a path that nobody should see")
    assert isinstance(caught.value.__cause__, OSError)
    assert "ledger.db" in caught.value.message
    assert caught.value.hint


def test_errors_of_this_program_pass_through() -> None:
    with pytest.raises(LedgerError, match="as it was"), translated("ledger.db"):
        raise LedgerError("as it was")


def test_a_file_that_vanishes_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_ledger(str(path)).close()
    with open_ledger(str(path), create=False) as ledger:
        ledger._database.engine.dispose()
        path.unlink()
        with pytest.raises(StorageError, match="cannot be opened"):
            ledger.campaigns()
    assert not path.exists()


def test_a_table_that_is_gone_is_an_error_of_the_schema(url: str) -> None:
    with open_ledger(url) as ledger:
        with sql(ledger) as connection:
            connection.execute(text("ALTER TABLE measurement RENAME TO gone"))
        try:
            with pytest.raises(SchemaError, match="tables"):
                ledger.measurements(1)
        finally:
            with sql(ledger) as connection:
                connection.execute(text("ALTER TABLE gone RENAME TO measurement"))


def test_a_lock_that_lasts_is_an_error_in_the_end(sqlite_url: str) -> None:
    with open_ledger(sqlite_url) as ledger, open_ledger(sqlite_url) as other:

        def hurry(connection: Any, _record: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout=50")
            cursor.close()

        other._database.engine.dispose()
        event.listen(other._database.engine, "connect", hurry)
        with sql(ledger), pytest.raises(StorageError, match="locked"):
            other.create_campaign("a", {})
        other.create_campaign("a", {})


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(StorageError, match=r"postgresql://127.0.0.1:1/lab cannot be reached"):
        open_ledger("postgresql://ada@127.0.0.1:1/lab?connect_timeout=2")


def test_a_database_that_is_not_there_is_named(postgresql_url: str) -> None:
    with pytest.raises(StorageError, match="does not exist") as caught:
        open_ledger(f"{postgresql_url}_nowhere")
    assert "createdb" in caught.value.hint


def _cut(ledger: SqlLedger) -> None:
    """Ends all other connections to a PostgreSQL database, as a restart of the server does."""
    with sql(ledger) as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def _write_while(ledger: SqlLedger, deed: Callable[[], None]) -> None:
    """Does something in the middle of a transaction."""
    with ledger._database.writing() as session:
        session.execute(text("DELETE FROM measurement"))
        deed()
        session.execute(text("DELETE FROM measurement"))


def test_a_server_that_goes_away_loses_nothing(postgresql_url: str) -> None:
    with open_ledger(postgresql_url) as ledger, open_ledger(postgresql_url) as killer:
        campaign = ledger.create_campaign("a", {})
        with ledger.claim(campaign.id) as claim:
            lab = Lab(ledger, claim)
            lab.plan("a")
            row = lab.run()
            inbox_id = lab.hear(row.idem_key)
            gap = NewMeasurement("band_gap", 1.0, "eV")
            with pytest.raises(StorageError, match="cannot be reached") as caught:
                _write_while(ledger, lambda: _cut(killer))
            assert caught.value.hint
            # The pool finds its other connections dead and makes new ones.
            ledger.settle(claim, inbox_id, S.MEASURED, measurements=[gap])
            assert len(ledger.measurements(campaign.id)) == 1
            assert ledger.verify() == []


def test_a_claim_lost_with_the_server_is_fenced(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE", 0.0)
    with open_ledger(postgresql_url) as ledger, open_ledger(postgresql_url) as killer:
        campaign = ledger.create_campaign("a", {})
        with ledger.claim(campaign.id) as old:
            _cut(killer)
            with killer.claim(campaign.id) as new:
                killer.heartbeat(new)
                with pytest.raises(LedgerError, match="taken over"):
                    ledger.heartbeat(old)


def test_a_copy_of_a_closed_ledger_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with open_ledger(str(path)) as ledger:
        made = ledger.create_campaign("a", {})
    shutil.copy(path, tmp_path / "copy.db")
    with open_ledger(str(tmp_path / "copy.db")) as copy:
        assert copy.campaigns() == [made]
