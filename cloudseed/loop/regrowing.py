"""Regrow: what was measured becomes parents, and the pool gains their children.

A pool is lengthened, never changed. What was regrown, when and on what stands in the children's
papers under "regrown", written in the transaction that records them; whether another generation is
due is read from there, so that a campaign that was killed goes on as it would have.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import EmptyPoolError
from cloudseed.loop.laboratories import elements_of
from cloudseed.loop.pool import Pool, embed_all, given_names, record_pool
from cloudseed.loop.proposing import Past, propose_from
from cloudseed.loop.recipe import Choice, Recipe
from cloudseed.loop.results import ranked, that_count
from cloudseed.loop.stopping import exhausted
from cloudseed.proposers import Observation, Observer, load_proposer
from cloudseed.surrogate import as_optimum, fronts_away, merit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.loop.context import Context
    from cloudseed.loop.proposing import Proposal, Proposed
    from cloudseed.loop.results import Result
    from cloudseed.loop.snapshot import Snapshot
    from cloudseed.loop.spec import CampaignSpec

__all__ = ["observers_of", "regrown"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Past:
    """What the ledger tells about earlier generations.

    Attributes:
        began: Candidates that the pool began with.
        generation: Number of the last generation; 0 before the first.
        step: Number of the decision that it was made for.
        measurement: Id of the last measurement that it was made on.
    """

    began: int
    generation: int = 0
    step: int = -1
    measurement: int = 0


@dataclass(frozen=True, slots=True)
class _Elite:
    """A measured material that may become a parent.

    Attributes:
        result: What was measured.
        observation: The same, for proposers.
        given: Names of the given crystals that its line begins with.
    """

    result: Result
    observation: Observation
    given: tuple[str, ...]


def observers_of(spec: CampaignSpec) -> tuple[Choice, ...]:
    """Returns those of a campaign's proposers that learn from measurements.

    Raises:
        UsageError: If a proposer is not installed.
    """
    return tuple(
        Choice(p.name, p.options)
        for p in spec.all_proposers
        if isinstance(load_proposer(p.name, p.options), Observer)
    )


def regrown(context: Context, now: Snapshot) -> Context:
    """Returns the context with a pool that has grown, where that is due; the same one if not.

    Due is a generation once enough was measured since the last one, or once nothing is left to
    try; at most one before each decision. One that yields nothing new leaves no trace, and is
    tried again before the next decision.

    Args:
        context: The campaign's parts.
        now: Where it stands.
    """
    if not context.observers:
        return context
    past = _past(context)
    fresh = {m.experiment_id for m in _measurements(context) if m.id > past.measurement}
    enough = len(fresh) >= _every(context.spec) or (bool(fresh) and exhausted(context.spec, now))
    allowed = _allowed(context, past)
    if not enough or past.step >= now.rounds or allowed == 0:
        return context
    elites = _elites(context, that_count(now.results, context.spec.sources))
    if not elites:
        return context
    try:
        proposed = _propose(context, elites, past.generation + 1, allowed)
    except EmptyPoolError as error:
        log.info("nothing new was regrown", extra={"why": error.message})
        return context
    notes = _Notes(context, elites, past, now.rounds)
    record_pool(context.ledger, context.claim, proposed, notes.of)
    return replace(context, pool=_lengthened(context))


def _every(spec: CampaignSpec) -> int:
    return spec.regrow or 2 * spec.batch


def _measurements(context: Context) -> list[Any]:
    """Returns the measurements that count of the objective, or of the first that it holds."""
    name, sources = context.spec.problem.measured[0], context.spec.sources
    rows = context.ledger.measurements(context.campaign.id)
    hints = set()
    if sources is not None:
        experiments = context.ledger.experiments(context.campaign.id)
        hints = {e.id for e in experiments if sources(e.lab)}
    return [row for row in rows if row.property == name and row.experiment_id not in hints]


def _past(context: Context) -> _Past:
    """Reads what the last candidate's papers say: the last generation's are at the pool's end."""
    rows = context.pool.rows
    told = context.ledger.papers(rows[-1].id).get("regrown")
    if told is None:
        return _Past(len(rows))
    return _Past(told["began"], told["generation"], told["step"], told["measurement"])


def _allowed(context: Context, past: _Past) -> int | None:
    """Returns how many candidates the next generation may have; None for no limit.

    The observers' share of the whole pool is spread evenly over the generations that the budget
    allows, so that the first lucky finds do not use it up.
    """
    spec = context.spec
    named = {p.name: p.share for p in spec.all_proposers if p.share is not None}
    unnamed = [p.name for p in spec.all_proposers if p.name not in named]
    left = max(0.0, 1 - sum(named.values()))
    share = sum(
        named[c.name] if c.name in named else left / len(unnamed) for c in context.observers
    )
    if share >= 1:
        return None
    most = math.floor(past.began * share / (1 - share) + 1e-9)
    generations = max(1, spec.budget.experiments // _every(spec))
    made = len(context.pool.rows) - past.began
    return max(0, min(math.ceil(most / generations), most - made))


def _elites(context: Context, results: Sequence[Result]) -> tuple[_Elite, ...]:
    """Returns what was measured and is feasible, best first."""
    problem = as_optimum(context.spec.problem)
    elites = []
    best_first = ranked(results, problem)
    values = [merit(problem, result.values) for result in best_first]
    if problem.further:  # of a front, the fewer fronts are better the better
        values = [-far for far in fronts_away(problem, [r.values for r in best_first])]
    for result, value in zip(best_first, values, strict=True):
        if result.feasible is False or value is None:
            continue
        row = result.candidate
        papers = context.ledger.papers(row.id)
        depth = min((int(origin["depth"]) for origin in papers.get("origins", ())), default=0)
        name = f"{row.formula} #{row.position}"
        observation = Observation(context.shelf.crystal(row), name, value, depth)
        elites.append(_Elite(result, observation, given_names(papers)))
    return tuple(elites)


def _propose(
    context: Context, elites: Sequence[_Elite], generation: int, allowed: int | None
) -> Proposed:
    spec, encoder = context.spec, context.encoder
    assert encoder is not None, "a pool that grows needs its encoder"
    recipe = Recipe.of(spec)
    recipe = replace(
        recipe,
        proposers=context.observers,
        keep_parents=False,
        top=allowed,
        quotas=replace(recipe.quotas, shares={}),
        seed=_seed(spec.seed, generation),
    )
    references = {e.observation.name: context.shelf.parent(e.result.candidate) for e in elites}
    return propose_from(
        recipe,
        context.parents,
        elements=elements_of(context.labs),
        dialect=encoder.dialect,
        past=Past(
            observations=[elite.observation for elite in elites],
            known={row.key for row in context.pool.rows},
            references={name: crystal for name, crystal in references.items() if crystal},
        ),
    )


def _seed(seed: int, generation: int) -> int:
    """Returns the seed of one generation, independent of every decision's."""
    return int(np.random.SeedSequence(seed, spawn_key=(generation,)).generate_state(1)[0])


class _Notes:
    """Writes what the papers of a generation say besides each child's own.

    Args:
        context: The campaign's parts.
        elites: What was observed.
        past: The generations before.
        step: Number of the decision that the generation is made for.
    """

    def __init__(self, context: Context, elites: Sequence[_Elite], past: _Past, step: int) -> None:
        self._elites = {elite.observation.name: elite for elite in elites}
        self._name = context.spec.problem.objective.property
        self._shared = {
            "began": past.began,
            "generation": past.generation + 1,
            "step": step,
            "measurement": max(row.id for row in _measurements(context)),
            "observed": len(elites),
        }

    def of(self, proposal: Proposal) -> Mapping[str, Any]:
        """Returns the notes on one child."""
        names = [name for origin in proposal.kept.origins for name in origin.candidate.parents]
        parents = {name: self._elites[name] for name in names if name in self._elites}
        given = [
            first
            for name in names
            for first in (parents[name].given if name in parents else (name,))
        ]
        measured = {
            name: {
                "key": elite.result.candidate.key,
                "experiment": elite.result.experiment.id,
                self._name: elite.result.value(self._name),
            }
            for name, elite in parents.items()
        }
        told = {**self._shared, "given": list(dict.fromkeys(given)), "parents": measured}
        return {"regrown": told}


def _lengthened(context: Context) -> Pool:
    """Returns the pool with what the ledger holds beyond it."""
    pool, encoder = context.pool, context.encoder
    assert encoder is not None
    rows = context.ledger.candidates(context.campaign.id)
    new = [row.scope for row in rows[len(pool.rows) :]]
    if not new:
        return pool
    features = embed_all(encoder, new, context.ledger, context.embeddings)
    log.info("the pool has grown", extra={"new": len(new), "pool": len(rows)})
    return replace(pool, rows=rows, features=np.concatenate([pool.features, features]))
