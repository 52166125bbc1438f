"""BayBE with its recommended settings: a campaign over one custom discrete parameter.

The default recommender (Gaussian process, q-log expected improvement; q-log-noisy hypervolume for
two objectives), the descriptors as they are (`decorrelate=False`; by default BayBE drops columns),
measured rows not recommended again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from baybe import Campaign
from baybe.objectives import DesirabilityObjective, ParetoObjective
from baybe.parameters import CustomDiscreteParameter
from baybe.searchspace import SearchSpace
from baybe.settings import active_settings
from baybe.targets import NumericalTarget

if TYPE_CHECKING:
    from goals import Task


class BayBE:
    """Asks for batches on one task; `desirability` puts a window as BayBE's own objective."""

    def __init__(self, task: Task, seed: int, *, desirability: bool = False):
        active_settings.random_seed = seed
        self.task = task
        self.desirability = desirability
        data = pd.DataFrame(task.features, index=[str(i) for i in range(len(task.features))])
        data.columns = [f"x{i}" for i in range(data.shape[1])]
        parameter = CustomDiscreteParameter("row", data=data, decorrelate=False)
        self.campaign = Campaign(
            SearchSpace.from_product([parameter]),
            self._objective(),
            allow_recommending_already_measured=False,
        )

    def tell(self, rows: list[int]) -> None:
        shown: dict[str, Any] = {"row": [str(row) for row in rows]}
        values = self.task.values[rows]
        if self.task.goal == "front" or self.desirability:
            shown.update(zip(self.task.spec["properties"], values.T, strict=True))
        else:
            shown["score"] = self.task.score(values)
        self.campaign.add_measurements(pd.DataFrame(shown))

    def ask(self, count: int) -> list[int]:
        return [int(row) for row in self.campaign.recommend(count)["row"]]

    def _objective(self) -> Any:
        spec = self.task.spec
        if self.task.goal == "front":
            signs = zip(spec["properties"], spec["signs"], strict=True)
            return ParetoObjective([NumericalTarget(name, minimize=s < 0) for name, s in signs])
        if not self.desirability:
            return NumericalTarget("score").to_objective()
        targets = []
        for name in spec["properties"]:
            low, high = spec["limits"][name]
            scale = spec["scales"][name]
            if low is None:
                ramp = NumericalTarget.normalized_ramp(name, (high, high + scale), descending=True)
                targets.append(ramp)
            else:
                cutoffs = (low - scale, high + scale)
                targets.append(NumericalTarget.match_triangular(name, cutoffs=cutoffs))
        return DesirabilityObjective(targets)
