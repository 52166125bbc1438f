"""A fresh ledger for each test, on SQLite and on PostgreSQL.

PostgreSQL is found at `CLOUDSEED_TEST_POSTGRESQL`, or on this machine. Without it its tests are
skipped, except where `CI` is set: there its absence is a failure.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudseed.db import claiming, locks
from cloudseed.db.ledger import SqlLedger, open_ledger
from cloudseed.db.models import Base
from cloudseed.db.schema import upgrade

from .kit import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudseed.db.rows import CampaignRow, Claim

SERVER = os.environ.get(
    "CLOUDSEED_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres"
)
"""The tests make databases there and drop them."""


class Server:
    """Makes and drops databases on a PostgreSQL server."""

    def __init__(self) -> None:
        self.prefix = f"cloudseed_test_{uuid.uuid4().hex[:12]}"
        self.made: list[str] = []

    def run(self, command: str) -> None:
        import psycopg

        with psycopg.connect(SERVER, autocommit=True, connect_timeout=5) as connection:
            connection.execute(command)

    def create(self) -> str:
        """Returns the name of a new database."""
        name = f"{self.prefix}_{len(self.made)}"
        self.run(f"CREATE DATABASE {name}")
        # No test pulls the plug, and waiting for the disk is most of their time.
        self.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
        self.made.append(name)
        return name

    def drop(self, name: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        from sqlalchemy.engine import make_url

        return make_url(SERVER).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    psycopg = pytest.importorskip("psycopg")
    server = Server()
    try:
        server.run("SELECT 1")
    except psycopg.OperationalError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have PostgreSQL: {error}")
        pytest.skip("no PostgreSQL server; set CLOUDSEED_TEST_POSTGRESQL to its URL")
    yield server
    for name in server.made:
        server.drop(name)


@pytest.fixture(scope="session")
def postgresql_session_url(server: Server) -> str:
    """A database that the tests of a session share, for making one takes a third of a second."""
    url = server.url(server.create())
    upgrade(url)
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path) -> Iterator[str]:
    """A SQLite ledger without campaigns, in memory where there is a folder for that."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        path = Path(folder) / "ledger.db"
        shutil.copy(sqlite_template, path)
        yield f"sqlite:///{path}"


@pytest.fixture
def postgresql_url(postgresql_session_url: str) -> str:
    """A PostgreSQL ledger without campaigns."""
    import psycopg

    tables = Base.metadata.sorted_tables
    with psycopg.connect(postgresql_session_url) as connection:
        # Past the trigger that keeps the event log and past foreign keys; TRUNCATE is slower.
        connection.execute("SET session_replication_role = replica")
        for table in tables:
            connection.execute(f"DELETE FROM {table.name}")
            if "id" in table.columns:
                connection.execute(f"ALTER SEQUENCE {table.name}_id_seq RESTART")
    return postgresql_session_url


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses a second claim at once."""
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    monkeypatch.setattr(claiming, "WATCH", 0.0)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A ledger without campaigns, in either database."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: Server = request.getfixturevalue("server")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def ledger(url: str) -> Iterator[SqlLedger]:
    with open_ledger(url) as opened:
        yield opened


@pytest.fixture
def campaign(ledger: SqlLedger) -> CampaignRow:
    return ledger.create_campaign("perovskites", {"budget": 10})


@pytest.fixture
def claim(ledger: SqlLedger, campaign: CampaignRow) -> Iterator[Claim]:
    with ledger.claim(campaign.id) as held:
        yield held


@pytest.fixture
def lab(ledger: SqlLedger, claim: Claim) -> Lab:
    return Lab(ledger, claim)
