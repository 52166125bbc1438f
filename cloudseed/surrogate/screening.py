"""Cheap before dear: which properties to measure first, where each has a cost of its own.

A candidate is good only if it passes every bound, and its dear property is worth measuring only
then. Tests that all must be passed cost least, on average, in the order of cost over the chance to
fail (L. G. Mitten, An Analytic Solution to the Least Cost Testing Sequence Problem, J. Ind. Eng.
11, 17 (1960)). So a candidate is worth its value over what it costs on average when tested in that
order, and the next to measure is the first assay of the candidate that is worth most. Of two
candidates alike, the one that passed a cheap one already has less left to pay and goes first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import EmptyPoolError, InputError
from cloudseed.surrogate import judging
from cloudseed.surrogate.choosing import Valuer
from cloudseed.surrogate.memory import Memory, digest
from cloudseed.surrogate.modelling import fit_criterion, known_values
from cloudseed.surrogate.shares import membership
from cloudseed.surrogate.space import checked_rows, column
from cloudseed.surrogate.strategy import Strategy
from cloudseed.surrogate.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion
    from cloudseed.surrogate.protocols import Observations, Problem
    from cloudseed.surrogate.space import Space

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["Assay", "Assignment", "assign", "expected_costs"]

_AUTO = Strategy()


@dataclass(frozen=True, slots=True)
class Assay:
    """What can be measured of a candidate at one go.

    Attributes:
        properties: What it tells.
        cost: What it costs, positive.
    """

    properties: tuple[str, ...]
    cost: float


@dataclass(frozen=True, slots=True)
class Assignment:
    """What to measure next, and why.

    Attributes:
        row: The candidate.
        assay: Which assay.
        log_value: Log of its value over the cost to be expected until it is known.
    """

    row: int
    assay: Assay
    log_value: float


def expected_costs(
    costs: Array, log_pass: Array, *, done: npt.NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Returns what the assays still to do cost on average, in their best order, and the first.

    Args:
        costs: Cost of each assay, t.
        log_pass: Log probability that each candidate passes each assay, k x t; zero for one that
            bounds nothing, which comes last.
        done: Whether a candidate has passed an assay, k x t.

    Returns:
        Costs, k, and the place of the first assay, k; -1 where nothing is left to do.
    """
    fail = -np.expm1(np.minimum(log_pass, 0.0))
    with np.errstate(divide="ignore"):
        urgency = np.where(done, -np.inf, fail / costs)
    order = np.argsort(-urgency, axis=1, kind="stable")
    left = ~np.take_along_axis(done, order, axis=1)
    paid = np.take_along_axis(np.broadcast_to(costs, done.shape), order, axis=1) * left
    passed = np.where(left, np.take_along_axis(1 - fail, order, axis=1), 1.0)
    reached = np.cumprod(np.column_stack([np.ones(len(passed)), passed[:, :-1]]), axis=1)
    first = np.where(left.any(axis=1), order[:, 0], -1)
    return (paid * reached).sum(axis=1), first


@one_thread()
def assign(
    features: npt.NDArray[Any],
    observations: Observations,
    assays: Sequence[Assay],
    *,
    available: Sequence[int] | Rows,
    problem: Problem,
    count: int,
    seed: int,
    hints: Array | None = None,
    strategy: Strategy = _AUTO,
    memory: Memory | None = None,
) -> list[Assignment]:
    """Chooses candidates and the assay of each that comes next.

    Args:
        features: Embeddings of everything that may occur, N x d.
        observations: What was measured, one value of every objective at the least, or of one
            property with a bound where all that meets bounds is to be found. A candidate may have
            passed some assays and not had others.
        assays: What can be measured; together all properties of the problem, each in one assay.
        available: Rows that may be chosen, none of them pending. Those that are known whole, or to
            have failed, are passed over.
        problem: What is sought. A share of the pool is sought as all that lies beyond the value at
            which it is estimated to begin.
        count: The most assignments, at least 1; each candidate gets one.
        seed: Decides all that is random.
        hints: As in `decide`.
        strategy: By which acquisition candidates are valued.
        memory: As in `decide`.

    Returns:
        At most `count`, the most valuable first. Candidates are valued one by one.

    Raises:
        InputError: If a property is in no assay or in two, a cost is not positive, `count` is below
            1, or what is sought was never measured.
        EmptyPoolError: If nothing is left to measure.
    """
    _check(assays, problem, count)
    _require_measured(observations, problem)
    rule = strategy.acquisition_for(problem)
    memory = memory or Memory()
    space = memory.space(features, hints)
    key = digest(observations, problem)
    criterion, _ = memory.models(
        key, lambda said: fit_criterion(space, observations, problem, int(key[:8], 16), said)
    )
    barred = checked_rows(observations.infeasible, len(features))
    rows = np.setdiff1d(checked_rows(available, len(features)), barred, assume_unique=True)
    known = known_values(observations, rows, problem.properties)
    rows, known = _open(rows, known, problem)
    if problem.objective.share is not None:
        problem = _bounded(space, criterion, observations, rows)
        criterion = replace(criterion, problem=problem)
        rows, known = _open(rows, known, problem)
    valuer = Valuer(criterion, rule, strategy.width)
    found = valuer.evaluate(space, rows)
    # What was measured to be within its bounds is certain.
    measured = np.isfinite(known[:, [problem.properties.index(n) for n in criterion.surrogates]])
    inside = np.where(measured, 0.0, found.inside)
    makeable = np.where(measured.any(axis=1), 0.0, criterion.log_makeable(space[rows]))
    sure = replace(found, inside=inside, log_feasible=inside.sum(axis=1) + makeable)
    if valuer.rule == "expected_improvement":
        sure = replace(sure, acquisition=found.acquisition - found.log_feasible + sure.log_feasible)
    valuer, sure = valuer.valued(sure, seed)
    names = problem.properties
    done = np.column_stack(
        [np.isfinite(known[:, [names.index(p) for p in a.properties]]).all(axis=1) for a in assays]
    )
    costs, first = expected_costs(
        np.array([a.cost for a in assays]), _log_pass(criterion, assays, inside), done=done
    )
    value = sure.acquisition - np.log(costs)
    best = np.argsort(-value, kind="stable")[:count]
    return [Assignment(int(rows[i]), assays[first[i]], float(value[i])) for i in best]


def _log_pass(criterion: Criterion, assays: Sequence[Assay], inside: Array) -> Array:
    """Returns the log probability that each assay is passed, k x t."""
    names = tuple(criterion.surrogates)
    columns = [[names.index(p) for p in a.properties if p in names] for a in assays]
    return np.column_stack([inside[:, places].sum(axis=1) for places in columns])


def _open(rows: Rows, known: Array, problem: Problem) -> tuple[Rows, Array]:
    """Leaves out candidates that are known whole, or to have failed.

    Raises:
        EmptyPoolError: If none is left.
    """
    open_ = np.isnan(known).any(axis=1)
    for name, (lower, upper) in judging.bounds(problem).items():
        values = known[:, problem.properties.index(name)]
        open_ &= ~((values < lower) | (values > upper))
    if not open_.any():
        raise EmptyPoolError(
            "No candidate is left to measure.", hint="Widen the pool, or end the campaign here."
        )
    return rows[open_], known[open_]


def _bounded(space: Space, criterion: Criterion, observations: Observations, rows: Rows) -> Problem:
    """Returns the problem of finding all beyond the value at which the share begins."""
    found = membership(space, criterion, observations, rows, rows[:0])
    return judging.bounded(criterion.problem, found.threshold)


def _require_measured(observations: Observations, problem: Problem) -> None:
    """Checks that there is something to model.

    Raises:
        InputError: If an objective was never measured, or no property where bounds alone count.
    """
    goal = problem.objective
    bounds_alone = goal.direction == "find" and goal.share is None
    names = problem.properties if bounds_alone else [o.property for o in problem.objectives]
    never = [name for name in names if not np.isfinite(column(observations, name)).any()]
    if len(never) > (len(names) - 1 if bounds_alone else 0):
        raise InputError(
            f"There is no measured value of {' or '.join(never)}.",
            hint="Measure a few candidates first, such as those that `start` chooses.",
        )


def _check(assays: Sequence[Assay], problem: Problem, count: int) -> None:
    if count < 1:
        raise InputError(f"{count} assignments are none.", hint="Ask for at least 1.", count=count)
    told = [p for a in assays for p in a.properties]
    if sorted(told) != sorted(problem.properties):
        raise InputError(
            f"The assays tell {', '.join(told) or 'nothing'}; asked for are"
            f" {', '.join(problem.properties)}.",
            hint="Put every property of the problem into one assay.",
        )
    if not all(np.isfinite(a.cost) and a.cost > 0 for a in assays):
        raise InputError(
            "An assay's cost is not positive.", hint="Give every assay a cost above 0."
        )
