"""An engine is killed again and again without warning, and its ledger stays sound."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from cloudseed.db.ledger import SqlLedger, open_ledger
from cloudseed.db.states import ExperimentState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

S = ExperimentState

ENGINE = """
import contextlib, os, sys
from cloudseed.db import locks
from cloudseed.db.ledger import open_ledger
from cloudseed.db.rows import NewCandidate, NewDecision, NewExperiment, NewMeasurement
from cloudseed.db.states import ExperimentState
with contextlib.suppress(ImportError):
    import psycopg
S = ExperimentState
locks.PATIENCE = 10.0
url, lab_path = sys.argv[1:]
gap = NewMeasurement("band_gap", 1.0, "eV")

def plan(ledger, claim):
    step = len(ledger.decisions(claim.campaign_id))
    ledger.add_candidates(claim, [
        NewCandidate(f"{step}-{i}", "O", "s", {}, "r", ("O",)) for i in range(3)
    ])
    ids = [c.id for c in ledger.candidates(claim.campaign_id)[-3:]]
    ledger.record_decision(claim, NewDecision(
        step, "m", 1, "p", (), (), "e", {}, (), (),
        [NewExperiment(i, f"key-{i}", "lab", {}) for i in ids],
    ))

def step(ledger, claim, lab):
    for row in ledger.experiments(claim.campaign_id, [S.RUNNING]):
        ledger.receive(claim, "lab", row.idem_key, row.idem_key, b"done")
    for inbox_id, key, raw in ledger.unprocessed(claim.campaign_id):
        ledger.settle(claim, inbox_id, S.MEASURED, measurements=[gap])
    item = ledger.next_to_send(claim)
    if item is None:
        return plan(ledger, claim)
    os.write(lab, f"{item.experiment.idem_key} {item.experiment.attempt}\\n".encode())
    ledger.acknowledge(claim, item, "job")

def run():
    lab = os.open(lab_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with open_ledger(url) as ledger, ledger.claim(1) as claim:
        print("claimed", flush=True)
        for item in ledger.unacknowledged(claim):
            ledger.acknowledge(claim, item, "job")
        while True:
            step(ledger, claim, lab)

# Python and its libraries are loaded once, each engine is a fork.
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        run()
    print(pid, flush=True)
    os.waitpid(pid, 0)
"""


@pytest.fixture
def nursery(url: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts an engine for each line that it is sent."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENGINE, url, str(tmp_path / "lab")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        yield process
        # An engine that a failed test left running would hold the pipes open.
        os.killpg(process.pid, signal.SIGKILL)


def _run_and_kill(
    nursery: subprocess.Popen[str], seconds: float, until: Callable[[], bool] = lambda: True
) -> None:
    """Runs an engine for a while from its claim, then kills it without warning."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write("go\n")
    nursery.stdin.flush()
    (pid,) = {nursery.stdout.readline(), nursery.stdout.readline()} - {"claimed\n"}
    time.sleep(seconds)
    while not until():
        time.sleep(0.05)
    os.kill(int(pid), signal.SIGKILL)


def _check(ledger: SqlLedger) -> None:
    assert ledger.verify() == []
    rows = ledger.experiments(1)
    measured = Counter(m.experiment_id for m in ledger.measurements(1))
    assert measured == {r.id: 1 for r in rows if r.state is S.MEASURED}
    assert all(r.attempt <= 1 for r in rows), "nothing failed, so nothing is sent twice"


@pytest.mark.timeout(2 * 3600)
@pytest.mark.parametrize("kills", [20, pytest.param(500, marks=pytest.mark.nightly)])
def test_an_engine_may_be_killed_at_any_instant(
    url: str, nursery: subprocess.Popen[str], tmp_path: Path, kills: int
) -> None:
    rng = random.Random(kills)
    with open_ledger(url) as ledger:
        ledger.create_campaign("a", {})
        # However slow the machine is, there is something to lose.
        _run_and_kill(nursery, 0.0, lambda: bool(ledger.measurements(1)))
        for _ in range(kills):
            _run_and_kill(nursery, rng.uniform(0.0, 0.2))
            _check(ledger)
        rows = ledger.experiments(1)
        assert any(r.state is S.MEASURED for r in rows)
        submitted = Counter((tmp_path / "lab").read_text().split()[::2])
        assert set(submitted) <= {r.idem_key for r in rows}
        assert set(submitted.values()) == {1}
        assert ledger.campaigns()[0].epoch == kills + 1
