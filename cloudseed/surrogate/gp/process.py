"""The conditioned process: a posterior in closed form, of given hyperparameters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

from cloudseed.errors import FitError
from cloudseed.surrogate.left_out import LeftOut
from cloudseed.surrogate.normal import log_probability_between

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

    from cloudseed.surrogate.gp.standardising import Standardised
    from cloudseed.surrogate.kernels import Covariance
    from cloudseed.surrogate.trends import Trend

__all__ = ["MIN_NOISE", "FittedSurrogate", "Hyperparameters", "condition"]

#: Smallest noise variance of standardised values, as in BoTorch; keeps duplicates invertible.
MIN_NOISE = 1e-4
#: Entries of a kernel matrix that are held at once: 2 MiB, which stays in a processor's cache.
_CHUNK_ENTRIES = 2**18


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
        mixing: Where several sources measured, how much each measurement holds of independent
            functions that all have the prior of the property, which is the first of them, n x q;
            None where each holds the property itself.
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
    mixing: Array | None = None
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
        return cross if self.mixing is None else self.mixing[:, :1] * cross

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
        signal = self.hyper.kernel(self.features, self.features)
        if self.mixing is not None:
            signal *= self.mixing @ self.mixing.T
        noise = self._factor @ self._factor.T - signal
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
        about={"lessened": data.lessened} if data.lessened else {},
        _offsets=data.offsets,
    )


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
