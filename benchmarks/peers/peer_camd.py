"""A CAMD-like agent (Montoya et al., Chem. Sci. 11, 8517, 2020) on scikit-learn.

Two of its strategies, each taking the best rows by mean + 0.5 standard deviations, CAMD's default
weight: a Gaussian process (RBF of one length scale, noise 0.002 of the standardised target's
variance, as CAMD's; fitted from three starts, since some fits never leave the first), and query by
committee, ten random forests on random halves of the data. Two objectives become one by a random
weight per row of the batch, as ParEGO does.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from goals import Task

ALPHA = 0.5
MEMBERS = 10
TREES = 30


class Camd:
    """Asks for batches on one task; `committee` queries by committee in place of the process."""

    def __init__(self, task: Task, seed: int, *, committee: bool):
        self.task = task
        self.features = StandardScaler().fit_transform(task.features)
        self.rng = np.random.default_rng([seed, 7])
        self.committee = committee
        self.rows: list[int] = []

    def tell(self, rows: list[int]) -> None:
        self.rows += rows

    def ask(self, count: int) -> list[int]:
        open_ = np.setdiff1d(np.arange(len(self.features)), self.rows)
        values = self.task.values[self.rows]
        if self.task.goal != "front":
            gain = self._bound(self.task.score(values), open_)
            return open_[np.argsort(-gain, kind="stable")[:count]].tolist()
        signed = self.task.signed(values)
        signed = (signed - signed.min(axis=0)) / np.ptp(signed, axis=0)
        picks: list[int] = []
        for weight in self.rng.uniform(size=count):
            weights = np.array([weight, 1 - weight])
            score = (weights * signed).min(axis=1) + 0.05 * signed @ weights
            order = open_[np.argsort(-self._bound(score, open_), kind="stable")]
            picks.append(next(int(row) for row in order if row not in picks))
        return picks

    def _bound(self, score: np.ndarray, open_: np.ndarray) -> np.ndarray:
        """Returns the upper confidence bound of every open row."""
        x, shown = self.features[self.rows], self.features[open_]
        if not self.committee:
            model = GaussianProcessRegressor(
                ConstantKernel(1.0) * RBF(1.0),
                alpha=0.002,
                normalize_y=True,
                n_restarts_optimizer=2,
                random_state=int(self.rng.integers(2**31)),
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a length scale may reach its bound
                mean, sd = model.fit(x, score).predict(shown, return_std=True)
            return mean + ALPHA * sd
        found = []
        for _ in range(MEMBERS):
            half = self.rng.choice(len(x), size=max(2, len(x) // 2), replace=False)
            forest = RandomForestRegressor(
                TREES, n_jobs=1, random_state=int(self.rng.integers(2**31))
            )
            found.append(forest.fit(x[half], score[half]).predict(shown))
        return np.mean(found, axis=0) + ALPHA * np.std(found, axis=0)
