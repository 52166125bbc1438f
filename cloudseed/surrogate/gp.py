"""The default surrogate: a Gaussian process over projected features.

`fit` standardises the values, finds the hyperparameters with BoTorch and answers with a
`FittedSurrogate`, whose posterior is computed in closed form. `cloudseed.surrogate.kernels` has the
covariance and its priors.
"""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

from cloudseed.errors import FitError, InputError
from cloudseed.surrogate import kernels
from cloudseed.surrogate.kernels import MATERN, Covariance, Kernel
from cloudseed.surrogate.normal import log_probability_between

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["FittedSurrogate", "Hyperparameters", "draw_functions", "fit"]

_log = logging.getLogger(__name__)

#: Rows on which hyperparameters are fitted at most; the posterior is conditioned on all.
MAX_FIT_ROWS = 1_000
#: With fewer values that differ from the commonest, hyperparameters stay at their priors' modes.
MIN_FIT_VALUES = 2
#: Values this many robust standard deviations from the median are drawn in for the fit.
OUTLIER_LIMIT = 10.0
#: Entries of a kernel matrix that are held at once: 2 MiB, which stays in a processor's cache.
_CHUNK_ENTRIES = 2**18
#: Smallest noise variance of standardised values, as in BoTorch; keeps duplicates invertible.
_MIN_NOISE = 1e-4
#: Up to so many rows one thread is the fastest; more would wait for each other.
_SMALL = 500
_FIT_OPTIONS = {"options": {"maxiter": 200}, "timeout_sec": 60}


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The free numbers of the process, for standardised values.

    Attributes:
        covariance: Prior covariance.
        noise: Variance of the measurement noise.
        mean: Prior mean.
    """

    covariance: Covariance
    noise: float
    mean: float

    @property
    def lengthscale(self) -> float:
        """Length scale of the first block; the mean where it has several."""
        return float(np.mean(self.covariance.terms[0].lengthscales))

    @property
    def outputscale(self) -> float:
        """Prior variance."""
        return self.covariance.variance

    def kernel(self, a: Array, b: Array) -> Array:
        """Returns the prior covariance of the rows of a, n x p, with those of b, m x p: n x m."""
        return self.covariance(a, b)


@dataclass(frozen=True, slots=True)
class FittedSurrogate:
    """A Gaussian process conditioned on every measurement of one property.

    Attributes:
        hyper: Hyperparameters, for standardised values.
        features: Projected features of the measurements, n x p.
        targets: Standardised values, n.
        centre: The value that standardises to zero, in the property's unit.
        scale: The difference that standardises to one, in the property's unit.
        notes: What went otherwise than planned.
    """

    hyper: Hyperparameters
    features: Array
    targets: Array
    centre: float
    scale: float
    notes: tuple[str, ...]
    _factor: Array
    _weights: Array

    @property
    def noise_sd(self) -> float:
        """Standard deviation of the measurement noise, in the property's unit."""
        return self.scale * math.sqrt(self.hyper.noise)

    @property
    def summary(self) -> Mapping[str, object]:
        """What tells this model from another; JSON values."""
        return {
            **self.hyper.covariance.to_json(),
            "noise": self.hyper.noise,
            "mean": self.hyper.mean,
            "centre": self.centre,
            "scale": self.scale,
            "n": len(self.targets),
        }

    def posterior_moments(self, x: Array) -> tuple[Array, Array]:
        """Returns posterior mean and standard deviation of the noise-free property.

        Args:
            x: Projected features, k x p. Memory does not grow with k beyond the answer.

        Returns:
            Mean and standard deviation, k each, in the property's unit.
        """
        x = x[:, : self.features.shape[1]]
        mean, sd = np.empty(len(x)), np.empty(len(x))
        step = max(1, _CHUNK_ENTRIES // len(self.targets))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            # Transposed, so that the solver need not copy it.
            cross = self.hyper.kernel(x[part], self.features).T
            mean[part] = self.hyper.mean + self._weights @ cross
            half = solve_triangular(
                self._factor, cross, lower=True, overwrite_b=True, check_finite=False
            )
            sd[part] = self.hyper.covariance.diagonal(x[part]) - np.einsum("ij,ij->j", half, half)
        np.sqrt(np.maximum(sd, 0.0, out=sd), out=sd)
        return self.centre + self.scale * mean, self.scale * sd

    def evaluate(self, x: Array, lower: float, upper: float) -> tuple[Array, Array, Array]:
        """Returns what a decision needs of points.

        Args:
            x: Points, k x p or more: coordinates beyond the p features are hints for other models.
            lower: Lower bound of the property, or minus infinity.
            upper: Upper bound, or infinity.

        Returns:
            Mean and standard deviation of the noise-free property in its unit, and the log
            probability that a measured value is within the bounds, k each.
        """
        mean, sd = self.posterior_moments(x)
        if not (math.isfinite(lower) or math.isfinite(upper)):
            return mean, sd, np.zeros(len(x))
        # A material is feasible if its measured values are, and those are noisy.
        noisy = np.hypot(sd, self.noise_sd)
        return mean, sd, log_probability_between(mean, noisy, lower, upper)

    def standardised_joint(self, x: Array) -> tuple[Array, Array]:
        """Returns the joint posterior of the noise-free property, standardised.

        Args:
            x: Projected features, k x p; a k x k matrix must fit in memory.

        Returns:
            Mean, k, and covariance, k x k, of (property - centre) / scale.
        """
        x = x[:, : self.features.shape[1]]
        cross = self.hyper.kernel(self.features, x)
        half = solve_triangular(self._factor, cross, lower=True, check_finite=False)
        mean = self.hyper.mean + self._weights @ cross
        return mean, self.hyper.kernel(x, x) - half.T @ half

    def widened(self, factor: float) -> FittedSurrogate:
        """Returns the same model with every standard deviation, the noise's too, times a factor.

        Means stay. With such hyperparameters the same model would have been conditioned.
        """
        hyper = replace(
            self.hyper,
            covariance=self.hyper.covariance.times(factor**2),
            noise=self.hyper.noise * factor**2,
        )
        return replace(
            self, hyper=hyper, _factor=self._factor * factor, _weights=self._weights / factor**2
        )

    def leave_one_out(self) -> tuple[Array, Array]:
        """Predicts every measurement from all the others (Rasmussen and Williams 2006, eq. 5.12).

        Returns:
            Mean and standard deviation, noise included, n each, in the property's unit; the
            hyperparameters are those of the fit to all.
        """
        inverse = cho_solve((self._factor, True), np.eye(len(self.targets)), check_finite=False)
        precision = np.diag(inverse)
        mean = self.targets - self._weights / precision
        return self.centre + self.scale * mean, self.scale / np.sqrt(precision)


def fit(
    x: Array,
    y: Array,
    *,
    seed: int,
    name: str = "property",
    spread: float | None = None,
    widths: Sequence[int] | None = None,
    kernel: Kernel = MATERN,
) -> FittedSurrogate:
    """Fits the surrogate of one property.

    Where all values but one are equal, and where the optimiser fails, the hyperparameters stay at
    their priors' modes and a note says so.

    Args:
        x: Projected features of the measurements, n x p; rows may repeat.
        y: Measured values, n, finite.
        seed: Chooses the rows for the hyperparameters where there are more than `MAX_FIT_ROWS`.
        name: The property, for notes and errors.
        spread: A plausible standard deviation, used where all values are equal.
        widths: Coordinates of each block of the features, in order; None for one block.
        kernel: The kernel of every block.

    Raises:
        InputError: If there is no value or one is NaN or infinite.
        FitError: If the covariance of the measurements cannot be factored.
    """
    if not len(y) or len(x) != len(y):
        raise InputError(
            f"{len(y)} values of {name} for {len(x)} rows of features make no model.",
            hint="Give one value per row, and at least one.",
            property=name,
        )
    if not np.isfinite(y).all():
        raise InputError(
            f"A value of {name} is not a finite number.",
            hint="Leave out what was not measured; correct what overflowed.",
            property=name,
        )
    notes: list[str] = []
    targets, centre, scale = _standardise(y, name, spread, notes)
    blocks = kernels.prior_modes(widths or (x.shape[1],), kernel)
    hyper = _hyperparameters(x, targets, blocks, seed=seed, name=name, notes=notes)
    factor = _factor(hyper, x, name)
    weights = cho_solve((factor, True), targets - hyper.mean, check_finite=False)
    return FittedSurrogate(hyper, x, targets, centre, scale, tuple(notes), factor, weights)


def _standardise(
    y: Array, name: str, spread: float | None, notes: list[str]
) -> tuple[Array, float, float]:
    """Returns (y - centre) / scale with outliers drawn in, the centre and the scale."""
    median = float(np.median(y))
    deviation = np.abs(y - median)
    # 1.4826 times the median deviation is the standard deviation of a normal distribution.
    limit = OUTLIER_LIMIT * 1.4826 * float(np.median(deviation))
    far = int((deviation > limit).sum()) if limit > 0 and len(y) >= 5 else 0
    if far:
        y = np.clip(y, median - limit, median + limit)
        notes.append(
            f"{far} of {len(y)} values of {name} lie more than {OUTLIER_LIMIT:g} robust standard "
            "deviations from the median and are drawn in to that limit for the model"
        )
    largest = float(np.abs(y).max())
    if np.ptp(y) <= 1e-12 * largest:
        return np.zeros(len(y)), median, spread or largest or 1.0
    centre, scale = float(y.mean()), float(y.std())
    return (y - centre) / scale, centre, scale


def _hyperparameters(
    x: Array, targets: Array, prior: Covariance, *, seed: int, name: str, notes: list[str]
) -> Hyperparameters:
    """Fits by maximum a posteriori, or falls back to the modes of the priors with a note."""
    if len(targets) - np.unique(targets, return_counts=True)[1].max() < MIN_FIT_VALUES:
        notes.append(f"too few different values of {name} to fit: hyperparameters are the priors'")
        return _at_modes(prior)
    if len(targets) > MAX_FIT_ROWS:
        rows = np.random.default_rng(seed).permutation(len(targets))[:MAX_FIT_ROWS]
        notes.append(f"hyperparameters of {name} come from {MAX_FIT_ROWS} of {len(targets)} rows")
        x, targets = x[np.sort(rows)], targets[np.sort(rows)]
    try:
        return _optimise(x, targets, prior, seed)
    except FitError as error:
        _log.warning("fit failed", extra={"property": name, "reason": error.message})
        notes.append(f"the fit of {name} failed ({error.message}): hyperparameters are the priors'")
        return _at_modes(prior)


def _at_modes(prior: Covariance) -> Hyperparameters:
    return Hyperparameters(prior, math.exp(-5.0), 0.0)


def _optimise(x: Array, targets: Array, prior: Covariance, seed: int) -> Hyperparameters:
    """Maximises the posterior density of the hyperparameters with BoTorch.

    Raises:
        FitError: If every attempt fails or the optimum is not finite.
    """
    import gpytorch
    import torch
    from botorch import fit_gpytorch_mll
    from botorch.exceptions import BotorchError
    from botorch.utils.sampling import manual_seed
    from linear_operator.utils.errors import NanError, NotPSDError

    model = _botorch_model(x, targets, prior)
    threads = torch.get_num_threads()
    mll = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
    try:
        # Exact Cholesky at every size: above 800 rows gpytorch would turn to conjugate gradients.
        with (
            warnings.catch_warnings(),
            manual_seed(seed),
            gpytorch.settings.fast_computations(False, False, False),
        ):
            warnings.simplefilter("ignore")
            if len(targets) <= _SMALL:
                torch.set_num_threads(1)
            fit_gpytorch_mll(mll, optimizer_kwargs=_FIT_OPTIONS)
    except (
        BotorchError,
        NanError,
        NotPSDError,
        ArithmeticError,
        RuntimeError,
        ValueError,
    ) as error:
        raise FitError(f"{type(error).__name__}: {error}".splitlines()[0]) from error
    finally:
        torch.set_num_threads(threads)
    with torch.no_grad():
        found = Hyperparameters(
            covariance=kernels.fitted(model.covar_module, prior),
            noise=float(model.likelihood.noise),
            mean=float(model.mean_module.constant),
        )
    if not (found.covariance.finite and math.isfinite(found.noise) and math.isfinite(found.mean)):
        raise FitError("The optimum is not finite.", hint="Look for extreme values.")
    return found


def draw_functions(surrogate: FittedSurrogate, count: int, seed: int) -> Callable[[Array], Array]:
    """Draws functions from the posterior of the noise-free property, by Matheron's rule.

    Args:
        surrogate: The fitted process.
        count: How many functions.
        seed: Decides them.

    Returns:
        A map from projected features, k x p, to the functions' values in the property's unit,
        count x k.
    """
    import torch
    from botorch.sampling.pathwise import draw_matheron_paths
    from botorch.utils.sampling import manual_seed

    hyper = surrogate.hyper
    model = _botorch_model(surrogate.features, surrogate.targets, hyper.covariance)
    model.likelihood.noise = max(hyper.noise, _MIN_NOISE)
    model.mean_module.constant.data.fill_(hyper.mean)
    with manual_seed(seed), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = draw_matheron_paths(model.eval(), torch.Size([count]))

    def values(x: Array) -> Array:
        points = torch.as_tensor(np.ascontiguousarray(x[:, : surrogate.features.shape[1]]))
        with torch.no_grad():
            drawn = paths(points).detach().numpy()
        return np.asarray(surrogate.centre + surrogate.scale * drawn.reshape(count, len(x)))

    return values


def _botorch_model(x: Array, targets: Array, covariance: Covariance) -> Any:
    """Returns an untrained `SingleTaskGP` that begins with a covariance."""
    import torch
    from botorch.models import SingleTaskGP
    from botorch.models.utils.gpytorch_modules import (
        get_gaussian_likelihood_with_lognormal_prior,
    )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SingleTaskGP(
            torch.as_tensor(x, dtype=torch.float64),
            torch.as_tensor(targets, dtype=torch.float64).unsqueeze(-1),
            covar_module=kernels.covariance(covariance),
            likelihood=get_gaussian_likelihood_with_lognormal_prior(),
            outcome_transform=None,
        )


def _factor(hyper: Hyperparameters, x: Array, name: str) -> Array:
    """Returns the lower Cholesky factor of the covariance of the measurements, n x n."""
    covariance = hyper.kernel(x, x)
    diagonal = np.diag_indices(len(x))
    noise = max(hyper.noise, _MIN_NOISE)
    for jitter in (0.0, 1e-8, 1e-6, 1e-4):
        padded = covariance.copy()
        padded[diagonal] += noise + jitter * float(covariance[diagonal].mean())
        try:
            return np.asarray(cholesky(padded, lower=True, overwrite_a=True, check_finite=False))
        except LinAlgError:
            continue
    raise FitError(
        f"The covariance of the {len(x)} measurements of {name} cannot be factored.",
        hint="Look for features or values of extreme size.",
        property=name,
    )
