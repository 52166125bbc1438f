"""What picking at random would have found: the yardstick of every campaign."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from cloudseed.errors import InputError
from cloudseed.surrogate import judging
from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.front import hypervolumes
from cloudseed.surrogate.judging import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from cloudseed.surrogate.protocols import Problem, Scores

    Array = npt.NDArray[np.float64]

__all__ = ["RandomCurve", "exact_random_best", "expected_random_best"]

#: Random campaigns that are simulated.
DRAWS = 2_000
#: The same of several objectives, whose volumes take longer.
_FRONT_DRAWS = 200
#: Normal deviates that are held at once.
_CHUNK_ENTRIES = 2**22


@dataclass(frozen=True, slots=True)
class RandomCurve:
    """The best feasible value, or the hits, of a random campaign after 1, 2, ... k experiments.

    With a target in place of an optimum the value is the distance from it, with several objectives
    the hypervolume of the front.

    Attributes:
        expected: Mean over the campaigns that have found anything feasible, k; NaN where none has.
        lower: 5th percentile over the same, k.
        upper: 95th percentile over the same, k.
        found: Probability that anything feasible was found, k.
        median: What at least half of all campaigns have reached, k; NaN where fewer have found
            anything feasible. It never gets worse.
    """

    expected: Array
    lower: Array
    upper: Array
    found: Array
    median: Array


def expected_random_best(
    scores: Scores,
    problem: Problem,
    *,
    count: int,
    seed: int,
    start: float | None = None,
    draws: int = DRAWS,
) -> RandomCurve:
    """Predicts a random campaign over candidates that are not yet measured.

    Each draw puts the candidates in random order and their properties at random from the
    posterior. Candidates are drawn independently of each other: the correlation of neighbours is
    left out, which makes the random campaign look slightly better than it is.

    Args:
        scores: What the model says of the candidates.
        problem: What is sought; of several objectives with a reference.
        count: Number of experiments; no more than there are candidates are made.
        seed: Decides the draws.
        start: The best feasible value of the objective before the first experiment, or how many
            materials were found; None for none.
        draws: Number of campaigns.

    Raises:
        InputError: If count is below 1 or the objective was not modelled.
    """
    name = problem.objective.property
    modelled = all(o.property in scores.properties for o in problem.objectives)
    if count < 1 or not modelled or (problem.further and problem.reference is None):
        raise InputError(
            f"A random campaign of {count} experiments on {name} cannot be predicted.",
            hint="Ask for at least one experiment on a property that was modelled.",
            count=count,
            property=name,
        )
    rng = np.random.default_rng(seed)
    length = min(count, len(scores.rows))
    if problem.further:
        return _front_curve(scores, problem, length, min(draws, _FRONT_DRAWS), rng)
    finds = problem.objective.direction == "find"
    goal = Goal.of(problem.objective)
    parts = []
    step = max(1, _CHUNK_ENTRIES // max(length * len(scores.properties), len(scores.rows)))
    for begin in range(0, draws, step):
        values = _draw(scores, problem, min(step, draws - begin), length, rng)
        if finds:
            parts.append(np.cumsum(values, axis=1))
            continue
        if start is not None:
            values = np.maximum(values, goal.merit(np.array(start)))
        parts.append(np.maximum.accumulate(values, axis=1))
    best = np.concatenate(parts)
    if not finds:
        return _summarise(best, lambda merit: shown(problem, merit))
    before = start or 0.0
    curve = _summarise(before + best, lambda merit: merit)
    return replace(curve, found=(best > 0).mean(axis=0) if before == 0 else curve.found)


def _front_curve(
    scores: Scores, problem: Problem, length: int, draws: int, rng: np.random.Generator
) -> RandomCurve:
    """Returns the hypervolume of random campaigns, from the problem's reference."""
    reference = judging.reference_merits(problem)
    places = [scores.properties.index(o.property) for o in problem.objectives]
    goals = [Goal.of(o) for o in problem.objectives]
    volumes = np.empty((draws, length))
    for volume in volumes:
        order = rng.permutation(len(scores.rows))[:length]
        noise = rng.standard_normal((length, len(places)))
        values = scores.mean[order][:, places] + scores.sd[order][:, places] * noise
        merits = np.column_stack([g.merit(v) for g, v in zip(goals, values.T, strict=True)])
        merits[rng.random(length) >= scores.feasible[order]] = -np.inf
        volume[:] = hypervolumes(merits, reference)
    lower, upper = np.quantile(volumes, (0.05, 0.95), axis=0)
    found = (volumes > 0).mean(axis=0)
    return RandomCurve(volumes.mean(axis=0), lower, upper, found, _reached_by_half(volumes))


def _draw(
    scores: Scores, problem: Problem, draws: int, length: int, rng: np.random.Generator
) -> Array:
    """Returns merits, draws x length; minus infinity where not feasible, or 1 and 0 for hits."""
    total = len(scores.rows)
    order = rng.random((draws, total)).argpartition(length - 1, axis=1)[:, :length]
    order = rng.permuted(order, axis=1)
    if problem.objective.direction == "find":
        return (rng.random(order.shape) < scores.feasible[order]).astype(np.float64)
    noise = rng.standard_normal((draws, length, len(scores.properties)))
    values = scores.mean[order] + scores.sd[order] * noise
    feasible = np.ones((draws, length), dtype=bool)
    limits = judging.bounds(problem)
    if problem.objective.property not in limits:
        # Some models are not normal: whether bounds hold is drawn from their own probability.
        feasible, limits = rng.random(order.shape) < scores.feasible[order], {}
    for name, (lower, upper) in limits.items():
        if name in scores.properties:
            column = values[..., scores.properties.index(name)]
            feasible &= (column >= lower) & (column <= upper)
    objective = values[..., scores.properties.index(problem.objective.property)]
    return np.where(feasible, Goal.of(problem.objective).merit(objective), -math.inf)


def _summarise(best: Array, as_read: Callable[[float], float]) -> RandomCurve:
    """Reduces the best so far of each campaign, draws x k, minus infinity where there is none."""
    length = best.shape[1]
    expected, lower, upper = (np.full(length, np.nan) for _ in range(3))
    found = np.isfinite(best).mean(axis=0)
    for i in np.flatnonzero(found):
        values = best[np.isfinite(best[:, i]), i]
        expected[i] = as_read(float(values.mean()))
        ends = [as_read(float(end)) for end in np.quantile(values, (0.05, 0.95))]
        lower[i], upper[i] = min(ends), max(ends)
    median = [math.nan if half == -math.inf else as_read(half) for half in _reached_by_half(best)]
    return RandomCurve(expected, lower, upper, found, np.array(median))


def _reached_by_half(best: Array) -> Array:
    """Returns the largest value that at least half of the rows reach, k."""
    middle = len(best) // 2
    return np.asarray(np.partition(best, middle, axis=0)[middle])


def exact_random_best(
    values: Array,
    *,
    count: int,
    direction: Literal["max", "min"] = "max",
    feasible: npt.NDArray[np.bool_] | None = None,
) -> tuple[Array, Array]:
    """Returns the exact expectation of the best of k random candidates of a known pool.

    The j-th best of N is the best of k drawn without replacement with probability
    C(N - j, k - 1) / C(N, k).

    Args:
        values: The true objective of every candidate, N.
        count: The largest k.
        direction: Whether larger or smaller is better.
        feasible: Which candidates count, N; all by default.

    Returns:
        The expected best feasible value given that there is one, and the probability that there is
        one, for k = 1 ... min(count, N). Where none can be found the expectation is NaN.
    """
    total = len(values)
    ranked = values if feasible is None else values[feasible]
    ranked = np.sort(ranked)[::-1] if direction == "max" else np.sort(ranked)
    position = np.arange(1, len(ranked) + 1)
    chance = np.full(len(ranked), 1 / total)
    expected, found = np.full(min(count, total), np.nan), np.zeros(min(count, total))
    for k in range(1, len(expected) + 1):
        found[k - 1] = chance.sum()
        if found[k - 1] > 0:
            expected[k - 1] = chance @ ranked / found[k - 1]
        if k < total:
            chance = chance * np.maximum(total - position - k + 1, 0) / k * (k + 1) / (total - k)
    return expected, np.minimum(found, 1.0)
