"""Ax with its recommended settings, on a pool: Modular BoTorch and selection from a candidate set.

The descriptors are float ranges in [0, 1]. Ax has no public way to choose among given rows, since a
choice parameter holds at most 1,000: one point is generated, which fits the model and builds the
acquisition, then `select_from_candidate_set` picks the batch among the open rows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from ax.adapter.registry import Generators
from ax.api.client import Client
from ax.api.configs import RangeParameterConfig
from ax.core.utils import get_pending_observation_features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from cloudseed.surrogate.backtesting.protocols import Rows

__all__ = ["Ax"]


class Ax:
    """Asks for batches, as `Peer` says; draws from the process's generators, which it seeds."""

    def __init__(self, features: npt.NDArray[np.float64], signs: Mapping[str, float], seed: int):
        torch.manual_seed(seed)
        self.features = features
        self.signs = signs
        self.metrics = {name: _metric(name) for name in signs}
        self.names = [f"x{i}" for i in range(features.shape[1])]
        self.running: dict[int, int] = {}
        self.client = Client(random_seed=seed)
        self.client.configure_experiment(
            [
                RangeParameterConfig(name=n, parameter_type="float", bounds=(0, 1))
                for n in self.names
            ]
        )
        self.client.configure_optimization(*self.objective())

    def objective(self) -> tuple[str, list[str] | None]:
        """Returns Ax's objective, and its constraints on outcomes."""
        named = [f"{'-' if s < 0 else ''}{self.metrics[name]}" for name, s in self.signs.items()]
        return ", ".join(named), None

    def tell(self, rows: Sequence[int], outcomes: npt.NDArray[np.float64]) -> None:
        for row, found in zip(rows, outcomes.tolist(), strict=True):
            trial = self.running.pop(row, None)
            trial = self._begun(row) if trial is None else trial
            self.client.complete_trial(trial, dict(zip(self.metrics.values(), found, strict=True)))

    def ask(self, count: int, available: Rows, pending: Rows) -> list[int]:
        experiment = self.client._experiment
        for row in set(self.running) - set(pending.tolist()):
            self.client.mark_trial_failed(self.running.pop(row))
        for row in pending.tolist():
            if row not in self.running:
                self.running[row] = self._begun(row)
        running = get_pending_observation_features(experiment) if self.running else None
        adapter = Generators.BOTORCH_MODULAR(experiment=experiment, data=experiment.lookup_data())
        adapter.gen(1, pending_observations=running)
        pool = torch.as_tensor(self.features[available], dtype=torch.double)
        picked, _, _ = adapter.generator._acquisition.select_from_candidate_set(count, pool)
        nearest = torch.cdist(picked, pool, compute_mode="donot_use_mm_for_euclid_dist")
        return [int(available[i]) for i in nearest.argmin(dim=1)]

    def _begun(self, row: int) -> int:
        """Returns a new trial of a row."""
        named = dict(zip(self.names, map(float, self.features[row]), strict=True))
        return int(self.client.attach_trial(named))


def _metric(name: str) -> str:
    """Returns what Ax calls an outcome: it reads names as formulas, in which E is a number."""
    return "of_" + re.sub(r"\W", "_", name)
