"""How alike the members of a batch are where all hits are sought, and what a joint choice gains.

    python benchmarks/diversity.py perovskites elpasolites-below --seeds 3 --budget 100

Searches of `searching.py`, 20 random starts and batches of five, by two rules: the likeliest hits,
as campaigns choose (docs/decisions/0012), and jointly: each pick is the likeliest hit of those
joint samples of the models in which no earlier pick of the batch is one, which spreads a batch
without a penalty to tune. Per rule: hits, the mean distance of two members of a batch over that of
two random rows (first block of features), elements that two members share (two random rows in
brackets), and pairs with the same elements.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial.distance import pdist
from searching import BATCH, STARTS, TASKS, guesses_of, kept_strings, load_encoder, one_hot, parser
from searching import pool as known_pool

from cloudseed.surrogate import Choice, wants_hints
from cloudseed.surrogate.backtesting import Rules, replay, start_rows
from cloudseed.surrogate.backtesting.searchers import CloudSearcher
from cloudseed.surrogate.batch import cholesky
from cloudseed.surrogate.deciding import FINALISTS
from cloudseed.surrogate.doubts import doubts
from cloudseed.surrogate.modelling import fit_criterion, score
from cloudseed.surrogate.scope import ELEMENTS
from cloudseed.surrogate.space import Space

if TYPE_CHECKING:
    from cloudseed.surrogate import Observations, Problem

SAMPLES = 2_048
NUGGET = 1e-8
PAIRS = 4_000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("tasks", nargs="+", choices=[n for n in TASKS if finds(n)])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--budget", type=int, default=100)
    given = arguments.parse_args()
    options = parser().parse_args(given.tasks)
    vars(options).update(vars(given))
    for name in options.tasks:
        Console(highlight=False).print(compare(name, options))


def finds(name: str) -> bool:
    return TASKS[name].objective == "find all"


def compare(name: str, options: argparse.Namespace) -> Table:
    """Returns a line per rule."""
    task = TASKS[name]
    values, features, hints = known_pool(task.table, options)
    truth = task.truth(values)
    hints = hints if wants_hints(truth.problem) else None
    guesses = guesses_of(task, features, options)
    space = Space.of(features, hints, guesses)
    strings = kept_strings(task.table, load_encoder(options.encoder).dialect, options.out)[0]
    holds = one_hot(strings)[:, : len(ELEMENTS)] > 0
    near = space.near(np.arange(len(strings)))
    pairs = np.random.default_rng(0).integers(0, len(strings), (PAIRS, 2)).T
    far = np.linalg.norm(near[pairs[0]] - near[pairs[1]], axis=1).mean()
    usual = (holds[pairs[0]] & holds[pairs[1]]).sum(axis=1).mean()
    half = (options.budget + STARTS) // 2
    table = Table(title=f"{name}: {truth.hits.sum()} hits of {len(strings)}, {options.seeds} seeds")
    for head in ("rule", f"hits at {half}, {options.budget}", "distance", "shared", "same"):
        table.add_column(head)
    for rule in ("likeliest", "jointly"):
        found, seen = [], []
        for seed in range(options.seeds):
            start = start_rows(features, STARTS, seed, "random")
            searcher = (
                Hunter(space, truth.problem)
                if rule == "jointly"
                else CloudSearcher(features, truth.problem, hints=hints, guesses=guesses)
            )
            run = replay(searcher, truth, start, Rules(options.budget, BATCH, BATCH, seed))
            order = np.array(run.order)
            found.append(np.cumsum(truth.hits[order])[[half - 1, options.budget - 1]])
            batches = np.split(order[STARTS:], range(BATCH, len(order) - STARTS, BATCH))
            seen += [likeness(near[b], holds[b]) for b in batches if len(b) > 1]
        distance, shared, same = np.mean(seen, axis=0)
        hits = ", ".join(f"{h:.1f}" for h in np.mean(found, axis=0))
        cells = (hits, f"{distance / far:.3f}", f"{shared:.2f} ({usual:.2f})", f"{same:.3f}")
        table.add_row(rule, *cells)
    return table


def likeness(points: np.ndarray, holds: np.ndarray) -> tuple[float, float, float]:
    """Returns mean distance, shared elements and share of equal sets over the pairs of a batch."""
    pairs = list(itertools.combinations(holds, 2))
    shared = [(a & b).sum() for a, b in pairs]
    same = [np.array_equal(a, b) for a, b in pairs]
    return float(pdist(points).mean()), float(np.mean(shared)), float(np.mean(same))


@dataclass(frozen=True)
class Hunter:
    """Chooses hits jointly."""

    space: Space
    problem: Problem

    def next(
        self,
        available: np.ndarray,
        pending: np.ndarray,  # noqa: ARG002  a batch at a time
        observations: Observations,
        batch: int,
        seed: int,
    ) -> Choice:
        criterion = fit_criterion(self.space, observations, self.problem, seed, [])
        scores = score(self.space, criterion, available)
        rows = scores.rows[:FINALISTS]
        x = self.space[rows]
        picks = spread(*sampled(criterion, x, np.random.default_rng(seed)), batch)
        return Choice(tuple(rows[picks].tolist()), None, "jointly")


def sampled(criterion, x, rng) -> tuple[np.ndarray, np.ndarray]:
    """Returns which candidates are hits in each joint sample, S x k, and their chances, k."""
    found = criterion(x)
    hits = np.ones((SAMPLES, len(x)), dtype=bool)
    for doubt in doubts(criterion, x, found):
        mean, joint = doubt.joint(x)
        own = doubt.noise_sd**2 + NUGGET * doubt.scale**2
        factor = cholesky(joint + own * np.eye(len(mean)))
        drawn = mean + rng.standard_normal((SAMPLES, len(mean))) @ factor.T
        hits &= (drawn >= doubt.limits[0]) & (drawn <= doubt.limits[1])
    return hits, np.exp(found.log_feasible)


def spread(hits: np.ndarray, chances: np.ndarray, batch: int) -> list[int]:
    """Returns positions, each the likeliest where all before it are no hits."""
    picks: list[int] = []
    alive = np.ones(len(hits), dtype=bool)
    for _ in range(min(batch, len(chances))):
        # The chance alone, as one more sample, keeps an order where no sample is left.
        worth = (hits[alive].sum(axis=0) + chances) / (alive.sum() + 1.0)
        worth[picks] = -1.0
        picks.append(int(worth.argmax()))
        alive &= ~hits[:, picks[-1]]
    return picks


if __name__ == "__main__":
    main()
