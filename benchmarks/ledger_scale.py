"""What a ledger of 100,000 experiments and 1,000,000 candidates costs to read.

    python benchmarks/ledger_scale.py --url sqlite:////dev/shm/scale.db
    python benchmarks/ledger_scale.py --url postgresql://user@host/scale --experiments 10000

Writes a ledger of made-up candidates, decisions and results, sound by `cloudseed db verify`, unless
there is one, then times what people and engines ask of it: the median of five, one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import insert

from cloudseed.db import SqlLedger, models, open_ledger
from cloudseed.db.columns import canonical
from cloudseed.loop.spec import validate_spec

CHUNK = 20_000
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = {
    "name": "scale",
    "parents": ["parents"],
    "objective": "max bulk_modulus",
    "constraints": ["formation_energy <= -1.0 eV/atom"],
    "budget": {"experiments": 200_000, "unsuccessful": 100_000},
}
CELL = {
    "lattice": [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]],
    "species": ["Sr", "Ti", "O", "O", "O"],
    "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
}

Rows = Iterator[dict[str, Any]]


def when(number: float) -> datetime:
    return BEGAN + timedelta(seconds=number)


def candidates(count: int) -> Rows:
    for i in range(count):
        yield {
            "id": i + 1,
            "campaign_id": 1,
            "position": i,
            "key": f"221 1a:X{i} 1b:Ti 3c:O",
            "formula": f"X{i}TiO3",
            "scope": f"X{i} Ti O3 | 221 | a b c",
            "root_sha": "0" * 64,
            "colouring": [f"X{i}", "Ti", "O"],
            "papers": {"origins": [{"parents": ["SrTiO3"], "operation": "swap"}]},
        }


def decisions(experiments: int, batch: int) -> Rows:
    for step in range(experiments // batch):
        known = step * batch * 2
        yield {
            "id": step + 1,
            "campaign_id": 1,
            "step": step,
            "method": "LogNEI",
            "seed": step,
            "pool_sha": "0" * 64,
            "pending": [],
            "observed": {"runs": [[1, known]]} if known else [],
            "encoder_id": "made-up",
            "model": {"scored": 1_000_000, "kernel": "matern52", "lengthscale": 1.0},
            "notes": [],
            "created_at": when(step * 100),
        }


def proposals(experiments: int, ranks: int, batch: int) -> Rows:
    for step in range(experiments // batch):
        for rank in range(max(ranks, batch)):
            yield {
                "decision_id": step + 1,
                "rank": rank,
                "candidate_id": step * batch + rank + 1,
                "acquisition": -float(rank),
                "feasible": 0.9,
                "prediction": {"bulk_modulus": [100.0, 10.0], "formation_energy": [-2.0, 0.3]},
                "chosen": rank < batch,
            }


def experiments_of(count: int, batch: int) -> Rows:
    for i in range(count):
        done = i < count - 2
        yield {
            "id": i + 1,
            "campaign_id": 1,
            "candidate_id": i + 1,
            "decision_id": i // batch + 1,
            "idem_key": f"{i:032x}",
            "lab": "instant",
            "state": "measured" if done else "running",
            "attempt": 1,
            "reason": "",
            "request": {
                "key": f"{i:032x}",
                "label": f"X{i}TiO3",
                "candidate": f"221 1a:X{i} 1b:Ti 3c:O",
                "cell": CELL,
                "properties": ["bulk_modulus", "formation_energy"],
            },
            "details": {"cell": CELL, "duration": 1.0} if done else {},
            "created_at": when(i),
            "finished_at": when(i + 50) if done else None,
        }


def attempts(count: int) -> Rows:
    for i in range(count):
        yield {
            "id": i + 1,
            "experiment_id": i + 1,
            "n": 1,
            "epoch": 1,
            "handle": f"job-{i}",
            "opened_at": when(i + 1),
            "closed_at": when(i + 50) if i < count - 2 else None,
        }


def outbox(count: int) -> Rows:
    for i in range(count):
        yield {
            "id": i + 1,
            "campaign_id": 1,
            "experiment_id": i + 1,
            "n": 1,
            "lab": "instant",
            "attempt_id": i + 1,
            "epoch": 1,
            "created_at": when(i),
            "due_at": when(i),
            "claimed_at": when(i + 1),
            "acknowledged_at": when(i + 1),
            "withdrawn_at": None,
        }


def inbox(count: int) -> Rows:
    for i in range(count - 2):
        raw = json.dumps({"kind": "measured", "n": i}).encode()
        yield {
            "id": i + 1,
            "campaign_id": 1,
            "lab": "instant",
            "message_id": f"result-{i}",
            "idem_key": f"{i:032x}",
            "raw": raw,
            "sha": hashlib.sha256(raw).hexdigest(),
            "received_at": when(i + 50),
            "processed_at": when(i + 50),
            "outcome": "applied",
        }


def values(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.normal(120, 30, count), rng.normal(-1.5, 0.5, count)])


def measurements(count: int) -> Rows:
    table = values(count)
    names = (("bulk_modulus", "GPa"), ("formation_energy", "eV/atom"))
    for i in range(count - 2):
        for place, (name, unit) in enumerate(names):
            yield {
                "id": 2 * i + place + 1,
                "experiment_id": i + 1,
                "attempt_id": i + 1,
                "inbox_id": i + 1,
                "ordinal": place,
                "property": name,
                "value": float(table[i, place]),
                "unit": unit,
                "sigma": 0.1,
                "method": "made up",
                "supersedes": None,
                "created_at": when(i + 50),
            }


def events(count: int, pool: int, batch: int) -> Rows:
    def line(at: float, kind: str, experiment: int | None, **data: Any) -> dict[str, Any]:
        return {
            "campaign_id": 1,
            "experiment_id": experiment,
            "at": when(at),
            "kind": kind,
            "data": data,
        }

    def moved(at: float, number: int, before: str, after: str, attempt: int) -> dict[str, Any]:
        data = {"before": before, "after": after, "attempt": attempt, "reason": ""}
        return line(at, "experiment_moved", number, **data)

    yield line(0, "campaign_created", None, name="scale")
    yield line(0, "campaign_claimed", None, epoch=1)
    yield line(0, "candidates_added", None, added=pool, first=0)
    yield line(0, "campaign_status", None, before="new", after="running", reason="")
    table = values(count)
    for i in range(count):
        if i % batch == 0:
            ids = list(range(i + 1, i + batch + 1))
            step = i // batch
            yield line(i, "decision_recorded", None, decision_id=step + 1, step=step,
                       experiments=ids)  # fmt: skip
            for number in ids:
                yield line(i, "experiment_planned", number, candidate_id=number, lab="instant")
        number = i + 1
        yield moved(i + 1, number, "planned", "sending", 1)
        yield moved(i + 1, number, "sending", "running", 1)
        if i >= count - 2:
            continue
        yield moved(i + 50, number, "running", "measured", 1)
        for place, (name, unit) in enumerate((("bulk_modulus", "GPa"),
                                              ("formation_energy", "eV/atom"))):  # fmt: skip
            yield line(i + 50, "measurement_recorded", number, measurement_id=2 * i + place + 1,
                       property=name, value=float(table[i, place]), unit=unit,
                       sigma=0.1)  # fmt: skip


def write(ledger: SqlLedger, count: int, pool: int, *, ranks: int, batch: int) -> None:
    """Fills an empty ledger."""
    config = {
        "spec": validate_spec(SPEC | {"batch": batch}, "the benchmark").model_dump(mode="json"),
        "parents": [],
        "lab": {"name": "instant", "simulated": True},
    }
    campaign = {
        "id": 1,
        "name": "scale",
        "config": config,
        "config_sha": hashlib.sha256(canonical(config).encode()).hexdigest(),
        "status": "running",
        "stop_reason": "",
        "epoch": 1,
        "created_at": BEGAN,
        "heartbeat_at": BEGAN,
    }
    root = {"sha": "0" * 64, "body": {"number": 221}, "created_at": BEGAN}
    tables: list[tuple[type[models.Base], Rows]] = [
        (models.Campaign, iter([campaign])),
        (models.Structure, iter([root])),
        (models.Candidate, candidates(pool)),
        (models.Decision, decisions(count, batch)),
        (models.Proposal, proposals(count, ranks, batch)),
        (models.Experiment, experiments_of(count, batch)),
        (models.Attempt, attempts(count)),
        (models.Outbox, outbox(count)),
        (models.Inbox, inbox(count)),
        (models.Measurement, measurements(count)),
        (models.Event, events(count, pool, batch)),
    ]
    with ledger._database._writer.begin() as connection:
        for table, rows in tables:
            start, written = time.perf_counter(), 0
            while chunk := list(islice(rows, CHUNK)):
                connection.execute(insert(table), chunk)
                written += len(chunk)
            seconds = time.perf_counter() - start
            print(f"{table.__tablename__:12} {written:>9,} rows {seconds:6.1f} s", flush=True)
        if connection.dialect.name == "postgresql":
            for table, _ in tables:
                name = table.__tablename__
                if "id" in table.__table__.columns:
                    connection.exec_driver_sql(
                        f"SELECT setval('{name}_id_seq', (SELECT max(id) FROM {name}))"
                    )
    with ledger._database.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.commit()


def timed(label: str, work: Callable[[], Any], times: int = 5) -> None:
    """Prints the median time of some work, by the wall and of this process alone."""
    walls, own = [], []
    for _ in range(times):
        wall, process = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        own.append(time.process_time() - process)
    told = [f"{statistics.median(took) * 1000:10.1f} ms" for took in (walls, own)]
    print(f"{label:32} wall {told[0]}   processor {told[1]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--url", required=True)
    parser.add_argument("--experiments", type=int, default=100_000)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=100, help="experiments per decision")
    parser.add_argument("--ranks", type=int, default=200, help="recorded per decision")
    parser.add_argument("--verify", action="store_true", help="also run `db verify`")
    parser.add_argument("--slow", action="store_true", help="also time what reads everything")
    asked = parser.parse_args()
    from cloudseed.loop.decided import list_decisions
    from cloudseed.loop.overview import overview
    from cloudseed.loop.results import load_results
    from cloudseed.loop.snapshot import take_snapshot

    with open_ledger(asked.url) as ledger:
        if ledger.campaign("scale") is None:
            write(
                ledger,
                asked.experiments,
                asked.candidates,
                ranks=asked.ranks,
                batch=asked.batch,
            )
        row = ledger.campaign("scale")
        assert row is not None
        spec = validate_spec(row.config["spec"], "the ledger")
        now = overview(ledger, row, spec)
        assert now.best is not None
        print(f"{sum(now.states.values()):,} experiments, {now.pool:,} candidates:"
              f" best {now.best.candidate.formula}")  # fmt: skip
        timed("status", lambda: overview(ledger, row, spec))
        timed("count of candidates", lambda: ledger.count_candidates(row.id))
        timed("running experiments", lambda: ledger.experiments(row.id, ["running"]))
        timed("events of one experiment", lambda: ledger.events_of(7))
        timed("ranks of one decision", lambda: ledger.proposals(3))
        if asked.slow:
            timed("every result", lambda: load_results(ledger, row.id, spec.problem), 1)
            timed("snapshot of the engine", lambda: take_snapshot(ledger, row, spec), 1)
            timed("list of decisions", lambda: list_decisions(ledger, row.id), 1)
        if asked.verify:
            found: list[str] = []
            timed("verify", lambda: found.extend(ledger.verify()), 1)
            print(found[:5] or "sound")


if __name__ == "__main__":
    main()
