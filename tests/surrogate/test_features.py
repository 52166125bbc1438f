import numpy as np
import pytest

from cloudseed.errors import InputError
from cloudseed.surrogate import features
from cloudseed.surrogate.features import Features, fit_projection
from cloudseed.surrogate.space import Space


def test_projection_keeps_distances_up_to_one_scale():
    x = np.random.default_rng(0).normal(size=(50, 7)) * [9, 5, 3, 1, 1, 0.5, 0.1]
    z = fit_projection(x)(x)
    before = np.linalg.norm(x[:1] - x[1:], axis=1)
    after = np.linalg.norm(z[:1] - z[1:], axis=1)
    assert np.ptp(before / after) < 1e-9 * before.max()
    assert z.var(axis=0).sum() == pytest.approx(7 / 12)


def test_components_come_by_variance_with_positive_largest_loading():
    x = np.random.default_rng(1).normal(size=(200, 5)) * [1, 4, 2, 8, 3]
    found = fit_projection(x, dimension=3)
    assert found.dimension == 3
    variances = found(x).var(axis=0)
    assert (np.diff(variances) < 0).all()
    largest = np.abs(found.components).argmax(axis=0)
    assert (found.components[largest, np.arange(3)] > 0).all()
    assert 0.8 < found.explained < 1


def test_chunks_change_nothing(monkeypatch):
    x = np.random.default_rng(2).normal(size=(100, 4)).astype(np.float32)
    whole = fit_projection(x)
    monkeypatch.setattr("cloudseed.surrogate.features._CHUNK", 7)
    np.testing.assert_allclose(fit_projection(x).components, whole.components, atol=1e-12)


def test_fewer_rows_than_dimensions_and_constant_columns():
    x = np.random.default_rng(3).normal(size=(5, 300)).astype(np.float32)
    x[:, :100] = 0.1
    assert fit_projection(x).dimension == 4


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8, -3e-9])
def test_equal_rows_project_to_one_zero_column(value):
    found = fit_projection(np.full((6, 3), value))
    assert found.dimension == 1
    assert (found(np.full((6, 3), value)) == 0).all()
    assert fit_projection(np.full((1, 3), value)).dimension == 1


def test_bad_features_name_the_row():
    x = np.ones((4, 2))
    x[2, 1] = np.nan
    with pytest.raises(InputError, match="Row 2"):
        fit_projection(x)
    with pytest.raises(InputError, match="shape"):
        fit_projection(np.empty((0, 3)))


@pytest.mark.parametrize("size", [1e99, 1e101, 1e160, 1e200, 1e307])
@pytest.mark.parametrize("whiten", [False, True])
def test_huge_features_project_like_others(size, whiten):
    x = np.random.default_rng(4).uniform(-1, 1, size=(50, 5)) + 0.3
    usual, huge = (fit_projection(each, whiten=whiten) for each in (x, size * x))
    np.testing.assert_allclose(huge(size * x), usual(x), rtol=1e-9, atol=1e-9)
    assert huge.explained == pytest.approx(usual.explained)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_no_number_is_none_beside_huge_features_either(value):
    x = np.full((4, 2), 1e200)
    x[2, 1] = value
    with pytest.raises(InputError, match="Row 2"):
        fit_projection(x)


def test_whitened_components_have_one_variance():
    x = np.random.default_rng(4).normal(size=(80, 4)) * [8, 4, 2, 1]
    variances = fit_projection(x, whiten=True)(x).var(axis=0)
    np.testing.assert_allclose(variances, 1 / 12)


def test_blocks_stand_side_by_side_and_an_equal_one_is_left_out():
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(30, 8)), rng.normal(size=(30, 3))
    space = Space.of(Features({"embedding": first, "elements": second, "same": np.ones((30, 2))}))
    assert space.widths == (8, 3)
    rows = np.array([4, 2])
    np.testing.assert_allclose(space[rows][:, :8], fit_projection(first)(first[rows]))
    np.testing.assert_allclose(space[rows][:, 8:], fit_projection(second)(second[rows]))
    np.testing.assert_allclose(space.near(rows), space[rows][:, :8])


def test_blocks_of_unequal_length_are_refused():
    with pytest.raises(InputError, match="different numbers of rows"):
        Features({"embedding": np.ones((3, 2)), "elements": np.ones((4, 2))})


def test_directions_of_a_large_pool_come_from_a_part_and_its_centre_from_all(monkeypatch):
    pool = np.random.default_rng(3).normal(size=(1_000, 5)) * np.array([5.0, 2.0, 1.0, 0.5, 0.1])
    whole = features.fit_projection(pool)
    monkeypatch.setattr(features, "_SPREAD_ROWS", 250)
    part = features.fit_projection(pool)
    np.testing.assert_array_equal(part.centre, whole.centre)
    assert not np.array_equal(part.components, whole.components)
    between = np.linalg.norm(part(pool[:50]) - part(pool[50:100]), axis=1)
    wanted = np.linalg.norm(whole(pool[:50]) - whole(pool[50:100]), axis=1)
    np.testing.assert_allclose(between, wanted, rtol=0.15)
