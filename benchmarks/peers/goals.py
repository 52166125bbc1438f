"""A task as the peers see it: what is measured, and how their objective is put from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.surrogate import Constraint, Objective, Problem
from cloudseed.surrogate.backtesting.peers import PeerGoal

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Task:
    """One task of `tasks.py`.

    Args:
        spec: What `task.json` holds.
        values: The truth, N x p.
        features: Descriptors in [0, 1], N x d.
    """

    spec: dict[str, Any]
    values: np.ndarray
    features: np.ndarray

    @classmethod
    def load(cls, folder: Path, kind: str | None = None) -> Task:
        """Reads a task; `kind` is the descriptor set, by default the one that the task names."""
        spec = json.loads((folder / "task.json").read_text())
        features = np.load(folder / f"features-{kind or spec['set']}.npy")
        return cls(spec, np.load(folder / "values.npy"), features)

    @cached_property
    def sought(self) -> PeerGoal:
        """What the peers are told of values, n x p."""
        names = self.spec["properties"]
        if self.spec["goal"] == "window":
            limits = self.spec["limits"]
            bounds = tuple(
                Constraint(name, relation, bound)
                for name in names
                for relation, bound in zip((">=", "<="), limits[name], strict=True)
                if bound is not None
            )
            every = Problem(Objective(names[0], "find"), bounds)
            return PeerGoal(every, self.spec["scales"])
        first, *further = (
            Objective(name, "max" if sign > 0 else "min")
            for name, sign in zip(names, self.spec["signs"], strict=True)
        )
        return PeerGoal(Problem(first, further=tuple(further)))
