"""From measurements to models: what deciding, ranking and calibration have in common."""

from __future__ import annotations

import importlib.metadata
import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import FitError
from cloudseed.surrogate import judging
from cloudseed.surrogate.acquisition import Criterion, Evaluation
from cloudseed.surrogate.fidelities import fit_fidelities
from cloudseed.surrogate.front import nadir
from cloudseed.surrogate.front_gain import FrontGain
from cloudseed.surrogate.hurdle import Hurdle, fit_hurdle, is_inflated
from cloudseed.surrogate.makeable import Makeable, fit_makeable, newest
from cloudseed.surrogate.protocols import ModelSettings, Observations, Problem, Scores
from cloudseed.surrogate.scalarised import MANY, Scalarised
from cloudseed.surrogate.selecting import Measured, fit_property
from cloudseed.surrogate.space import LARGEST, SMALLEST, Space, checked_rows, column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.gp import FittedSurrogate
    from cloudseed.surrogate.protocols import ModelKind

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = [
    "describe_models",
    "evaluate",
    "fit_criterion",
    "is_gap",
    "known_feasible",
    "known_values",
    "modelled_problem",
    "replicate_means",
    "score",
    "sort_scores",
    "wants_hints",
]

#: Values of a property with which a decision's record tells how each follows from the others.
LEAST_LEFT_OUT, MOST_LEFT_OUT = 5, 500
#: Candidates scored at once.
_CHUNK = 4_096


def _uncertainties(observations: Observations, name: str) -> Array:
    """Returns the standard uncertainties of one property's values, n, NaN where unknown."""
    if observations.sigma is None or name not in observations.properties:
        return np.full(len(observations.rows), np.nan)
    found = observations.sigma[:, observations.properties.index(name)]
    return np.where(np.isfinite(found) & (found >= 0), found, np.nan)


def _note_sizes(observations: Observations, name: str, notes: list[str]) -> None:
    """Notes values whose size is that of no measurement, which `column` changes."""
    values = observations.values[:, observations.properties.index(name)]
    sizes = np.abs(values[np.isfinite(values)].astype(np.float64))
    if huge := int((sizes >= LARGEST).sum()):
        notes.append(
            f"{huge} of {len(sizes)} values of {name} are {LARGEST:g} or more in size, which no"
            " measurement is: they are drawn in to that"
        )
    if tiny := int(((sizes > 0) & (sizes < SMALLEST)).sum()):
        notes.append(
            f"{tiny} of {len(sizes)} values of {name} are below {SMALLEST:g} in size, which no"
            " measurement is: they are taken for zero"
        )


def fit_criterion(
    space: Space,
    observations: Observations,
    problem: Problem,
    seed: int,
    notes: list[str],
    *,
    widths: Mapping[str, float] = MappingProxyType({}),
    models: ModelSettings | None = None,
) -> Criterion:
    """Fits a model per property and of what can be made, and finds the value to improve on.

    Args:
        space: The pool.
        observations: What was measured, the objective at least once, and what could not be.
        problem: What is sought.
        seed: Chooses the rows for hyperparameters in large data.
        notes: Gets a line for everything that goes otherwise than planned.
        widths: Property -> factor of its standard deviations; hurdle models have none.
        models: What models the properties; None for what suits each.
    """
    models = models or ModelSettings()
    surrogates: dict[str, FittedSurrogate | Hurdle] = {}
    limits = judging.bounds(problem)
    goal = problem.objective
    # Where the highest share is sought, the threshold will be a bound above any floor.
    above = {goal.property} if goal.end == "highest" else set()
    optimised = {o.property for o in problem.objectives if o.direction != "find"}
    for name in problem.properties:
        values = column(observations, name)
        known = np.isfinite(values)
        if not known.any():
            notes.append(f"{name} was never measured: its constraint is left out")
            continue
        _note_sizes(observations, name, notes)
        gaps = [abs(b - values[known][0]) for b in limits.get(name, ()) if math.isfinite(b)]
        points = space[observations.rows[known]]
        sigma = _uncertainties(observations, name)[known]
        measured = Measured(
            name,
            points[:, : space.dimension],
            values[known],
            spread=max(gaps, default=None),
            prior=space.prior(name, points),
            sigma=sigma if np.isfinite(sigma).any() else None,
            widths=space.widths,
            kernel=space.features.kernel,
            wanted=judging.wanted(problem, name, float(np.median(values[known]))),
        )
        # Where no value at the floor or above it is allowed, the floor tells nothing.
        floors = name in above or (
            name in limits and limits[name][1] >= values[known].min() and name not in optimised
        )
        hints = points[:, -1] if space.hints is not None and is_gap(name) else None
        source = None if observations.source is None else observations.source[known]
        surrogates[name] = _of_sources(
            measured, source, seed, models.of(name), floors=floors, hints=hints, notes=notes
        )
        notes.extend(surrogates[name].notes)
        surrogates[name] = _widened(surrogates[name], name, widths.get(name, 1.0), notes)
    makeable = _makeable(space, observations, notes)
    criterion = Criterion(problem, surrogates, best=0.0, makeable=makeable)
    if problem.further:
        return _with_front(space, criterion, observations, notes)
    return replace(criterion, best=_best(space, criterion, observations, notes))


def modelled_problem(
    observations: Observations, problem: Problem, least: int, notes: list[str]
) -> Problem:
    """Leaves out of what is sought what was measured too seldom to be modelled.

    Of a front that is its objectives. Where all that meets the bounds is to be found, the property
    with a bound that was measured most leads if the first was not measured enough, so that the
    order of the bounds does not matter; bounds without any value are left out with the models.

    Args:
        observations: What was measured.
        problem: What is sought.
        least: Values that a model needs.
        notes: Gets a line for each that is left out.

    Returns:
        The problem of the others; as it is where there are none.
    """

    def count(name: str) -> int:
        return int(np.isfinite(column(observations, name)).sum())

    goal = problem.objective
    if goal.direction == "find" and goal.share is None and count(goal.property) < least:
        best = max(judging.bounds(problem), key=count, default=goal.property)
        return replace(problem, objective=replace(goal, property=best))
    if not problem.further:
        return problem
    counts = [count(o.property) for o in problem.objectives]
    kept = [i for i, number in enumerate(counts) if number >= least]
    if not kept:
        return problem
    notes.extend(
        f"{o.property} was measured {number} times: it is left out of the objectives"
        for o, number in zip(problem.objectives, counts, strict=True)
        if number < least
    )
    goals = [problem.objectives[i] for i in kept]
    given = problem.reference
    reference = None if given is None or len(kept) < 2 else tuple(given[i] for i in kept)
    return replace(problem, objective=goals[0], further=tuple(goals[1:]), reference=reference)


def _of_sources(
    measured: Measured,
    source: Rows | None,
    seed: int,
    kind: ModelKind,
    *,
    floors: bool,
    hints: Array | None,
    notes: list[str],
) -> FittedSurrogate | Hurdle:
    """Fits one property by all that measured it; by what counts alone where that fails."""
    name = measured.name
    if source is None or not source.any():
        return _fitted(measured, seed, kind, floors=floors, hints=hints, notes=notes)
    if kind != "auto":
        notes.append(
            f"several sources measured {name}: its model is of the kind 'fidelities', not {kind!r}"
            " as asked for"
        )
    try:
        return fit_fidelities(
            measured.x,
            measured.y,
            source,
            seed=seed,
            name=name,
            spread=measured.spread,
            wanted=measured.wanted,
        )
    except FitError as error:
        own = np.flatnonzero(source == 0)
        if not len(own):
            raise
        notes.append(
            f"the fit of {name} by several sources failed ({error.message.rstrip('.')}): dear"
            " values alone are modelled"
        )
        hints = None if hints is None else hints[own]
        return _fitted(measured.at(own), seed, kind, floors=floors, hints=hints, notes=notes)


def _fitted(
    measured: Measured,
    seed: int,
    kind: ModelKind,
    *,
    floors: bool,
    hints: Array | None,
    notes: list[str],
) -> FittedSurrogate | Hurdle:
    """Fits one property: a hurdle model where its bounds decide and many values are at a floor."""
    if floors and kind == "auto" and is_inflated(measured.y):
        try:
            return fit_hurdle(measured, hints, seed=seed)
        except FitError as error:
            why = error.message.rstrip(".")
            notes.append(f"{why}: {measured.name} has one Gaussian process instead")
    return fit_property(measured, seed, kind)


def _widened(
    model: FittedSurrogate | Hurdle, name: str, factor: float, notes: list[str]
) -> FittedSurrogate | Hurdle:
    """Returns a model whose predictions did not come true as often as they should, mended."""
    if factor == 1 or isinstance(model, Hurdle):
        return model
    notes.append(
        f"{name} came inside its intervals too {'seldom' if factor > 1 else 'often'}: its standard"
        f" deviations are taken times {factor:.2f}"
    )
    return model.widened(factor)


def _makeable(space: Space, observations: Observations, notes: list[str]) -> Makeable | None:
    """Fits what can be made, once there is something that could not be."""
    checked_rows(observations.infeasible, len(space.features))
    # That a potential computes a value proves nothing of what can be made.
    count = observations.counting
    known = np.isfinite(count.values).any(axis=1)
    tried = count.rows[known], observations.infeasible
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
    return fit_makeable(space.near(made), space.near(failed), notes)


def is_gap(name: str) -> bool:
    """Tells whether a property is a band gap, by its name."""
    return "gap" in name.lower()


def wants_hints(problem: Problem) -> bool:
    """Tells whether hints on band gaps can serve a problem: one of its bounds is on a gap."""
    goal = problem.objective
    shared = goal.end == "highest" and is_gap(goal.property)
    return shared or any(is_gap(c.property) for c in problem.constraints)


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
    # The scale of what a prior mean leaves may be small against the values' own.
    return float(expected.min() - 3 * max(model.scale, float(expected.std())))


def _with_front(
    space: Space, criterion: Criterion, observations: Observations, notes: list[str]
) -> Criterion:
    """Returns the criterion with the front of the posterior means of feasible candidates."""
    rows, feasible = known_feasible(criterion, observations)
    models = [criterion.surrogates[o.property] for o in criterion.problem.objectives]
    merits = np.column_stack(
        [
            goal.merit(model.evaluate(space[rows], -math.inf, math.inf)[0])
            for goal, model in zip(criterion.goals, models, strict=True)
        ]
    )
    good = merits[feasible == 1]
    if criterion.problem.reference is not None:
        reference = judging.reference_merits(criterion.problem)
    elif len(good):
        reference = nadir(good)
    else:
        reference = merits.min(axis=0) - 3 * np.array([model.scale for model in models])
    if not len(good):
        notes.append("nothing feasible is known yet: the chance to meet the constraints leads")
    front: FrontGain | Scalarised
    if len(models) < MANY:
        front = FrontGain.of(criterion.goals, good, reference)
    else:
        even = np.array([1 / model.scale for model in models]) / len(models)
        front = Scalarised.of(criterion.goals, good, reference, even)
    return replace(criterion, front=front, reference=reference)


def known_feasible(criterion: Criterion, observations: Observations) -> tuple[Rows, Array]:
    """Tells which measured candidates meet the constraints that have a model.

    Returns:
        Each measured row once; and 1 where the means of its replicates meet every bound, 0 where
        one does not, NaN where that depends on a property that was not measured.
    """
    names = tuple(criterion.surrogates)
    rows, means = replicate_means(observations, names)
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
    measured, means = replicate_means(observations, properties)
    found = np.full((len(rows), len(properties)), np.nan)
    _, here, there = np.intersect1d(rows, measured, return_indices=True)
    found[here] = means[there]
    return found


def replicate_means(observations: Observations, properties: tuple[str, ...]) -> tuple[Rows, Array]:
    """Returns each measured row once, and per property the mean of its values, NaN where none.

    Hints stand in for values that count only where there are none of these at all.
    """
    count = observations.counting
    observations = count if len(count.rows) else observations
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


def _left_out(model: FittedSurrogate | Hurdle) -> dict[str, object]:
    """Returns how a model of few values predicts each from the others, where that is told."""
    if isinstance(model, Hurdle) or not LEAST_LEFT_OUT <= len(model.targets) <= MOST_LEFT_OUT:
        return {}
    return {"left_out": model.left_out.figures(model.scale)}


def describe_models(space: Space, criterion: Criterion | None = None) -> dict[str, object]:
    """Returns what tells the models of one decision from those of another; JSON values."""
    surrogates = {} if criterion is None else criterion.surrogates
    makeable = None if criterion is None else criterion.makeable
    return {
        "surrogates": {name: {**s.summary, **_left_out(s)} for name, s in surrogates.items()},
        **({} if makeable is None else {"makeable": dict(makeable.summary)}),
        "components": space.projection.dimension,
        "explained": space.projection.explained,
        "features": {
            name: {"components": p.dimension, "explained": p.explained}
            for name, p in space.projections.items()
        },
        **({"whitened": True} if space.features.whiten else {}),
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("botorch", "gpytorch", "torch", "numpy")
        },
    }
