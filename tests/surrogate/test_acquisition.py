import math

import numpy as np
import pytest

from cloudseed.surrogate import gp
from cloudseed.surrogate.acquisition import Criterion, Goal
from cloudseed.surrogate.objectives import problem


def test_criterion_prefers_the_feasible_side():
    x = np.linspace(0, 1, 12)[:, None]
    goal = problem("max a", ["b <= 0.5"])
    models = {"a": gp.fit(x, x[:, 0], seed=0), "b": gp.fit(x, x[:, 0] ** 2, seed=0)}
    found = Criterion(goal, models, best=0.3)(np.array([[0.45], [0.98]]))
    assert found.mean[1, 0] > found.mean[0, 0]
    assert found.acquisition[0] > found.acquisition[1]
    assert found.log_feasible[0] > math.log(0.9)


def test_a_target_prefers_what_comes_near_it():
    x = np.linspace(0, 1, 12)[:, None]
    goal = problem("a = 0.3")
    found = Criterion(goal, {"a": gp.fit(x, x[:, 0], seed=0)}, best=-0.05)(
        np.array([[0.3], [0.6], [0.0]])
    )
    assert found.acquisition.argmax() == 0
    assert Goal.of(goal.objective, centre=0.3, scale=2.0).target == 0.0


def test_what_is_to_be_found_is_valued_by_its_probability():
    x = np.linspace(0, 1, 12)[:, None]
    goal = problem("a in [0.4, 0.6]")
    found = Criterion(goal, {"a": gp.fit(x, x[:, 0], seed=0)}, best=0.0)(
        np.array([[0.5], [0.1], [0.9]])
    )
    assert found.acquisition.argmax() == 0
    assert found.acquisition.tolist() == found.log_feasible.tolist()


@pytest.mark.parametrize(
    ("sought", "bound", "best"),
    [
        ("max a", ["a <= 0.55"], 0.5),
        ("min a", ["a >= 0.4", "a <= 0.6"], -0.5),
        ("a = 0.5", ["a <= 0.52"], -0.1),
        ("max a", ["a >= 0.45"], 0.2),
    ],
)
def test_a_bound_on_what_is_sought_and_a_gain_are_one_event(sought, bound, best):
    x = np.linspace(0, 1, 6)[:, None]
    values = 0.5 + 0.1 * np.sin(7 * x[:, 0])
    goal = problem(sought, bound)
    model = gp.fit(x, values, seed=0)
    points = np.array([[0.31], [0.5], [0.77]])
    found = Criterion(goal, {"a": model}, best=best)(points)
    rng = np.random.default_rng(0)
    mean, sd = model.posterior_moments(points)
    drawn = mean + sd * rng.standard_normal((400_000, 3))
    gain = np.maximum(Goal.of(goal.objective).merit(drawn) - best, 0.0)
    for c in goal.constraints:
        gain[(drawn > c.bound) if c.relation == "<=" else (drawn < c.bound)] = 0.0
    told, error = gain.mean(axis=0), gain.std(axis=0) / math.sqrt(len(gain))
    assert (told > 20 * error).any()
    np.testing.assert_array_less(np.abs(np.exp(found.acquisition) - told), 5 * error + 1e-12)


def test_a_best_beyond_the_bound_leaves_an_order():
    goal = Goal(1.0)
    mean, sd = np.array([0.9, 1.0, 3.0]), np.full(3, 0.2)
    for worth in (goal.log_gain, goal.log_chance):
        found = worth(mean, sd, 1.2, (-np.inf, 1.0))
        assert np.isfinite(found).all()
        assert found.argmax() == 1
