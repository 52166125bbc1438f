"""A searcher spends a budget on a pool whose truth is known."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cloudseed.errors import InputError, UsageError
from cloudseed.surrogate.backtesting.foresight import foretold
from cloudseed.surrogate.backtesting.protocols import Rules, Run
from cloudseed.surrogate.deciding import decision_seed, space_fill
from cloudseed.surrogate.outlook import expected_hits, knows_the_best, probability_of_best
from cloudseed.surrogate.protocols import Observations

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.backtesting.protocols import Forecast, Rows, Searcher
    from cloudseed.surrogate.backtesting.truth import Truth
    from cloudseed.surrogate.features import Features
    from cloudseed.surrogate.protocols import Choice

__all__ = ["StartKind", "replay", "start_rows"]

StartKind = Literal["coverage", "random"]
"""How the first experiments are chosen: as a campaign does, or without looking."""


def start_rows(
    features: Features | npt.NDArray[Any], count: int, seed: int, kind: StartKind = "coverage"
) -> tuple[int, ...]:
    """Returns the first experiments, the same for every method under one seed.

    Args:
        features: As in `decide`, N rows.
        count: How many.
        seed: Decides the draw.
        kind: Whether they cover the pool or are drawn at random.

    Raises:
        UsageError: If the pool has no so many.
    """
    if not 1 <= count <= len(features):
        raise UsageError(
            f"A pool of {len(features)} has no {count} experiments to start with.",
            hint="Give a smaller `initial`.",
        )
    if kind == "random":
        rows = np.random.default_rng(seed).permutation(len(features))[:count]
        return tuple(rows.tolist())
    nothing = Observations(np.empty(0, dtype=np.int64), np.empty((0, 0)), ())
    everything = np.arange(len(features))
    return space_fill(features, nothing, available=everything, batch=count, seed=seed).picks


def replay(searcher: Searcher, truth: Truth, start: Sequence[int], rules: Rules) -> Run:
    """Replays one campaign.

    The start is measured first, as far as the budget goes. Then `rules.batch` experiments run at
    any time; whenever `rules.arriving` of them are done, in the order in which they began, the
    searcher fills the places, with the rest pending. A row without any known value is
    infeasible: it costs an experiment and is not chosen again.

    Args:
        searcher: Who chooses.
        truth: What would be measured, N rows.
        start: Rows that are measured before the searcher is asked.
        rules: How experiments are spent.

    Raises:
        InputError: If the searcher chooses nothing, too much, or a row that is not available.
    """
    done = list(start[: rules.budget])
    started = len(done)
    running: list[int] = []
    free = np.ones(len(truth.hits), dtype=bool)
    free[done] = False
    forecasts: list[Forecast] = []
    outlooks: list[tuple[int, float]] = []
    notes: Counter[str] = Counter()
    decisions, seconds = 0, 0.0
    while True:
        room = min(rules.batch - len(running), rules.budget - len(done) - len(running))
        if room > 0 and free.any():
            available = np.flatnonzero(free)
            pending = np.array(running, dtype=np.int64)
            seed = decision_seed(rules.seed, decisions)
            began = time.process_time()
            observations = truth.observe(np.array(done, dtype=np.int64))
            choice = searcher.next(available, pending, observations, room, seed)
            seconds += time.process_time() - began
            _check(choice, available, room)
            free[list(choice.picks)] = False
            running += choice.picks
            forecasts += foretold(choice)
            outlook = _outlook(choice, truth, done, rules)
            if outlook is not None:
                outlooks.append((len(done), outlook))
            notes.update(choice.notes)
            decisions += 1
        if not running:
            break
        done += running[: rules.arriving]
        del running[: rules.arriving]
    return Run(
        order=tuple(done),
        started=started,
        forecasts=tuple(forecasts),
        decisions=decisions,
        cpu_seconds=seconds,
        notes=dict(notes),
        outlooks=tuple(outlooks),
    )


def _check(choice: Choice, available: Rows, room: int) -> None:
    """Raises if a searcher does not keep to what it was asked."""
    picks = choice.picks
    if 0 < len(picks) <= room and len(set(picks)) == len(picks) and np.isin(picks, available).all():
        return
    raise InputError(
        f"The method chose {list(picks)[:10]}, which are not 1 to {room} different available rows.",
        hint="A searcher answers with rows of `available`, each once.",
        picks=list(picks),
    )


def _outlook(choice: Choice, truth: Truth, done: Sequence[int], rules: Rules) -> float | None:
    """Returns what a choice still expects, as far as the rules ask; None where no model says."""
    if choice.scores is None:
        return None
    if truth.problem.objective.direction == "find":
        return expected_hits(choice.scores, rules.ahead)
    best = float(truth.merit[list(done)].max())
    blind = not knows_the_best(choice.model, truth.problem)
    if rules.epsilon is None or blind or not math.isfinite(best):
        return None
    return probability_of_best(choice.scores, truth.problem, best, rules.epsilon)
