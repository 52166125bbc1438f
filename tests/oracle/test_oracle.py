"""Engines are killed, stopped and raced; the lab's own ledger says what really happened.

`make test` runs a short form; the marker `nightly` the full counts. Each prints a line of a table.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text

from cloudseed.db import engine, open_ledger
from cloudseed.db.models import Lease
from cloudseed.errors import StorageError
from tests.oracle.engine import BLOCKED, REFUSED, STALE
from tests.oracle.scene import Nursery, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PLACES = (
    "claim",
    "status",
    "heartbeat",
    "candidates",
    "decide",
    "take",
    "submit",
    "acknowledge",
    "poll",
    "receive",
    "settle",
    "transition",
    "lookup",
)
"""Where an engine dies; `lookup` is passed only in class B, after a death in mid-send."""

LONGEST_LIFE = 1.0
"""Seconds that an engine may live before it is killed at a random instant."""

SHORT = {("sqlite", "A"), ("sqlite", "C"), ("postgresql", "B")}
COMBINATIONS = pytest.mark.parametrize(
    ("url", "delivery"),
    [
        pytest.param(
            database,
            delivery,
            marks=() if (database, delivery) in SHORT else pytest.mark.nightly,
            id=f"{database}-{delivery}",
        )
        for database in ("sqlite", "postgresql")
        for delivery in ("A", "B", "C")
    ],
    indirect=["url"],
)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    found = Nursery()
    yield found
    found.close()


@pytest.fixture
def scene(url: str, tmp_path: Path, nursery: Nursery) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(delivery: str, truly: str | None = None) -> Scene:
        made.append(Scene(url, tmp_path, nursery, delivery, truly))
        return made[-1]

    yield make
    for each in made:
        each.__exit__()


def say(line: str) -> None:
    """Prints a line of the table."""
    sys.stdout.write(line + "\n")


def database(scene: Scene) -> str:
    return scene.url.partition(":")[0]


def finish(scene: Scene, what: str, kills: int) -> None:
    """Drains the campaign, settles doubts as a person would, and compares both ledgers twice."""
    scene.drain()
    before = scene.compare()
    scene.settle_doubts()
    scene.drain()
    after = scene.compare()
    say(
        f"\n{what:<22} {database(scene):<10} class {scene.delivery}: {kills} kills,"
        f" {after.runs} runs, {len(after.twice)} twice, {len(after.lost)} lost,"
        f" {len(after.unknown)} unknown, {before.doubtful} in doubt"
        f" ({before.doubtful_ran} of them had run)"
    )
    assert before.clean, before
    assert after.clean, after
    assert after.doubtful == 0
    assert after.runs > 0
    if scene.delivery != "C":
        assert before.doubtful == 0


@COMBINATIONS
def test_a_kill_at_each_place(scene: Callable[..., Scene], delivery: str) -> None:
    at = scene(delivery)
    kills = 0
    for place in PLACES:
        if place == "lookup" and delivery != "B":
            continue
        for side in ("before", "after"):
            if place == "lookup":
                at.kill_at("submit.before")
                kills += 1
            at.kill_at(f"{place}.{side}")
            kills += 1
    finish(at, "at each place", kills)


@pytest.mark.parametrize("kills", [10, pytest.param(1667, marks=pytest.mark.nightly)])
@COMBINATIONS
@pytest.mark.timeout(6 * 3600)
def test_kills_at_random_instants(scene: Callable[..., Scene], delivery: str, kills: int) -> None:
    at = scene(delivery)
    rng = random.Random(kills)
    at.kill_at("settle.after:3")
    longest = 0.1
    for number in range(1, kills + 1):
        at.kill_after(rng.uniform(0.0, longest))
        if number % 20 == 0 and len(at.runs()) < number / 2:
            # On a slow machine most would die before they had sent anything.
            longest = min(1.5 * longest, LONGEST_LIFE)
    finish(at, "at random instants", kills + 1)


def test_the_harness_sees_what_runs_twice(scene: Callable[..., Scene]) -> None:
    """The negative control: an engine that sends again to a lab which honours no key."""
    at = scene("A", truly="C")
    for _ in range(3):
        at.kill_at("submit.after")
    at.drain()
    found = at.compare()
    say(f"\nwithout a key          {database(at):<10} {len(found.twice)} twice, as must be")
    assert found.twice


@pytest.mark.parametrize(
    ("times", "lease"), [(2, 30.0), pytest.param(200, 0.5, marks=pytest.mark.nightly)]
)
@pytest.mark.timeout(3 * 3600)
def test_a_stopped_engine_cannot_write_once_it_goes_on(
    scene: Callable[..., Scene], times: int, lease: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 1.0)
    at = scene("B")
    done = blocked = stale = 0
    while done < times:
        first = at.start(lease=lease)
        at.nursery.claimed(first)
        time.sleep(0.1)
        os.kill(first, signal.SIGSTOP)
        if _taken_over(at, first, lease):
            done += 1
        else:
            # It was stopped in mid-transaction, which keeps everybody out of the database.
            blocked += 1
            assert blocked < 20 * times
        stale += _stale_writes(at)
    say(
        f"\nstopped for 3 leases   {database(at):<10} {times} times, {stale} stale writes"
        f" ({blocked} more stopped while they held the database)"
    )
    assert stale == 0
    at.drain()
    at.settle_doubts()
    at.drain()
    assert at.compare().clean


def _taken_over(at: Scene, first: int, lease: float) -> bool:
    """Has a second engine take over from a stopped one, which then goes on; or kills the first."""
    if lease >= 30.0:
        refused = at.start(patience=0.0)
        assert at.nursery.ended(refused) == REFUSED, "while the lease holds"
    second = None
    if _let_pass(at, lease):
        second = at.start(patience=0.0, watch=0.2, busy=1.0)
        at.nursery.claimed(second)
        if not at.nursery.has_claim(second):
            assert at.nursery.ended(second) == BLOCKED
            second = None
    if second is None:
        os.kill(first, signal.SIGKILL)
        at.nursery.ended(first)
        return False
    os.kill(first, signal.SIGCONT)
    assert at.nursery.ended(first) == STALE
    third = at.start(patience=0.0)
    assert at.nursery.ended(third) == REFUSED, "after the first went on"
    os.kill(second, signal.SIGKILL)
    at.nursery.ended(second)
    return True


def _let_pass(at: Scene, lease: float) -> bool:
    """Lets three leases pass, a long one by moving its end; returns whether that could be done."""
    if lease < 30.0:
        time.sleep(3 * lease)
        return True
    try:
        with open_ledger(at.url, create=False) as ledger, ledger._database.writing() as session:
            for row in session.scalars(select(Lease)):
                assert row.until is not None
                row.until -= timedelta(seconds=3 * lease)
    except StorageError:
        return False
    return True


def _stale_writes(scene: Scene) -> int:
    """Counts attempts that were opened under an epoch after a newer one had begun."""
    with open_ledger(scene.url, create=False) as ledger, ledger._database.reading() as session:
        epochs = session.scalars(text("SELECT epoch FROM attempt ORDER BY id")).all()
    return sum(later < earlier for earlier, later in pairwise(epochs))


@pytest.mark.parametrize("races", [2, pytest.param(100, marks=pytest.mark.nightly)])
@pytest.mark.timeout(3600)
def test_of_engines_that_start_together_one_drives(scene: Callable[..., Scene], races: int) -> None:
    at = scene("A")
    for _ in range(races):
        pids = [at.start(patience=0.0) for _ in range(4)]
        for pid in pids:
            at.nursery.claimed(pid)
        alive = [pid for pid in pids if at.nursery.has_claim(pid)]
        assert len(alive) == 1
        (winner,) = alive
        os.kill(winner, signal.SIGKILL)
        ends = Counter(at.nursery.ended(pid) for pid in pids)
        assert ends == {REFUSED: 3, -signal.SIGKILL: 1}
    say(f"\nraces of 4             {database(at):<10} {races}, one engine each")
    at.drain()
    assert at.compare().clean
