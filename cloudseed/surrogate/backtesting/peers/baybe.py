"""BayBE with its recommended settings: a campaign over one custom discrete parameter.

The default recommender (Gaussian process, q-log expected improvement; q-log-noisy hypervolume for
two objectives), the descriptors as they are (`decorrelate=False`; by default BayBE drops columns),
measured rows not recommended again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from baybe import Campaign
from baybe.objectives import ParetoObjective
from baybe.parameters import CustomDiscreteParameter
from baybe.searchspace import SearchSpace
from baybe.settings import active_settings
from baybe.targets import NumericalTarget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.backtesting.protocols import Rows

__all__ = ["BayBE"]


class BayBE:
    """Asks for batches, as `Peer` says; draws from the process's generators, which it seeds."""

    def __init__(self, features: npt.NDArray[np.float64], signs: Mapping[str, float], seed: int):
        active_settings.random_seed = seed
        self.signs = signs
        self.told: list[int] = []
        self.count = len(features)
        data = pd.DataFrame(features, index=[str(i) for i in range(len(features))])
        data.columns = [f"x{i}" for i in range(data.shape[1])]
        parameter = CustomDiscreteParameter("row", data=data, decorrelate=False)
        self.campaign = Campaign(
            SearchSpace.from_product([parameter]),
            self.objective(),
            allow_recommending_already_measured=False,
        )

    def objective(self) -> Any:
        """Returns BayBE's objective."""
        if len(self.signs) > 1:
            signs = self.signs.items()
            return ParetoObjective([NumericalTarget(name, minimize=s < 0) for name, s in signs])
        [(name, sign)] = self.signs.items()
        return NumericalTarget(name, minimize=sign < 0).to_objective()

    def tell(self, rows: Sequence[int], outcomes: npt.NDArray[np.float64]) -> None:
        shown = _rows(rows)
        for name, column in zip(self.signs, outcomes.T, strict=True):
            shown[name] = column
        self.campaign.add_measurements(shown)
        self.told += rows

    def ask(self, count: int, available: Rows, pending: Rows) -> list[int]:
        asked = [*self.told, *available.tolist(), *pending.tolist()]
        failed = np.setdiff1d(np.arange(self.count), asked)
        if len(failed):
            self.campaign.toggle_discrete_candidates(_rows(failed.tolist()), exclude=True)
        running = _rows(pending.tolist()) if len(pending) else None
        found = self.campaign.recommend(count, pending_experiments=running)
        return [int(row) for row in found["row"]]


def _rows(rows: Sequence[int]) -> Any:
    return pd.DataFrame({"row": [str(row) for row in rows]})
