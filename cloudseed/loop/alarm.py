"""Whether the model that chooses still orders what comes better than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cloudseed.loop.results import in_order_of_arrival
from cloudseed.surrogate import merit, ranks_worse_than_random

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.loop.results import Result
    from cloudseed.surrogate import Problem

__all__ = ["misled"]


def misled(results: Sequence[Result], problem: Problem, last: int) -> bool:
    """Tells whether the last predictions ordered results worse than chance would.

    Args:
        results: Every experiment.
        problem: What is sought.
        last: Results that are looked back on; 0 for none.
    """
    pairs = [pair for r in in_order_of_arrival(results) if (pair := _pair(r, problem)) is not None][
        -last:
    ]
    if not last or not pairs:
        return False
    predicted, came = np.array(pairs).T
    return ranks_worse_than_random(predicted, came)


def _pair(result: Result, problem: Problem) -> tuple[float, float] | None:
    """Returns how good a material was thought to be and how good it is, or None."""
    came: float | None = merit(problem, result.values)
    if problem.objective.share is not None:
        came = None if result.feasible is None else float(result.feasible)
    thought: float | None = result.chance
    if problem.objective.direction != "find":
        name = problem.objective.property
        told = result.predicted.get(name)
        thought = None if told is None else merit(problem, {name: told[0]})
    return None if came is None or thought is None else (thought, came)
