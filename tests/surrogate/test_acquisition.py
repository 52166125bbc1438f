import math

import numpy as np

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
