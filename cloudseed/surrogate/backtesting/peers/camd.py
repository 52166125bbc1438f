"""An agent after CAMD (Montoya et al., Chem. Sci. 11, 8517, 2020) on scikit-learn.

Two of its strategies, each taking the best rows by mean + 0.5 standard deviations, CAMD's default
weight: a Gaussian process (RBF of one length scale, noise 0.002 of the standardised target's
variance, as CAMD's; fitted from three starts, since some fits never leave the first), and query by
committee, ten random forests on random halves of the data. Several objectives become one by random
weights per row of the batch, as ParEGO does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.backtesting.protocols import Rows

    Array = npt.NDArray[np.float64]

__all__ = ["Camd", "Committee"]

ALPHA = 0.5
MEMBERS = 10
TREES = 30
#: Of the weighted sum, beside the worst weighted objective: J. Knowles, ParEGO, IEEE Trans. Evol.
#: Comput. 10, 50 (2006).
_AUGMENTED = 0.05


class Camd:
    """Asks for batches by a Gaussian process, as `Peer` says."""

    def __init__(self, features: Array, signs: Mapping[str, float], seed: int):
        self.features = StandardScaler().fit_transform(features)
        self.signs = np.array([*signs.values()])
        self.rng = np.random.default_rng([seed, 7])
        self.rows: list[int] = []
        self.signed = np.empty((0, len(signs)))

    def tell(self, rows: Sequence[int], outcomes: Array) -> None:
        self.rows += rows
        self.signed = np.vstack([self.signed, outcomes * self.signs])

    def ask(self, count: int, available: Rows, pending: Rows) -> list[int]:
        del pending  # it has no notion of them, but for leaving them out
        if self.signed.shape[1] == 1:
            gain = self._bound(self.signed[:, 0], available)
            best: list[int] = available[np.argsort(-gain, kind="stable")[:count]].tolist()
            return best
        span = np.ptp(self.signed, axis=0)
        signed = (self.signed - self.signed.min(axis=0)) / np.where(span > 0, span, 1.0)
        picks: list[int] = []
        for weights in self._weights(count):
            score = (weights * signed).min(axis=1) + _AUGMENTED * signed @ weights
            order = available[np.argsort(-self._bound(score, available), kind="stable")]
            picks.append(next(int(row) for row in order if row not in picks))
        return picks

    def _weights(self, count: int) -> Array:
        """Returns weights that sum to 1, count x objectives, evenly drawn."""
        if len(self.signs) == 2:
            first = self.rng.uniform(size=count)
            return np.column_stack([first, 1 - first])
        return self.rng.dirichlet(np.ones(len(self.signs)), size=count)

    def _bound(self, score: Array, rows: Rows) -> Array:
        """Returns the upper confidence bound of rows."""
        model = GaussianProcessRegressor(
            ConstantKernel(1.0) * RBF(1.0),
            alpha=0.002,
            normalize_y=True,
            n_restarts_optimizer=2,
            random_state=int(self.rng.integers(2**31)),
        )
        model.fit(self.features[self.rows], score)
        mean, sd = model.predict(self.features[rows], return_std=True)
        return np.asarray(mean + ALPHA * sd)


class Committee(Camd):
    """Asks for batches by a committee of forests."""

    def _bound(self, score: Array, rows: Rows) -> Array:
        x, shown = self.features[self.rows], self.features[rows]
        found = []
        for _ in range(MEMBERS):
            half = self.rng.choice(len(x), size=max(2, len(x) // 2), replace=False)
            forest = RandomForestRegressor(
                TREES, n_jobs=1, random_state=int(self.rng.integers(2**31))
            )
            found.append(forest.fit(x[half], score[half]).predict(shown))
        return np.asarray(np.mean(found, axis=0) + ALPHA * np.std(found, axis=0))
