import numpy as np
import pytest
import torch

from cloudseed.errors import InputError
from cloudseed.surrogate import gp, kernels
from cloudseed.surrogate.kernels import Covariance, Kernel, Term

A, B = np.random.default_rng(0).random((6, 5)), np.random.default_rng(1).random((4, 5))
KINDS = [Kernel(), Kernel(ard=True), Kernel("rbf"), Kernel("rbf", ard=True), Kernel("linear")]


def numbers(kernel, widths):
    """A covariance whose numbers all differ."""
    made = kernels.prior_modes(widths, kernel)
    terms = [
        Term(t.width, tuple(s * (1 + i + j) for j, s in enumerate(t.lengthscales)), 0.5 + i)
        for i, t in enumerate(made.terms)
    ]
    return Covariance(tuple(terms), kernel)


@pytest.mark.parametrize("widths", [(5,), (3, 2)])
@pytest.mark.parametrize("kernel", KINDS)
def test_values_are_those_of_gpytorch(kernel, widths):
    found = numbers(kernel, widths)
    module = kernels.covariance(found)
    with torch.no_grad():
        wanted = module(torch.from_numpy(A), torch.from_numpy(B)).to_dense().numpy()
    np.testing.assert_allclose(found(A, B), wanted, rtol=1e-6)
    np.testing.assert_allclose(found.diagonal(A), np.diag(found(A, A)), rtol=1e-12)
    again = kernels.fitted(module, found)
    np.testing.assert_allclose(again(A, B), wanted, rtol=1e-6)
    assert again.widths == widths


def test_blocks_are_told_apart():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(60, 6))
    y = np.sin(3 * x[:, 4]) + x[:, 5]
    found = gp.fit(x, y, seed=0, widths=(4, 2)).hyper.covariance
    useless, useful = found.terms
    assert useful.outputscale > 5 * useless.outputscale
    record = gp.fit(x, y, seed=0, widths=(4, 2)).summary
    assert record["lengthscale"] == [t.lengthscales[0] for t in found.terms]


def test_one_block_is_recorded_as_plain_numbers():
    record = gp.fit(A, A[:, 0], seed=0).summary
    assert isinstance(record["lengthscale"], float)
    assert record["kernel"] == "scale * Matern 5/2, isotropic"


def test_a_linear_kernel_has_no_length_scales():
    with pytest.raises(InputError, match="no length scales"):
        Kernel("linear", ard=True)
