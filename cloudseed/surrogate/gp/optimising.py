"""Finding hyperparameters: the maximum a posteriori, by BoTorch."""

from __future__ import annotations

import logging
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import FitError
from cloudseed.surrogate import kernels
from cloudseed.surrogate.gp.evidence import Loss
from cloudseed.surrogate.gp.logarithms import minimise_by_logarithms
from cloudseed.surrogate.gp.process import MIN_NOISE, Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

    from cloudseed.surrogate.gp.standardising import Standardised
    from cloudseed.surrogate.kernels import Covariance

__all__ = [
    "MAX_FIT_ROWS",
    "MIN_FIT_VALUES",
    "botorch_model",
    "hyperparameters",
    "maximise",
    "read_hyperparameters",
]

_log = logging.getLogger(__name__)

#: Rows on which hyperparameters are fitted at most; the posterior is conditioned on all.
MAX_FIT_ROWS = 1_000
#: With fewer values that differ from the commonest, hyperparameters stay at their priors' modes.
MIN_FIT_VALUES = 2
#: Up to so many rows one thread is the fastest; more would wait for each other.
_SMALL = 500
_FIT_ITERATIONS = 200
_FIT_SECONDS = 60.0
#: Of the loss per value, relative: finer changes no prediction.
_FIT_TOLERANCE = 1e-6


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
    try:
        return _optimise(x, targets, blocks, seed, noise, name=name, notes=notes)
    except FitError as error:
        _log.warning("fit failed", extra={"property": name, "reason": error.message})
        notes.append(f"the fit of {name} failed ({error.message}): hyperparameters are the priors'")
        return _at_modes(blocks)


def _at_modes(blocks: Covariance) -> Hyperparameters:
    return Hyperparameters(blocks, math.exp(-5.0), 0.0)


def _optimise(
    x: Array,
    targets: Array,
    blocks: Covariance,
    seed: int,
    noise: Array | None = None,
    *,
    name: str,
    notes: list[str],
) -> Hyperparameters:
    """Maximises the posterior density of the hyperparameters with BoTorch.

    Args:
        x: Projected features, n x p.
        targets: Standardised values, n.
        blocks: The covariance at the modes of its priors.
        seed: Decides all that is random.
        noise: Known variances of the noise, n; what they leave is fitted. None for none.
        name: The property, for the notes.
        notes: Gets a line if the limit of time ends it.

    Raises:
        FitError: If every attempt fails or the optimum is not finite.
    """
    model = botorch_model(x, targets, blocks, noise)
    maximise(
        model,
        seed,
        name=name,
        notes=notes,
        loss=lambda mll: Loss(mll, blocks, noise) if Loss.takes(blocks) else None,
    )
    return read_hyperparameters(model, blocks)


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


def maximise(
    model: Any,
    seed: int,
    *,
    name: str,
    notes: list[str],
    loss: Callable[[Any], Loss | None] | None = None,
    **how: Any,
) -> None:
    """Fits a BoTorch model in place, exactly, within a limit of time.

    Args:
        model: The model.
        seed: Decides all that is random.
        name: The property, for the notes.
        notes: Gets a line if the limit of time ends the fit: the best so far is taken.
        loss: Makes of its marginal log likelihood what is minimised; None for GPyTorch's own.
        how: Further arguments of its fit.

    Raises:
        FitError: If every attempt fails.
    """
    import gpytorch
    import torch
    from botorch import fit_gpytorch_mll
    from botorch.exceptions import BotorchError
    from botorch.exceptions.errors import ModelFittingError
    from botorch.utils.sampling import manual_seed
    from linear_operator.utils.errors import NanError, NotPSDError

    ends: list[str | None] = []

    def watched(mll: Any, **asked: Any) -> Any:
        found = minimise_by_logarithms(mll, **asked)
        ends.append(found.message)
        return found

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
            limits = {"maxiter": _FIT_ITERATIONS, "ftol": _FIT_TOLERANCE}
            options = {"options": limits, "timeout_sec": _FIT_SECONDS}
            closure = None if loss is None else loss(mll)
            fit_gpytorch_mll(
                mll, closure=closure, optimizer=watched, optimizer_kwargs=options, **how
            )
    except (
        BotorchError,
        ModelFittingError,
        NanError,
        NotPSDError,
        ArithmeticError,
        RuntimeError,
        ValueError,
    ) as error:
        raise FitError(f"{type(error).__name__}: {error}".splitlines()[0]) from error
    finally:
        torch.set_num_threads(threads)
    if any("timed out" in (message or "") for message in ends):
        notes.append(
            f"the fit of {name} was stopped after {_FIT_SECONDS:g} s: the best so far is taken"
        )


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
