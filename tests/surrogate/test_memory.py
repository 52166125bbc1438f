"""A memory saves work and changes nothing."""

from dataclasses import replace

import numpy as np
import pytest

from cloudseed.surrogate import Memory, Strategy, decide, parse_problem
from tests.surrogate.test_choosing import EVERY, FEATURES, GOALS, observed


def ask(memory, *, known=30, pending=(), goal="bounded", seed=0, features=FEATURES, name="auto"):
    choice = decide(
        features,
        observed(range(known)),
        available=EVERY,
        pending=pending,
        problem=GOALS[goal],
        batch=3,
        seed=seed,
        strategy=Strategy(name),
        memory=memory,
    )
    return choice.picks, choice.notes, choice.scores.rows.tolist(), choice.model


@pytest.mark.parametrize(
    ("goal", "name"), [("bounded", "auto"), ("optimum", "information"), ("window", "level_set")]
)
def test_models_and_values_are_kept_while_nothing_is_measured(goal, name):
    memory = Memory()
    first = ask(memory, goal=goal, name=name)
    running = first[0]
    again = ask(memory, goal=goal, name=name, pending=running, seed=1)
    assert (memory.fits, memory.evaluations) == (1, 1)
    assert again == ask(None, goal=goal, name=name, pending=running, seed=1)
    assert not set(running) & set(again[2])


def test_a_measurement_a_goal_and_a_pool_make_new_models():
    memory = Memory()
    ask(memory)
    ask(memory, known=31)
    assert (memory.fits, memory.evaluations) == (2, 2)
    ask(memory, known=31, goal="target")
    assert memory.fits == 3
    same = FEATURES.copy()
    assert ask(memory, known=31, goal="target", features=same) == ask(None, known=31, goal="target")
    assert memory.fits == 4


def test_candidates_that_come_back_are_asked_of_again():
    memory = Memory()
    ask(memory, pending=[50, 51])
    back = ask(memory)
    assert (memory.fits, memory.evaluations) == (1, 2)
    assert back == ask(None)


def test_what_could_not_be_made_makes_new_models():
    memory = Memory()
    seen = observed(range(30))
    asked = {"available": EVERY, "problem": parse_problem("max a"), "batch": 2, "seed": 0}
    decide(FEATURES, seen, memory=memory, **asked)
    decide(FEATURES, replace(seen, infeasible=np.array([90])), memory=memory, **asked)
    assert memory.fits == 2
