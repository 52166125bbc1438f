import numpy as np
import pytest

from cloudseed.errors import ObjectiveError
from cloudseed.surrogate.objectives import problem
from cloudseed.surrogate.outlook import (
    Looked,
    expected_hits,
    mended_hits,
    probability_of_best,
)
from cloudseed.surrogate.protocols import Scores


def scores(mean, sd, feasible=1.0):
    mean = np.asarray(mean, dtype=float)
    count = len(mean)
    return Scores(
        rows=np.arange(count),
        mean=mean[:, None],
        sd=np.full((count, 1), float(sd)),
        acquisition=np.zeros(count),
        feasible=np.broadcast_to(np.asarray(feasible, dtype=float), count),
        properties=("x",),
    )


def test_expected_hits_are_the_likeliest_ones():
    found = scores(np.zeros(4), 1.0)
    shares = np.array([0.1, 0.8, 0.5, 0.0])
    found = Scores(found.rows, found.mean, found.sd, found.acquisition, shares, ("x",))
    assert expected_hits(found, 2) == pytest.approx(1.3)
    assert expected_hits(found, 99) == pytest.approx(1.4)


@pytest.mark.parametrize(("goal", "sign"), [("max x", 1.0), ("min x", -1.0)])
def test_probability_of_best_is_that_of_independent_draws(goal, sign):
    mean = sign * np.array([0.0, 0.5, 1.0])
    rng = np.random.default_rng(0)
    draws = mean + 0.4 * rng.standard_normal((200_000, 3))
    feasible = rng.random(draws.shape) < 0.7
    best, epsilon = 1.0, 0.2
    wanted = (~((sign * draws > best + epsilon) & feasible).any(axis=1)).mean()
    found = probability_of_best(scores(mean, 0.4, 0.7), problem(goal), best, epsilon)
    assert found == pytest.approx(wanted, abs=0.005)


@pytest.mark.parametrize(
    ("goal", "bound", "best"),
    [("max x", "x <= 1.3", 1.0), ("min x", "x >= 0.2", -0.5), ("x = 1.0", "x <= 0.9", -0.3)],
)
def test_a_bound_on_the_objective_and_being_better_are_one_event(goal, bound, best):
    mean = np.array([0.2, 0.6, 1.0])
    rng = np.random.default_rng(1)
    draws = mean + 0.4 * rng.standard_normal((200_000, 3))
    wanted = problem(goal, [bound])
    limit = float(bound.split()[-1])
    inside = draws <= limit if "<=" in bound else draws >= limit
    gained = {"max x": draws, "min x": -draws, "x = 1.0": -abs(draws - 1.0)}[goal]
    truth = (~((gained > best + 0.05) & inside).any(axis=1)).mean()
    feasible = inside.mean(axis=0)
    found = probability_of_best(scores(mean, 0.4, feasible), wanted, best, 0.05)
    assert found == pytest.approx(truth, abs=0.005)
    naive = probability_of_best(scores(mean, 0.4, feasible), problem(goal), best, 0.05)
    assert abs(naive - truth) > 0.03


def test_a_candidate_that_cannot_keep_its_bound_cannot_be_better():
    wanted = problem("max x", ["x <= 1.0"])
    assert probability_of_best(scores([900.0], 1e-9, 0.0), wanted, 0.5, 0.0) == 1.0


def test_a_target_within_epsilon_cannot_be_bettered():
    target = problem("x = 1.0")
    assert probability_of_best(scores([1.0], 0.1), target, -0.05, 0.1) == 1.0
    assert probability_of_best(scores([1.0], 0.1), target, -0.5, 0.1) < 0.01
    assert probability_of_best(scores([9.0], 0.1), target, -0.5, 0.1) > 0.99


def test_what_is_to_be_found_has_no_best():
    with pytest.raises(ObjectiveError):
        probability_of_best(scores([1.0], 0.1), problem("x in [0, 1]"), 1.0, 0.1)


def test_expectations_are_raised_by_what_earlier_ones_missed():
    assert mended_hits(0.3, []) == 0.3
    earlier = [Looked(1.0, 10, 5, 3), Looked(0.5, 10, 20, 1)]
    assert mended_hits(0.3, earlier) == pytest.approx(0.3 * 5 / 2)
    assert mended_hits(0.3, [Looked(9.0, 10, 10, 0)]) == 0.3
