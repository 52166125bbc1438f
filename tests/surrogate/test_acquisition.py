import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from cloudseed.surrogate import gp
from cloudseed.surrogate.acquisition import (
    Criterion,
    log_expected_improvement,
    log_probability_between,
)
from cloudseed.surrogate.objectives import problem


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


def test_criterion_prefers_the_feasible_side():
    x = np.linspace(0, 1, 12)[:, None]
    goal = problem("max a", ["b <= 0.5"])
    models = {"a": gp.fit(x, x[:, 0], seed=0), "b": gp.fit(x, x[:, 0] ** 2, seed=0)}
    found = Criterion(goal, models, best=0.3)(np.array([[0.45], [0.98]]))
    assert found.mean[1, 0] > found.mean[0, 0]
    assert found.acquisition[0] > found.acquisition[1]
    assert found.log_feasible[0] > math.log(0.9)
