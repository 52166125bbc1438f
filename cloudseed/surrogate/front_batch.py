"""A batch whose members are worth measuring together for a Pareto front.

As in `batch`, candidates are picked one after another, and the properties of all that is measured,
pending or picked so far are sampled jointly. Given a sample its front is known, and what a
candidate adds to that is in closed form: the noisy expected hypervolume improvement of S. Daulton,
M. Balandat and E. Bakshy, NeurIPS 2021, arXiv:2105.08195, with the candidates' part integrated.
BoTorch's `qLogNoisyExpectedHypervolumeImprovement` samples the candidates too, and compiles C++
when it is first used.

Pending experiments are in the baseline for the whole batch, never an argument of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from cloudseed.surrogate import batch as joint
from cloudseed.surrogate import judging
from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.front_gain import FrontGain
from cloudseed.surrogate.gp import FittedSurrogate
from cloudseed.surrogate.normal import log_probability_between
from cloudseed.surrogate.scalarised import MANY, Scalarised, simplex

if TYPE_CHECKING:
    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion
    from cloudseed.surrogate.batch import Baseline

    Array = npt.NDArray[np.float64]

__all__ = ["choose_for_front"]

#: Samples in which a front is made, fewer than for one objective, since each has boxes of its own,
#: and fewer still for three, which have many.
SAMPLES, SAMPLES_OF_THREE = 64, 16


def choose_for_front(
    criterion: Criterion,
    baseline: Baseline,
    choices: Array,
    batch: int,
    seed: int,
    *,
    log_costs: Array | None = None,
) -> tuple[list[int], list[float]]:
    """Chooses a batch by sequential greedy log noisy expected hypervolume improvement.

    Args:
        criterion: The models and the problem, of several objectives.
        baseline: What is measured or pending; at least one point.
        choices: Projected features to choose from, k x p.
        batch: Number of picks.
        seed: Decides the samples.
        log_costs: Log of what each choice costs, k; the volume that it adds is divided by it.

    Returns:
        min(batch, k) positions in `choices`, in order of choice, each once, and the log of the
        volume that each adds to those before it, in standardised units, over its cost.

    Raises:
        FitError: If the joint posterior cannot be sampled.
    """
    rng = np.random.default_rng(seed)
    state = _State.of(criterion, baseline, choices, rng)
    left = np.ones(len(choices), dtype=bool)
    picks: list[int] = []
    gains: list[float] = []
    for _ in range(min(batch, len(choices))):
        worth = state.worth() if log_costs is None else state.worth() - log_costs
        pick = joint.best_left(worth, left)
        picks.append(pick)
        gains.append(float(worth[pick]))
        left[pick] = False
        state.measure(pick, rng)
    return picks, gains


class _State:
    """Fronts in S samples, and what is known of the candidates in each.

    Attributes:
        goals: What is sought of the standardised objectives, m.
        outputs: The properties in samples, the objectives first.
        fixed: Log probability of what is not learned within a batch, k.
        reference: Where the volume counts from, in standardised merits, m.
        fronts: Feasible merits of what is measured, pending or picked, one array for each sample.
        samples: How many samples there are.
        weights: Of the objectives, for the next pick, where there are too many for a front.
    """

    def __init__(
        self,
        goals: list[Goal],
        outputs: list[joint.Output],
        fixed: Array,
        reference: Array,
        fronts: list[Array],
    ) -> None:
        self.goals, self.outputs, self.fixed = goals, outputs, fixed
        self.reference, self.fronts = reference, fronts
        self.samples = SAMPLES_OF_THREE if len(goals) == 3 else SAMPLES
        self.weights: Array | None = None

    @classmethod
    def of(
        cls, criterion: Criterion, baseline: Baseline, choices: Array, rng: np.random.Generator
    ) -> _State:
        limits = judging.bounds(criterion.problem)
        objectives = [o.property for o in criterion.problem.objectives]
        models = {n: m for n, m in criterion.surrogates.items() if isinstance(m, FittedSurrogate)}
        outputs = [
            joint.Output.of(
                model,
                limits.get(name, (-np.inf, np.inf)),
                baseline.x,
                choices,
                noise=0.0 if name in objectives else model.hyper.noise,
                rng=rng,
            )
            for name, model in models.items()
        ]
        goals = [
            Goal.of(o, models[o.property].centre, models[o.property].scale)
            for o in criterion.problem.objectives
        ]
        assert criterion.reference is not None, "a front has a reference"
        reference = np.array(
            [
                own.standardised(merit, models[o.property].centre, models[o.property].scale)
                for own, o, merit in zip(
                    criterion.goals, criterion.problem.objectives, criterion.reference, strict=True
                )
            ]
        )
        open_ = np.isnan(baseline.feasible)
        alive = np.ones((joint.SAMPLES, len(open_)), dtype=bool)
        alive[:, open_] = joint.drawn_classes(joint.log_classes(criterion, baseline.x[open_]), rng)
        state = cls(goals, outputs, joint.log_classes(criterion, choices), reference, [])
        if len(goals) >= MANY:
            state.weights = simplex(len(goals), rng)
        known = [o.known for o in outputs]
        state.fronts = state._feasible_merits(known, alive, baseline.feasible)
        return state

    def worth(self) -> Array:
        """Returns the log of the volume that each candidate adds, averaged over the samples, k."""
        many = len(self.goals)
        values = np.empty((self.samples, len(self.fixed)))
        sd = [o.sd for o in self.outputs]
        for s, merits in enumerate(self.fronts):
            gain: FrontGain | Scalarised
            if self.weights is None:
                gain = FrontGain.of(self.goals, merits, self.reference)
            else:
                gain = Scalarised.of(self.goals, merits, self.reference, self.weights)
            values[s] = gain.log_gain([o.mean[s] for o in self.outputs[:many]], sd[:many])
            for output, spread in zip(self.outputs, sd, strict=True):
                if np.isfinite(output.limits).any():
                    values[s] += log_probability_between(output.mean[s], spread, *output.limits)
        return np.asarray(logsumexp(values, axis=0) - np.log(self.samples)) + self.fixed

    def measure(self, pick: int, rng: np.random.Generator) -> None:
        """Samples a candidate and takes it for known; draws weights for the next pick."""
        if self.weights is not None:
            self.weights = simplex(len(self.goals), rng)
        drawn = [o.measure(pick, rng)[:, None] for o in self.outputs]
        alive = joint.drawn_classes(self.fixed[[pick]], rng)
        new = self._feasible_merits(drawn, alive, np.array([np.nan]))
        self.fronts = [np.vstack(pair) for pair in zip(self.fronts, new, strict=True)]

    def _feasible_merits(
        self, drawn: list[Array], alive: npt.NDArray[np.bool_], known: Array
    ) -> list[Array]:
        """Returns the merits of what is feasible in each sample, S arrays of r x m."""
        feasible = alive.copy()
        for output, values in zip(self.outputs, drawn, strict=True):
            feasible &= (values >= output.limits[0]) & (values <= output.limits[1])
        feasible = np.where(np.isnan(known), feasible, known == 1)
        merits = np.stack(
            [g.merit(v) for g, v in zip(self.goals, drawn[: len(self.goals)], strict=True)], axis=-1
        )
        return [merits[s][feasible[s]] for s in range(self.samples)]
