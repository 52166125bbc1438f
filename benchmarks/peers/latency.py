"""What one decision costs: a batch of 8 with 200 measured, in pools of 3,787, 1e5 and 1e6.

    python benchmarks/peers/latency.py ours baybe ax --peers .venv-bench/bin/python

Every case runs in a process of its own, `ours` in this Python and the peers in theirs, and is ended
after `--limit` seconds. All minimise the formation energy of the perovskites: the peers on the
site descriptors, ours on embeddings, element and site descriptors (made once, not counted). Larger
pools repeat the rows with noise. `setup` is what comes before the first decision: the search space
and telling 200 values. Memory is the process's highest resident size, with the pool in it. Half of
the peers' time may be the system's, for pages given back and taken again: `MALLOC_MMAP_MAX_=0
MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=268435456` in the environment, which every case
inherits, takes that off.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from goals import Task

BUILD = Path(__file__).parents[2] / "build" / "peers"
POOLS = (3_787, 100_000, 1_000_000)
MEASURED = 200
#: Columns of the blocks that our models see.
WIDTHS = {"embedding": 192, "elements": 52, "sites 1": 26, "sites 2": 26, "sites 3": 26}
BATCH = 8
#: Rows that get their noise at once.
CHUNK = 10_000


def main() -> None:
    options = arguments().parse_args()
    if options.case:
        method, size = options.case
        print(json.dumps(case(method, int(size), options.tasks)))
        return
    if "ours" in options.methods:
        embed(options.tasks)
    print("method,pool,setup_cpu_s,cpu_s,wall_s,peak_gib")
    for size in options.pools:
        for method in options.methods:
            python = sys.executable if method == "ours" else options.peers
            command = [python, __file__, "--case", method, str(size), "--tasks", options.tasks]
            print(f"{method},{size},{answer(command, options.limit)}", flush=True)


def answer(command: list[str | Path], limit: float) -> str:
    """Runs one case; returns its figures, or why there are none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=True)
    except subprocess.TimeoutExpired:
        return f"not done in {limit:.0f} s,,,"
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"ended with {error.returncode}"])[-1]
        return f"failed: {reason[:80]},,,"
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return ",".join(f"{found[name]:.2f}" for name in ("setup", "cpu", "wall", "gib"))


def case(method: str, size: int, tasks: Path) -> dict[str, float]:
    """Returns the costs of one decision, in this process."""
    kind = "ours" if method == "ours" else "sites"
    whole = Task.load(tasks / "perovskites", kind)
    order = np.random.default_rng(0).permutation(min(size, len(whole.values)))
    prepare = ours if method == "ours" else peer
    prepare(method, enlarged(whole, 2 * BATCH + 20), list(range(20)))[0]()  # imports, warm caches
    task, rows = enlarged(whole, size), order[:MEASURED].tolist()
    ask, setup = prepare(method, task, rows)
    cpu, wall = time.process_time(), time.perf_counter()
    picks = ask()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert len(set(picks)) == BATCH
    assert not set(picks) & set(rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"setup": setup, "cpu": cpu, "wall": wall, "gib": peak}


def enlarged(whole: Task, size: int) -> Task:
    """Returns a task of `size` rows: the whole's, again and again, the copies with noise.

    The noise is 2 % of a column's spread.
    """
    source = np.arange(size) % len(whole.values)
    features = whole.features[source]
    if size > len(whole.features):
        rng = np.random.default_rng(1)
        spread = (0.02 * whole.features.std(axis=0)).astype(np.float32)
        # In parts: making a pool should not take more memory than deciding on it.
        for start in range(len(whole.features), size, CHUNK):
            part = features[start : start + CHUNK]
            part += spread * rng.standard_normal(part.shape, dtype=np.float32)
    low, high = whole.features.min(axis=0), whole.features.max(axis=0)
    spec = {"goal": "best", "properties": ["formation_energy"], "signs": [-1.0]}
    return Task(spec, whole.values[source, :1], np.clip(features, low, high, out=features))


def ours(method: str, task: Task, rows: list[int]):  # noqa: ARG001
    from cloudseed.surrogate import Features, Observations, decide, parse_problem

    began = time.process_time()
    parts = np.split(task.features, np.cumsum([*WIDTHS.values()])[:-1], axis=1)
    features = Features(dict(zip(WIDTHS, parts, strict=True)))
    problem = parse_problem("min formation_energy", [])
    known = Observations(np.array(rows), task.values[rows], ("formation_energy",))
    every = np.arange(len(task.values))

    def ask() -> tuple[int, ...]:
        return decide(features, known, available=every, problem=problem, batch=BATCH, seed=0).picks

    return ask, time.process_time() - began


def peer(method: str, task: Task, rows: list[int]):
    from run import made

    logging.disable(logging.WARNING)  # one line per trial otherwise
    began = time.process_time()
    asked = made(method, task, 0)
    asked.tell(rows)
    return lambda: asked.ask(BATCH), time.process_time() - began


def embed(tasks: Path) -> None:
    """Writes what our models see of the perovskites beside what the peers' see, once."""
    path = tasks / "perovskites" / "features-ours.npy"
    if path.exists():
        return
    import pandas as pd
    from tasks import DATA

    from cloudseed.crystal import read_crystals
    from cloudseed.surrogate import (
        CloudEncoder,
        element_descriptors,
        scope_string,
        site_descriptors,
    )

    encoder = CloudEncoder.load("cloud-small")
    texts = pd.read_csv(DATA / "perov5_dev.csv.gz")["cif"]
    crystals = list(read_crystals([(str(i), text) for i, text in enumerate(texts)]))
    strings = [scope_string(c, encoder.dialect) for c in crystals]
    sites = site_descriptors(crystals)
    blocks = [encoder.embed(strings), element_descriptors(strings), *np.moveaxis(sites, 1, 0)]
    assert [block.shape[1] for block in blocks] == [*WIDTHS.values()]
    np.save(path, np.hstack(blocks).astype(np.float32))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("methods", nargs="*", default=["ours", "baybe", "ax"])
    parser.add_argument("--peers", type=Path, default=Path(".venv-bench/bin/python"))
    parser.add_argument("--pools", type=int, nargs="+", default=POOLS)
    parser.add_argument("--limit", type=float, default=300)
    parser.add_argument("--tasks", type=Path, default=BUILD)
    parser.add_argument("--case", nargs=2, metavar=("METHOD", "POOL"), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
