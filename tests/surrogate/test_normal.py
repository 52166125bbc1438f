import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from cloudseed.surrogate.normal import (
    log_expected_approach,
    log_expected_improvement,
    log_expected_ramp,
    log_probability_between,
)


@pytest.mark.parametrize("gain", [-0.5, -0.09, 0.0, 0.4, 5.0])
@pytest.mark.parametrize("sd", [0.1, 1.0, 20.0])
def test_expected_improvement_is_the_integral(gain, sd):
    top = gain + 12 * sd
    integral, _ = quad(lambda v: v * norm.pdf(v, gain, sd), 0, top, points=[max(gain, 0)])
    found = log_expected_improvement(np.array([gain]), np.array([sd]))
    assert found[0] == pytest.approx(math.log(integral), abs=1e-6)


def test_expected_improvement_stays_finite_and_ordered():
    gains = -np.logspace(-3, 9, 400)
    found = log_expected_improvement(gains, np.ones(400))
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()


@pytest.mark.parametrize(
    ("lower", "upper"), [(-math.inf, 1.0), (0.5, math.inf), (-1.0, 2.0), (3.0, 4.0), (-4.0, -3.0)]
)
def test_probability_between(lower, upper):
    found = log_probability_between(np.array([0.3]), np.array([1.2]), lower, upper)
    assert math.exp(found[0]) == pytest.approx(
        norm.cdf(upper, 0.3, 1.2) - norm.cdf(lower, 0.3, 1.2)
    )


def test_probability_far_out_and_without_spread():
    far = log_probability_between(np.zeros(2), np.ones(2), 30.0, 31.0)
    assert far[0] == pytest.approx(norm.logsf(30), abs=1e-6)
    certain = log_probability_between(np.array([0.5, 2.0]), np.zeros(2), 0.0, 1.0)
    assert certain[0] == pytest.approx(0.0)
    assert certain[1] < -1e3


@pytest.mark.parametrize("mean", [0.0, 0.9, 1.0, 2.5, -3.0])
@pytest.mark.parametrize("sd", [0.05, 1.0, 10.0])
@pytest.mark.parametrize("distance", [0.1, 2.0])
def test_expected_approach_is_the_integral(mean, sd, distance):
    ends = (1.0 - distance, 1.0 + distance)
    integral, _ = quad(
        lambda v: (distance - abs(v - 1.0)) * norm.pdf(v, mean, sd), *ends, points=[1.0]
    )
    found = log_expected_approach(np.array([mean]), np.array([sd]), 1.0, np.array([distance]))
    if integral > 1e-7:
        assert found[0] == pytest.approx(math.log(integral), abs=1e-5)
    else:
        assert found[0] < math.log(1e-6)


def test_expected_approach_stays_finite_and_ordered():
    means = 1.0 + np.linspace(0.5, 30.0, 60)
    found = log_expected_approach(means, np.ones(60), 1.0, np.full(60, 0.2))
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("mean", "sd", "lower", "upper"),
    [(0.2, 1.0, 0.0, 0.5), (-3.0, 0.7, 0.0, 4.0), (9.0, 2.0, 1.0, 1.01), (0.5, 0.01, 0.0, 1.0)],
)
def test_an_expected_ramp_is_the_integral(sign, mean, sd, lower, upper):
    origin = lower if sign > 0 else upper
    integral, _ = quad(
        lambda v: sign * (v - origin) * norm.pdf(v, mean, sd),
        lower,
        upper,
        points=[min(max(mean, lower), upper)],
        epsabs=0,
        limit=200,
    )
    found = log_expected_ramp(
        np.array([mean]), np.array([sd]), lower, upper, origin=origin, sign=sign
    )
    assert found[0] == pytest.approx(math.log(integral), abs=1e-8)


def test_a_ramp_without_an_end_is_the_expected_improvement():
    means = np.concatenate([-np.logspace(-3, 5, 50), np.logspace(-3, 3, 50)])
    sds = np.array([[0.1], [1.0], [30.0]])
    found = log_expected_ramp(means, sds, 0.0, np.inf, origin=0.0)
    wanted = log_expected_improvement(*np.broadcast_arrays(means, sds))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-8)
    assert log_expected_ramp(means, sds, 1.0, 1.0, origin=0.0).max() == -np.inf
