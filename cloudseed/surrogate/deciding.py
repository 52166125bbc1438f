"""Which candidates to measure next."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import FitError, InputError
from cloudseed.surrogate.batch import Baseline, choose_jointly
from cloudseed.surrogate.cheap_first import begin, relative_costs
from cloudseed.surrogate.choosing import Valuer
from cloudseed.surrogate.cold_start import guessed_scores
from cloudseed.surrogate.costs import checked_log_costs
from cloudseed.surrogate.front_batch import choose_for_front
from cloudseed.surrogate.memory import Memory, digest
from cloudseed.surrogate.modelling import (
    describe_models,
    fit_criterion,
    known_feasible,
    modelled_problem,
    sort_scores,
)
from cloudseed.surrogate.protocols import Choice, Observations, Problem, Scores
from cloudseed.surrogate.scalarised import Scalarised
from cloudseed.surrogate.shares import membership
from cloudseed.surrogate.space import LARGEST, SMALLEST, Space, column
from cloudseed.surrogate.space_filling import MAX_ROWS, fill_space
from cloudseed.surrogate.standing import Standing
from cloudseed.surrogate.strategy import Strategy
from cloudseed.surrogate.thompson import choose_by_draws
from cloudseed.surrogate.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion
    from cloudseed.surrogate.features import Features
    from cloudseed.surrogate.protocols import CheapSource, Guess, ModelSettings

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["MIN_VALUES", "decide", "decision_seed", "space_fill", "start"]

#: With fewer measured values of the objective than this, the choice fills space.
MIN_VALUES = 3
#: Share of the picks that look far beyond the threshold where a share of the pool is sought: with
#: none, one of five campaigns on elpasolites stayed with a threshold amid what it had measured.
BOLD = 0.2
#: Why a candidate was picked: for its value; to cover the pool; for what lies far beyond.
BY_VALUE, COVERING, BOLD_PICK = "value", "covering", "bold"
#: Candidates that reach the joint stage: the best by their value alone.
FINALISTS = 512
#: The same for several objectives.
FRONT_FINALISTS = 1_024
#: Measured candidates that may be the incumbent in the joint stage.
INCUMBENTS = 256
#: The default strategy.
AUTO = Strategy()
#: What methods are called where the joint stage fails.
ALONE = {"LogNEI": "LogEI", "LogNEHVI": "LogEHVI", "LogNParEGO": "LogParEGO"}


@one_thread()
def decide(
    features: Features | npt.NDArray[Any],
    observations: Observations,
    *,
    available: Sequence[int] | Rows,
    pending: Sequence[int] | Rows = (),
    problem: Problem,
    batch: int,
    seed: int,
    hints: Array | None = None,
    exploration: float = 0.0,
    strategy: Strategy = AUTO,
    costs: Array | None = None,
    memory: Memory | None = None,
    widths: Mapping[str, float] = MappingProxyType({}),
    guesses: Mapping[str, Guess] | None = None,
    models: ModelSettings | None = None,
    cheap: CheapSource | None = None,
) -> Choice:
    """Chooses the next batch.

    With fewer than `MIN_VALUES` measured values of the objective, `start` chooses; where all that
    meets the constraints is to be found, with fewer of every constrained property. Otherwise a
    model per property scores every available candidate. For an optimum, or the Pareto front of
    several, the best of them compete for the batch jointly, pending experiments taken into account.
    Of several objectives those that were measured too seldom are left out. Where all that meets the
    constraints is to be found, the likeliest are taken. Of a share of the pool, the value at which
    it begins is estimated first and stands in the choice's `model` under `threshold`. Once a
    candidate could not be made, the chance that others can be is learned too.

    Args:
        features: Everything that may occur, N rows: embeddings, N x d, or several blocks.
        observations: What was measured, and what could not be.
        available: Rows that may be chosen; tried and pending ones among them are passed over.
        pending: Rows that are being measured.
        problem: What is sought.
        batch: The most rows to choose, at least 1.
        seed: Decides all that is random; equal input and seed give equal picks.
        hints: Log odds of a band gap by chemistry, up to offset and weight, N: the prior mean where
            a gap is often zero, for instance minus `shell_penalties`. None for none.
        exploration: Share of the picks that fill space instead, 0 to 1; on average over batches.
        strategy: By which acquisition.
        costs: What measuring each row costs, positive, N, in any one unit: values are divided by
            it. None where all cost the same.
        memory: Keeps what the next decision may need again; the choice is the same without.
        widths: Property -> factor of its standard deviations, see `recalibration`; 1 where none is
            named.
        guesses: Property -> what was predicted of each candidate beforehand: the prior mean of its
            model, as far as measurements confirm it.
        models: What models the properties; None for what suits each.
        cheap: A source that may be asked first, source 1 of the observations. What it alone has
            measured may then be chosen, and values are over what is still to be paid.

    Returns:
        At most `batch` picks. Scores cover all that could be picked; `acquisition` is the log of
        the constrained expected improvement in the objective's unit, or of the probability that
        all constraints hold, or what the strategy asks for, over the cost.

    Raises:
        EmptyPoolError: If nothing is available that is not tried or pending.
        InputError: If a row is out of range, an embedding or value is not finite, a cost or width
            is not positive or beyond all size, exploration is not within 0 and 1, or batch is below
            1.
        ObjectiveError: If the acquisition has no meaning for what is sought.
        FitError: If the measurements cannot be modelled at all.
    """
    _check(exploration, widths)
    log_costs = None if costs is None else checked_log_costs(costs, len(features))
    adjusted: list[str] = []
    count = observations if cheap is None else observations.counting
    problem = modelled_problem(count, problem, MIN_VALUES, adjusted)
    rule = strategy.acquisition_for(problem)
    known = int(np.isfinite(column(count, problem.objective.property)).sum())
    if known < MIN_VALUES:
        choice = start(
            features,
            observations,
            available=available,
            pending=pending,
            problem=problem,
            batch=batch,
            seed=seed,
            guesses=guesses,
            cheap=cheap,
        )
        heads = choice.method == "heads"
        how = "goes by what the encoder's heads predict" if heads else "fills space"
        note = f"{known} values of the objective are too few to model: the batch {how}"
        return replace(choice, notes=(*adjusted, note))
    pool = Standing.of(len(features), count, available, pending, batch)
    memory = memory or Memory()
    space = memory.space(features, hints, guesses)
    rng = np.random.default_rng(seed)
    explored = min(batch, int(exploration * batch + rng.random()))
    asked_for = (sorted(widths.items()), models)
    key = digest(observations, problem, asked_for)
    # The models are those of the data, not of the decision: its seed plays no part.
    criterion, told = memory.models(
        key,
        lambda said: fit_criterion(
            space, observations, problem, int(key[:8], 16), said, widths=widths, models=models
        ),
    )
    notes = [*adjusted, *told]
    first = pool.open[:0]
    if cheap is not None:
        ahead, is_first = relative_costs(space, criterion, pool.open, cheap)
        first = pool.open[is_first]
        log_costs = np.zeros(len(features)) if log_costs is None else log_costs
        log_costs[pool.open] += np.log(ahead)
    if problem.objective.share is not None:
        method = "ExpectedHits"
        chosen, scores, facts = _shared(
            space,
            criterion,
            observations,
            pool,
            batch=batch - explored,
            rng=rng,
            log_costs=log_costs,
        )
    else:
        valuer = Valuer(criterion, rule, strategy.width)
        asked = f"{key} {rule if valuer.of_bounds else ''}"
        found = memory.evaluation(asked, pool.open, lambda rows: valuer.evaluate(space, rows))
        valuer, found = valuer.valued(found, seed)
        scores = sort_scores(
            criterion, pool.open, found, None if log_costs is None else log_costs[pool.open]
        )
        chosen, method, facts = _exploited(
            space,
            valuer,
            observations,
            pool,
            scores,
            batch=batch - explored,
            seed=seed,
            log_costs=log_costs,
            notes=notes,
        )
    bold = int(facts.get("bold", 0))
    roles = [BOLD_PICK] * bold + [BY_VALUE] * (len(chosen) - bold)
    rest = np.setdiff1d(pool.open, chosen, assume_unique=True) if explored else pool.open[:0]
    if len(rest):
        taken = np.concatenate([pool.tried, pool.pending, np.array(chosen, dtype=np.int64)])
        covering = _spread(space, rest, taken, explored, rng)
        chosen += covering
        roles += [COVERING] * len(covering)
        notes.append(f"{len(covering)} of {len(chosen)} picks explore")
    sources = () if cheap is None else tuple(np.isin(chosen, first).astype(int).tolist())
    return Choice(
        picks=tuple(chosen),
        scores=scores,
        method=method,
        model={
            **describe_models(space, criterion),
            "scored": len(pool.open),
            "roles": roles,
            "acquisition": rule,
            **({"beta": strategy.beta} if rule == "upper_confidence_bound" else {}),
            **({} if costs is None else {"costs": [float(costs[row]) for row in chosen]}),
            **facts,
            "pending": len(pool.pending),
            "seed": seed,
            **({"recalibrated": dict(widths)} if widths else {}),
            **({} if cheap is None else {"sources": list(sources), "cheap_first": len(first)}),
        },
        notes=tuple(notes),
        sources=sources,
    )


def _check(exploration: float, widths: Mapping[str, float]) -> None:
    """Raises `InputError` where a share or a factor is none."""
    if not 0 <= exploration <= 1:
        raise InputError(
            f"A share of {exploration:g} of the picks cannot explore.",
            hint="Give an exploration from 0 to 1.",
        )
    for name, width in widths.items():
        if not SMALLEST <= width <= LARGEST:
            raise InputError(
                f"The standard deviations of {name} cannot be taken times {width:g}.",
                hint=f"Give a width from {SMALLEST:g} to {LARGEST:g}, and 1 to leave them.",
                property=name,
            )


def _exploited(
    space: Space,
    valuer: Valuer,
    observations: Observations,
    pool: Standing,
    scores: Scores,
    *,
    batch: int,
    seed: int,
    log_costs: Array | None,
    notes: list[str],
) -> tuple[list[int], str, dict[str, Any]]:
    """Chooses by the models: rows, the method's name, and what it looked at."""
    criterion, rule = valuer.criterion, valuer.rule
    if not batch:
        return [], valuer.method, {}
    if rule == "probability" and criterion.problem.objective.direction == "find":
        return scores.rows[:batch].tolist(), valuer.method, {}
    if rule == "thompson":
        costs = None if log_costs is None else log_costs[pool.open]
        drawn = choose_by_draws(
            space, criterion, pool.open, batch=batch, seed=seed, log_costs=costs
        )
        return drawn, valuer.method, {}
    front = criterion.front is not None
    finalists = scores.rows[: FRONT_FINALISTS if front else FINALISTS]
    costs = None if log_costs is None else log_costs[finalists]
    facts: dict[str, Any] = {"finalists": len(finalists)}
    method = "LogNEHVI" if front else valuer.method
    if isinstance(criterion.front, Scalarised):
        method = "LogNParEGO"
    try:
        if rule in {"expected_improvement", "probability"}:
            baseline = _baseline(space, criterion, observations, pool.pending)
            facts["baseline"] = len(baseline.x)
            points = space[finalists]
            if front:
                picks = choose_for_front(criterion, baseline, points, batch, seed, log_costs=costs)[
                    0
                ]
            else:
                picks = choose_jointly(
                    criterion,
                    baseline,
                    points,
                    batch,
                    seed,
                    log_costs=costs,
                    by_chance=rule == "probability",
                )[0]
        else:
            picks = valuer.choose(space[finalists], space[pool.pending], batch, costs)
    except FitError as error:
        notes.append(f"{error.message}: the picks are the best by their value alone")
        method, picks = ALONE.get(method, method), list(range(min(batch, len(finalists))))
    return [int(finalists[i]) for i in picks], method, facts


def _shared(
    space: Space,
    criterion: Criterion,
    observations: Observations,
    pool: Standing,
    *,
    batch: int,
    rng: np.random.Generator,
    log_costs: Array | None,
) -> tuple[list[int], Scores, dict[str, Any]]:
    """Chooses where the best share of the pool is sought: rows, scores, and facts.

    A model that is too sure of what it has not seen puts the threshold amid what was measured, and
    never looks elsewhere. So some picks are those likeliest to lie far beyond the threshold.
    Where the model is right they are members too.
    """
    found = membership(space, criterion, observations, pool.open, pool.pending, log_costs=log_costs)
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


@one_thread()
def start(
    features: Features | npt.NDArray[Any],
    observations: Observations,
    *,
    available: Sequence[int] | Rows,
    pending: Sequence[int] | Rows = (),
    problem: Problem,
    batch: int,
    seed: int,
    guesses: Mapping[str, Guess] | None = None,
    cheap: CheapSource | None = None,
) -> Choice:
    """Chooses a batch that no model is asked for.

    Where something was predicted beforehand of what is sought, half of the batch is what that
    promises most of. The rest fills space, or all of it where nothing was.

    Args:
        features: Everything that may occur, as in `decide`, N rows.
        observations: What was measured, and what could not be; the values play no part.
        available: Rows that may be chosen; tried and pending ones among them are passed over.
        pending: Rows that are being measured.
        problem: What is sought.
        batch: The most rows to choose, at least 1.
        seed: Decides all that is random; equal input and seed give equal picks.
        guesses: Property -> what was predicted of each candidate.
        cheap: As in `decide`.

    Raises:
        EmptyPoolError: If nothing is available that is not tried or pending.
        InputError: If a row is out of range, an embedding is not finite, or batch is below 1.
    """
    if cheap is not None:
        pool = Standing.of(len(features), observations.counting, available, pending, batch)

        def part(known: Observations, rows: Rows, count: int) -> Choice:
            return start(
                features,
                known,
                available=rows,
                pending=pending,
                problem=problem,
                batch=count,
                seed=seed,
                guesses=guesses,
            )

        return begin(part, observations, pool.open, cheap, batch)
    pool = Standing.of(len(features), observations, available, pending, batch)
    scores = guessed_scores(guesses or {}, problem, pool.open)
    if scores is None:
        return space_fill(
            features, observations, available=available, pending=pending, batch=batch, seed=seed
        )
    space = Space.of(features)
    rng = np.random.default_rng(seed)
    promising = min(batch, int(batch / 2 + rng.random()))
    picks = scores.rows[:promising].tolist()
    promising = len(picks)
    rest = np.setdiff1d(pool.open, picks)
    if len(picks) < batch and len(rest):
        taken = np.concatenate([pool.tried, pool.pending, np.array(picks, dtype=np.int64)])
        picks += _spread(space, rest, taken, batch - len(picks), rng)
    return Choice(
        picks=tuple(picks),
        scores=scores,
        method="heads",
        model={
            **describe_models(space),
            "scored": len(pool.open),
            "guessed": list(scores.properties),
            "promising": promising,
            "roles": [BY_VALUE] * promising + [COVERING] * (len(picks) - promising),
            "seed": seed,
        },
    )


@one_thread()
def space_fill(
    features: Features | npt.NDArray[Any],
    observations: Observations,
    *,
    available: Sequence[int] | Rows,
    pending: Sequence[int] | Rows = (),
    batch: int,
    seed: int,
) -> Choice:
    """Chooses candidates that stand for the pool and are unlike what is tried or pending.

    Args:
        features: Everything that may occur, N rows: embeddings, N x d, or several blocks.
        observations: What was measured, and what could not be; the values play no part.
        available: Rows that may be chosen; tried and pending ones among them are passed over.
        pending: Rows that are being measured.
        batch: The most rows to choose, at least 1.
        seed: Decides all that is random; equal input and seed give equal picks.

    Raises:
        EmptyPoolError: If nothing is available that is not tried or pending.
        InputError: If a row is out of range, an embedding is not finite, or batch is below 1.
    """
    pool = Standing.of(len(features), observations, available, pending, batch)
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
    points, others = space.near(rows), space.near(taken)
    return [int(rows[i]) for i in fill_space(points, others, batch, rng)]


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
