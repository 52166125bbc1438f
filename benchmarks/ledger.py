"""What a step of the engine costs beside planning, in ledgers of 100 to 100,000 experiments.

    python benchmarks/ledger.py [--server postgresql://user@host/postgres] [--guarded]

Each ledger is filled with measured experiments; then so many are planned, and steps are timed that
collect, send and record one experiment each, on a lab that answers at once. All ledgers are open at
once and take turns, one step each, so that whatever else the machine does slows all alike. With
`--guarded` every experiment is checked before it is sent, as real labs want it. The medians
count, by the clock and of the processor's time of this process (a PostgreSQL server's is
not in it), and so does the median of the ratios within a turn.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import insert, make_url, text

from cloudseed.crystal import Cell
from cloudseed.db import NewDecision, NewExperiment, SqlLedger, models, open_ledger
from cloudseed.db.columns import now
from cloudseed.lab_adapters import (
    DeliveryClass,
    ExperimentRequest,
    LabDescription,
    LabMessage,
    Measurement,
    Outcome,
    OutcomeKind,
    Validation,
)
from cloudseed.loop import Campaign, CampaignSpec
from cloudseed.loop.context import Context

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

SIZES = (100, 10_000, 100_000)
WARM_UP = 10
SPEC = CampaignSpec.model_validate(
    {
        "name": "scale",
        "parents": ["none"],
        "objective": "max band_gap",
        "budget": {"experiments": 10_000_000},
        "in_flight": 1,
    }
)
GUARDED = SPEC.model_copy(
    update={
        "safety": SPEC.safety.model_copy(
            update={"simulated_too": True, "daily": 10**9, "daily_mass": 1e12}
        )
    }
)
CELL = Cell(((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0)), ("O",) * 5, ((0.0, 0.0, 0.0),) * 5)
RAW = Outcome(OutcomeKind.MEASURED, (Measurement("band_gap", 1.0, "eV", 0.1),)).to_json()


RECIPE = {
    "precursors": [{"formula": "SrCO3", "grams": 0.8}, {"formula": "TiO2", "grams": 0.4}],
    "steps": [{"do": "heat", "temperature": 1373.15, "ramp": 5, "gas": "air"}],
}


class Instant:
    """A lab that answers at once."""

    def describe(self) -> LabDescription:
        return LabDescription("lab", {"band_gap": "eV"}, 1, DeliveryClass.A, simulated=True)

    def validate(self, _: ExperimentRequest) -> Validation:
        return Validation(accepted=True, recipe=RECIPE)

    def submit(self, request: ExperimentRequest) -> str:
        return request.key

    def lookup(self, key: str) -> str | None:
        return key

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        return [LabMessage(f"result-{h}", h, RAW) for h in handles]

    def close(self, *, stop_jobs: bool = False) -> None:
        """Nothing to let go of."""


def request(number: int, key: str) -> dict[str, Any]:
    return ExperimentRequest(key, "O5", f"k{number}", CELL, ("band_gap",)).to_json()


def fill(ledger: SqlLedger, count: int, planned: int, spec: CampaignSpec) -> None:
    """Writes measured experiments past the rules, then plans some by them."""
    at, raw_sha = now(), hashlib.sha256(RAW).hexdigest()
    told = [{"name": "lab", "simulated": True}]
    ledger.create_campaign(
        spec.name, {"spec": spec.model_dump(mode="json"), "lab": told[0], "labs": told}
    )
    ids = range(1, count + 1)
    tables: list[tuple[Any, Any]] = [
        (models.Structure, [{"sha": "r", "body": {}, "created_at": at}]),
        (
            models.Candidate,
            (
                {
                    "campaign_id": 1,
                    "position": i - 1,
                    "key": f"k{i}",
                    "formula": "O5",
                    "scope": "s",
                    "root_sha": "r",
                    "colouring": ["O"],
                    "papers": {},
                }
                for i in range(1, count + planned + 1)
            ),
        ),
        (
            models.Decision,
            [
                {
                    "campaign_id": 1,
                    "step": 0,
                    "method": "m",
                    "seed": 1,
                    "pool_sha": "p",
                    "pending": [],
                    "observed": [],
                    "encoder_id": "e",
                    "model": {},
                    "notes": [],
                    "created_at": at,
                }
            ],
        ),
        (
            models.Experiment,
            (
                {
                    "campaign_id": 1,
                    "candidate_id": i,
                    "decision_id": 1,
                    "idem_key": f"old{i}",
                    "lab": "lab",
                    "state": "measured",
                    "attempt": 1,
                    "reason": "",
                    "request": request(i, f"old{i}"),
                    "details": {},
                    "created_at": at,
                    "finished_at": at,
                }
                for i in ids
            ),
        ),
        (
            models.Attempt,
            (
                {
                    "experiment_id": i,
                    "n": 1,
                    "epoch": 0,
                    "handle": f"h{i}",
                    "opened_at": at,
                    "closed_at": at,
                }
                for i in ids
            ),
        ),
        (
            models.Outbox,
            (
                {
                    "campaign_id": 1,
                    "experiment_id": i,
                    "n": 1,
                    "lab": "lab",
                    "attempt_id": i,
                    "epoch": 0,
                    "created_at": at,
                    "due_at": at,
                    "claimed_at": at,
                    "acknowledged_at": at,
                }
                for i in ids
            ),
        ),
        (
            models.Inbox,
            (
                {
                    "campaign_id": 1,
                    "lab": "lab",
                    "message_id": f"m{i}",
                    "idem_key": f"old{i}",
                    "raw": RAW,
                    "sha": raw_sha,
                    "received_at": at,
                    "processed_at": at,
                    "outcome": "applied",
                }
                for i in ids
            ),
        ),
        (
            models.Measurement,
            (
                {
                    "experiment_id": i,
                    "attempt_id": i,
                    "inbox_id": i,
                    "ordinal": 0,
                    "property": "band_gap",
                    "value": i % 97 / 10,
                    "unit": "eV",
                    "sigma": 0.1,
                    "method": "",
                    "supersedes": None,
                    "created_at": at,
                }
                for i in ids
            ),
        ),
        (
            models.Event,
            (
                {"campaign_id": 1, "experiment_id": i, "at": at, "kind": kind, "data": data}
                for i in ids
                for kind, data in (LIFE if spec is SPEC else (CHECKED, *LIFE))
            ),
        ),
    ]
    with ledger._database.writing() as session:
        for table, rows in tables:
            batch: list[dict[str, Any]] = []
            for row in rows:
                batch.append(row)
                if len(batch) == 5000:
                    session.execute(insert(table), batch)
                    batch = []
            if batch:
                session.execute(insert(table), batch)
    with ledger._database.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    with ledger.claim(1) as claim:
        asked = [
            NewExperiment(i, f"new{i}", "lab", request(i, f"new{i}"))
            for i in range(count + 1, count + planned + 1)
        ]
        ledger.record_decision(claim, NewDecision(1, "m", 1, "p", (), (), "e", {}, (), (), asked))


def moved(before: str, after: str) -> tuple[str, dict[str, Any]]:
    """Returns one line of an experiment's log."""
    return "experiment_moved", {"before": before, "after": after, "attempt": 1, "reason": ""}


LIFE = (
    ("experiment_planned", {}),
    moved("planned", "sending"),
    moved("sending", "running"),
    moved("running", "measured"),
)


CHECKED = (
    "safety_checked",
    {
        "verdict": "allowed",
        "sha": "0" * 64,
        "lab": "lab",
        "key": "earlier",
        "system": "O",
        "reasons": [],
        "asks": False,
        "grams": 1.2,
        "recipe": RECIPE,
    },
)


@contextmanager
def ledgers(server: str | None, sizes: Sequence[int]) -> Iterator[list[SqlLedger]]:
    """Empty ledgers, one for each size: in files, or in databases that are dropped afterwards."""
    with ExitStack() as stack:
        if server is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            urls = [f"sqlite:///{folder}/{size}.db" for size in sizes]
        else:
            urls = [stack.enter_context(database(server, size)) for size in sizes]
        yield [stack.enter_context(open_ledger(url)) for url in urls]


@contextmanager
def database(server: str, size: int) -> Iterator[str]:
    """The URL of a new database."""
    import psycopg

    name = f"cloudseed_steps_{os.getpid()}_{size}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def campaign(ledger: SqlLedger, spec: CampaignSpec) -> Iterator[Campaign]:
    row = ledger.campaign(spec.name)
    assert row is not None
    lab: Any = Instant()
    with ledger.claim(1) as claim:
        yield Campaign(Context(ledger, claim, row, spec, lab, None, None))  # type: ignore[arg-type]


def measure(
    opened: Sequence[SqlLedger], steps: int, spec: CampaignSpec
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns the seconds by clock and by processor, steps x ledgers each, after a warm-up.

    The first steps take in the first look at the whole.
    """
    times, work = np.empty((2, steps, len(opened)))
    with ExitStack() as stack:
        driven = [stack.enter_context(campaign(ledger, spec)) for ledger in opened]
        for turn in range(-WARM_UP, steps):
            for place, one in enumerate(driven):
                began, busy = time.perf_counter(), time.process_time()
                moved = one.step()
                took = time.perf_counter() - began, time.process_time() - busy
                assert moved, "a step without work is no measure of one"
                if turn >= 0:
                    times[turn, place], work[turn, place] = took
    return times, work


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--server", help="URL of a PostgreSQL server; SQLite by default.")
    parser.add_argument("--guarded", action="store_true", help="Check what is sent.")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    spec = GUARDED if given.guarded else SPEC
    with ledgers(given.server, given.sizes) as opened:
        for ledger, size in zip(opened, given.sizes, strict=True):
            fill(ledger, size, given.steps + WARM_UP + 5, spec)
        times, work = measure(opened, given.steps, spec)
    print("experiments   clock, ms (ratio)   processor, ms (ratio)   longest, ms")
    rows = []
    for place, size in enumerate(given.sizes):
        clock, processor = np.median(times, 0)[place], np.median(work, 0)[place]
        ratios = [float(np.median(t[:, place] / t[:, 0])) for t in (times, work)]
        print(
            f"{size:>11,} {clock * 1e3:11.2f} ({ratios[0]:.2f}) {processor * 1e3:16.2f}"
            f" ({ratios[1]:.2f}) {times[:, place].max() * 1e3:13.1f}"
        )
        rows.append(
            {"experiments": size, "clock_s": clock, "processor_s": processor, "ratios": ratios}
        )
    if given.json:
        given.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
