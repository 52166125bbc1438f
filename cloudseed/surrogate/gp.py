"""The default surrogate: a Gaussian process over projected features.

`fit` standardises the values, finds the hyperparameters with BoTorch and answers with a
`FittedSurrogate`, whose posterior is computed in closed form. `cloudseed.surrogate.kernels` has the
covariance and its priors. Other kinds of model find their hyperparameters in their own way and
answer with the same class.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

from cloudseed.errors import FitError, InputError
from cloudseed.surrogate import kernels
from cloudseed.surrogate.kernels import MATERN, Covariance, Kernel
from cloudseed.surrogate.left_out import LeftOut
from cloudseed.surrogate.normal import log_probability_between
from cloudseed.surrogate.trends import Trend, fit_slope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = [
    "FittedSurrogate",
    "Hyperparameters",
    "Standardised",
    "botorch_model",
    "condition",
    "draw_functions",
    "fit",
    "hyperparameters",
    "maximise",
    "read_hyperparameters",
    "standardise",
]

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
MIN_NOISE = 1e-4
#: Up to so many rows one thread is the fastest; more would wait for each other.
_SMALL = 500
_FIT_ITERATIONS = 200
_FIT_SECONDS = 60.0


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
        trend: Prior mean that goes with a coordinate of the points, in the property's unit; None
            for a constant one. Centre and scale are then those of what it leaves.
        extra: Noise variance of each measurement beyond `hyper.noise`, standardised, n; None where
            all have the same.
        coupling: How far each measurement tells of the property itself, n; None where each does
            wholly.
        about: What tells this kind of model from others; JSON values.
    """

    hyper: Hyperparameters
    features: Array
    targets: Array
    centre: float
    scale: float
    notes: tuple[str, ...]
    _factor: Array
    _weights: Array
    trend: Trend | None = None
    extra: Array | None = None
    coupling: Array | None = None
    about: Mapping[str, object] = field(default_factory=dict)
    _left_out: LeftOut | None = None
    _offsets: Array | None = None

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
            **({} if self.trend is None else {"slope": self.trend.slope}),
            **self.about,
        }

    def posterior_moments(self, x: Array) -> tuple[Array, Array]:
        """Returns posterior mean and standard deviation of the noise-free property.

        Args:
            x: Projected features, k x p. Memory does not grow with k beyond the answer.

        Returns:
            Mean and standard deviation, k each, in the property's unit.
        """
        points, x = x, x[:, : self.features.shape[1]]
        mean, sd = np.empty(len(x)), np.empty(len(x))
        step = max(1, _CHUNK_ENTRIES // len(self.targets))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            cross = self._cross(x[part])
            mean[part] = self.hyper.mean + self._weights @ cross
            half = solve_triangular(
                self._factor, cross, lower=True, overwrite_b=True, check_finite=False
            )
            sd[part] = self.hyper.covariance.diagonal(x[part]) - np.einsum("ij,ij->j", half, half)
        np.sqrt(np.maximum(sd, 0.0, out=sd), out=sd)
        mean = self.centre + self.scale * mean
        return mean if self.trend is None else mean + self.trend(points), self.scale * sd

    def _cross(self, x: Array) -> Array:
        """Returns the prior covariance of the measurements with the property at x, n x k."""
        # Transposed, so that the solver need not copy it.
        cross = self.hyper.kernel(x, self.features).T
        return cross if self.coupling is None else self.coupling[:, None] * cross

    def evaluate(self, x: Array, lower: float, upper: float) -> tuple[Array, Array, Array]:
        """Returns what a decision needs of points.

        Args:
            x: Points, k x p or more: coordinates beyond the p features are trends and hints, of
                this model or of others.
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
        points, x = x, x[:, : self.features.shape[1]]
        cross = self._cross(x)
        half = solve_triangular(self._factor, cross, lower=True, check_finite=False)
        mean = self.hyper.mean + self._weights @ cross
        if self.trend is not None:
            mean = mean + self.trend(points) / self.scale
        return mean, self.hyper.kernel(x, x) - half.T @ half

    def solve(self, values: Array) -> Array:
        """Returns values, r x n, times the inverse covariance of the measurements: r x n."""
        return np.asarray(cho_solve((self._factor, True), values.T, check_finite=False).T)

    def draw_noise(self, count: int, rng: np.random.Generator) -> Array:
        """Draws the noise of the measurements, count x n, standardised."""
        noise = self._factor @ self._factor.T - self.hyper.kernel(self.features, self.features)
        drawn = rng.standard_normal((count, len(noise)))
        own = np.diagonal(noise)
        if np.abs(noise - np.diag(own)).max() <= 1e-6:
            return np.asarray(drawn * np.sqrt(np.maximum(own, 0.0)))
        variances, directions = np.linalg.eigh(noise)
        return np.asarray(drawn * np.sqrt(np.maximum(variances, 0.0)) @ directions.T)

    def widened(self, factor: float) -> FittedSurrogate:
        """Returns the same model with every standard deviation, the noise's too, times a factor.

        Means stay. With such hyperparameters the same model would have been conditioned.
        """
        hyper = replace(
            self.hyper,
            covariance=self.hyper.covariance.times(factor**2),
            noise=self.hyper.noise * factor**2,
        )
        left = self._left_out
        return replace(
            self,
            hyper=hyper,
            extra=None if self.extra is None else self.extra * factor**2,
            _factor=self._factor * factor,
            _weights=self._weights / factor**2,
            _left_out=None if left is None else replace(left, sd=left.sd * factor),
        )

    def leave_one_out(self) -> tuple[Array, Array]:
        """Predicts every measurement from all the others (Rasmussen and Williams 2006, eq. 5.12).

        Returns:
            Mean and standard deviation, noise included, n each, in the property's unit; the
            hyperparameters are those of the fit to all. Noise that an outlier alone has is left
            out, since nothing tells beforehand that a value will be one.
        """
        left = self.left_out
        mean = self.centre + self.scale * left.mean
        return mean if self._offsets is None else mean + self._offsets, self.scale * left.sd

    @property
    def left_out(self) -> LeftOut:
        """Each standardised value predicted from all the others."""
        if self._left_out is not None:
            return self._left_out
        inverse = cho_solve((self._factor, True), np.eye(len(self.targets)), check_finite=False)
        precision = np.diag(inverse)
        mean = self.targets - self._weights / precision
        return LeftOut(self.targets, mean, np.sqrt(1 / precision))

    @property
    def log_density(self) -> float:
        """Mean log predictive density of a value, in the property's unit, given all the others.

        Models of the same values compare by it, whatever their scale or trend. Values that were
        drawn in count as drawn in.
        """
        return float(self.left_out.log_densities().mean()) - math.log(self.scale)


@dataclass(frozen=True, slots=True)
class Standardised:
    """Values of one property, ready for a model.

    Attributes:
        targets: (value - trend - centre) / scale, outliers drawn in, n.
        centre: In the property's unit.
        scale: In the property's unit.
        trend: The prior mean; None for a constant one.
        offsets: The trend at the measurements, n, in the property's unit; None without one.
        noise: Known variances of measurement noise, standardised, n; None where none is known.
    """

    targets: Array
    centre: float
    scale: float
    trend: Trend | None = None
    offsets: Array | None = None
    noise: Array | None = None


def fit(
    x: Array,
    y: Array,
    *,
    seed: int,
    name: str = "property",
    spread: float | None = None,
    widths: Sequence[int] | None = None,
    kernel: Kernel = MATERN,
    prior: tuple[int, Array] | None = None,
    sigma: Array | None = None,
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
        prior: What was predicted of each measurement, n, in the property's unit, and which
            coordinate of a point holds it; None for a constant prior mean.
        sigma: Known standard uncertainties, n, NaN where unknown, in the property's unit. Noise
            that they do not explain is fitted beside them.

    Raises:
        InputError: If there is no value or one is NaN or infinite.
        FitError: If the covariance of the measurements cannot be factored.
    """
    notes: list[str] = []
    data = standardise(x, y, name=name, spread=spread, notes=notes, prior=prior, sigma=sigma)
    blocks = kernels.prior_modes(widths or (x.shape[1],), kernel)
    hyper = hyperparameters(x, data, blocks, seed=seed, name=name, notes=notes)
    extra = None
    if data.noise is not None:
        usual = float(np.median(data.noise))
        hyper, extra = replace(hyper, noise=hyper.noise + usual), data.noise - usual
    return condition(hyper, x, data, name=name, notes=notes, extra=extra)


def condition(
    hyper: Hyperparameters,
    x: Array,
    data: Standardised,
    *,
    name: str,
    notes: Sequence[str],
    extra: Array | None = None,
) -> FittedSurrogate:
    """Returns the process with given hyperparameters, conditioned on every measurement.

    Args:
        hyper: For standardised values.
        x: Projected features of the measurements, n x p.
        data: The values.
        name: The property, for errors.
        notes: What went otherwise than planned.
        extra: Noise variance of each beyond `hyper.noise`, n; None for none.

    Raises:
        FitError: If the covariance of the measurements cannot be factored.
    """
    factor = _factor(hyper, x, name, extra)
    weights = cho_solve((factor, True), data.targets - hyper.mean, check_finite=False)
    return FittedSurrogate(
        hyper,
        x,
        data.targets,
        data.centre,
        data.scale,
        tuple(notes),
        factor,
        weights,
        trend=data.trend,
        extra=extra,
        _offsets=data.offsets,
    )


def standardise(
    x: Array,
    y: Array,
    *,
    name: str,
    spread: float | None,
    notes: list[str],
    prior: tuple[int, Array] | None = None,
    sigma: Array | None = None,
) -> Standardised:
    """Checks values and makes them ready for a model; see `fit` for the arguments.

    Raises:
        InputError: If there is no value or one is NaN or infinite.
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
    y = _drawn_in(y, name, notes)
    largest = float(np.abs(y).max())
    if np.ptp(y) <= 1e-12 * largest and (prior is None or len(y) > 1):
        found = Standardised(np.zeros(len(y)), float(np.median(y)), spread or largest or 1.0)
    elif prior is None:
        centre, scale = float(y.mean()), float(y.std())
        found = Standardised((y - centre) / scale, centre, scale)
    else:
        found = _beside_trend(y, *prior, spread)
    noise = None if sigma is None else np.where(np.isnan(sigma), 0.0, sigma / found.scale) ** 2
    return found if noise is None or not noise.any() else replace(found, noise=noise)


def _beside_trend(y: Array, column: int, predicted: Array, spread: float | None) -> Standardised:
    """Returns what a trend leaves, standardised."""
    trend = Trend(column, fit_slope(predicted, y))
    offsets = trend.slope * predicted
    rest = y - offsets
    centre, scale = float(rest.mean()), float(rest.std())
    if scale <= 1e-12 * float(np.abs(y).max()):
        scale = spread or float(y.std()) or float(np.abs(y).max()) or 1.0
    return Standardised((rest - centre) / scale, centre, scale, trend, offsets)


def _drawn_in(y: Array, name: str, notes: list[str]) -> Array:
    """Returns the values with outliers at the limit."""
    median = float(np.median(y))
    deviation = np.abs(y - median)
    # 1.4826 times the median deviation is the standard deviation of a normal distribution.
    limit = OUTLIER_LIMIT * 1.4826 * float(np.median(deviation))
    far = int((deviation > limit).sum()) if limit > 0 and len(y) >= 5 else 0
    if not far:
        return y
    notes.append(
        f"{far} of {len(y)} values of {name} lie more than {OUTLIER_LIMIT:g} robust standard "
        "deviations from the median and are drawn in to that limit for the model"
    )
    return np.clip(y, median - limit, median + limit)


def hyperparameters(
    x: Array, data: Standardised, blocks: Covariance, *, seed: int, name: str, notes: list[str]
) -> Hyperparameters:
    """Fits by maximum a posteriori, or falls back to the modes of the priors with a note."""
    targets, noise = data.targets, data.noise
    if len(targets) - np.unique(targets, return_counts=True)[1].max() < MIN_FIT_VALUES:
        notes.append(f"too few different values of {name} to fit: hyperparameters are the priors'")
        return _at_modes(blocks)
    if len(targets) > MAX_FIT_ROWS:
        rows = np.random.default_rng(seed).permutation(len(targets))[:MAX_FIT_ROWS]
        notes.append(f"hyperparameters of {name} come from {MAX_FIT_ROWS} of {len(targets)} rows")
        rows = np.sort(rows)
        x, targets, noise = x[rows], targets[rows], None if noise is None else noise[rows]
    began = time.monotonic()
    try:
        found = _optimise(x, targets, blocks, seed, noise)
    except FitError as error:
        _log.warning("fit failed", extra={"property": name, "reason": error.message})
        notes.append(f"the fit of {name} failed ({error.message}): hyperparameters are the priors'")
        return _at_modes(blocks)
    if time.monotonic() - began > _FIT_SECONDS:
        notes.append(
            f"the fit of {name} was stopped after {_FIT_SECONDS:g} s: the best so far is taken"
        )
    return found


def _at_modes(blocks: Covariance) -> Hyperparameters:
    return Hyperparameters(blocks, math.exp(-5.0), 0.0)


def _optimise(
    x: Array, targets: Array, blocks: Covariance, seed: int, noise: Array | None = None
) -> Hyperparameters:
    """Maximises the posterior density of the hyperparameters with BoTorch.

    Args:
        x: Projected features, n x p.
        targets: Standardised values, n.
        blocks: The covariance at the modes of its priors.
        seed: Decides all that is random.
        noise: Known variances of the noise, n; what they leave is fitted. None for none.

    Raises:
        FitError: If every attempt fails or the optimum is not finite.
    """
    model = botorch_model(x, targets, blocks, noise)
    maximise(model, seed)
    return read_hyperparameters(model, blocks)


def maximise(model: Any, seed: int, **how: Any) -> None:
    """Fits a BoTorch model in place, exactly, within a limit of time.

    Args:
        model: The model.
        seed: Decides all that is random.
        how: Further arguments of its fit.

    Raises:
        FitError: If every attempt fails.
    """
    import gpytorch
    import torch
    from botorch import fit_gpytorch_mll
    from botorch.exceptions import BotorchError
    from botorch.utils.sampling import manual_seed
    from linear_operator.utils.errors import NanError, NotPSDError

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
            if len(model.train_targets) <= _SMALL:
                torch.set_num_threads(1)
            # Made anew: relevance pursuit writes tolerances of its own into what it is given.
            options = {"options": {"maxiter": _FIT_ITERATIONS}, "timeout_sec": _FIT_SECONDS}
            fit_gpytorch_mll(mll, optimizer_kwargs=options, **how)
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


def read_hyperparameters(model: Any, blocks: Covariance, noise: Any = None) -> Hyperparameters:
    """Returns the hyperparameters of a fitted model that `botorch_model` made.

    Args:
        model: The model.
        blocks: Where its covariance began.
        noise: The fitted variance of the noise; None for where the model's likelihood keeps it.

    Raises:
        FitError: If one is not finite.
    """
    import torch

    likelihood = model.likelihood
    with torch.no_grad():
        if noise is None:
            # Where some noise is known, the rest of it is what was fitted.
            second = getattr(likelihood, "second_noise_covar", None)
            noise = likelihood.noise if second is None else second.noise
        found = Hyperparameters(
            covariance=kernels.fitted(model.covar_module, blocks),
            noise=float(noise),
            mean=float(model.mean_module.constant),
        )
    if not (found.covariance.finite and math.isfinite(found.noise) and math.isfinite(found.mean)):
        raise FitError("The optimum is not finite.", hint="Look for extreme values.")
    return found


def draw_functions(surrogate: FittedSurrogate, count: int, seed: int) -> Callable[[Array], Array]:
    """Draws functions from the posterior of the noise-free property, by Matheron's rule.

    A function is drawn from the prior and moved by what the measurements, with noise drawn too, say
    of it (J. T. Wilson et al., Efficiently Sampling Functions from Gaussian Process Posteriors,
    ICML 2020, arXiv:2002.09309).

    Args:
        surrogate: The fitted process, of one source.
        count: How many functions.
        seed: Decides them.

    Returns:
        A map from points, k x p or more, to the functions' values in the property's unit,
        count x k.
    """
    import torch
    from botorch.sampling.pathwise import draw_kernel_feature_paths
    from botorch.utils.sampling import manual_seed

    hyper, features = surrogate.hyper, surrogate.features
    model = botorch_model(features, surrogate.targets, hyper.covariance)
    model.mean_module.constant.data.fill_(hyper.mean)
    with manual_seed(seed), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = draw_kernel_feature_paths(model.eval(), torch.Size([count]))

    def drawn(x: Array) -> Array:
        with torch.no_grad():
            values = paths(torch.as_tensor(np.ascontiguousarray(x)))
        return np.asarray(values.detach().numpy()).reshape(count, len(x))

    noise = surrogate.draw_noise(count, np.random.default_rng(seed))
    moves = surrogate.solve(surrogate.targets - drawn(features) - noise)

    def values(x: Array) -> Array:
        points = x[:, : features.shape[1]]
        found = surrogate.scale * (drawn(points) + moves @ hyper.kernel(features, points))
        found += surrogate.centre
        return found if surrogate.trend is None else found + surrogate.trend(x)

    return values


def botorch_model(x: Array, targets: Array, blocks: Covariance, noise: Array | None = None) -> Any:
    """Returns an untrained `SingleTaskGP` that begins with a covariance.

    Args:
        x: Projected features, n x p.
        targets: Standardised values, n.
        blocks: Where its covariance begins.
        noise: Known variances of the noise, n; None for none.
    """
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
            covar_module=kernels.covariance(blocks),
            likelihood=get_gaussian_likelihood_with_lognormal_prior()
            if noise is None
            else _likelihood_beside(noise),
            outcome_transform=None,
        )


def _likelihood_beside(noise: Array) -> Any:
    """Returns a likelihood with known variances, n, and fitted noise with the usual prior."""
    import torch
    from botorch.models.utils.gpytorch_modules import (
        get_gaussian_likelihood_with_lognormal_prior,
    )
    from gpytorch.likelihoods import FixedNoiseGaussianLikelihood

    known = torch.as_tensor(noise, dtype=torch.float64).clamp_min(MIN_NOISE / 100)
    likelihood = FixedNoiseGaussianLikelihood(known, learn_additional_noise=True)
    likelihood.second_noise_covar = get_gaussian_likelihood_with_lognormal_prior().noise_covar
    return likelihood


def _factor(hyper: Hyperparameters, x: Array, name: str, extra: Array | None = None) -> Array:
    """Returns the lower Cholesky factor of the covariance of the measurements, n x n."""
    covariance = hyper.kernel(x, x)
    diagonal = np.diag_indices(len(x))
    noise = max(hyper.noise, MIN_NOISE)
    for jitter in (0.0, 1e-8, 1e-6, 1e-4):
        padded = covariance.copy()
        padded[diagonal] += np.maximum(noise + (0.0 if extra is None else extra), MIN_NOISE)
        padded[diagonal] += jitter * float(covariance[diagonal].mean())
        try:
            return np.asarray(cholesky(padded, lower=True, overwrite_a=True, check_finite=False))
        except LinAlgError:
            continue
    raise FitError(
        f"The covariance of the {len(x)} measurements of {name} cannot be factored.",
        hint="Look for features or values of extreme size.",
        property=name,
    )
