"""When rules to stop fire, and what was left to find then.

    python benchmarks/stopping.py perovskites-wide elpasolites-below elpasolites --seeds 20

Campaigns of `searching.py`, 20 random starts and batches of five, go on to their budget; the rules
are asked afterwards of what each decision expected. Runs are kept in `build/stopping/TASK.jsonl`,
so that the script may be stopped and started again. `--first 8` takes seeds that nothing was tuned
on. Data: as in `searching.py`.

| tasks | rule | too early |
| --- | --- | --- |
| that find all | fewer than 0.2, 0.5 or 1 hits are expected in the next ten | more came |
| elpasolites | with .8, .95 or .99 nothing is better by more than 0.1 eV/atom | it was farther |
| moduli | the same by more than 20 GPa | it was farther |
"""

from __future__ import annotations

import argparse
import itertools
from contextlib import closing
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from searching import BATCH, STARTS, TASKS, digest_of, guesses_of, parser, pool

from cloudseed.loop.backtesting import Job, replays
from cloudseed.loop.backtesting.records import Records
from cloudseed.surrogate import wants_hints
from cloudseed.surrogate.backtesting import Run, StopRule, Truth, foresight, stopping

BUILD = Path(__file__).parents[1] / "build" / "stopping"
EPSILON = {"elpasolites": 0.1, "moduli": 20.0}
BELOW = (0.2, 0.5, 1.0)
PROBABILITIES = (0.8, 0.95, 0.99)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("tasks", nargs="+", choices=TASKS)
    arguments.add_argument("--seeds", type=int, default=20)
    arguments.add_argument("--first", type=int, default=0, help="the first seed")
    arguments.add_argument("--budget", type=int, default=200)
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--encoder", default="cloud-small")
    arguments.add_argument("--out", type=Path, default=BUILD)
    given = arguments.parse_args()
    # All that is not asked here is as `searching.py` has it.
    options = parser().parse_args(given.tasks)
    vars(options).update(vars(given))
    for name in options.tasks:
        report(name, *search(name, options))


def rules(name: str) -> list[StopRule]:
    """Returns the rules that a task's runs are asked."""
    if name in EPSILON:
        return [StopRule(epsilon=EPSILON[name], probability=p) for p in PROBABILITIES]
    return [StopRule(below=b) for b in BELOW]


def search(name: str, options: argparse.Namespace) -> tuple[Truth, tuple[Run, ...]]:
    """Replays what is not yet kept, and returns all."""
    task = TASKS[name]
    values, features, hints = pool(task.table, options)
    truth = task.truth(values)
    if not wants_hints(truth.problem):
        hints = None
    budget, rule = options.budget, rules(name)[0]
    guesses = guesses_of(task, features, options)
    job = Job(
        features,
        truth,
        STARTS,
        "random",
        budget,
        BATCH,
        BATCH,
        hints,
        rule=rule,
        guesses=guesses,
    )
    parts = (task, budget, rule.ahead, rule.epsilon, *(("heads",) if guesses else ()))
    records = Records(options.out / f"{name}.jsonl", digest_of(parts, features), name)
    wanted = [("cloud", s) for s in range(options.first, options.first + options.seeds)]
    todo = [key for key in wanted if key not in records.runs]
    with closing(replays(job, todo, options.workers)) as finished:
        for method, seed, run in track(finished, f"replaying {name}", len(todo)):
            records.add(method, seed, run)
    return truth, tuple(records.runs[key] for key in wanted)


def report(name: str, truth: Truth, runs: tuple[Run, ...]) -> None:
    """Prints a line per rule, and how predictions and outlooks came true."""
    table = Table(title=f"{name}: {truth.hits.sum()} hits of {len(truth.hits)}, {len(runs)} runs")
    for head in ("rule", "fired", "after", "found", "left", "early", "waited"):
        table.add_column(head)
    for rule in rules(name):
        found = stopping(runs, truth, rule, BATCH)
        told = f"< {rule.below:g} hits" if rule.below is not None else f">= {rule.probability:g}"
        cells = (
            found.after,
            found.found,
            found.left,
            f"{found.early} of {found.judged}",
            found.late,
        )
        shown = ["-" if c is None else f"{c:.3g}" if isinstance(c, float) else c for c in cells]
        table.add_row(told, f"{found.fired} of {found.runs}", *shown)
    console = Console(highlight=False, width=110)
    console.print(table)
    if name not in EPSILON:
        console.print(outlooks(runs, truth))
    for one in foresight(runs, truth):
        console.print(f"{one.property}: {one.coverage90:.3f} of {one.count} in 90 % intervals")


def outlooks(runs: tuple[Run, ...], truth: Truth) -> Table:
    """Returns hits that were expected in the next ten experiments against those that came."""
    pairs = []
    for run in runs:
        hits = truth.hits[np.array(run.order)]
        pairs += [
            (outlook, hits[done : done + 10].sum())
            for done, outlook in run.outlooks
            if done + 10 <= len(hits)
        ]
    expected, came = np.array(pairs, dtype=float).T
    table = Table(title="hits in the next ten experiments")
    for head in ("decisions", "expected", "came"):
        table.add_column(head)
    edges = (0, 0.2, 0.5, 1, 2, 5, np.inf)
    for low, high in itertools.pairwise(edges):
        some = (expected >= low) & (expected < high)
        if some.any():
            cells = (f"{expected[some].mean():.2f}", f"{came[some].mean():.2f}")
            table.add_row(str(int(some.sum())), *cells)
    return table


if __name__ == "__main__":
    main()
