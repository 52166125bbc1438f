"""One engine per campaign, across processes; readers in between."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from cloudseed.db import claiming, leases, locks
from cloudseed.db.ledger import SqlLedger, open_ledger
from cloudseed.db.locks import exclusive
from cloudseed.errors import CampaignRunningError, StaleWorkerError

from .kit import Lab, candidate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudseed.db.rows import CampaignRow, Claim

ENGINE = """
import sys, time
from cloudseed.db import claiming, leases, locks
from cloudseed.db.ledger import open_ledger
with open_ledger(sys.argv[1]) as ledger, ledger.claim(int(sys.argv[2])) as claim:
    print(claim.epoch, flush=True)
    time.sleep(60)
"""


@contextmanager
def another_engine(url: str, campaign: CampaignRow) -> Iterator[subprocess.Popen[str]]:
    """A process that claims a campaign and holds it until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENGINE, url, str(campaign.id)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_another_process_is_excluded_until_it_is_killed(
    ledger: SqlLedger, campaign: CampaignRow, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another_engine(url, campaign) as process:
        with pytest.raises(CampaignRunningError, match="Another engine"):
            ledger.claim(campaign.id).__enter__()
        process.kill()
        process.wait()
        monkeypatch.setattr(locks, "PATIENCE", 10.0)
        with ledger.claim(campaign.id) as claim:
            assert claim.epoch == 2


def test_a_worker_that_lost_its_lock_cannot_write(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody deletes the lock file of a running engine."""
    monkeypatch.setattr(leases, "LEASE", 0.0)
    with open_ledger(sqlite_url) as ledger, open_ledger(sqlite_url) as second:
        campaign = ledger.create_campaign("a", {})
        with ledger.claim(campaign.id) as old:
            path = Path(sqlite_url.removeprefix("sqlite:///"))
            path.with_name(f"{path.name}.campaign-{campaign.id}.lock").unlink()
            with second.claim(campaign.id) as new:
                second.add_candidates(new, [candidate("a")])
                with pytest.raises(StaleWorkerError) as caught:
                    ledger.add_candidates(old, [candidate("b")])
                assert caught.value.data["current"] == new.epoch
        assert [c.key for c in ledger.candidates(campaign.id)] == ["a"]


def test_locks_of_two_campaigns_do_not_meet(ledger: SqlLedger) -> None:
    with exclusive(ledger._database, 1) as one, exclusive(ledger._database, 2) as two:
        with exclusive(ledger._database, 1) as again:
            assert (one, two, again) == (True, True, False)
        with exclusive(ledger._database, 1) as still:
            assert not still


def test_a_reader_waits_for_no_writer(
    ledger: SqlLedger, campaign: CampaignRow, lab: Lab, url: str
) -> None:
    lab.plan("a")
    with open_ledger(url, create=False) as reader, ledger._database.writing() as session:
        from sqlalchemy import text

        session.execute(text("UPDATE campaign SET status = 'running'"))
        begun = time.monotonic()
        found = reader.campaign(campaign.name)
        assert found is not None
        assert found.status == "new"
        assert len(reader.experiments(campaign.id)) == 1
        assert reader.verify() == []
        assert time.monotonic() - begun < 5
    assert found != ledger.campaign(campaign.name)


def test_a_reader_always_sees_a_whole_transaction(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, url: str
) -> None:
    stop = threading.Event()
    faults: list[str] = []

    def watch() -> None:
        with open_ledger(url, create=False) as reader:
            while not stop.is_set():
                faults.extend(reader.verify())
                if len(reader.candidates(campaign.id)) % 5:
                    faults.append("half a batch")

    watcher = threading.Thread(target=watch)
    watcher.start()
    for batch in range(20):
        ledger.add_candidates(claim, [candidate(f"{batch}-{i}") for i in range(5)])
    stop.set()
    watcher.join()
    assert faults == []


def test_writers_of_two_campaigns_take_turns(ledger: SqlLedger, url: str) -> None:
    def write(name: str) -> None:
        with open_ledger(url) as own:
            campaign = own.create_campaign(name, {})
            with own.claim(campaign.id) as claim:
                for i in range(10):
                    own.add_candidates(claim, [candidate(f"{i}")])

    threads = [threading.Thread(target=write, args=(f"campaign {n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ledger.count_candidates(c.id) for c in ledger.campaigns()] == [10, 10, 10]
    assert ledger.verify() == []


def _age(ledger: SqlLedger, seconds: float) -> None:
    """Moves the end of every lease, as a jump of the clock would."""
    from datetime import timedelta

    from cloudseed.db.models import Lease

    with ledger._database.writing() as session:
        for lease in session.scalars(select(Lease)):
            assert lease.until is not None
            lease.until -= timedelta(seconds=seconds)


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_a_clock_that_jumps_by_a_day_costs_a_living_engine_nothing(
    ledger: SqlLedger, campaign: CampaignRow, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    monkeypatch.setattr(claiming, "WATCH", 5.0)
    with ledger.claim(campaign.id) as claim:
        _age(ledger, jump)
        stop = threading.Event()

        def live() -> None:
            while not stop.wait(0.05):
                ledger.heartbeat(claim)

        engine = threading.Thread(target=live)
        engine.start()
        with pytest.raises(CampaignRunningError):
            ledger.claim(campaign.id).__enter__()
        stop.set()
        engine.join()
        ledger.heartbeat(claim, "still here")
        assert ledger.lease(campaign.id).stage == "still here"


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_an_engine_that_stands_still_is_taken_over_whatever_the_clock_says(
    ledger: SqlLedger, campaign: CampaignRow, jump: float
) -> None:
    with ledger.claim(campaign.id) as old:
        _age(ledger, jump)
        with ledger.claim(campaign.id) as new:
            assert (new.epoch, new.unproven) == (old.epoch + 1, old.epoch)
            with pytest.raises(StaleWorkerError):
                ledger.heartbeat(old)
            # What the old engine lets go of is no longer its own.
        assert not ledger.lease(campaign.id).held


def test_a_holder_of_another_machine_is_not_known_to_have_ended() -> None:
    here = leases.holder()
    assert not leases.has_ended(here)
    machine, process, began = here.rsplit(" ", 2)
    assert leases.has_ended(f"{machine} {process} {int(began) - 1}"), "the number came again"
    assert not leases.has_ended(f"elsewhere {process} {int(began) - 1}")


def test_a_release_comes_from_the_holder_alone(ledger: SqlLedger, campaign: CampaignRow) -> None:
    with ledger.claim(campaign.id):
        lease = ledger.lease(campaign.id)
        assert lease.held
        assert lease.holder == leases.holder()
    after = ledger.lease(campaign.id)
    assert (after.holder, after.until, after.epoch) == ("", None, 1)
