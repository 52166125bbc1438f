"""How likely hyperparameters are, and which way they are likelier, in closed form.

BoTorch's optimiser asks for this some sixty times a fit. GPyTorch would make the distances of every
block anew each time and differentiate by going back through all that it did; here distances are
made once, and the gradient is that of C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for
Machine Learning, 2006, eq. 5.9. Values are those of GPyTorch's `ExactMarginalLogLikelihood`.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import cho_solve, cholesky
from scipy.linalg.lapack import dpotri

from cloudseed.surrogate.distances import distances

if TYPE_CHECKING:
    import numpy.typing as npt

    from cloudseed.surrogate.kernels import Covariance

    Array = npt.NDArray[np.float64]

__all__ = ["Loss"]

#: What is added to the diagonal where a covariance cannot be factored, as GPyTorch does.
_JITTERS = (0.0, 1e-8, 1e-7, 1e-6)


class Loss:
    """The negative log posterior density of hyperparameters per value, and its gradient.

    It is what `botorch.fit_gpytorch_mll` takes as its closure: it reads the parameters of the model
    each time that it is called.
    """

    @staticmethod
    def takes(blocks: Covariance) -> bool:
        """Tells whether a covariance is of a form that is known here."""
        return blocks.kernel.family in _SHAPES and not blocks.kernel.ard

    def __init__(self, mll: Any, blocks: Covariance, known: Array | None = None):
        """Makes the distances.

        Args:
            mll: The exact marginal log likelihood of a model that `botorch_model` made.
            blocks: Where its covariance began; stationary, with one length scale a block.
            known: Known variances of the noise, n; None for none.
        """
        from botorch.optim.utils import get_parameters

        model = mll.model
        x = model.train_inputs[0].numpy()
        self._targets = model.train_targets.numpy()
        self._known = 0.0 if known is None else known
        self._shape = _SHAPES[blocks.kernel.family]
        edges = np.cumsum([0, *blocks.widths])
        shown = [x[:, a:b] for a, b in itertools.pairwise(edges)]
        self._distances = [distances(block, block) for block in shown]
        parts = [model.covar_module] if len(shown) == 1 else list(model.covar_module.kernels)
        self._scales = [part.raw_outputscale for part in parts]
        self._lengths = [part.base_kernel.raw_lengthscale for part in parts]
        self._mean = model.mean_module.raw_constant
        likelihood = model.likelihood
        self._noise = getattr(likelihood, "second_noise_covar", likelihood.noise_covar).raw_noise
        self._order = list(get_parameters(mll, requires_grad=True).values())
        self._priors = [
            (_same(self._order, value(module)), prior.loc.item(), prior.scale.item())
            for _, module, prior, value, _ in model.named_priors()
        ]

    def __call__(self) -> tuple[Any, tuple[Any, ...]]:
        """Returns the loss and its gradient by each parameter, in the order of the model's.

        Raises:
            NotPSDError: If the covariance cannot be factored, which BoTorch knows to handle.
        """
        import torch

        gradient = {id(parameter): 0.0 for parameter in self._order}
        density = self._evidence(gradient)
        for parameter, centre, spread in self._priors:
            value = parameter.item()
            away = (math.log(value) - centre) / spread
            density -= math.log(value * spread * math.sqrt(2 * math.pi)) + away**2 / 2
            gradient[id(parameter)] -= (1 + away / spread) / value
        n = len(self._targets)
        moves = (torch.full_like(p, -gradient[id(p)] / n) for p in self._order)
        return torch.tensor(-density / n, dtype=torch.float64), tuple(moves)

    def _evidence(self, gradient: dict[int, float]) -> float:
        """Returns the log likelihood of the values, and adds its derivatives to the gradient."""
        noise, n = self._noise.item(), len(self._targets)
        pairs = [
            (scale.item(), length.item())
            for scale, length in zip(self._scales, self._lengths, strict=True)
        ]
        shapes = [
            self._shape(between / length)
            for between, (_, length) in zip(self._distances, pairs, strict=True)
        ]
        covariance = np.zeros((n, n))
        for (scale, _), (correlation, _) in zip(pairs, shapes, strict=True):
            covariance += scale * correlation
        covariance[np.diag_indices(n)] += noise + self._known
        factor = _factor(covariance)
        rest = self._targets - self._mean.item()
        weights = cho_solve((factor, True), rest, check_finite=False)
        inverse = dpotri(factor, lower=True)[0].T
        own = np.diagonal(inverse)

        def slope(matrix: Array, diagonal: float) -> float:
            """Returns the derivative along a symmetric matrix whose diagonal is constant."""
            trace = 2 * np.vdot(inverse, matrix) - diagonal * own.sum()
            return float(weights @ matrix @ weights - trace) / 2

        for (scale, length), (correlation, steepness), kept, measure in zip(
            pairs, shapes, self._scales, self._lengths, strict=True
        ):
            gradient[id(kept)] += slope(correlation, 1.0)
            gradient[id(measure)] += slope(steepness, 0.0) * scale / length
        gradient[id(self._noise)] += float(weights @ weights - own.sum()) / 2
        gradient[id(self._mean)] += float(weights.sum())
        half = float(np.log(np.diagonal(factor)).sum())
        return -float(rest @ weights) / 2 - half - n / 2 * math.log(2 * math.pi)


def _matern(r: Array) -> tuple[Array, Array]:
    """Returns the correlation at distances over the length scale, and -r times its slope at r."""
    r *= math.sqrt(5)
    fall = np.exp(-r)
    third = r * r
    third /= 3
    r += 1
    steepness = third * r
    steepness *= fall
    r += third
    r *= fall
    return r, steepness


def _rbf(r: Array) -> tuple[Array, Array]:
    """The same of the squared exponential."""
    square = r * r
    correlation = np.exp(-0.5 * square)
    square *= correlation
    return correlation, square


_SHAPES = {"matern": _matern, "rbf": _rbf}


def _factor(covariance: Array) -> Array:
    """Returns the lower Cholesky factor, n x n."""
    from linear_operator.utils.errors import NotPSDError

    diagonal = np.diag_indices(len(covariance))
    for jitter in _JITTERS:
        padded = covariance if jitter == 0 else covariance.copy()
        padded[diagonal] += jitter
        try:
            return np.asarray(cholesky(padded, lower=True, check_finite=False))
        except np.linalg.LinAlgError:
            continue
    raise NotPSDError("The covariance of the measurements cannot be factored.")


def _same(parameters: list[Any], value: Any) -> Any:
    """Returns the parameter that a prior is about: it has no other form, so they share memory."""
    return next(p for p in parameters if p.data_ptr() == value.data_ptr())
