"""What a step of the engine costs beside planning, in ledgers of 100 to 100,000 experiments.

    python benchmarks/ledger.py [--url sqlite:///... | postgresql://...] [--steps 60]

Each ledger is filled with measured experiments; then so many are planned, and steps are timed that
collect, send and record one experiment each, on a lab that answers at once. The median counts; on a
busy machine that of the processor's time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, text

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
    from collections.abc import Sequence

SIZES = (100, 10_000, 100_000)
SPEC = CampaignSpec.model_validate(
    {
        "name": "scale",
        "parents": ["none"],
        "objective": "max band_gap",
        "budget": {"experiments": 10_000_000},
        "in_flight": 1,
    }
)
CELL = Cell(((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0)), ("O",) * 5, ((0.0, 0.0, 0.0),) * 5)
RAW = Outcome(OutcomeKind.MEASURED, (Measurement("band_gap", 1.0, "eV", 0.1),)).to_json()


class Instant:
    """A lab that answers at once."""

    def describe(self) -> LabDescription:
        return LabDescription("lab", {"band_gap": "eV"}, 1, DeliveryClass.A, simulated=True)

    def validate(self, _: ExperimentRequest) -> Validation:
        return Validation(accepted=True)

    def submit(self, request: ExperimentRequest) -> str:
        return request.key

    def lookup(self, key: str) -> str | None:
        return key

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        return [LabMessage(f"result-{h}", h, RAW) for h in handles]

    def close(self, *, stop_jobs: bool = False) -> None:
        """Nothing to let go of."""


def request(key: str) -> dict[str, Any]:
    return ExperimentRequest(key, "O5", key, CELL, ("band_gap",)).to_json()


def fill(ledger: SqlLedger, count: int, planned: int) -> None:
    """Writes measured experiments past the rules, then plans some by them."""
    at, raw_sha = now(), hashlib.sha256(RAW).hexdigest()
    ledger.create_campaign(SPEC.name, {"spec": SPEC.model_dump(mode="json")})
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
                    "request": request(f"old{i}"),
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
                for kind, data in LIFE
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
            NewExperiment(i, f"new{i}", "lab", request(f"new{i}"))
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


def measure(ledger: SqlLedger, steps: int) -> tuple[list[float], list[float]]:
    """Returns the seconds by clock and by processor of so many steps, after the first ten.

    The first takes in the first look at the whole.
    """
    times, work = [], []
    row = ledger.campaign(SPEC.name)
    assert row is not None
    with ledger.claim(1) as claim:
        lab: Any = Instant()
        campaign = Campaign(Context(ledger, claim, row, SPEC, lab, None, None))  # type: ignore[arg-type]
        for number in range(steps + 10):
            began, busy = time.perf_counter(), time.process_time()
            campaign.step()
            if number >= 10:
                times.append(time.perf_counter() - began)
                work.append(time.process_time() - busy)
    return times, work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="An empty PostgreSQL database; SQLite by default.")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    medians: dict[int, float] = {}
    worked: dict[int, float] = {}
    for size in given.sizes:
        with (
            tempfile.TemporaryDirectory() as folder,
            open_ledger(given.url or f"sqlite:///{folder}/ledger.db") as ledger,
        ):
            fill(ledger, size, given.steps + 20)
            times, work = measure(ledger, given.steps)
        medians[size] = statistics.median(times)
        worked[size] = statistics.median(work)
        print(
            f"{size:>8,} experiments: median step {medians[size] * 1e3:7.2f} ms,"
            f" of it processor {statistics.median(work) * 1e3:7.2f} ms,"
            f" longest {max(times) * 1e3:9.2f} ms",
            flush=True,
        )
    largest, smallest = max(medians), min(medians)
    ratios = {
        "clock": medians[largest] / medians[smallest],
        "processor": worked[largest] / worked[smallest],
    }
    for name, ratio in ratios.items():
        print(f"ratio of the largest to the smallest by {name}: {ratio:.2f}")
    if given.json:
        given.json.write_text(
            json.dumps({"medians_s": medians, "processor_s": worked, "ratios": ratios})
        )


if __name__ == "__main__":
    main()
