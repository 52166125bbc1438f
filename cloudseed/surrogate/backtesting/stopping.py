"""When a rule to stop would have fired, and what was left then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import UsageError
from cloudseed.surrogate.outlook import Looked, mended_hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.surrogate.backtesting.protocols import Run
    from cloudseed.surrogate.backtesting.truth import Truth

__all__ = ["Stop", "StopRule", "Stopping", "stopping"]


@dataclass(frozen=True, slots=True)
class StopRule:
    """What a campaign stops by; either of two.

    Attributes:
        below: Hits: the rule fires once fewer are expected; None where an optimum is sought.
        ahead: In so many experiments.
        epsilon: In the objective's unit: how much better another material may be; None where all
            that satisfies is sought.
        probability: The rule fires once nothing left is better by more than that, as likely as
            this.
    """

    below: float | None = None
    ahead: int = 10
    epsilon: float | None = None
    probability: float = 0.95

    def __post_init__(self) -> None:
        if (self.below is None) == (self.epsilon is None):
            raise UsageError(
                "A rule to stop asks for further hits or for the best.",
                hint="Give `below` or `epsilon`.",
            )


@dataclass(frozen=True, slots=True)
class Stop:
    """Where one run would have ended.

    Attributes:
        after: Experiments done when the rule fired; None if it never did.
        found: Share of all hits that were found by then, or by the end.
        left: Hits that the run's next `StopRule.ahead` experiments did bring, or how far the best
            was from the pool's best; None if the rule never fired, or the run ended too soon
            afterwards to tell.
        early: Whether that was more than the rule allows; None where `left` is.
        late: Experiments since the last hit, or since the best was within reach, where the rule did
            not fire early; of a run in which it never fired, to its end. None if the best never was
            within reach.
    """

    after: int | None
    found: float
    left: float | None
    early: bool | None
    late: int | None


@dataclass(frozen=True, slots=True)
class Stopping:
    """How a rule to stop did over many runs.

    Attributes:
        rule: The rule.
        runs: Number of runs.
        fired: In how many of them it fired.
        judged: Of how many of these the truth is known.
        early: In how many of the judged ones it fired too early.
        after: Median of the experiments when it fired; None if it never did.
        found: Mean share of all hits that were found by then, or by the end.
        left: Mean of `Stop.left` over the judged runs; None if there is none.
        late: Median of `Stop.late`; None if there is none.
    """

    rule: StopRule
    runs: int
    fired: int
    judged: int
    early: int
    after: float | None
    found: float
    left: float | None
    late: float | None


def stopping(runs: Sequence[Run], truth: Truth, rule: StopRule, batch: int) -> Stopping | None:
    """Asks a rule of every run's outlooks, in their order, and holds it against the truth.

    Args:
        runs: Runs that looked ahead by the same rule, see `Rules`.
        truth: What they searched.
        rule: The rule.
        batch: Experiments that run at the same time.

    Returns:
        None where no run has an outlook, as those of random.
    """
    stops = [_stop(run, truth, rule, batch) for run in runs if run.outlooks]
    if not stops:
        return None
    after = [s.after for s in stops if s.after is not None]
    left = [s.left for s in stops if s.left is not None]
    late = [s.late for s in stops if s.late is not None]
    return Stopping(
        rule=rule,
        runs=len(stops),
        fired=len(after),
        judged=len(left),
        early=sum(bool(s.early) for s in stops),
        after=float(np.median(after)) if after else None,
        found=float(np.mean([s.found for s in stops])),
        left=float(np.mean(left)) if left else None,
        late=float(np.median(late)) if late else None,
    )


def _stop(run: Run, truth: Truth, rule: StopRule, batch: int) -> Stop:
    order = np.array(run.order, dtype=np.int64)
    hits = truth.hits[order]
    after = _fires(run, hits, rule, batch)
    end = len(order) if after is None else after
    found = float(hits[:end].sum() / truth.hits.sum())
    if rule.below is not None:
        return _of_hits(hits, rule, after, found)
    return _of_best(truth, order, rule, after, found)


def _fires(run: Run, hits: np.ndarray, rule: StopRule, batch: int) -> int | None:
    """Returns the experiments done when the rule fires, as a campaign asks it.

    A decision's own experiments have to end first. Hits are expected as `mended_hits` says, and
    neither these nor the `StopRule.ahead` before them, all chosen by a model, may have brought one.
    """
    earlier: list[Looked] = []
    for done, outlook in run.outlooks:
        ended = min(done + batch, len(run.order))
        if rule.below is None:
            if outlook >= rule.probability:
                return ended
            continue
        quiet = done - rule.ahead >= run.started and not hits[done - rule.ahead : ended].any()
        if quiet and mended_hits(outlook, earlier) < rule.below:
            return ended
        came = int(hits[done:ended].sum())
        earlier.append(Looked(outlook, rule.ahead, ended - done, came))
    return None


def _of_hits(hits: np.ndarray, rule: StopRule, after: int | None, found: float) -> Stop:
    assert rule.below is not None
    end = len(hits) if after is None else after
    before = np.flatnonzero(hits[:end])
    since = end - int(before[-1]) - 1 if len(before) else end
    if after is None or after + rule.ahead > len(hits):
        return Stop(after, found, None, None, since)
    left = float(hits[after : after + rule.ahead].sum())
    early = left > rule.below
    return Stop(after, found, left, early, None if early else since)


def _of_best(
    truth: Truth, order: np.ndarray, rule: StopRule, after: int | None, found: float
) -> Stop:
    assert rule.epsilon is not None
    regret = truth.merit[np.isfinite(truth.merit)].max() - np.maximum.accumulate(truth.merit[order])
    reached = np.flatnonzero(regret <= rule.epsilon)
    first = int(reached[0]) + 1 if len(reached) else None
    if after is None:
        return Stop(None, found, None, None, None if first is None else len(order) - first)
    left = float(regret[after - 1])
    late = after - first if first is not None and first <= after else None
    return Stop(after, found, left, left > rule.epsilon, late)
