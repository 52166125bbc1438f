"""A batch whose members are worth measuring together, given what is measured and what is pending.

Candidates are picked one after another by their log noisy expected improvement over everything
measured, pending or picked so far (B. Letham et al., Constrained Bayesian Optimization with Noisy
Experiments, Bayesian Analysis 14, 495 (2019), doi:10.1214/18-BA1110). The properties at those
points are sampled jointly, and given a sample the improvement of every candidate is in closed form.
So a value is right however small it is. BoTorch's `qLogNoisyExpectedImprovement`, which samples the
candidates too, cannot tell apart candidates that improve in none of its samples.

Pending experiments are sampled as measured ones are, for the whole batch. BoTorch 0.18 replaces the
pending points that its function was made with at the second pick of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg
from scipy.linalg import LinAlgError, solve_triangular
from scipy.special import logsumexp

from cloudseed.errors import FitError
from cloudseed.surrogate import judging
from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.gp import FittedSurrogate
from cloudseed.surrogate.normal import log_probability_between

if TYPE_CHECKING:
    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion

    Array = npt.NDArray[np.float64]

__all__ = [
    "SAMPLES",
    "Baseline",
    "Output",
    "best_left",
    "cholesky",
    "choose_jointly",
    "drawn_classes",
    "log_classes",
]

#: Samples of the properties at what is measured, pending or picked.
SAMPLES = 256
#: Added to standardised variances: less than any difference worth an experiment.
_NUGGET = 1e-8
#: What counts as an improvement where its size does not: more than between twins, in standardised
#: units.
_MARGIN = 1e-2


def choose_jointly(
    criterion: Criterion,
    baseline: Baseline,
    choices: Array,
    batch: int,
    seed: int,
    *,
    log_costs: Array | None = None,
    by_chance: bool = False,
) -> tuple[list[int], list[float]]:
    """Chooses a batch by sequential greedy log noisy expected improvement.

    Args:
        criterion: The models and the problem.
        baseline: What is measured or pending; at least one point.
        choices: Projected features to choose from, k x p.
        batch: Number of picks.
        seed: Decides the samples.
        log_costs: Log of what each choice costs, k; what it adds is divided by it.
        by_chance: Whether the probability of an improvement counts, not its size.

    Returns:
        min(batch, k) positions in `choices`, in order of choice, each once, and the log of the
        improvement, in standardised units, or of its probability, that each adds to those before
        it, over its cost.

    Raises:
        FitError: If the joint posterior cannot be sampled.
    """
    rng = np.random.default_rng(seed)
    limits = judging.bounds(criterion.problem)
    outputs = [
        Output.of(
            model,
            limits.get(name, (-np.inf, np.inf)),
            baseline.x,
            choices,
            # A material is feasible if its measured values are, and those are noisy.
            noise=0.0 if name == criterion.problem.objective.property else model.hyper.noise,
            rng=rng,
        )
        for name, model in criterion.surrogates.items()
        if isinstance(model, FittedSurrogate)
    ]
    objective = criterion.objective
    assert isinstance(objective, FittedSurrogate), "what is optimised has a Gaussian process"
    goal = Goal.of(criterion.problem.objective, objective.centre, objective.scale)
    # Classes are not learned within a batch: what their models say holds for all of it.
    fixed = log_classes(criterion, choices)
    open_ = np.isnan(baseline.feasible)
    alive = np.ones((SAMPLES, len(open_)), dtype=bool)
    alive[:, open_] = drawn_classes(log_classes(criterion, baseline.x[open_]), rng)
    known = [o.known for o in outputs]
    best = _best(goal, outputs, known, baseline.feasible, alive=alive)
    # Where a sample holds nothing feasible, nearly every candidate improves: feasibility decides.
    floor = goal.merit(outputs[0].mean).min() - 3.0
    left = np.ones(len(choices), dtype=bool)
    extra = fixed if log_costs is None else fixed - log_costs
    worth_of = _chance if by_chance else _worth
    picks: list[int] = []
    gains: list[float] = []
    for _ in range(min(batch, len(choices))):
        worth = worth_of(goal, outputs, np.maximum(best, floor)) + extra
        pick = best_left(worth, left)
        picks.append(pick)
        gains.append(float(worth[pick]))
        left[pick] = False
        drawn = [o.measure(pick, rng)[:, None] for o in outputs]
        alive = drawn_classes(fixed[[pick]], rng)
        best = np.maximum(best, _best(goal, outputs, drawn, alive=alive))
    return picks, gains


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a pick must improve on.

    Attributes:
        x: Projected features, r x p.
        feasible: 1 where the measured values meet all constraints, 0 where they do not, NaN where
            that is not known yet, r.
    """

    x: Array
    feasible: Array


def _worth(goal: Goal, outputs: list[Output], best: Array) -> Array:
    """Returns the log of each candidate's feasible improvement, averaged over the samples, k."""
    objective = outputs[0]
    value = goal.log_gain(objective.mean, objective.sd, best[:, None], objective.limits)
    for output in outputs[1:]:
        if np.isfinite(output.limits).any():
            value += log_probability_between(output.mean, output.sd, *output.limits)
    return np.asarray(logsumexp(value, axis=0) - np.log(len(value)))


def _chance(goal: Goal, outputs: list[Output], best: Array) -> Array:
    """Returns the log probability that each candidate is feasible and better, k."""
    objective = outputs[0]
    wanted = best[:, None] + _MARGIN
    value = goal.log_chance(objective.mean, objective.sd, wanted, objective.limits)
    for output in outputs[1:]:
        value += log_probability_between(output.mean, output.sd, *output.limits)
    return np.asarray(logsumexp(value, axis=0) - np.log(len(value)))


def log_classes(criterion: Criterion, x: Array) -> Array:
    """Returns the log probability of what has no Gaussian process: hurdles, being makeable; k."""
    limits = judging.bounds(criterion.problem)
    total = criterion.log_makeable(x)
    for name, model in criterion.surrogates.items():
        if not isinstance(model, FittedSurrogate):
            total = total + model.evaluate(x, *limits.get(name, (-np.inf, np.inf)))[2]
    return total


def drawn_classes(log_chance: Array, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draws in each sample whether points pass, S x k."""
    if not log_chance.any():
        return np.ones((SAMPLES, len(log_chance)), dtype=bool)
    return np.asarray(rng.random((SAMPLES, len(log_chance))) < np.exp(log_chance))


def _best(
    goal: Goal,
    outputs: list[Output],
    drawn: list[Array],
    known: Array | float = np.nan,
    *,
    alive: npt.NDArray[np.bool_],
) -> Array:
    """Returns the best feasible merit of each sample, S.

    Args:
        goal: What is sought of the objective's standardised values.
        outputs: The properties, the objective first.
        drawn: A sample of each property at some points, S x r.
        known: 1 or 0 where the points are known to be feasible or not, else NaN, r.
        alive: Whether the points pass by what is not sampled here, S x r.
    """
    feasible = alive.copy()
    for output, values in zip(outputs, drawn, strict=True):
        feasible &= (values >= output.limits[0]) & (values <= output.limits[1])
    feasible = np.where(np.isnan(known), feasible, known == 1)
    return np.asarray(np.where(feasible, goal.merit(drawn[0]), -np.inf).max(axis=1))


@dataclass(slots=True)
class Output:
    """One property in S samples of what is known, standardised.

    Attributes:
        limits: Lower and upper bound.
        known: The property at the baseline, S x r.
        mean: Its mean at the candidates, given each sample, S x k.
        covariance: Its covariance between the candidates, given any sample, k x k.
    """

    limits: tuple[float, float]
    known: Array
    mean: Array
    covariance: Array

    @classmethod
    def of(
        cls,
        model: FittedSurrogate,
        limits: tuple[float, float],
        baseline: Array,
        choices: Array,
        *,
        noise: float,
        rng: np.random.Generator,
    ) -> Output:
        count = len(baseline)
        mean, joint = model.standardised_joint(np.concatenate([baseline, choices]))
        joint[np.diag_indices(len(joint))] += noise + _NUGGET
        factor = cholesky(joint[:count, :count])
        half = solve_triangular(factor, joint[:count, count:], lower=True)
        deviates = rng.standard_normal((SAMPLES, count))
        return cls(
            limits=(
                (limits[0] - model.centre) / model.scale,
                (limits[1] - model.centre) / model.scale,
            ),
            known=mean[:count] + deviates @ factor.T,
            mean=mean[count:] + deviates @ half,
            covariance=joint[count:, count:] - half.T @ half,
        )

    @property
    def sd(self) -> Array:
        """Standard deviation at the candidates, given any sample, k."""
        return np.sqrt(np.maximum(np.diag(self.covariance), _NUGGET))

    def measure(self, pick: int, rng: np.random.Generator) -> Array:
        """Samples the property at a candidate and takes it for known; returns the sample, S."""
        row = self.covariance[pick] / self.sd[pick]
        deviates = rng.standard_normal(SAMPLES)
        drawn = self.mean[:, pick] + self.sd[pick] * deviates
        self.mean = self.mean + deviates[:, None] * row
        self.covariance = self.covariance - np.outer(row, row)
        return np.asarray(drawn)


def best_left(worth: Array, left: npt.NDArray[np.bool_]) -> int:
    """Returns the position of the largest worth among what is left, at least one.

    What is no number is worth nothing. Where nothing that is left is worth anything, the first of
    it is as good as any.
    """
    worth = np.where(left & ~np.isnan(worth), worth, -np.inf)
    return int(worth.argmax() if worth.max() > -np.inf else left.argmax())


def cholesky(covariance: Array) -> Array:
    """Returns the lower factor of a covariance that rounding may have made slightly indefinite.

    Raises:
        FitError: If no jitter mends it.
    """
    for jitter in (0.0, 1e-7, 1e-6, 1e-5, 1e-4):
        try:
            padded = covariance + jitter * np.eye(len(covariance))
            return np.asarray(linalg.cholesky(padded, lower=True))
        except (LinAlgError, ValueError):
            continue
    raise FitError("The joint posterior cannot be sampled: its covariance is not positive definite")
