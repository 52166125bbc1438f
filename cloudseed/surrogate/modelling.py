"""From measurements to models: what deciding, ranking and calibration have in common."""

from __future__ import annotations

import importlib.metadata
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import FitError, InputError
from cloudseed.surrogate import gp, judging
from cloudseed.surrogate.acquisition import Criterion, Evaluation
from cloudseed.surrogate.features import Projection, fit_projection
from cloudseed.surrogate.hurdle import Hurdle, fit_hurdle, is_inflated
from cloudseed.surrogate.makeable import Makeable, fit_makeable, newest
from cloudseed.surrogate.protocols import Observations, Problem, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.gp import FittedSurrogate

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = [
    "Space",
    "checked_rows",
    "column",
    "describe_models",
    "evaluate",
    "fit_criterion",
    "is_gap",
    "known_feasible",
    "known_values",
    "score",
    "sort_scores",
    "wants_hints",
]

#: Candidates scored at once.
_CHUNK = 4_096


@dataclass(frozen=True, slots=True)
class Space:
    """The space of the kernel, with every candidate at its place.

    Attributes:
        features: Embeddings, N x d.
        projection: The map from embeddings, made from all of them.
        hints: What is known of each beforehand, N; the last coordinate of its point. None for
            points without.
    """

    features: npt.NDArray[Any]
    projection: Projection
    hints: Array | None = None

    @classmethod
    def of(cls, features: npt.NDArray[Any], hints: Array | None = None) -> Space:
        """Makes the space of a pool.

        Raises:
            InputError: If the matrix is empty or holds NaN or infinity, or the hints are not one
                finite number a row.
        """
        if hints is not None and (len(hints) != len(features) or not np.isfinite(hints).all()):
            raise InputError(
                f"{len(hints)} hints do not go with {len(features)} rows of features.",
                hint="Give one finite number per row.",
            )
        return cls(features, fit_projection(features), hints)

    def __getitem__(self, rows: Rows) -> Array:
        """Returns the points of rows, k x p, or k x (p + 1) with hints."""
        projected = self.projection(self.features[rows])
        if self.hints is None:
            return projected
        return np.column_stack([projected, self.hints[rows]])


def checked_rows(rows: Sequence[int] | Rows, count: int) -> Rows:
    """Returns rows sorted and without repeats.

    Raises:
        InputError: If a row is negative or not below `count`.
    """
    found = np.asarray(rows, dtype=np.int64)
    if (np.diff(found) <= 0).any():
        found = np.unique(found)
    if len(found) and (found[0] < 0 or found[-1] >= count):
        bad = int(found[0] if found[0] < 0 else found[-1])
        raise InputError(
            f"Row {bad} is not among the {count} rows of the features.",
            hint="Rows count from zero.",
            row=bad,
        )
    return found


def column(observations: Observations, name: str) -> Array:
    """Returns the measured values of one property, n, NaN where there is none.

    Raises:
        InputError: If a value is infinite.
    """
    if name not in observations.properties:
        return np.full(len(observations.rows), np.nan)
    values = np.asarray(
        observations.values[:, observations.properties.index(name)], dtype=np.float64
    )
    if np.isinf(values).any():
        row = int(observations.rows[np.isinf(values)][0])
        raise InputError(
            f"The value of {name} measured for row {row} is infinite.",
            hint="Correct the value, or give NaN where nothing was measured.",
            property=name,
            row=row,
        )
    return values


def fit_criterion(
    space: Space,
    observations: Observations,
    problem: Problem,
    seed: int,
    notes: list[str],
) -> Criterion:
    """Fits a model per property and of what can be made, and finds the value to improve on.

    Args:
        space: The pool.
        observations: What was measured, the objective at least once, and what could not be.
        problem: What is sought.
        seed: Chooses the rows for hyperparameters in large data.
        notes: Gets a line for everything that goes otherwise than planned.
    """
    surrogates: dict[str, FittedSurrogate | Hurdle] = {}
    limits = judging.bounds(problem)
    optimised = problem.objective.direction != "find"
    for name in problem.properties:
        values = column(observations, name)
        known = np.isfinite(values)
        if not known.any():
            notes.append(f"{name} was never measured: its constraint is left out")
            continue
        gaps = [abs(b - values[known][0]) for b in limits.get(name, ()) if math.isfinite(b)]
        surrogates[name] = _fitted(
            space,
            observations.rows[known],
            values[known],
            seed=seed,
            name=name,
            spread=max(gaps, default=None),
            notes=notes,
            # Where no value at the floor or above it is allowed, the floor tells nothing.
            floors=name in limits
            and limits[name][1] >= values[known].min()
            and (not optimised or name != problem.objective.property),
        )
        notes.extend(surrogates[name].notes)
    makeable = _makeable(space, observations, notes)
    criterion = Criterion(problem, surrogates, best=0.0, makeable=makeable)
    return replace(criterion, best=_best(space, criterion, observations, notes))


def _fitted(
    space: Space,
    rows: Rows,
    values: Array,
    *,
    seed: int,
    name: str,
    spread: float | None,
    floors: bool,
    notes: list[str],
) -> FittedSurrogate | Hurdle:
    """Fits one property: a hurdle model where its bounds decide and many values are at a floor."""
    points = space[rows]
    if floors and is_inflated(values):
        hinted = space.hints is not None and is_gap(name)
        features = points if hinted else points[:, : space.projection.dimension]
        try:
            return fit_hurdle(features, values, seed=seed, name=name, hinted=hinted, spread=spread)
        except FitError as error:
            notes.append(f"{error.message.rstrip('.')}: {name} has one Gaussian process instead")
    features = points[:, : space.projection.dimension]
    return gp.fit(features, values, seed=seed, name=name, spread=spread)


def _makeable(space: Space, observations: Observations, notes: list[str]) -> Makeable | None:
    """Fits what can be made, once there is something that could not be."""
    checked_rows(observations.infeasible, len(space.features))
    known = np.isfinite(observations.values).any(axis=1)
    tried = observations.rows[known], observations.infeasible
    made, failed = newest(*tried)
    if not len(failed):
        return None
    total = len(np.union1d(*tried))
    notes.append(
        f"{len(np.setdiff1d(tried[1], tried[0]))} of {total} candidates could not be made or"
        " measured: the chance that one can be is modelled"
    )
    if total > len(made) + len(failed):
        notes.append(f"that model learns from the newest {len(made) + len(failed)}")
    width = space.projection.dimension
    return fit_makeable(space[made][:, :width], space[failed][:, :width], notes)


def is_gap(name: str) -> bool:
    """Tells whether a property is a band gap, by its name."""
    return "gap" in name.lower()


def wants_hints(problem: Problem) -> bool:
    """Tells whether hints on band gaps can serve a problem: one of its bounds is on a gap."""
    return any(is_gap(c.property) for c in problem.constraints)


def _best(
    space: Space, criterion: Criterion, observations: Observations, notes: list[str]
) -> float:
    """Returns the best merit, by posterior mean, of a feasible measured candidate."""
    if criterion.problem.objective.direction == "find":
        return 0.0
    rows, feasible = known_feasible(criterion, observations)
    model = criterion.objective
    expected = criterion.goal.merit(model.evaluate(space[rows], -math.inf, math.inf)[0])
    if (feasible == 1).any():
        return float(expected[feasible == 1].max())
    notes.append("nothing feasible is known yet: the chance to meet the constraints leads")
    return float(expected.min() - 3 * model.scale)


def known_feasible(criterion: Criterion, observations: Observations) -> tuple[Rows, Array]:
    """Tells which measured candidates meet the constraints that have a model.

    Returns:
        Each measured row once; and 1 where the means of its replicates meet every bound, 0 where
        one does not, NaN where that depends on a property that was not measured.
    """
    names = tuple(criterion.surrogates)
    rows, means = _replicate_means(observations, names)
    feasible = np.ones(len(rows))
    unknown = np.zeros(len(rows), dtype=bool)
    for name, (lower, upper) in judging.bounds(criterion.problem).items():
        if name in names:
            values = means[:, names.index(name)]
            unknown |= np.isnan(values)
            feasible[(values < lower) | (values > upper)] = 0.0
    feasible[unknown & (feasible == 1)] = np.nan
    return rows, feasible


def known_values(observations: Observations, rows: Rows, properties: tuple[str, ...]) -> Array:
    """Returns the mean of what was measured of rows, k x m, NaN where nothing was.

    Args:
        observations: What was measured.
        rows: Rows of the pool, k.
        properties: The m properties.
    """
    measured, means = _replicate_means(observations, properties)
    found = np.full((len(rows), len(properties)), np.nan)
    both, here, there = np.intersect1d(rows, measured, return_indices=True)
    del both
    found[here] = means[there]
    return found


def _replicate_means(observations: Observations, properties: tuple[str, ...]) -> tuple[Rows, Array]:
    """Returns each measured row once, and per property the mean of its values, NaN where none."""
    rows, index = np.unique(observations.rows, return_inverse=True)
    means = np.full((len(rows), len(properties)), np.nan)
    for j, name in enumerate(properties):
        values = column(observations, name)
        known = np.isfinite(values)
        counts = np.bincount(index[known], minlength=len(rows))
        sums = np.bincount(index[known], weights=values[known], minlength=len(rows))
        means[counts > 0, j] = sums[counts > 0] / counts[counts > 0]
    return rows, means


def score(space: Space, criterion: Criterion, rows: Rows) -> Scores:
    """Scores rows one by one and sorts them, best first."""
    return sort_scores(criterion, rows, evaluate(space, criterion, rows))


def evaluate(
    space: Space,
    criterion: Criterion,
    rows: Rows,
    value: Callable[[Array, Evaluation], Array] | None = None,
) -> Evaluation:
    """Evaluates rows of a pool in parts that bound the memory.

    Args:
        space: The pool.
        criterion: The models.
        rows: What is evaluated, k.
        value: Values points of the space by what the models say of them, in place of the
            criterion's own acquisition.
    """
    parts = []
    for start in range(0, len(rows), _CHUNK):
        x = space[rows[start : start + _CHUNK]]
        part = criterion(x)
        parts.append(part if value is None else replace(part, acquisition=value(x, part)))
    return Evaluation.joined(parts)


def sort_scores(
    criterion: Criterion, rows: Rows, found: Evaluation, log_costs: Array | None = None
) -> Scores:
    """Returns what was found of rows, best first.

    Args:
        criterion: The models.
        rows: Rows of the pool, k.
        found: What the models say of them.
        log_costs: Log of what measuring each costs, k, by which its value is divided.
    """
    acquisition = found.acquisition if log_costs is None else found.acquisition - log_costs
    order = np.argsort(-acquisition, kind="stable")
    return Scores(
        rows=rows[order],
        mean=found.mean[order],
        sd=found.sd[order],
        acquisition=acquisition[order],
        feasible=np.exp(found.log_feasible[order]),
        properties=tuple(criterion.surrogates),
    )


def describe_models(space: Space, criterion: Criterion | None = None) -> dict[str, object]:
    """Returns what tells the models of one decision from those of another; JSON values."""
    surrogates = {} if criterion is None else criterion.surrogates
    makeable = None if criterion is None else criterion.makeable
    return {
        "surrogates": {name: dict(s.summary) for name, s in surrogates.items()},
        **({} if makeable is None else {"makeable": dict(makeable.summary)}),
        "components": space.projection.dimension,
        "explained": space.projection.explained,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("botorch", "gpytorch", "torch", "numpy")
        },
    }
