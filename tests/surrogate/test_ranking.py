import numpy as np
import pytest

from cloudseed.errors import EmptyPoolError, InputError, ObjectiveError
from cloudseed.surrogate.objectives import problem
from cloudseed.surrogate.protocols import Observations
from cloudseed.surrogate.ranking import rank

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(120, 4))
A = FEATURES[:, 0] * 2
B = FEATURES[:, 1]
DATA = Observations(np.arange(40), np.column_stack([A, B])[:40], ("a", "b"))
POOL = np.arange(40, 120)


def test_mean_order_puts_likely_candidates_first():
    found = rank(
        FEATURES,
        DATA,
        available=POOL,
        problem=problem("max a", ["b <= 0"]),
        seed=0,
        order_by="mean",
    )
    scores = found.scores
    likely = scores.feasible >= 0.5
    assert (np.diff(likely.astype(int)) <= 0).all()
    assert (np.diff(scores.mean[likely, 0]) <= 0).all()
    assert (np.diff(scores.feasible[~likely]) <= 0).all()
    assert sorted(scores.rows) == list(POOL)
    assert B[scores.rows[:5]].max() < 0.3


def test_acquisition_order_and_minimising():
    found = rank(FEATURES, DATA, available=POOL, problem=problem("min a"), seed=0)
    assert found.order_by == "acquisition"
    assert (np.diff(found.scores.acquisition) <= 0).all()
    assert A[found.scores.rows[:5]].mean() < np.quantile(A[POOL], 0.2)


def test_nearest_measured_is_the_nearest():
    found = rank(FEATURES, DATA, available=POOL, problem=problem("max a"), seed=0)
    for i in (0, 30, 79):
        gaps = np.linalg.norm(FEATURES[:40] - FEATURES[found.scores.rows[i]], axis=1)
        assert found.neighbours[i] == gaps.argmin()
    ratio = found.distances / [
        np.linalg.norm(FEATURES[n] - FEATURES[r])
        for n, r in zip(found.neighbours, found.scores.rows, strict=True)
    ]
    assert np.ptp(ratio) < 1e-9


def test_measured_rows_may_be_ranked():
    found = rank(FEATURES, DATA, available=range(120), problem=problem("max a"), seed=0)
    near = found.scores.rows < 40
    np.testing.assert_array_equal(found.neighbours[near], found.scores.rows[near])
    assert found.scores.sd[near, 0].max() < found.scores.sd[~near, 0].max()


def test_one_value_is_enough():
    data = Observations(np.array([3]), np.array([[1.0]]), ("a",))
    found = rank(FEATURES, data, available=POOL, problem=problem("max a"), seed=0)
    assert len(found.scores.rows) == 80
    assert found.notes


def test_objective_that_was_not_measured_is_named():
    with pytest.raises(ObjectiveError, match="no measured value of aa") as caught:
        rank(FEATURES, DATA, available=POOL, problem=problem("max aa"), seed=0)
    assert "'a'" in caught.value.hint
    empty = Observations(np.array([3]), np.array([[np.nan]]), ("a",))
    with pytest.raises(ObjectiveError):
        rank(FEATURES, empty, available=POOL, problem=problem("max a"), seed=0)


@pytest.mark.parametrize(("other", "hint"), [(1.0, "Measured are: b."), (np.nan, "none")])
def test_what_has_no_value_is_not_said_to_be_measured(other, hint):
    data = Observations(np.array([3]), np.array([[np.nan, other]]), ("a", "b"))
    with pytest.raises(ObjectiveError, match="no measured value of a") as caught:
        rank(FEATURES, data, available=POOL, problem=problem("max a"), seed=0)
    assert hint in caught.value.hint
    assert "a," not in caught.value.hint


def test_nothing_to_rank_and_bad_rows():
    with pytest.raises(EmptyPoolError):
        rank(FEATURES, DATA, available=[], problem=problem("max a"), seed=0)
    with pytest.raises(InputError):
        rank(FEATURES, DATA, available=[500], problem=problem("max a"), seed=0)


def test_a_bound_that_was_never_measured_is_left_out_wherever_it_stands():
    values = np.column_stack([np.full(40, np.nan), B[:40]])
    known = Observations(np.arange(40), values, ("a", "b"))
    bounds = ["a >= 1", "b >= 0.5"]
    first, second = (
        rank(FEATURES, known, available=POOL, problem=problem("find all", asked), seed=0)
        for asked in (bounds, bounds[::-1])
    )
    np.testing.assert_array_equal(first.scores.rows, second.scores.rows)
    assert any("a was never measured" in note for note in first.notes)
    assert (B[first.scores.rows[:5]] > 0.3).all()
    nothing = Observations(np.arange(2), np.full((2, 2), np.nan), ("a", "b"))
    with pytest.raises(ObjectiveError, match="no measured value"):
        rank(FEATURES, nothing, available=POOL, problem=problem("find all", bounds), seed=0)
