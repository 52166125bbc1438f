"""What further experiments can still be expected to bring: when to stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import ObjectiveError
from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.judging import bounds
from cloudseed.surrogate.normal import log_probability_between

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.surrogate.protocols import Problem, Scores

__all__ = ["Looked", "expected_hits", "knows_the_best", "mended_hits", "probability_of_best"]

_SMALLEST_SD = 1e-300


@dataclass(frozen=True, slots=True)
class Looked:
    """An earlier outlook, once its decision's experiments have ended.

    Attributes:
        expected: Hits that were expected in the next `ahead` experiments.
        ahead: See there.
        done: Experiments that the decision made.
        came: Hits that these brought.
    """

    expected: float
    ahead: int
    done: int
    came: int


def expected_hits(scores: Scores, count: int) -> float:
    """Returns how many of the next experiments are expected to meet all constraints.

    Args:
        scores: What the model says of all candidates that are left.
        count: Experiments, taken of the likeliest without learning in between, so that the figure
            errs on the low side.
    """
    return float(np.sort(scores.feasible)[::-1][:count].sum())


def mended_hits(expected: float, earlier: Sequence[Looked]) -> float:
    """Returns expected hits, raised by how much earlier outlooks fell short of what came.

    A model that knows few hits yet has little hope of any, and what is learned in between an
    outlook leaves out. Expectations are never lowered: who stops by them stops late rather than
    early.

    Args:
        expected: What `expected_hits` says now.
        earlier: The outlooks of earlier decisions.
    """
    told = sum(look.expected * min(look.done / look.ahead, 1.0) for look in earlier)
    came = sum(look.came for look in earlier)
    return expected * max(1.0, (1 + came) / (1 + told))


def knows_the_best(model: Mapping[str, Any], problem: Problem) -> bool:
    """Tells whether the model of the objective has its best values as they were measured.

    Where some were drawn in as outliers, it is blind to what is as good.

    Args:
        model: `Choice.model`.
        problem: What is sought.
    """
    told = model.get("surrogates", {}).get(problem.objective.property, {})
    return not told.get("lessened")


def probability_of_best(scores: Scores, problem: Problem, best: float, epsilon: float) -> float:
    """Returns the probability that no candidate left is better than the best by more than epsilon.

    Candidates are taken as independent. They go together, by which the true probability is larger
    (D. Slepian, Bell Syst. Tech. J. 41, 463, 1962): a campaign that stops by this stops late.

    Args:
        scores: What the model says of all candidates that are left.
        problem: What is sought; an optimum or a target.
        best: The best feasible merit so far, as `merit` gives it.
        epsilon: In the objective's unit, zero or more.

    Raises:
        ObjectiveError: If all that meets the constraints is sought, or the objective has no model.
    """
    name = problem.objective.property
    if problem.objective.direction == "find" or name not in scores.properties:
        raise ObjectiveError(
            f"There is no best {name} to have reached.", hint="Give an objective with an optimum."
        )
    column = scores.properties.index(name)
    mean, sd = scores.mean[:, column], np.maximum(scores.sd[:, column], _SMALLEST_SD)
    goal = Goal.of(problem.objective)
    if goal.target is not None and best + epsilon >= 0:
        return 1.0
    limits = bounds(problem).get(name, (-np.inf, np.inf))
    # Bounds on the objective itself and being better are one event: what is feasible anyhow is
    # better with the probability that a value within its bounds is.
    within = log_probability_between(mean, sd, *limits)
    better = goal.log_chance(mean, sd, best + epsilon, limits)
    possible = np.isfinite(within)
    share = np.zeros(len(mean))
    share[possible] = np.exp(np.minimum(better[possible] - within[possible], 0.0))
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log1p(-scores.feasible * share).sum()))
