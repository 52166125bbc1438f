"""Replays one peer on one task, in the environment of `make bench-venv`.

    .venv-bench/bin/python benchmarks/peers/run.py ax perovskites --seeds 0:5

Peers: random, camd-gp, camd-qbc, baybe, baybe-desirability, ax, ax-constrained. Every (method,
task, seed) adds one JSON line to `benchmarks/results/peers/METHOD.jsonl`: `order`, the rows as
measured, the starts first; `seconds`, CPU-seconds per decision; `versions`. Lines that are there
are not computed again: seeds that take minutes each add up over machines and days.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from goals import Task

from cloudseed.surrogate.backtesting.peers import PEERS

BUILD = Path(__file__).parents[2] / "build" / "peers"
RESULTS = Path(__file__).parents[1] / "results" / "peers"
PACKAGES = ("ax-platform", "baybe", "botorch", "gpytorch", "numpy", "scikit-learn", "torch")
VARIANTS = {"baybe-desirability": "Desirability", "ax-constrained": "Constrained"}
NONE = np.empty(0, dtype=np.int64)


class Asked:
    """Tells a peer what rows measure, and asks it; `raw` tells the values themselves."""

    def __init__(self, peer: Any, task: Task, *, raw: bool = False):
        self.peer = peer
        self.task = task
        self.raw = raw
        self.open = np.ones(len(task.values), dtype=bool)

    def tell(self, rows: list[int]) -> None:
        values = self.task.values[rows]
        self.peer.tell(rows, values if self.raw else self.task.sought.outcomes(values))
        self.open[rows] = False

    def ask(self, count: int) -> list[int]:
        return self.peer.ask(count, np.flatnonzero(self.open), NONE)


class Random:
    """Asks for rows without looking."""

    def __init__(self, task: Task, seed: int):
        self.rest = np.random.default_rng([seed, 1]).permutation(len(task.values)).tolist()

    def tell(self, rows: list[int]) -> None:
        taken = set(rows)
        self.rest = [row for row in self.rest if row not in taken]

    def ask(self, count: int) -> list[int]:
        return self.rest[:count]


def main() -> None:
    warnings.simplefilter("ignore")  # the peers' own, about constant columns
    logging.disable(logging.WARNING)  # one line per trial otherwise
    options = arguments().parse_args()
    first, last = (int(part) for part in options.seeds.split(":"))
    name = options.peer if options.features is None else f"{options.peer}/{options.features}"
    path = options.out / f"{name.replace('/', '-')}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    task = Task.load(options.tasks / options.task, options.features)
    budget = options.budget or task.spec["budget"]
    for seed in range(first, last):
        if (options.task, seed) in done(path, budget):
            continue
        line = {
            "method": name,
            "task": options.task,
            "seed": seed,
            **replay(options.peer, task, seed, budget),
            "versions": versions(),
        }
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        found = len(set(line["order"]) & set(task.spec["hits"]))
        cost = sum(line["seconds"])
        print(f"{name} {options.task} seed {seed}: {found} hits, {cost:.0f} CPU-s", flush=True)


def done(path: Path, budget: int) -> set[tuple[str, int]]:
    """Returns the (task, seed) pairs that are there with at least this budget."""
    if not path.exists():
        return set()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["task"], line["seed"]) for line in lines if len(line["order"]) >= budget}


def replay(name: str, task: Task, seed: int, budget: int) -> dict[str, Any]:
    """Returns the rows as measured and the CPU-seconds of every decision."""
    peer = made(name, task, seed)
    order = list(task.spec["starts"][seed])
    told: list[int] = order
    seconds = []
    while len(order) < budget:
        began = time.process_time()
        peer.tell(told)
        told = peer.ask(min(task.spec["batch"], budget - len(order)))
        seconds.append(round(time.process_time() - began, 3))
        if not told or len(set(told)) < len(told) or set(told) & set(order):
            raise RuntimeError(f"{name} asked for {told}, which repeats rows or is empty")
        order = order + told
    return {"order": order, "seconds": seconds}


def made(name: str, task: Task, seed: int) -> Random | Asked:
    """Returns the peer of that name, set up on the task."""
    if name == "random":
        return Random(task, seed)
    if name in VARIANTS:
        variants = importlib.import_module("variants")
        return Asked(getattr(variants, VARIANTS[name])(task, seed), task, raw=True)
    module, _, attribute = PEERS[name].partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    return Asked(factory(task.features, task.sought.signs, seed), task)


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("peer", choices=["random", *PEERS, *VARIANTS])
    parser.add_argument("task")
    parser.add_argument("--seeds", default="0:5", metavar="FIRST:LAST", help="LAST not included")
    parser.add_argument("--features", help="descriptor set, by default the task's")
    parser.add_argument("--budget", type=int, help="experiments, by default the task's")
    parser.add_argument("--tasks", type=Path, default=BUILD)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
