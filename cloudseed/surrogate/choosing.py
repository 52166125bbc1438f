"""How the acquisitions that an owner may ask for value a pool and choose a batch from it.

Each values every candidate alone, in closed form; the best of them compete for the batch, in which
what is pending and what was picked before counts. `strategy` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.acquisition import SMALLEST_SD
from cloudseed.surrogate.believing import Belief, choose_believing
from cloudseed.surrogate.doubts import doubts, worth
from cloudseed.surrogate.gp import FittedSurrogate
from cloudseed.surrogate.judging import bounds
from cloudseed.surrogate.modelling import evaluate
from cloudseed.surrogate.values import largest_values, max_value_information, upper_bound

if TYPE_CHECKING:
    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion, Evaluation
    from cloudseed.surrogate.space import Space
    from cloudseed.surrogate.strategy import AcquisitionName

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["METHODS", "Valuer"]

METHODS = {
    "expected_improvement": "LogNEI",
    "upper_confidence_bound": "UCB",
    "thompson": "Thompson",
    "probability": "PI",
    "level_set": "Straddle",
    "information": "MES",
}
"""What a decision's record calls a batch chosen by each, where an optimum is sought."""

#: Draws of the optimum's value.
_LARGEST = 16


@dataclass(frozen=True, slots=True)
class Valuer:
    """An acquisition with the models that it asks.

    Attributes:
        criterion: The models.
        rule: The acquisition; never "auto".
        width: Standard deviations that count in the upper confidence bound.
        largest: Draws of the largest merit, S; only for the information on an optimum.
    """

    criterion: Criterion
    rule: AcquisitionName
    width: float
    largest: Array | None = None

    @property
    def method(self) -> str:
        """What a decision's record calls it."""
        if self.criterion.problem.objective.direction == "find":
            return {"probability": "ExpectedHits", "information": "LabelInformation"}.get(
                self.rule, METHODS[self.rule]
            )
        return METHODS[self.rule]

    @property
    def of_bounds(self) -> bool:
        """Whether what is unsure about bounds is what counts."""
        finds = self.criterion.problem.objective.direction == "find"
        return finds and self.rule in {"level_set", "information"}

    def evaluate(self, space: Space, rows: Rows) -> Evaluation:
        """Asks the models of rows, one by one; no draw plays a part."""
        return evaluate(space, self.criterion, rows, self._doubtful if self.of_bounds else None)

    def valued(self, found: Evaluation, seed: int) -> tuple[Valuer, Evaluation]:
        """Values what the models say of a pool.

        Args:
            found: What they say.
            seed: Decides draws of the optimum's value.

        Returns:
            This, with what it has learned of the whole pool; and what is said, with the values.
        """
        if self.of_bounds:
            return self, found
        valuer = self
        if self.rule == "information":
            mean, sd = self._merit(found.mean[:, 0], found.sd[:, 0])
            chance, rng = np.exp(found.log_feasible), np.random.default_rng(seed)
            largest = largest_values(mean, sd, chance, _LARGEST, rng)
            valuer = replace(self, largest=np.maximum(largest, self.criterion.best))
        return valuer, replace(found, acquisition=valuer.value(found, found.sd[:, 0]))

    def value(self, found: Evaluation, sd: Array) -> Array:
        """Returns the log of what candidates are worth with these standard deviations, k.

        Args:
            found: What the models say of them.
            sd: Of the objective, k.
        """
        criterion, goal = self.criterion, self.criterion.goal
        if criterion.problem.objective.direction == "find":
            return found.log_feasible
        if self.rule in {"upper_confidence_bound", "information"}:
            mean, spread = self._merit(found.mean[:, 0], sd)
            if self.largest is not None:
                return found.log_feasible + max_value_information(mean, spread, self.largest)
            scale = criterion.objective.scale
            floor = criterion.best - 3 * scale
            return found.log_feasible + upper_bound(mean, spread, self.width, floor, scale / 10)
        if self.rule == "probability":
            spread = np.maximum(sd, SMALLEST_SD * criterion.objective.scale)
            limits = bounds(criterion.problem).get(
                criterion.problem.objective.property, (-np.inf, np.inf)
            )
            # Its own bounds and being better are one event, not two.
            others = found.log_feasible - found.inside[:, 0]
            return others + goal.log_chance(found.mean[:, 0], spread, criterion.best, limits)
        return found.acquisition

    def choose(
        self, choices: Array, pending: Array, batch: int, log_costs: Array | None = None
    ) -> list[int]:
        """Chooses a batch, believing what is pending and picked.

        Args:
            choices: Points to choose from, k x p.
            pending: Points that are being measured, w x p.
            batch: Number of picks.
            log_costs: Log of what measuring each costs, k.

        Returns:
            min(batch, k) positions in `choices`, in order of choice, each once.

        Raises:
            FitError: If a joint posterior is not positive definite.
        """
        points = np.concatenate([pending, choices])
        found = self.criterion(choices)
        costs = np.zeros(len(choices)) if log_costs is None else log_costs
        if self.of_bounds:
            asked = doubts(self.criterion, choices, found)
            beliefs = [Belief.of(*d.joint(points), len(pending), d.noise_sd**2) for d in asked]
            return choose_believing(
                beliefs,
                lambda: worth(asked, [b.sd for b in beliefs], straddles=self._straddles) - costs,
                batch,
            )
        model = self.criterion.objective
        assert isinstance(model, FittedSurrogate), "what is optimised has a Gaussian process"
        belief = Belief.of(*model.standardised_joint(points), len(pending), model.hyper.noise)
        return choose_believing(
            [belief], lambda: self.value(found, model.scale * belief.sd) - costs, batch
        )

    @property
    def _straddles(self) -> bool:
        return self.rule == "level_set"

    def _doubtful(self, x: Array, found: Evaluation) -> Array:
        asked = doubts(self.criterion, x, found)
        return worth(asked, [d.sd for d in asked], straddles=self._straddles)

    def _merit(self, mean: Array, sd: Array) -> tuple[Array, Array]:
        spread = np.maximum(sd, SMALLEST_SD * self.criterion.objective.scale)
        return self.criterion.goal.moments(mean, spread)
