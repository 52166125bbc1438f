"""A Gaussian process that tells two classes apart, by Laplace's approximation.

C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, 2006, sections 3.4
and 3.5, with the logistic likelihood. The latent function has a linear prior mean in a few hints
whose weights have normal priors, so that what is known beforehand holds until measurements say
otherwise. Three hyperparameters at most are fitted, so that a score of labels is enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import expit, log_ndtr

from cloudseed.errors import FitError
from cloudseed.surrogate.distances import distances, matern52

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["Classifier", "HintPrior", "fit_classifier"]

#: The probit function closest to the logistic one has this variance.
_PROBIT = 1 / 0.5876**2
_STEPS = 50
#: Rows, evenly taken, on which hyperparameters are fitted at most; the posterior is given all.
MAX_FIT_ROWS = 300
_SMALLEST_STEP = 1e-4
_CONVERGED = 1e-8
_JITTER = 1e-6
_CHUNK_ENTRIES = 2**18


@dataclass(frozen=True, slots=True)
class HintPrior:
    """The prior of the latent function's mean: an offset and a weight of the hint, both normal.

    Attributes:
        offset: Mean of the offset.
        weight: Mean of the hint's weight.
        spread: Standard deviation of both.
    """

    offset: float = 0.0
    weight: float = 0.0
    spread: float = 1.0


@dataclass(frozen=True, slots=True)
class Classifier:
    """A classifier that has seen its labels.

    Attributes:
        lengthscale: Of the kernel, Matern 5/2, in units of the features.
        outputscale: Prior variance of the latent function about its mean.
        log_evidence: Laplace's approximation to the log marginal likelihood.
    """

    lengthscale: float
    outputscale: float
    log_evidence: float
    _prior: HintPrior
    _features: Array
    _hints: Array
    _dual: Array
    _root: Array
    _factor: Array

    @property
    def dimension(self) -> int:
        """Length p of the features that it reads."""
        return int(self._features.shape[1])

    @property
    def noise_sd(self) -> float:
        """Standard deviation that a label adds to the latent function, as a probit has it."""
        return math.sqrt(_PROBIT)

    def log_probability(self, x: Array, hints: Array) -> Array:
        """Returns the log probability of the class that is true, k.

        Args:
            x: Features, k x p.
            hints: Hints, k.
        """
        mean, variance = self.latent_moments(x, hints)
        return np.asarray(log_ndtr(mean / np.sqrt(_PROBIT + variance)))

    def latent_moments(self, x: Array, hints: Array) -> tuple[Array, Array]:
        """Returns posterior mean and variance of the latent function, k each.

        Args:
            x: Features, k x p.
            hints: Hints, k.
        """
        means, variances = np.empty(len(x)), np.empty(len(x))
        step = max(1, _CHUNK_ENTRIES // len(self._features))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            basis = _basis(hints[part])
            means[part], half = self._conditioned(x[part], basis)
            prior = self.outputscale + self._prior.spread**2 * (basis * basis).sum(axis=1)
            variances[part] = np.maximum(prior - np.einsum("ij,ij->j", half, half), 0.0)
        return means, variances

    def latent_joint(self, x: Array, hints: Array) -> tuple[Array, Array]:
        """Returns posterior mean, k, and covariance, k x k, of the latent function."""
        basis = _basis(hints)
        mean, half = self._conditioned(x, basis)
        scales = _Scales(self.lengthscale, self.outputscale, self._prior.spread)
        return mean, _covariance(distances(x, x), basis, basis, scales) - half.T @ half

    def _conditioned(self, x: Array, basis: Array) -> tuple[Array, Array]:
        """Returns the posterior mean, k, and what explains the prior variance away, n x k."""
        scales = _Scales(self.lengthscale, self.outputscale, self._prior.spread)
        cross = _covariance(distances(self._features, x), _basis(self._hints), basis, scales)
        half = solve_triangular(self._factor, self._root[:, None] * cross, lower=True)
        return basis @ _weights(self._prior) + self._dual @ cross, half


def fit_classifier(
    x: Array, labels: npt.NDArray[np.bool_], hints: Array, prior: HintPrior
) -> Classifier:
    """Fits a classifier; one class alone is enough.

    Args:
        x: Features, n x p, scaled as `cloudseed.surrogate.features` scales them.
        labels: Which class each row is, n.
        hints: What is known beforehand, n; larger where true is likelier.
        prior: Of the hints' effect.

    Raises:
        FitError: If the approximation does not converge.
    """
    if not (np.isfinite(x).all() and np.isfinite(hints).all()):
        raise FitError("The classes cannot be modelled: a feature or hint is not a finite number.")
    between = distances(x, x)
    basis = _basis(hints)
    signs = np.where(labels, 1.0, -1.0)
    shown = np.linspace(0, len(x) - 1, min(len(x), MAX_FIT_ROWS)).astype(np.int64)
    usual = math.sqrt(2) + math.log(x.shape[1]) / 2

    def loss(free: Array) -> float:
        scales = _Scales(math.exp(free[0]), math.exp(free[1]), prior.spread)
        some = basis[shown]
        covariance = _covariance(between[np.ix_(shown, shown)], some, some, scales)
        evidence = _laplace(covariance, signs[shown], some @ _weights(prior))[-1]
        return float(-evidence + (free[0] - usual) ** 2 / 6 + free[1] ** 2 / 2)

    try:
        start = np.array([usual - 2.0, 0.0])
        found = minimize(
            loss,
            start,
            method="L-BFGS-B",
            bounds=[(usual - 4.0, usual + 2.0), (-3.0, 2.5)],
            options={"maxiter": 12, "maxfun": 60},
        ).x
        scales = _Scales(math.exp(found[0]), math.exp(found[1]), prior.spread)
        covariance = _covariance(between, basis, basis, scales)
        dual, root, factor, evidence = _laplace(covariance, signs, basis @ _weights(prior))
    except (LinAlgError, ValueError, ArithmeticError, RuntimeError) as error:
        raise FitError(f"The classes cannot be modelled: {error}.") from error
    return Classifier(
        scales.lengthscale, scales.outputscale, evidence, prior, x, hints, dual, root, factor
    )


class _Scales(NamedTuple):
    """Length scale and variance of the kernel, and spread of the hints' weights."""

    lengthscale: float
    outputscale: float
    spread: float


def _basis(hints: Array) -> Array:
    return np.column_stack([np.ones(len(hints)), hints])


def _weights(prior: HintPrior) -> Array:
    return np.array([prior.offset, prior.weight])


def _covariance(between: Array, left: Array, right: Array, scales: _Scales) -> Array:
    """Returns the prior covariance; the weights of the basis are integrated out."""
    kernel = matern52(between * (math.sqrt(5) / scales.lengthscale))
    kernel *= scales.outputscale
    kernel += scales.spread**2 * (left @ right.T)
    return kernel


def _laplace(covariance: Array, signs: Array, mean: Array) -> tuple[Array, Array, Array, float]:
    """Finds the mode by Newton's method (Rasmussen and Williams 2006, algorithm 3.1).

    Steps that make the posterior density smaller are halved: where labels contradict the prior
    mean, whole ones go back and forth.

    Returns:
        Dual weights, square root of the likelihood's curvature, Cholesky factor, log evidence.
    """
    covariance = covariance + _JITTER * np.eye(len(signs))
    dual = np.zeros(len(signs))
    density = _density(covariance, signs, mean, dual)
    for _ in range(_STEPS):
        wanted = _newton(covariance, signs, mean, mean + covariance @ dual)[0]
        size = 1.0
        while size > _SMALLEST_STEP:
            moved = dual + size * (wanted - dual)
            found = _density(covariance, signs, mean, moved)
            if found >= density:
                break
            size /= 2
        else:
            break
        done = found - density < _CONVERGED
        dual, density = moved, found
        if done:
            break
    _, root, factor = _newton(covariance, signs, mean, mean + covariance @ dual)
    return dual, root, factor, float(density - np.log(np.diag(factor)).sum())


def _newton(
    covariance: Array, signs: Array, mean: Array, latent: Array
) -> tuple[Array, Array, Array]:
    """Returns the dual weights of a whole step, the root of the curvature and its factor."""
    chance = expit(latent)
    curvature = np.maximum(chance * (1 - chance), 1e-9)
    root = np.sqrt(curvature)
    inner = np.eye(len(signs)) + root[:, None] * covariance * root[None]
    factor = cholesky(inner, lower=True, check_finite=False)
    push = curvature * (latent - mean) + (signs + 1) / 2 - chance
    step = root * cho_solve((factor, True), root * (covariance @ push), check_finite=False)
    return push - step, root, factor


def _density(covariance: Array, signs: Array, mean: Array, dual: Array) -> float:
    """Returns the log posterior density of the latent values, up to a constant."""
    shift = covariance @ dual
    return float(-np.logaddexp(0.0, -signs * (mean + shift)).sum() - 0.5 * dual @ shift)
