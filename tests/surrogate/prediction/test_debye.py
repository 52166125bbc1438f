"""Debye's model against quadrature by scipy, its limits and its derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from cloudseed.surrogate.prediction.debye import (
    GAS_CONSTANT,
    THETA,
    DebyeHead,
    bounded_theta,
    energy,
    heat_capacity,
    sensitivity,
)

RATIOS = (1e-6, 1e-3, 0.1, 0.299, 0.301, 1.0, 3.0, 10.0, 39.0, 41.0, 88.0, 89.0, 200.0, 1e3, 1e6)
#: Of the ratio of Debye temperature and temperature, zero among them.
ANY_RATIO = st.one_of(st.just(0.0), st.floats(min_value=-6, max_value=6).map(lambda e: 10.0**e))


def reference(ratio: float) -> tuple[float, float]:
    """Returns heat capacity and energy over RT at theta / T, as integrals in x."""
    end = min(ratio, 300.0)
    options = {"limit": 400, "epsabs": 0, "epsrel": 1e-12}
    c, _ = quad(lambda x: x**4 * math.exp(-x) / math.expm1(-x) ** 2, 1e-12, end, **options)
    u, _ = quad(lambda x: x**3 * math.exp(-x) / -math.expm1(-x), 1e-12, end, **options)
    return 9 * GAS_CONSTANT * c / ratio**3, 9 / 8 * ratio + 9 * u / ratio**3


@pytest.mark.parametrize("ratio", RATIOS[1:])
def test_agrees_with_scipy_in_both_precisions(ratio):
    capacity, reduced = reference(ratio)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-6)):
        kelvin = torch.tensor(300.0, dtype=dtype)
        found = heat_capacity(ratio * kelvin, kelvin)
        assert float(found) == pytest.approx(capacity, rel=tolerance)
        found = energy(ratio * kelvin, kelvin)
        assert float(found) == pytest.approx(reduced * GAS_CONSTANT * 300, rel=tolerance)


def test_low_temperatures_follow_the_cube():
    theta = torch.tensor(400.0)
    kelvin = torch.tensor([0.01, 0.1, 1.0, 8.0])
    law = 12 * math.pi**4 / 5 * GAS_CONSTANT * (kelvin / theta) ** 3
    torch.testing.assert_close(heat_capacity(theta, kelvin), law, rtol=2e-6, atol=0.0)
    zero_point = energy(theta, torch.tensor(1e-3))
    assert float(zero_point) == pytest.approx(9 / 8 * GAS_CONSTANT * 400, rel=1e-6)


def test_high_temperatures_follow_dulong_and_petit():
    found = heat_capacity(torch.tensor(400.0), torch.tensor([1e5, 1e7]))
    torch.testing.assert_close(found, torch.full((2,), 3 * GAS_CONSTANT), rtol=1e-5, atol=0.0)
    # The zero-point energy cancels the first correction: U = 3RT (1 + y^2 / 20).
    kelvin = torch.tensor(4000.0, dtype=torch.float64)
    expected = 3 * GAS_CONSTANT * 4000 * (1 + 0.1**2 / 20)
    assert float(energy(0.1 * kelvin, kelvin)) == pytest.approx(expected, rel=1e-7)


def test_heat_capacity_is_the_slope_of_the_energy():
    # The grid holds the ratio 40, where the range of integration stops growing.
    theta = torch.linspace(50, 2000, 40, dtype=torch.float64)[:, None]
    kelvin = torch.linspace(5, 1500, 30, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(energy(theta, kelvin).sum(), kelvin)
    torch.testing.assert_close(slope, heat_capacity(theta, kelvin).sum(dim=0))


@given(ANY_RATIO)
def test_any_ratio_has_finite_values_and_gradients(ratio):
    theta = torch.tensor(300.0 * ratio, dtype=torch.float32, requires_grad=True)
    kelvin = torch.tensor(300.0, requires_grad=True)
    capacity, total = heat_capacity(theta, kelvin), energy(theta, kelvin)
    assert 0 <= float(capacity.detach()) <= 3 * GAS_CONSTANT * (1 + 1e-5)
    (capacity + total).backward()
    for value in (total, theta.grad, kelvin.grad, sensitivity(theta, kelvin)):
        assert torch.isfinite(value)


@given(ANY_RATIO, st.floats(min_value=1.001, max_value=10))
def test_stiffer_and_colder_crystals_hold_less(ratio, factor):
    theta = torch.tensor([300.0 * ratio, 300.0 * ratio * factor], dtype=torch.float64)
    soft, stiff = heat_capacity(theta, torch.tensor(300.0, dtype=torch.float64)).tolist()
    assert stiff <= soft * (1 + 1e-12)


@pytest.mark.parametrize("ratio", RATIOS)
def test_sensitivity_is_the_slope_in_the_logarithm(ratio):
    log = torch.tensor(math.log(300.0 * ratio), dtype=torch.float64, requires_grad=True)
    kelvin = torch.tensor(300.0, dtype=torch.float64)
    (slope,) = torch.autograd.grad(heat_capacity(log.exp(), kelvin), log)
    torch.testing.assert_close(sensitivity(log.exp(), kelvin), slope, rtol=1e-6, atol=1e-9)


@given(st.floats(width=32, allow_nan=False))
def test_predicted_debye_temperatures_are_bounded(logit):
    theta = float(bounded_theta(torch.tensor(logit)))
    assert THETA[0] * (1 - 1e-5) <= theta <= THETA[1] * (1 + 1e-5)


def test_head_multiplies_atoms_and_spreads_temperatures():
    torch.manual_seed(0)
    head = DebyeHead(8, start=350.0)
    features, kelvin = torch.zeros(3, 8), torch.tensor([100.0, 300.0])
    found = head(features, kelvin, torch.tensor([1.0, 2.0, 5.0]))
    assert found.shape == (3, 2)
    torch.testing.assert_close(found[1:], found[:1] * torch.tensor([[2.0], [5.0]]))
    np.testing.assert_allclose(head.theta(features).detach(), 350.0, rtol=1e-5)
    head(torch.randn(3, 8), kelvin, torch.ones(3)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())
