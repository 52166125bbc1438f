"""Which candidates to measure next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import EmptyPoolError, FitError, InputError
from cloudseed.surrogate.batch import Baseline, choose_jointly
from cloudseed.surrogate.front_batch import choose_for_front
from cloudseed.surrogate.modelling import (
    Space,
    checked_rows,
    column,
    describe_models,
    fit_criterion,
    known_feasible,
    modelled_problem,
    score,
)
from cloudseed.surrogate.protocols import Choice, Observations, Problem, Scores
from cloudseed.surrogate.scalarised import Scalarised
from cloudseed.surrogate.shares import membership
from cloudseed.surrogate.space_filling import MAX_ROWS, fill_space

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["MIN_VALUES", "decide", "decision_seed", "space_fill"]

#: With fewer measured values of the objective than this, the choice fills space.
MIN_VALUES = 3
#: Share of the picks that look far beyond the threshold where a share of the pool is sought: with
#: none, one of five campaigns on elpasolites stayed with a threshold amid what it had measured.
BOLD = 0.2
#: Candidates that reach the joint stage: the best by their value alone.
FINALISTS = 512
#: The same for several objectives.
FRONT_FINALISTS = 1_024
#: Measured candidates that may be the incumbent in the joint stage.
INCUMBENTS = 256


def decide(
    features: npt.NDArray[Any],
    observations: Observations,
    *,
    available: Sequence[int] | Rows,
    pending: Sequence[int] | Rows = (),
    problem: Problem,
    batch: int,
    seed: int,
    hints: Array | None = None,
    exploration: float = 0.0,
) -> Choice:
    """Chooses the next batch.

    With fewer than `MIN_VALUES` measured values of the objective the batch fills space. Otherwise a
    model per property scores every available candidate. For an optimum, or the Pareto front of
    several, the best of them compete for the batch jointly, pending experiments taken into account.
    Of several objectives those that were measured too seldom are left out. Where all that meets the
    constraints is to be found, the likeliest are taken. Of a share of the pool, the value at which
    it begins is estimated first and stands in the choice's `model` under `threshold`. Once a
    candidate could not be made, the chance that others can be is learned too.

    Args:
        features: Embeddings of everything that may occur, N x d.
        observations: What was measured, and what could not be.
        available: Rows that may be chosen; tried and pending ones among them are passed over.
        pending: Rows that are being measured.
        problem: What is sought.
        batch: The most rows to choose, at least 1.
        seed: Decides all that is random; equal input and seed give equal picks.
        hints: Log odds of a band gap by chemistry, up to offset and weight, N: the prior mean where
            a gap is often zero, for instance minus `shell_penalties`. None for none.
        exploration: Share of the picks that fill space instead, 0 to 1; on average over batches.

    Returns:
        At most `batch` picks. Scores cover all that could be picked; `acquisition` is the log of
        the constrained expected improvement in the objective's unit, or of the probability that
        all constraints hold.

    Raises:
        EmptyPoolError: If nothing is available that is not tried or pending.
        InputError: If a row is out of range, an embedding or value is not finite, or batch is
            below 1.
        FitError: If the measurements cannot be modelled at all.
    """
    notes: list[str] = []
    problem = modelled_problem(observations, problem, MIN_VALUES, notes)
    known = int(np.isfinite(column(observations, problem.objective.property)).sum())
    if known < MIN_VALUES:
        choice = space_fill(
            features, observations, available=available, pending=pending, batch=batch, seed=seed
        )
        note = f"{known} values of the objective are too few to model: the batch fills space"
        return replace(choice, notes=(note,))
    pool = _Pool.of(len(features), observations, available, pending, batch)
    space = Space.of(features, hints)
    rng = np.random.default_rng(seed)
    explored = min(batch, int(exploration * batch + rng.random()))
    criterion = fit_criterion(space, observations, problem, seed, notes)
    if problem.objective.share is None:
        scores = score(space, criterion, pool.open)
        chosen, method, facts = _exploited(
            space,
            criterion,
            observations,
            pool,
            scores,
            batch=batch - explored,
            seed=seed,
            notes=notes,
        )
    else:
        method = "ExpectedHits"
        chosen, scores, facts = _shared(
            space, criterion, observations, pool, batch=batch - explored, rng=rng
        )
    rest = np.setdiff1d(pool.open, chosen)
    if explored and len(rest):
        taken = np.concatenate([pool.tried, pool.pending, np.array(chosen, dtype=np.int64)])
        covering = _spread(space, rest, taken, explored, rng)
        chosen += covering
        notes.append(f"{len(covering)} of {len(chosen)} picks explore")
    return Choice(
        picks=tuple(chosen),
        scores=scores,
        method=method,
        model={
            **describe_models(space, criterion),
            "scored": len(pool.open),
            **facts,
            "pending": len(pool.pending),
            "seed": seed,
        },
        notes=tuple(notes),
    )


def _exploited(
    space: Space,
    criterion: Criterion,
    observations: Observations,
    pool: _Pool,
    scores: Scores,
    *,
    batch: int,
    seed: int,
    notes: list[str],
) -> tuple[list[int], str, dict[str, object]]:
    """Chooses by the models: rows, the method's name, and what it looked at."""
    if criterion.problem.objective.direction == "find":
        return scores.rows[:batch].tolist(), "ExpectedHits", {}
    front = criterion.front is not None
    finalists = scores.rows[: FRONT_FINALISTS if front else FINALISTS]
    baseline = _baseline(space, criterion, observations, pool.pending)
    method, choose = ("LogNEHVI", choose_for_front) if front else ("LogNEI", choose_jointly)
    if isinstance(criterion.front, Scalarised):
        method = "LogNParEGO"
    try:
        picks = choose(criterion, baseline, space[finalists], batch, seed)[0]
    except FitError as error:
        notes.append(f"{error.message}: the picks are the best by their value alone")
        method, picks = method.replace("N", ""), list(range(min(batch, len(finalists))))
    chosen = [int(finalists[i]) for i in picks]
    return chosen, method, {"finalists": len(finalists), "baseline": len(baseline.x)}


def _shared(
    space: Space,
    criterion: Criterion,
    observations: Observations,
    pool: _Pool,
    *,
    batch: int,
    rng: np.random.Generator,
) -> tuple[list[int], Scores, dict[str, object]]:
    """Chooses where the best share of the pool is sought: rows, scores, and facts.

    A model that is too sure of what it has not seen puts the threshold amid what was measured, and
    never looks elsewhere. So some picks are those likeliest to lie far beyond the threshold.
    Where the model is right they are members too.
    """
    found = membership(space, criterion, observations, pool.open, pool.pending)
    bold = min(batch, int(BOLD * batch + rng.random()))
    chosen = found.bold[:bold].tolist()
    likeliest = found.scores.rows[~np.isin(found.scores.rows, chosen)]
    chosen += likeliest[: batch - len(chosen)].tolist()
    return (
        chosen,
        found.scores,
        {"threshold": found.threshold, "bolder": found.bolder, "bold": bold},
    )


def decision_seed(seed: int, step: int) -> int:
    """Returns the seed of one decision of a campaign, independent of every other's.

    Args:
        seed: The campaign's.
        step: Number of the decision.
    """
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def space_fill(
    features: npt.NDArray[Any],
    observations: Observations,
    *,
    available: Sequence[int] | Rows,
    pending: Sequence[int] | Rows = (),
    batch: int,
    seed: int,
) -> Choice:
    """Chooses candidates that stand for the pool and are unlike what is tried or pending.

    Args:
        features: Embeddings of everything that may occur, N x d.
        observations: What was measured, and what could not be; the values play no part.
        available: Rows that may be chosen; tried and pending ones among them are passed over.
        pending: Rows that are being measured.
        batch: The most rows to choose, at least 1.
        seed: Decides all that is random; equal input and seed give equal picks.

    Raises:
        EmptyPoolError: If nothing is available that is not tried or pending.
        InputError: If a row is out of range, an embedding is not finite, or batch is below 1.
    """
    pool = _Pool.of(len(features), observations, available, pending, batch)
    space = Space.of(features)
    rng = np.random.default_rng(seed)
    taken = np.concatenate([pool.tried, pool.pending])
    return Choice(
        picks=tuple(_spread(space, pool.open, taken, batch, rng)),
        scores=None,
        method="space_filling",
        model={**describe_models(space), "scored": 0, "seed": seed},
    )


def _spread(
    space: Space, rows: Rows, taken: Rows, batch: int, rng: np.random.Generator
) -> list[int]:
    """Chooses rows that stand for all of them and are unlike what is taken."""
    if len(rows) > MAX_ROWS:
        rows = np.sort(rng.choice(rows, size=max(MAX_ROWS, batch), replace=False))
    # Hints are no part of the distance.
    points, others = (space.projection(space.features[some]) for some in (rows, taken))
    return [int(rows[i]) for i in fill_space(points, others, batch, rng)]


@dataclass(frozen=True, slots=True)
class _Pool:
    """The rows of a decision, each kind sorted, without repeats, and disjoint.

    Attributes:
        open: What may be chosen.
        pending: What is being measured.
        tried: What was measured or could not be.
    """

    open: Rows
    pending: Rows
    tried: Rows

    @classmethod
    def of(
        cls,
        count: int,
        observations: Observations,
        available: Sequence[int] | Rows,
        pending: Sequence[int] | Rows,
        batch: int,
    ) -> _Pool:
        if batch < 1:
            raise InputError(f"A batch of {batch} is empty.", hint="Ask for at least one.")
        tried = np.concatenate([observations.rows, observations.infeasible])
        given, waiting, done = (checked_rows(rows, count) for rows in (available, pending, tried))
        free = np.setdiff1d(given, np.union1d(waiting, done), assume_unique=True)
        if not len(free):
            raise EmptyPoolError(
                "No candidate is left that is neither tried nor pending.",
                hint="Add parents or widen the filters, or end the campaign here.",
                available=len(given),
            )
        return cls(free, np.setdiff1d(waiting, done, assume_unique=True), done)


def _baseline(
    space: Space, criterion: Criterion, observations: Observations, pending: Rows
) -> Baseline:
    """Returns what a pick must improve on: promising measured candidates, and all pending."""
    rows, feasible = known_feasible(criterion, observations)
    if len(rows) > INCUMBENTS:
        worth = criterion(space[rows]).acquisition
        kept = np.argsort(-worth, kind="stable")[:INCUMBENTS]
        rows, feasible = rows[kept], feasible[kept]
    x = np.concatenate([space[rows], space[pending]])
    return Baseline(x, np.concatenate([feasible, np.full(len(pending), np.nan)]))
