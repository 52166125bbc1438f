"""A task as the peers see it: what is measured, and how their objective is put from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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

    @property
    def goal(self) -> str:
        return self.spec["goal"]

    def signed(self, values: np.ndarray) -> np.ndarray:
        """Returns values, n x p, with the sign that makes higher better."""
        return values * np.array(self.spec["signs"])

    def score(self, values: np.ndarray) -> np.ndarray:
        """Returns one number per row of n x p values, higher is better.

        For a window it is minus the sum of what each bound is missed by, in units of the task's
        scales, so 0 for a hit. For two objectives there is none.
        """
        if self.goal == "best":
            return self.signed(values)[:, 0]
        missed = np.zeros(len(values))
        for column, name in enumerate(self.spec["properties"]):
            low, high = self.spec["limits"][name]
            scale = self.spec["scales"][name]
            value = values[:, column]
            if low is not None:
                missed += np.maximum(low - value, 0) / scale
            if high is not None:
                missed += np.maximum(value - high, 0) / scale
        return -missed
