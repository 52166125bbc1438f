"""The engine's own collect, recover and dispatch, in processes that may be killed at any instant.

Run as a program it is a nursery: for each line on its input it forks an engine, after Python and
its libraries were loaded once.
"""

from __future__ import annotations

import json
import os
import select
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cloudseed import _failpoints
from cloudseed.crystal import Cell
from cloudseed.db import (
    ExperimentState,
    NewCandidate,
    NewDecision,
    NewExperiment,
    claiming,
    engine,
    leases,
    locks,
    open_ledger,
)
from cloudseed.errors import CampaignRunningError, StaleWorkerError, StorageError
from cloudseed.lab_adapters import DeliveryClass, ExperimentRequest
from cloudseed.loop import CampaignSpec, collecting, patience
from cloudseed.loop.collecting import collect
from cloudseed.loop.context import Context
from cloudseed.loop.dispatching import dispatch, recover
from tests.oracle.lab import OracleLab

if TYPE_CHECKING:
    from cloudseed.db import Claim, Ledger

with suppress(ImportError):
    import psycopg  # noqa: F401  # loaded before the forks

NAME = "oracle"
MADE_ON = {"labs": [{"name": "oracle", "simulated": True}]}
REFUSED, STALE, BLOCKED = 43, 42, 44
OPEN = [ExperimentState.PLANNED, ExperimentState.SENDING, ExperimentState.RUNNING]
SPEC = CampaignSpec.model_validate(
    {
        "name": NAME,
        "parents": ["none"],
        "objective": "max band_gap",
        "budget": {"experiments": 1_000_000},
        "in_flight": 4,
        "attempts": 5,
    }
)
CELL = Cell(((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0)), ("O",), ((0.0, 0.0, 0.0),))


def plan(ledger: Ledger, claim: Claim, count: int = 3) -> None:
    """Records a decision on new candidates."""
    step = len(ledger.decisions(claim.campaign_id))
    keys = [f"{step}.{i}" for i in range(count)]
    made = [NewCandidate(k, "O", "s", {}, "r", ("O",)) for k in keys]
    ledger.add_candidates(claim, made)
    ids = {c.key: c.id for c in ledger.candidates(claim.campaign_id)}
    asked = [
        NewExperiment(
            ids[k],
            f"key.{k}",
            "oracle",
            ExperimentRequest(f"key.{k}", "O", k, CELL, ("band_gap",)).to_json(),
        )
        for k in keys
    ]
    ledger.record_decision(claim, NewDecision(step, "m", 1, "p", (), (), "e", {}, (), (), asked))


def drive(order: dict[str, Any]) -> None:
    """Steps until killed; with `drain`, until nothing is open."""
    lab = OracleLab(order["address"], DeliveryClass(order["delivery"]))
    with open_ledger(order["url"], create=False) as ledger, ledger.claim(1) as claim:
        tell("claimed")
        row = ledger.campaign(NAME)
        assert row is not None
        context = Context(ledger, claim, row, SPEC, lab, None, None)  # type: ignore[arg-type]
        ledger.set_status(claim, "running", f"epoch {claim.epoch}")
        while True:
            ledger.heartbeat(claim)
            recover(context)
            collect(context)
            if order.get("drain"):
                if not ledger.experiments(1, OPEN):
                    return
            elif not ledger.experiments(1, [ExperimentState.PLANNED]):
                plan(ledger, claim)
            dispatch(context)


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, (os.getpid(), *words))) + "\n").encode())


def child(order: dict[str, Any]) -> int:
    """What a forked engine does; returns its exit code."""
    _failpoints.arm(order.get("failpoint", ""))
    collecting.RETRY_PAUSE = patience.FIRST_PAUSE = 0.001
    locks.PATIENCE = order.get("patience", 20.0)
    engine.BUSY_SECONDS = order.get("busy", engine.BUSY_SECONDS)
    leases.LEASE = order.get("lease", leases.LEASE)
    claiming.WATCH = order.get("watch", claiming.WATCH)
    try:
        drive(order)
    except CampaignRunningError:
        return REFUSED
    except StaleWorkerError:
        return STALE
    except StorageError:
        return BLOCKED
    return 0


def warm_up() -> None:
    """Loads and configures what every engine needs, once."""
    with TemporaryDirectory() as folder, open_ledger(f"sqlite:///{folder}/l.db") as ledger:
        ledger.create_campaign(NAME, MADE_ON)
        with ledger.claim(1) as claim:
            plan(ledger, claim)
            ledger.next_to_send(claim)


def main() -> None:
    """Forks an engine per line of orders, and tells of each one's birth and death."""
    warm_up()
    alive: set[int] = set()
    pending = b""
    while True:
        if select.select([0], [], [], 0.002 if alive else None)[0]:
            more = os.read(0, 65536)
            if not more:
                return
            *lines, pending = (pending + more).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    os._exit(child(json.loads(line)))
                alive.add(pid)
                os.write(1, f"{pid} born\n".encode())
        for pid in list(alive):
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                alive.remove(pid)
                os.write(1, f"{pid} ended {os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
