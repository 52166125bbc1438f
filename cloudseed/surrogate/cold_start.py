"""What to choose while nothing is measured yet, by what was predicted beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.judging import bounds
from cloudseed.surrogate.normal import log_probability_between
from cloudseed.surrogate.protocols import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.protocols import Guess, Problem

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["guessed_scores"]


def guessed_scores(guesses: Mapping[str, Guess], problem: Problem, rows: Rows) -> Scores | None:
    """Scores rows by guesses alone, best first.

    An optimum is ranked by its expected improvement over the best guess of all, a target by that
    over the nearest; where all is to be found, by the probability that the bounds hold. A bound on
    a property without a guess is left out.

    Args:
        guesses: Property -> what is predicted of each candidate, N.
        problem: What is sought.
        rows: Which candidates, k.

    Returns:
        The scores, or None where nothing is predicted of what is sought.
    """
    finds = problem.objective.direction == "find"
    names = tuple(name for name in problem.properties if name in guesses)
    limits = bounds(problem)
    told = set(names) & set(limits)
    if (finds and not told) or (not finds and problem.objective.property not in names):
        return None
    mean = np.column_stack([guesses[name].mean[rows] for name in names])
    sd = np.column_stack([np.maximum(guesses[name].sd[rows], 1e-300) for name in names])
    log_feasible = np.zeros(len(rows))
    for name in told:
        place = names.index(name)
        log_feasible += log_probability_between(mean[:, place], sd[:, place], *limits[name])
    worth = log_feasible
    if not finds:
        goal = Goal.of(problem.objective)
        merit = goal.merit(mean[:, 0])
        worth = log_feasible + goal.log_gain(mean[:, 0], sd[:, 0], float(merit.max()))
    order = np.argsort(-worth, kind="stable")
    return Scores(
        rows=rows[order],
        mean=mean[order],
        sd=sd[order],
        acquisition=worth[order],
        feasible=np.exp(log_feasible[order]),
        properties=names,
    )
