"""Hyperparameters searched by their logarithms, against BoTorch's own search."""

from __future__ import annotations

import warnings

import gpytorch
import numpy as np
import pytest
import torch
from botorch.exceptions.warnings import OptimizationWarning
from botorch.optim.core import OptimizationStatus
from botorch.optim.fit import fit_gpytorch_mll_scipy
from linear_operator.utils.errors import NanError

from cloudseed.surrogate import gp
from cloudseed.surrogate.gp.evidence import Loss
from cloudseed.surrogate.gp.logarithms import minimise_by_logarithms
from cloudseed.surrogate.kernels import Kernel, prior_modes


class Counted:
    """A loss that counts how often it is asked."""

    def __init__(self, loss):
        self.loss, self.asked = loss, 0

    def __call__(self):
        self.asked += 1
        return self.loss()


def made(kernel=None, rows=60, widths=(10, 5), scale=1.0):
    rng = np.random.default_rng(0)
    x = scale * rng.standard_normal((rows, sum(widths)))
    y = np.sin(x[:, 0] / scale) + 0.1 * rng.standard_normal(rows)
    blocks = prior_modes(widths, kernel or Kernel())
    model = gp.botorch_model(x, (y - y.mean()) / y.std(), blocks)
    mll = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model).train()
    return mll, blocks


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0])
def test_the_optimum_is_as_good_in_fewer_steps(scale):
    found, asked = [], []
    for search in (fit_gpytorch_mll_scipy, minimise_by_logarithms):
        mll, blocks = made(scale=scale)
        loss = Counted(Loss(mll, blocks))
        found.append(search(mll, closure=loss, options={"maxiter": 1000}).fval)
        asked.append(loss.asked)
        # The parameters are left where the loss was found.
        assert loss.loss()[0].item() == pytest.approx(found[-1], abs=1e-9)
    theirs, ours = found
    assert ours <= theirs + 1e-5
    assert asked[1] < asked[0]


@pytest.mark.parametrize("kernel", [Kernel(ard=True), Kernel("rbf", ard=True), Kernel("linear")])
def test_without_a_loss_of_its_own_it_takes_gpytorch_s(kernel):
    with warnings.catch_warnings(), gpytorch.settings.fast_computations(False, False, False):
        warnings.simplefilter("ignore")
        theirs = fit_gpytorch_mll_scipy(made(kernel)[0]).fval
        mll, _ = made(kernel)
        ours = minimise_by_logarithms(mll)
    assert ours.status == OptimizationStatus.SUCCESS
    assert ours.fval <= theirs + 1e-3


def test_bounds_hold():
    mll, _ = made()
    fitted = [p for p in mll.parameters() if p.requires_grad]
    mean = mll.model.mean_module.raw_constant

    def falling():
        # Less is always better, but of the mean, which has no bound.
        loss = sum(p.sum() if p is not mean else (p - 3) ** 2 for p in fitted)
        return loss, torch.autograd.grad(loss, fitted)

    minimise_by_logarithms(mll, closure=falling)
    least = {
        name: constraint.lower_bound.item()
        for name, _, constraint in mll.named_parameters_and_constraints()
        if constraint is not None
    }
    assert len(least) == len(fitted) - 1
    for name, parameter in mll.named_parameters():
        assert parameter.item() == pytest.approx(least.get(name, 3.0), rel=1e-5)


def test_a_start_below_its_bound_is_taken_to_it():
    mll, blocks = made()
    noise = mll.likelihood.noise_covar.raw_noise
    with torch.no_grad():
        noise.fill_(1e-9)
    minimise_by_logarithms(mll, closure=Loss(mll, blocks), options={"maxiter": 1})
    assert noise.item() >= 1e-4 * (1 - 1e-12)


def test_a_loss_that_is_no_number_warns_so_that_botorch_tries_again():
    mll, _ = made()

    def broken():
        raise NanError("not a number")

    with pytest.warns(OptimizationWarning):
        found = minimise_by_logarithms(mll, closure=broken)
    assert found.status == OptimizationStatus.FAILURE


def test_time_that_runs_out_leaves_the_best_so_far():
    mll, blocks = made(rows=200)
    loss = Loss(mll, blocks)
    before = loss()[0].item()
    found = minimise_by_logarithms(mll, closure=loss, timeout_sec=0.0)
    assert "timed out" in found.message
    assert loss()[0].item() <= before
