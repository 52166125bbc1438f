"""Closed forms against sampling and numerical integration."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.values import (
    folded_moments,
    label_information,
    largest_values,
    max_value_information,
    softplus,
    straddle,
    upper_bound,
)

RNG = np.random.default_rng(0)
MEAN = np.array([-2.0, 0.0, 0.4, 3.0])
SD = np.array([0.5, 1.0, 0.01, 2.0])


def test_soft_positive_part_is_the_amount_where_large_and_keeps_the_order_where_negative():
    x = np.array([-1e4, -300.0, -1.0, 0.0, 50.0])
    found = softplus(x, 0.5)
    assert found[-1] == pytest.approx(np.log(50.0))
    assert (np.diff(found) > 0).all()
    assert np.isfinite(found).all()


def test_moments_of_the_distance_from_a_target_are_those_of_draws():
    draws = -np.abs(MEAN + SD * RNG.standard_normal((400_000, 4)) - 0.5)
    mean, sd = folded_moments(MEAN, SD, 0.5)
    np.testing.assert_allclose(mean, draws.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(sd, draws.std(axis=0), atol=0.01)


def test_upper_bounds_keep_the_order_of_mean_plus_width_sd():
    found = upper_bound(MEAN, SD, 2.0, floor=-5.0, scale=0.1)
    assert np.argsort(found).tolist() == np.argsort(MEAN + 2 * SD).tolist()


def test_straddling_wants_what_is_unsure_near_a_bound():
    known, near, far = straddle(
        np.array([1.0, 1.0, 4.0]), np.array([0.01, 0.5, 0.5]), 1.0, np.inf, 0.1
    )
    assert near > known
    assert near > far
    inside = straddle(np.array([2.0]), np.array([0.1]), 1.0, 1.9, 0.1)
    outside = straddle(np.array([1.45]), np.array([0.1]), 1.0, 1.9, 0.1)
    assert inside > outside


@pytest.mark.parametrize(("mean", "sd", "noise"), [(0.0, 1.0, 0.3), (0.8, 1.0, 0.1), (2.0, 0.5, 1)])
def test_information_of_a_label_is_its_mutual_information(mean, sd, noise):
    def entropy(p):
        p = np.clip(p, 1e-12, 1 - 1e-12)
        return -p * np.log2(p) - (1 - p) * np.log2(1 - p)

    draws = mean + sd * RNG.standard_normal(400_000)
    wanted = entropy(norm.cdf(mean / np.hypot(sd, noise))) - entropy(norm.cdf(draws / noise)).mean()
    found = np.exp(label_information(np.array([mean]), np.array([sd]), noise, 0.0, np.inf))
    assert found[0] == pytest.approx(wanted, abs=0.02)


def test_largest_values_are_distributed_as_the_largest_of_draws():
    mean, sd = RNG.normal(size=60), RNG.uniform(0.1, 1.0, 60)
    chance = RNG.uniform(0.2, 1.0, 60)
    draws = mean + sd * RNG.standard_normal((40_000, 60))
    draws[RNG.random(draws.shape) > chance] = -np.inf
    wanted = np.quantile(draws.max(axis=1), [0.1, 0.5, 0.9])
    found = largest_values(mean, sd, chance, 400, np.random.default_rng(1))
    np.testing.assert_allclose(np.quantile(found, [0.1, 0.5, 0.9]), wanted, atol=0.05)


def test_information_on_the_optimum_is_the_entropy_that_it_cuts_off():
    mean, sd, top = 0.3, 0.8, 0.9
    z = (top - mean) / sd

    def density(v):
        return norm.pdf(v, mean, sd) / norm.cdf(z)

    def term(v):
        return -density(v) * np.log(density(v))

    wanted = norm(mean, sd).entropy() - quad(term, mean - 9 * sd, top)[0]
    found = max_value_information(np.array([mean]), np.array([sd]), np.array([top]))
    assert np.exp(found[0]) == pytest.approx(wanted, rel=1e-6)


def test_information_on_the_optimum_keeps_its_order_where_it_is_vanishing():
    found = max_value_information(np.array([-90.0, -60.0, 0.0]), np.ones(3), np.array([1.0, 2.0]))
    assert (np.diff(found) > 0).all()
    assert np.isfinite(found).all()


def test_chance_to_be_better_is_one_event_with_bounds_on_the_same_value():
    draws = 0.3 + 0.5 * RNG.standard_normal(400_000)
    mean, sd = np.array([0.3]), np.array([0.5])
    up = Goal(1.0).log_chance(mean, sd, 0.4, (-np.inf, 0.6))
    assert np.exp(up[0]) == pytest.approx(((draws > 0.4) & (draws < 0.6)).mean(), abs=0.005)
    down = Goal(-1.0).log_chance(mean, sd, -0.1, (0.0, np.inf))
    assert np.exp(down[0]) == pytest.approx(((draws < 0.1) & (draws > 0.0)).mean(), abs=0.005)
    near = Goal(1.0, 0.5).log_chance(mean, sd, -0.2, (0.6, np.inf))
    assert np.exp(near[0]) == pytest.approx(((draws < 0.7) & (draws > 0.6)).mean(), abs=0.005)
    # Where the best lies beyond the bound, next to nothing is better, and all are still told apart.
    means, sds = np.array([0.3, 0.55]), np.array([0.2, 0.2])
    beyond = Goal(1.0).log_chance(means, sds, 0.7, (-np.inf, 0.6))
    assert (beyond < -10).all()
    assert beyond[1] > beyond[0] > -np.inf
