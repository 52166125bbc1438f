"""A Gaussian process that finds out which values are outliers and gives them noise of their own.

By relevance pursuit (S. Ament, E. Santorella, D. Eriksson, B. Letham, M. Balandat and E. Bakshy,
Robust Gaussian Processes via Relevance Pursuit, NeurIPS 2024, arXiv:2410.24222), as BoTorch has it:
the evidence decides how many values are outliers. What they are is kept, and the posterior is that
of the default surrogate with more noise on those.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import FitError
from cloudseed.surrogate import gp
from cloudseed.surrogate.kernels import MATERN, prior_modes
from cloudseed.surrogate.left_out import Outliers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.gp import FittedSurrogate, Hyperparameters
    from cloudseed.surrogate.kernels import Covariance, Kernel

    Array = npt.NDArray[np.float64]

__all__ = ["MAX_ROWS", "fit_robust"]

#: Measurements that are modelled this way at most: several fits of the whole.
MAX_ROWS = 500
#: Shares of outliers that are tried.
FRACTIONS = (0.0, 0.02, 0.05, 0.1, 0.2)
#: Own noise below this share of the common one is none.
_NEGLIGIBLE = 0.01
#: Seconds for all that is tried together.
_TIMEOUT = 60.0


def fit_robust(
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
    """Fits a model that outliers do not bend; the arguments are those of `gp.fit`.

    Raises:
        InputError: If there is no value or one is NaN or infinite.
        FitError: If relevance pursuit fails.
    """
    notes: list[str] = []
    data = gp.standardise(x, y, name=name, spread=spread, notes=notes, prior=prior, wanted=wanted)
    blocks = prior_modes(widths or (x.shape[1],), kernel)
    hyper, own = _pursue(x, data.targets, blocks, seed, name=name, notes=notes)
    outliers = int((own > 0).sum())
    notes.append(f"{outliers} of {len(y)} values of {name} are taken for outliers")
    model = gp.condition(hyper, x, data, name=name, notes=notes, extra=own)
    if not outliers:
        return model
    known = Outliers((outliers + 1) / (len(y) + 2), float(np.median(own[own > 0])))
    left = model.left_out
    sd = np.sqrt(np.maximum(left.sd**2 - own, hyper.noise))
    return replace(model, _left_out=replace(left, sd=sd, outliers=known))


def _pursue(
    x: Array, targets: Array, blocks: Covariance, seed: int, *, name: str, notes: list[str]
) -> tuple[Hyperparameters, Array]:
    """Returns hyperparameters and each value's own noise variance, n."""
    import torch
    from botorch.models.relevance_pursuit import forward_relevance_pursuit
    from botorch.models.robust_relevance_pursuit_model import (
        RobustRelevancePursuitSingleTaskGP,
    )

    plain = gp.botorch_model(x, targets, blocks)
    model = RobustRelevancePursuitSingleTaskGP(
        plain.train_inputs[0],
        plain.train_targets.unsqueeze(-1),
        likelihood=plain.likelihood,
        covar_module=plain.covar_module,
        outcome_transform=None,
    )
    counts = sorted({int(share * len(targets)) for share in FRACTIONS} | {1, 2, 3})
    gp.maximise(
        model,
        seed,
        name=name,
        notes=notes,
        numbers_of_outliers=[n for n in counts if n < len(targets)],
        timeout_sec=_TIMEOUT,
        # As good as backwards from everything, and cheaper where outliers are few.
        relevance_pursuit_optimizer=forward_relevance_pursuit,
    )
    module = model.likelihood.noise_covar
    x_train = model.train_inputs[0]
    with torch.no_grad():
        signal = model.covar_module(x_train).diagonal()
        noise = module.forward(X=[x_train], shape=signal.shape, diag_K=signal).diagonal()
        base = module.base_noise.noise
        own = (noise - base).numpy().copy()
    hyper = gp.read_hyperparameters(model, blocks, base)
    if not np.isfinite(own).all():
        raise FitError("The outliers' noise is not finite.", hint="Look for extreme values.")
    return hyper, np.where(own > _NEGLIGIBLE * hyper.noise, own, 0.0)
