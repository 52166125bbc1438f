"""What to choose while nothing is measured yet, by what was predicted beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.judging import as_optimum, bounds
from cloudseed.surrogate.normal import log_probability_between
from cloudseed.surrogate.protocols import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.protocols import Guess, Objective, Problem

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["guessed_scores"]


def guessed_scores(guesses: Mapping[str, Guess], problem: Problem, rows: Rows) -> Scores | None:
    """Scores rows by guesses alone, best first.

    An optimum is ranked by its expected improvement over the best guess of all, a target by that
    over the nearest, and the best share of a pool as the optimum that leads it; where all is to be
    found, by the probability that the bounds hold. Of several objectives those with a guess count,
    by the sum of their guessed merits, each in standard deviations over the rows. A bound on a
    property without a guess is left out.

    Args:
        guesses: Property -> what is predicted of each candidate, N.
        problem: What is sought.
        rows: Which candidates, k.

    Returns:
        The scores, or None where nothing is predicted of what is sought. Of a share `feasible` is
        the chance to lie where that share of the guesses begins.
    """
    share = problem.objective.share
    names = tuple(name for name in problem.properties if name in guesses)
    limits = bounds(problem)
    told = set(names) & set(limits)
    goals = [o for o in as_optimum(problem).objectives if o.property in names]
    finds = problem.objective.direction == "find" and share is None
    if not (told if finds else goals):
        return None
    mean = np.column_stack([guesses[name].mean[rows] for name in names])
    sd = np.column_stack([np.maximum(guesses[name].sd[rows], 1e-300) for name in names])
    log_feasible = np.zeros(len(rows))
    for name in told:
        place = names.index(name)
        log_feasible += log_probability_between(mean[:, place], sd[:, place], *limits[name])
    worth = log_feasible
    if not finds:
        worth = log_feasible + _log_worth(goals, names, mean, sd)
    if share is not None:
        goal = Goal.of(goals[0])
        begins = float(np.quantile(goal.merit(mean[:, 0]), 1 - share))
        log_feasible = log_feasible + goal.log_beyond(mean[:, 0], sd[:, 0], begins)
    order = np.argsort(-worth, kind="stable")
    return Scores(
        rows=rows[order],
        mean=mean[order],
        sd=sd[order],
        acquisition=worth[order],
        feasible=np.exp(log_feasible[order]),
        properties=names,
    )


def _log_worth(
    objectives: Sequence[Objective], names: tuple[str, ...], mean: Array, sd: Array
) -> Array:
    """Returns how much is promised of each row, bounds aside, k; see `guessed_scores`."""
    if len(objectives) == 1:
        goal, place = Goal.of(objectives[0]), names.index(objectives[0].property)
        merit = goal.merit(mean[:, place])
        return goal.log_gain(mean[:, place], sd[:, place], float(merit.max()))
    total = np.zeros(len(mean))
    for objective in objectives:
        merit = Goal.of(objective).merit(mean[:, names.index(objective.property)])
        total += (merit - merit.mean()) / (float(merit.std()) or 1.0)
    return total
