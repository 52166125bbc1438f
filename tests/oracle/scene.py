"""A ledger, the oracle's lab, and engines that are killed; then both ledgers side by side."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cloudseed.db import ExperimentState, open_ledger
from tests.oracle.engine import MADE_ON, NAME
from tests.oracle.lab import Run, fails, read_runs, value_of

if TYPE_CHECKING:
    from cloudseed.db import ExperimentRow, Ledger

PATIENCE = 120.0
ROOT = Path(__file__).parents[2]


class Nursery:
    """A process that forks engines as ordered."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.oracle.engine"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._said: queue.Queue[list[str]] = queue.Queue()
        self._log: list[list[str]] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line.decode().split())

    def start(self, **order: Any) -> int:
        """Orders an engine; returns its process number."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        born = len([w for w in self._log if w[1] == "born"])
        return int(self.wait(lambda log: [w for w in log if w[1] == "born"][born:])[0][0])

    def claimed(self, pid: int) -> None:
        """Waits until an engine has its claim, or has ended."""
        self.wait(lambda log: [w for w in log if w[0] == str(pid) and w[1] != "born"])

    def has_claim(self, pid: int) -> bool:
        """Whether an engine has told of its claim so far."""
        return any(w[:2] == [str(pid), "claimed"] for w in self._log)

    def ended(self, pid: int) -> int:
        """Waits for an engine's end; returns its exit code, negative for a signal."""
        found = self.wait(lambda log: [w for w in log if w[:2] == [str(pid), "ended"]])
        # Numbers come again; what is told of this one is over.
        self._log = [w for w in self._log if w[0] != str(pid)]
        return int(found[0][2])

    def wait(self, wanted: Any) -> list[list[str]]:
        deadline = time.monotonic() + PATIENCE
        while not (found := wanted(self._log)):
            left = deadline - time.monotonic()
            assert left > 0, "the engine is stuck"
            try:
                self._log.append(self._said.get(timeout=left))
            except queue.Empty:
                continue
        return list(found)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        # An engine that stands still holds the other end; closing would wait for it.
        self._listener.join(timeout=10)
        if not self._listener.is_alive():
            self._process.stdout.close()


@dataclass(frozen=True)
class Comparison:
    """What differs between the campaign's ledger and the lab's.

    Attributes:
        runs: Runs in the lab.
        twice: Keys that ran more than once, and attempts that followed one that had not failed.
        lost: Runs whose result the ledger lacks, without being in doubt.
        unknown: Runs under keys that the ledger does not know, and results that no run gave.
        doubtful: Experiments in doubt.
        doubtful_ran: Those of them that did run.
    """

    runs: int
    twice: list[str]
    lost: list[str]
    unknown: list[str]
    doubtful: int
    doubtful_ran: int

    @property
    def clean(self) -> bool:
        return not (self.twice or self.lost or self.unknown)


class Scene:
    """One campaign in one ledger, with one lab of its own.

    Args:
        url: An empty ledger.
        folder: For the lab's socket and journal.
        nursery: Forks the engines.
        delivery: What the engine believes of the lab.
        truly: What the lab is; another class than believed is the negative control.
    """

    def __init__(
        self, url: str, folder: Path, nursery: Nursery, delivery: str, truly: str | None = None
    ) -> None:
        self.url = url
        self.nursery = nursery
        self.delivery = delivery
        self.address = str(folder / "lab.sock")
        self._journal = folder / "lab.jsonl"
        with open_ledger(url) as ledger:
            ledger.create_campaign(NAME, MADE_ON)
        program = [sys.executable, "-m", "tests.oracle.lab", self.address, str(self._journal)]
        self._lab = subprocess.Popen([*program, truly or delivery], cwd=ROOT)
        while not Path(self.address).exists():
            assert self._lab.poll() is None
            time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lab.kill()
        self._lab.wait()

    def start(self, **order: Any) -> int:
        """Starts an engine."""
        return self.nursery.start(
            url=self.url, address=self.address, delivery=self.delivery, **order
        )

    def kill_at(self, place: str) -> None:
        """Runs an engine until it dies at a failpoint."""
        assert self.nursery.ended(self.start(failpoint=place)) == -signal.SIGKILL, place

    def kill_after(self, seconds: float) -> None:
        """Runs an engine for a while from its claim, then kills it."""
        pid = self.start()
        self.nursery.claimed(pid)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        assert self.nursery.ended(pid) == -signal.SIGKILL

    def drain(self) -> None:
        """Runs an engine until nothing is open but what is in doubt."""
        assert self.nursery.ended(self.start(drain=True)) == 0

    def settle_doubts(self) -> None:
        """Does what a person does: looks in the lab's journal, and says whether it arrived."""
        runs = {run.key: run.handle for run in self.runs()}
        with open_ledger(self.url, create=False) as ledger:
            for e in ledger.experiments(1, [ExperimentState.IN_DOUBT]):
                handle = runs.get(_key(e))
                state = ExperimentState.PLANNED if handle is None else ExperimentState.RUNNING
                ledger.resolve(1, e.id, state, handle=handle, reason="seen in the lab")

    def runs(self) -> list[Run]:
        return read_runs(self._journal)

    def compare(self) -> Comparison:
        """Holds both ledgers side by side, in both directions."""
        with open_ledger(self.url, create=False) as ledger:
            assert ledger.verify() == []
            return _compare(ledger, self.runs())


def _key(e: ExperimentRow) -> str:
    return f"{e.idem_key}-{e.attempt}"


def _compare(ledger: Ledger, runs: list[Run]) -> Comparison:
    rows = {e.idem_key: e for e in ledger.experiments(1)}
    values = {m.experiment_id: m.value for m in ledger.measurements(1)}
    count = Counter(run.key for run in runs)
    twice = [key for key, n in count.items() if n > 1]
    lost, unknown = [], []
    good: set[str] = set()
    for key in count:
        stem, _, number = key.rpartition("-")
        e = rows.get(stem)
        if e is None or not 1 <= int(number) <= e.attempt:
            unknown.append(key)
        elif not fails(key):
            good.add(stem)
            if e.attempt > int(number):
                twice.append(f"{key}, then attempt {e.attempt}")
            in_doubt = e.state is ExperimentState.IN_DOUBT
            if not in_doubt and values.get(e.id) != value_of(key):
                lost.append(key)
    measured = [e for e in rows.values() if e.state is ExperimentState.MEASURED]
    unknown += [e.idem_key for e in measured if e.idem_key not in good]
    doubts = [e for e in rows.values() if e.state is ExperimentState.IN_DOUBT]
    ran = sum(_key(e) in count for e in doubts)
    return Comparison(len(runs), twice, lost, unknown, len(doubts), ran)
