"""A Gaussian process that sums up thousands of measurements in inducing points.

With hyperparameters from a part of the data, the optimal variational distribution of the property
at m inducing points is in closed form (M. K. Titsias, Variational Learning of Inducing Variables in
Sparse Gaussian Processes, AISTATS 2009), at a cost of n m^2 instead of n^3. The points are chosen
among the measurements where what is chosen so far explains least (D. R. Burt, C. E. Rasmussen and
M. van der Wilk, Convergence of Sparse Variational Inference in Gaussian Processes Regression,
J. Mach. Learn. Res. 21, 131 (2020)). The result is an exact process that has seen values with
correlated noise at those points, so that all else works as with the default surrogate.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from cloudseed.errors import FitError
from cloudseed.surrogate import gp
from cloudseed.surrogate.kernels import MATERN, prior_modes
from cloudseed.surrogate.left_out import LeftOut

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.gp import FittedSurrogate, Hyperparameters
    from cloudseed.surrogate.kernels import Kernel

    Array = npt.NDArray[np.float64]

__all__ = ["MANY", "POINTS", "fit_variational"]

MANY = 5_000
"""Above so many measurements an exact posterior takes longer than it is worth."""

POINTS = 1_000
"""Inducing points at most."""

#: Directions of which the measurements say less than this, against the prior, tell nothing.
_NOTHING = 1e-10
_JITTER = 1e-8


def fit_variational(
    x: Array,
    y: Array,
    *,
    seed: int,
    name: str,
    spread: float | None = None,
    prior: tuple[int, Array] | None = None,
    widths: Sequence[int] | None = None,
    kernel: Kernel = MATERN,
    wanted: tuple[float, float] = gp.NOTHING,
) -> FittedSurrogate:
    """Fits the model; the arguments are those of `gp.fit`.

    Raises:
        InputError: If there is no value or one is NaN or infinite.
        FitError: If the covariance of the inducing points cannot be factored.
    """
    notes: list[str] = []
    data = gp.standardise(x, y, name=name, spread=spread, notes=notes, prior=prior, wanted=wanted)
    blocks = prior_modes(widths or (x.shape[1],), kernel)
    hyper = gp.hyperparameters(x, data, blocks, seed=seed, name=name, notes=notes)
    hyper = replace(hyper, noise=max(hyper.noise, gp.MIN_NOISE))
    points = x[_inducing(hyper, x, POINTS)]
    try:
        prior_factor = cholesky(
            hyper.kernel(points, points) + _JITTER * hyper.outputscale * np.eye(len(points)),
            lower=True,
        )
        half = solve_triangular(prior_factor, hyper.kernel(points, x), lower=True)
        gram, turn = np.linalg.eigh(half @ half.T / hyper.noise)
        gram = np.maximum(gram, _NOTHING)
        # Values at the inducing points with noise as if seen: prior covariance plus that noise.
        seen = (turn * np.sqrt((1 + gram) / gram)) @ turn.T
        factor = cholesky(prior_factor @ seen @ seen @ prior_factor.T, lower=True)
    except LinAlgError as error:
        raise FitError(
            f"The covariance of the inducing points of {name} cannot be factored.",
            hint="Look for features of extreme size.",
            property=name,
        ) from error
    notes.append(f"{len(points)} inducing points stand for the {len(y)} values of {name}")
    told = half @ (data.targets - hyper.mean) / hyper.noise
    weights = solve_triangular(
        prior_factor, turn @ ((turn.T @ told) / (1 + gram)), lower=True, trans="T"
    )
    return gp.FittedSurrogate(
        hyper,
        points,
        hyper.mean + factor @ (factor.T @ weights),
        data.centre,
        data.scale,
        tuple(notes),
        factor,
        weights,
        trend=data.trend,
        about={
            "inducing": len(points),
            "n": len(y),
            **({"lessened": data.lessened} if data.lessened else {}),
        },
        _left_out=_left_out(hyper, half, turn, gram, data.targets),
        _offsets=data.offsets,
    )


def _inducing(hyper: Hyperparameters, x: Array, most: int) -> list[int]:
    """Chooses points one after another, each where the variance that is left is the largest."""
    left = np.full(len(x), hyper.outputscale)
    rows = np.zeros((min(most, len(x)), len(x)))
    chosen: list[int] = []
    while len(chosen) < len(rows):
        pivot = int(left.argmax())
        if left[pivot] <= _JITTER * hyper.outputscale:
            break
        k = len(chosen)
        cross = hyper.kernel(x[pivot : pivot + 1], x)[0]
        rows[k] = (cross - rows[:k, pivot] @ rows[:k]) / np.sqrt(left[pivot])
        left = np.maximum(left - rows[k] ** 2, 0.0)
        left[pivot] = 0.0
        chosen.append(pivot)
    return chosen


def _left_out(
    hyper: Hyperparameters, half: Array, turn: Array, gram: Array, targets: Array
) -> LeftOut:
    """Predicts each value from all the others, what the inducing points say being all there is."""
    turned = turn.T @ half
    mean = hyper.mean + ((turned @ (targets - hyper.mean) / hyper.noise) / (1 + gram)) @ turned
    share = (turned**2 / (1 + gram)[:, None]).sum(axis=0)
    leverage = np.minimum(share / hyper.noise, 1 - 1e-9)
    rest = np.maximum(hyper.outputscale - (half**2).sum(axis=0), 0.0)
    without = targets - (targets - mean) / (1 - leverage)
    return LeftOut(targets, without, np.sqrt(hyper.noise / (1 - leverage) + rest))
