"""A PostgreSQL server of its own is stopped at once or killed, again and again, under writers.

Needs the server's programs (`initdb`, `pg_ctl`); `CLOUDSEED_TEST_PGBIN` names their folder.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudseed.db.ledger import open_ledger
from cloudseed.errors import CloudseedError, LedgerError

from .kit import candidate

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITERS = 4


def programs() -> Path | None:
    """Returns the folder of the server's programs."""
    told = os.environ.get("CLOUDSEED_TEST_PGBIN")
    known = [Path(told)] if told else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((p for p in reversed(known) if (p / "initdb").exists()), None)


class OwnServer:
    """A server in a folder of its own, which may be crashed."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self._bin = folder, programs
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # The server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        self._call("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust")
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _call(self, program: str, *words: str) -> None:
        subprocess.run(
            [str(self._bin / program), *words],
            user=self._user,
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        log = str(self.folder / "log")
        self._call(
            "pg_ctl", "-D", str(self.folder / "data"), "-o", options, "-l", log, "-w", "start"
        )

    def crash(self, *, kill: bool) -> None:
        """Stops at once, without writing out what is in memory; or kills the whole server."""
        if not kill:
            self._call("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")
            return
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in [pid, *map(int, children)]:
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                continue
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-m", "fast", "-w", "stop")


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    pytest.importorskip("psycopg")
    found = programs()
    if found is None:
        pytest.skip("no programs of a PostgreSQL server; set CLOUDSEED_TEST_PGBIN")
    folder = Path(tempfile.mkdtemp(prefix="cloudseed-pg-"))
    server = OwnServer(folder, found)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


class Writer(threading.Thread):
    """Writes candidates into a campaign of its own; notes what was acknowledged."""

    def __init__(self, url: str, name: str, end: threading.Event) -> None:
        super().__init__(name=name)
        self.url, self.end = url, end
        self.acknowledged: list[str] = []
        self.unclear: list[str] = []
        self.faults: list[BaseException] = []

    def run(self) -> None:
        while not self.end.is_set():
            try:
                self._write()
            except LedgerError:
                time.sleep(0.02)
            except BaseException as error:
                self.faults.append(error)
                return

    def _write(self) -> None:
        with open_ledger(self.url, create=False) as ledger:
            row = ledger.campaign(self.name) or ledger.create_campaign(self.name, {})
            with ledger.claim(row.id) as claim:
                while not self.end.is_set():
                    key = f"{len(self.acknowledged) + len(self.unclear)}"
                    try:
                        ledger.add_candidates(claim, [candidate(key)])
                    except CloudseedError:
                        self.unclear.append(key)
                        raise
                    self.acknowledged.append(key)


@pytest.mark.parametrize("crashes", [2, pytest.param(60, marks=pytest.mark.nightly)])
@pytest.mark.timeout(3600)
def test_a_crash_of_the_server_loses_nothing_it_acknowledged(
    own_server: OwnServer, crashes: int
) -> None:
    with open_ledger(own_server.url):
        pass
    end = threading.Event()
    writers = [Writer(own_server.url, f"writer {n}", end) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    rng = random.Random(crashes)
    for number in range(crashes):
        before = sum(len(w.acknowledged) for w in writers)
        while sum(len(w.acknowledged) for w in writers) < before + 5 * WRITERS:
            assert not any(w.faults for w in writers), [w.faults for w in writers]
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.2))
        own_server.crash(kill=number % 2 == 1)
        own_server.start()
    end.set()
    for writer in writers:
        writer.join()
        assert writer.faults == []
    lost, late, total = 0, 0, 0
    with open_ledger(own_server.url, create=False) as ledger:
        for writer in writers:
            row = ledger.campaign(writer.name)
            assert row is not None
            keys = {c.key for c in ledger.candidates(row.id)}
            total += len(writer.acknowledged)
            lost += len(set(writer.acknowledged) - keys)
            late += len(set(writer.unclear) & keys)
            assert keys <= {*writer.acknowledged, *writer.unclear}
        assert ledger.verify() == []
    sys.stdout.write(
        f"\n{crashes} crashes of PostgreSQL under {WRITERS} writers: {total} acknowledged commits,"
        f" {lost} lost; {sum(len(w.unclear) for w in writers)} unclear, {late} of them there\n"
    )
    assert lost == 0
    assert total >= 5 * WRITERS * crashes
