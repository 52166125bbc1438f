"""Peers that are told a window's values themselves and judge them by means of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baybe.objectives import DesirabilityObjective
from baybe.targets import NumericalTarget

from cloudseed.surrogate.backtesting.peers.ax import Ax
from cloudseed.surrogate.backtesting.peers.baybe import BayBE

if TYPE_CHECKING:
    from goals import Task


class Desirability(BayBE):
    """BayBE with a window as its own objective of desirability."""

    def __init__(self, task: Task, seed: int):
        self.task = task
        super().__init__(task.features, dict.fromkeys(task.spec["properties"], 1.0), seed)

    def objective(self) -> Any:
        spec = self.task.spec
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


class Constrained(Ax):
    """Ax with a window as the first property to minimise within bounds on the others."""

    def __init__(self, task: Task, seed: int):
        self.task = task
        super().__init__(task.features, dict.fromkeys(task.spec["properties"], 1.0), seed)

    def objective(self) -> tuple[str, list[str] | None]:
        spec = self.task.spec
        goal, *others = spec["properties"]
        limits = []
        for name in others:
            low, high = spec["limits"][name]
            limits += [f"{self.metrics[name]} >= {low}", f"{self.metrics[name]} <= {high}"]
        return f"-{self.metrics[goal]}", limits
