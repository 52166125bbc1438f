"""The fit of one property, from measured values to a posterior."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate import kernels
from cloudseed.surrogate.gp.optimising import hyperparameters
from cloudseed.surrogate.gp.process import condition
from cloudseed.surrogate.gp.standardising import NOTHING, standardise
from cloudseed.surrogate.kernels import MATERN, Kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

    from cloudseed.surrogate.gp.process import FittedSurrogate

__all__ = ["fit"]


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
    wanted: tuple[float, float] = NOTHING,
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
        wanted: The smallest and largest value that is sought; what is sought is hardly drawn in.

    Raises:
        InputError: If there is no value or one is NaN or infinite.
        FitError: If the covariance of the measurements cannot be factored.
    """
    notes: list[str] = []
    data = standardise(
        x, y, name=name, spread=spread, notes=notes, prior=prior, sigma=sigma, wanted=wanted
    )
    blocks = kernels.prior_modes(widths or (x.shape[1],), kernel)
    hyper = hyperparameters(x, data, blocks, seed=seed, name=name, notes=notes)
    extra = None
    if data.noise is not None:
        usual = float(np.median(data.noise))
        hyper, extra = replace(hyper, noise=hyper.noise + usual), data.noise - usual
    return condition(hyper, x, data, name=name, notes=notes, extra=extra)
