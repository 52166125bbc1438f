"""When a campaign plans nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudseed.db import ExperimentState
from cloudseed.loop.budgets import affordable, overspent
from cloudseed.loop.effects import leaves_pool
from cloudseed.loop.results import improvements, in_order_of_arrival, last_gain, that_count
from cloudseed.surrogate import Looked, mended_hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.loop.results import Result
    from cloudseed.loop.snapshot import Snapshot
    from cloudseed.loop.spec import CampaignSpec

__all__ = ["exhausted", "room", "stop_reason", "wants_more"]


def stop_reason(spec: CampaignSpec, now: Snapshot) -> str | None:
    """Returns why nothing more is to be planned, or None.

    The rules are asked in the order: target, budget, failures, wall clock, no improvement, what is
    still expected, pool. What was reached is told by the values that count alone.
    """
    reason = _limit(spec, now) or _expected(spec, now)
    if reason is None and exhausted(spec, now) and not opened(now):
        return "every candidate has been tried"
    return reason


def wants_more(spec: CampaignSpec, now: Snapshot) -> bool:
    """Tells whether more would be planned if the pool held it."""
    left = spec.budget.experiments - now.used - opened(now)
    return left > 0 and _limit(spec, now) is None


def exhausted(spec: CampaignSpec, now: Snapshot) -> bool:
    """Tells whether the pool holds nothing that was not asked for."""
    return tried(spec, now.results) >= now.pool


def _limit(spec: CampaignSpec, now: Snapshot) -> str | None:
    """Returns which of the owner's limits is reached, or None."""
    problem, stop, budget = spec.problem, spec.stop, spec.budget
    count = that_count(now.results, spec.sources)
    reached = improvements(count, problem)[-1:] if stop.target is not None else []
    if stop.target is not None and reached and reached[0] is not None:
        more = bool(problem.further) or problem.objective.direction in {"max", "find"}
        if reached[0] >= stop.target if more else reached[0] <= stop.target:
            return f"the target {stop.target:g} is reached"
    if now.used >= budget.experiments:
        return f"the budget of {budget.experiments} experiments is spent"
    if now.unsuccessful > budget.unsuccessful:
        return f"{now.unsuccessful} experiments ended without a measurement"
    if budget.wall_clock is not None and now.elapsed >= budget.wall_clock:
        return f"the wall-clock budget of {budget.wall_clock:g} s is spent"
    if (spent := overspent(spec, now.spending)) is not None:
        return spent
    limit = stop.no_improvement_rounds
    top = last_gain(count, problem)
    if limit is not None and rounds_without_improvement(count, top) >= limit:
        return f"{limit} rounds brought nothing better"
    return None


def _expected(spec: CampaignSpec, now: Snapshot) -> str | None:
    """Returns why little more is to be expected, or None.

    Asked of the last decision whose experiments have all ended and of whose values none was
    retracted or corrected since. Hits that it or a later one brought are reason to go on; a better
    best only makes it likelier that nothing else is.
    """
    regret = spec.stop.regret
    running = {r.step for r in now.results if not r.experiment.state.terminal}
    ended = max((step for step in now.outlooks if step not in running | now.doubted), default=None)
    if ended is None:
        return None
    found = _few_hits(spec, now, ended)
    if found is not None:
        return found
    chance = now.outlooks[ended].get("probability_of_best")
    if regret is not None and chance is not None and chance >= regret.probability:
        return (
            f"with probability {chance:.3f} nothing left is better by more than {regret.epsilon:g}"
        )
    return None


def _few_hits(spec: CampaignSpec, now: Snapshot, step: int) -> str | None:
    """Returns why few hits are to be expected after a decision's experiments have ended, or None.

    As many as the rule looks ahead, chosen by a model too, must have brought none before. What is
    expected is raised by as much as earlier outlooks fell short.
    """
    rule, expected = spec.stop.expected_hits, now.outlooks[step].get("expected_hits")
    if rule is None or expected is None:
        return None
    count = that_count(now.results, spec.sources)
    chosen = [r for r in in_order_of_arrival(count) if r.step in now.outlooks]
    before = [r for r in chosen if r.step < step]
    later = [r for r in chosen if r.step >= step]
    last = before[-rule.next :] + later
    if len(before) < rule.next or any(r.feasible for r in last):
        return None
    earlier = [
        Looked(
            expected=now.outlooks[s]["expected_hits"],
            ahead=rule.next,
            done=sum(r.step == s for r in before),
            came=sum(r.step == s and bool(r.feasible) for r in before),
        )
        for s in now.outlooks
        if s < step and s not in now.doubted
    ]
    left = mended_hits(expected, earlier)
    if left >= rule.below:
        return None
    return f"{left:.2g} further hits are expected in the next {rule.next} experiments"


def tried(spec: CampaignSpec, results: Sequence[Result]) -> int:
    """Returns how many candidates were asked for and are not to be asked for again, or not now."""
    return len(
        {
            r.candidate.id
            for r in results
            if leaves_pool(r.experiment.state, r.failures, hints=spec.hints(r.experiment.lab))
        }
    )


def opened(now: Snapshot) -> int:
    """Returns how many experiments something is still expected of."""
    return sum(c for state, c in now.states.items() if not ExperimentState(state).terminal)


def rounds_without_improvement(results: Sequence[Result], top: Result | None) -> int:
    """Returns how many decisions after the best one's have ended, without a better result."""
    steps = {r.step for r in results}
    ended = steps - {r.step for r in results if not r.experiment.state.terminal}
    return sum(1 for step in ended if top is None or step > top.step)


def room(spec: CampaignSpec, now: Snapshot) -> int:
    """Returns how many experiments budget and pool still allow beside those that are open."""
    left = min(
        spec.budget.experiments - now.used - opened(now), now.pool - tried(spec, now.results)
    )
    payable = affordable(spec, now.spending, now.states.get(ExperimentState.PLANNED, 0))
    return max(left if payable is None else min(left, payable), 0)
