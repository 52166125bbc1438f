"""Stopping where few hits are expected."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cloudseed.db import ExperimentState
from cloudseed.loop.stopping import stop_reason
from tests.loop.small import spec_of

SPEC = spec_of(
    objective="find all",
    constraints=["bulk_modulus >= 100"],
    budget={"experiments": 99},
    stop={"expected_hits": {"below": 0.5, "next": 4}},
)


def standing(hits, outlooks, running=0, doubted=()):
    """Two experiments to begin with, then two for each outlook, the last ones running."""
    steps = [0, 0] + [step for step in outlooks for _ in range(2)]
    count = len(steps) - running
    results = [
        SimpleNamespace(
            experiment=SimpleNamespace(
                id=i,
                state=ExperimentState.MEASURED if i < count else ExperimentState.RUNNING,
                lab="lab",
            ),
            at=i + 1 if i < count else None,
            step=step,
            failures=(),
            candidate=SimpleNamespace(id=i),
            feasible=i in hits if i < count else None,
            values={"bulk_modulus": 150.0 if i in hits else 50.0} if i < count else {},
        )
        for i, step in enumerate(steps)
    ]
    return SimpleNamespace(
        results=results,
        outlooks={step: {"expected_hits": hope} for step, hope in outlooks.items()},
        doubted=frozenset(doubted),
        measured=count,
        used=count,
        unsuccessful=0,
        elapsed=0.0,
        spending={},
        limits={},
        pool=500,
        states={"measured": count, **({"running": running} if running else {})},
    )


@pytest.mark.parametrize(
    ("hits", "outlooks", "running", "stops"),
    [
        ((), {1: 0.1, 2: 0.1, 3: 0.1}, 0, True),
        ((), {1: 0.1, 2: 0.1, 3: 0.1}, 1, False),  # its own have not ended, and there are too few
        ((), {1: 0.1, 2: 0.1}, 0, False),  # fewer before than it looks ahead
        ((6,), {1: 0.1, 2: 0.1, 3: 0.1}, 0, False),  # its own brought one
        ((5,), {1: 0.1, 2: 0.1, 3: 0.1}, 0, False),  # one of the four before brought one
        ((0,), {1: 0.1, 2: 0.1, 3: 0.1}, 0, True),  # chosen by no model
        ((), {1: 0.1, 2: 0.1, 3: 0.6}, 0, False),
        ((2, 3), {1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1}, 0, True),
        ((2, 3), {1: 0.1, 2: 0.1, 3: 0.3, 4: 0.3}, 0, False),  # 0.3 * (1 + 2) / (1 + 0.25)
    ],
)
def test_few_hits_are_expected(hits, outlooks, running, stops):
    reason = stop_reason(SPEC, standing(hits, outlooks, running))
    assert (reason is not None) == stops
    assert not stops or "further hits are expected in the next 4 experiments" in reason


@pytest.mark.parametrize(
    ("hits", "outlooks", "doubted", "stops"),
    [
        ((), {1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1}, {4}, True),
        ((), {1: 0.1, 2: 0.1, 3: 0.1}, {3}, False),  # fewer before the second than it looks ahead
        ((), {1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1}, {1, 2, 3, 4}, False),
        ((9,), {1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1}, {4}, False),  # what it chose is a hit all the same
        ((2, 3), {1: 0.1, 2: 0.1, 3: 0.3, 4: 0.3}, {1}, True),  # what it fell short of is no guide
    ],
)
def test_hits_that_a_doubted_decision_expected_are_not_asked_for(hits, outlooks, doubted, stops):
    assert (stop_reason(SPEC, standing(hits, outlooks, doubted=doubted)) is not None) == stops


@pytest.mark.parametrize(
    ("chances", "doubted", "stops"),
    [
        ({1: 0.2, 2: 0.97}, (), True),
        ({1: 0.2, 2: 0.97}, {2}, False),
        ({1: 0.97, 2: 0.97}, {2}, True),  # the first knew nothing of what does not stand any more
        ({1: 0.97, 2: 0.97}, {1, 2}, False),
    ],
)
def test_the_best_that_a_doubted_decision_knew_is_no_reason_to_stop(chances, doubted, stops):
    spec = spec_of(constraints=[], budget={"experiments": 99}, stop={"regret": {"epsilon": 0.0}})
    now = standing((), chances, doubted=doubted)
    now.outlooks = {step: {"probability_of_best": chance} for step, chance in chances.items()}
    assert (stop_reason(spec, now) is not None) == stops
