"""A list of candidates put in order, with what the model is unsure of."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.spatial.distance import cdist

from cloudseed.errors import EmptyPoolError, ObjectiveError
from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.front import layers
from cloudseed.surrogate.modelling import describe_models, fit_criterion, modelled_problem, score
from cloudseed.surrogate.objectives import objective_text
from cloudseed.surrogate.protocols import Observations, Problem, Scores
from cloudseed.surrogate.shares import membership
from cloudseed.surrogate.space import Space, checked_rows, column
from cloudseed.surrogate.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.features import Features
    from cloudseed.surrogate.protocols import Guess, ModelSettings

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["OrderBy", "Ranking", "rank"]

#: What a ranking is sorted by.
OrderBy = Literal["acquisition", "mean"]
#: A candidate that meets the constraints with at least this probability goes before all others.
LIKELY = 0.5
_CHUNK_ENTRIES = 2**22


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates in order, best first.

    Attributes:
        scores: What the model says of each, in this order.
        neighbours: Row of the measured candidate nearest to each, k.
        distances: Distance to it in the first block of the kernel's space, k; the pool's root mean
            square distance from its mean is the square root of p / 12, p being
            `model["components"]`.
        order_by: What the order follows.
        model: What is needed to tell models apart; JSON values.
        notes: What went otherwise than planned.
    """

    scores: Scores
    neighbours: Rows
    distances: Array
    order_by: OrderBy
    model: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@one_thread()
def rank(
    features: Features | npt.NDArray[Any],
    observations: Observations,
    *,
    available: Sequence[int] | Rows,
    problem: Problem,
    seed: int,
    order_by: OrderBy = "acquisition",
    hints: Array | None = None,
    guesses: Mapping[str, Guess] | None = None,
    models: ModelSettings | None = None,
) -> Ranking:
    """Ranks candidates by what is worth measuring next, or by what is predicted best.

    Args:
        features: Everything that may occur, N rows: embeddings, N x d, or several blocks.
        observations: What was measured, one value of the objective at the least, and what could
            not be.
        available: Rows to rank; measured ones may be among them.
        problem: What is sought.
        seed: Decides all that is random.
        order_by: "acquisition" for the value of measuring a candidate next; "mean" for the
            predicted objective, candidates first that meet the constraints with probability 1/2 or
            more, then the others by that probability; of several objectives, for the fronts of the
            predicted values, one after another.
        hints: As in `decide`.
        guesses: As in `decide`.
        models: As in `decide`.

    Raises:
        EmptyPoolError: If there is nothing to rank.
        ObjectiveError: If the objective was never measured.
        InputError: If a row is out of range, or an embedding or value is not finite.
        FitError: If the measurements cannot be modelled.
    """
    rows = checked_rows(available, len(features))
    measured = checked_rows(observations.rows, len(features))
    if not len(rows):
        raise EmptyPoolError("There is no candidate to rank.", hint="Give at least one.")
    notes: list[str] = []
    problem = modelled_problem(observations, problem, 1, notes)
    require_measured(observations, problem.objective.property)
    space = Space.of(features, hints, guesses)
    criterion = fit_criterion(space, observations, problem, seed, notes, models=models)
    if problem.objective.share is not None:
        found = membership(space, criterion, observations, rows, measured)
        scores = found.scores
        share = objective_text(problem.objective)
        notes.append(f"{share}: from {found.threshold:.6g} on, by the model")
    else:
        scores = score(space, criterion, rows)
    if order_by == "mean":
        scores = _by_mean(scores, problem)
    positions, distances = _nearest(space.near(scores.rows), space.near(measured))
    return Ranking(
        scores=scores,
        neighbours=measured[positions],
        distances=distances,
        order_by=order_by,
        model={**describe_models(space, criterion), "seed": seed},
        notes=tuple(notes),
    )


def require_measured(observations: Observations, name: str) -> None:
    """Checks that a property was measured at least once.

    Raises:
        ObjectiveError: If it was not.
    """
    if np.isfinite(column(observations, name)).any():
        return
    known = [p for p in observations.properties if np.isfinite(column(observations, p)).any()]
    near = difflib.get_close_matches(name, known, n=1)
    raise ObjectiveError(
        f"There is no measured value of {name}.",
        hint=f"Did you mean {near[0]!r}?"
        if near
        else f"Measured are: {', '.join(known) or 'none'}.",
        property=name,
    )


def _by_mean(scores: Scores, problem: Problem) -> Scores:
    likely = scores.feasible >= LIKELY
    merit = scores.feasible
    if problem.further:
        merits = [
            Goal.of(objective).merit(scores.mean[:, j])
            for j, objective in enumerate(problem.objectives)
        ]
        merit = np.where(likely, -layers(np.column_stack(merits)).astype(np.float64), merit)
        # On one layer, what adds more to the front goes first.
        order = np.lexsort((scores.rows, -scores.acquisition, -merit, ~likely))
    elif problem.objective.direction != "find":
        merit = np.where(likely, Goal.of(problem.objective).merit(scores.mean[:, 0]), merit)
    if not problem.further:
        order = np.lexsort((scores.rows, -merit, ~likely))
    return Scores(
        rows=scores.rows[order],
        mean=scores.mean[order],
        sd=scores.sd[order],
        acquisition=scores.acquisition[order],
        feasible=scores.feasible[order],
        properties=scores.properties,
    )


def _nearest(x: Array, measured: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """Returns the position of the nearest measured point and its distance, k each."""
    positions, distances = np.empty(len(x), dtype=np.intp), np.empty(len(x))
    step = max(1, _CHUNK_ENTRIES // len(measured))
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        table = cdist(x[part], measured)
        positions[part] = table.argmin(axis=1)
        distances[part] = table.min(axis=1)
    return positions, distances
