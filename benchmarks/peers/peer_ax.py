"""Ax with its recommended settings, on a pool: Modular BoTorch and selection from a candidate set.

The descriptors are float ranges in [0, 1]. Ax has no public way to choose among given rows, since a
choice parameter holds at most 1,000: one point is generated, which fits the model and builds the
acquisition, then `select_from_candidate_set` picks the batch among the open rows.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from ax.adapter.registry import Generators
from ax.api.client import Client
from ax.api.configs import RangeParameterConfig

if TYPE_CHECKING:
    from goals import Task


class Ax:
    """Asks for batches on one task; `constrained` puts a window as an objective with bounds."""

    def __init__(self, task: Task, seed: int, *, constrained: bool = False):
        logging.disable(logging.WARNING)  # one line per trial otherwise
        torch.manual_seed(seed)
        self.task = task
        self.constrained = constrained
        self.names = [f"x{i}" for i in range(task.features.shape[1])]
        self.open = np.ones(len(task.features), dtype=bool)
        self.client = Client(random_seed=seed)
        self.client.configure_experiment(
            [
                RangeParameterConfig(name=n, parameter_type="float", bounds=(0, 1))
                for n in self.names
            ]
        )
        self.client.configure_optimization(*self._objective())

    def tell(self, rows: list[int]) -> None:
        values = self.task.values[rows]
        properties = self.task.spec["properties"]
        many = self.task.goal == "front" or self.constrained
        scores = None if many else self.task.score(values)
        for at, row in enumerate(rows):
            trial = self.client.attach_trial(
                dict(zip(self.names, map(float, self.task.features[row]), strict=True))
            )
            if scores is None:
                found = dict(zip(properties, map(float, values[at]), strict=True))
            else:
                found = {"score": float(scores[at])}
            self.client.complete_trial(trial, found)
        self.open[rows] = False

    def ask(self, count: int) -> list[int]:
        experiment = self.client._experiment
        adapter = Generators.BOTORCH_MODULAR(experiment=experiment, data=experiment.lookup_data())
        adapter.gen(1)
        rows = np.flatnonzero(self.open)
        pool = torch.as_tensor(self.task.features[rows], dtype=torch.double)
        picked, _, _ = adapter.generator._acquisition.select_from_candidate_set(count, pool)
        nearest = torch.cdist(picked, pool, compute_mode="donot_use_mm_for_euclid_dist")
        return [int(rows[i]) for i in nearest.argmin(dim=1)]

    def _objective(self) -> tuple[str, list[str] | None]:
        spec = self.task.spec
        if self.task.goal == "front":
            signs = zip(spec["properties"], spec["signs"], strict=True)
            return ", ".join(f"{'-' if sign < 0 else ''}{name}" for name, sign in signs), None
        if not self.constrained:
            return "score", None
        goal, *others = spec["properties"]
        limits = []
        for name in others:
            low, high = spec["limits"][name]
            limits += [f"{name} >= {low}", f"{name} <= {high}"]
        return f"-{goal}", limits
