"""Functions drawn from the posterior of a conditioned process."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.gp.optimising import botorch_model

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

    from cloudseed.surrogate.gp.process import FittedSurrogate

__all__ = ["draw_functions"]


def draw_functions(surrogate: FittedSurrogate, count: int, seed: int) -> Callable[[Array], Array]:
    """Draws functions from the posterior of the noise-free property, by Matheron's rule.

    A function is drawn from the prior and moved by what the measurements, with noise drawn too, say
    of it (J. T. Wilson et al., Efficiently Sampling Functions from Gaussian Process Posteriors,
    ICML 2020, arXiv:2002.09309).

    Args:
        surrogate: The fitted process. Where several sources measured, what their values hold
            besides the property is drawn too.
        count: How many functions.
        seed: Decides them.

    Returns:
        A map from points, k x p or more, to the functions' values in the property's unit,
        count x k.
    """
    hyper, features = surrogate.hyper, surrogate.features
    mixing = np.ones((len(features), 1)) if surrogate.mixing is None else surrogate.mixing
    drawn, *others = (_prior(surrogate, count, seed + i) for i in range(mixing.shape[1]))
    told = hyper.mean + mixing[:, 0] * drawn(features)
    for i, other in enumerate(others, 1):
        told += mixing[:, i] * other(features)
    noise = surrogate.draw_noise(count, np.random.default_rng(seed))
    moves = surrogate.solve(surrogate.targets - told - noise)

    def values(x: Array) -> Array:
        points = x[:, : features.shape[1]]
        moved = (moves * mixing[:, 0]) @ hyper.kernel(features, points)
        found = surrogate.scale * (hyper.mean + drawn(points) + moved)
        found += surrogate.centre
        return found if surrogate.trend is None else found + surrogate.trend(x)

    return values


def _prior(surrogate: FittedSurrogate, count: int, seed: int) -> Callable[[Array], Array]:
    """Draws functions from the prior without its mean, standardised: a draw for each block, summed.

    BoTorch has random features for one Matern or RBF kernel, not for a sum of kernels.
    """
    import torch
    from botorch.sampling.pathwise import draw_kernel_feature_paths
    from botorch.utils.sampling import manual_seed

    paths = []
    with manual_seed(seed), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place, block in surrogate.hyper.covariance.blocks:
            model = botorch_model(surrogate.features[:, place], surrogate.targets, block)
            model.mean_module.constant.data.fill_(0.0)
            paths.append((place, draw_kernel_feature_paths(model.eval(), torch.Size([count]))))

    def drawn(x: Array) -> Array:
        total = np.zeros((count, len(x)))
        with torch.no_grad():
            for place, path in paths:
                values = path(torch.as_tensor(np.ascontiguousarray(x[:, place])))
                total += values.detach().numpy().reshape(count, len(x))
        return total

    return drawn
