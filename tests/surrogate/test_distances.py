import math

import numpy as np
from scipy.spatial.distance import cdist

from cloudseed.surrogate.distances import distances, matern52

RNG = np.random.default_rng(0)


def test_distances_are_those_of_scipy():
    a, b = RNG.normal(size=(50, 7)), RNG.normal(size=(30, 7))
    np.testing.assert_allclose(distances(a, b), cdist(a, b), atol=1e-12)


def test_equal_rows_are_as_good_as_at_zero():
    a = RNG.normal(size=(40, 64)) * 100
    between = np.diag(distances(a, a)).copy()
    assert between.max() < 1e-4
    assert (matern52(between / 100) > 1 - 1e-12).all()


def test_the_kernel_is_the_formula():
    r = np.abs(RNG.normal(size=(9, 5)))
    wanted = (1 + r + r * r / 3) * np.exp(-r)
    np.testing.assert_allclose(matern52(r.copy()), wanted, rtol=1e-14)
    assert math.isclose(matern52(np.zeros(1))[0], 1.0)
