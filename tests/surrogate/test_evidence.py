"""The posterior density of hyperparameters in closed form, against GPyTorch's."""

from __future__ import annotations

import warnings

import gpytorch
import numpy as np
import pytest
import torch
from botorch.optim.closures import get_loss_closure_with_grads
from botorch.optim.utils import get_parameters
from linear_operator.utils.errors import NotPSDError

from cloudseed.surrogate import gp
from cloudseed.surrogate.gp import evidence
from cloudseed.surrogate.gp.evidence import Loss
from cloudseed.surrogate.kernels import Kernel, prior_modes

KNOWN = np.random.default_rng(1).uniform(0.0, 0.2, 40)


def made(widths, kernel, known=None, rows=40):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, sum(widths)))
    blocks = prior_modes(widths, kernel)
    model = gp.botorch_model(x, np.sin(x[:, 0]), blocks, known)
    mll = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model).train()
    return mll, blocks


@pytest.mark.parametrize("known", [None, KNOWN], ids=["noise fitted", "noise known in part"])
@pytest.mark.parametrize("family", ["matern", "rbf"])
@pytest.mark.parametrize("widths", [(12,), (12, 5), (3, 4, 5)])
def test_loss_and_gradient_are_those_of_gpytorch(widths, family, known):
    mll, blocks = made(widths, Kernel(family), known)
    parameters = get_parameters(mll, requires_grad=True)
    loss = Loss(mll, blocks, known)
    rng = np.random.default_rng(2)
    for _ in range(5):
        for parameter in parameters.values():
            parameter.data.mul_(float(rng.uniform(0.7, 2.0)))
            parameter.data.add_(0.01)
        with gpytorch.settings.fast_computations(False, False, False):
            value, gradient = get_loss_closure_with_grads(mll, parameters)()
        ours, moves = loss()
        assert ours.item() == pytest.approx(value.item(), abs=1e-7)
        for move, wanted in zip(moves, gradient, strict=True):
            assert move.shape == wanted.shape
            torch.testing.assert_close(move, wanted, rtol=1e-5, atol=1e-7)


def test_fit_is_that_of_gpytorch(monkeypatch):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((80, 15))
    y = np.sin(x[:, 0]) + 0.1 * rng.standard_normal(80)
    ours = gp.fit(x, y, seed=0, widths=(10, 5))
    monkeypatch.setattr(Loss, "takes", staticmethod(lambda blocks: False))
    theirs = gp.fit(x, y, seed=0, widths=(10, 5))
    points = rng.standard_normal((50, 15))
    for found, wanted in zip(
        ours.posterior_moments(points), theirs.posterior_moments(points), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_kernels_that_are_not_known_here_are_left_to_gpytorch():
    assert not Loss.takes(prior_modes((4,), Kernel("linear")))
    assert not Loss.takes(prior_modes((4,), Kernel(ard=True)))


def test_covariance_that_is_barely_singular_is_padded_and_one_that_is_not_is_refused():
    singular = np.ones((3, 3))
    singular[2, 2] -= 1e-9
    factor = evidence._factor(singular.copy())
    np.testing.assert_allclose(factor @ factor.T, singular, atol=1e-5)
    with pytest.raises(NotPSDError, match="cannot be factored"):
        evidence._factor(np.diag([1.0, -1.0]))


def test_fit_of_features_of_wild_size_goes_on():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gp.fit(np.full((6, 4), 1e150), np.arange(6.0), seed=0)
    assert np.isfinite(found.posterior_moments(np.full((1, 4), 1e150))[0]).all()
