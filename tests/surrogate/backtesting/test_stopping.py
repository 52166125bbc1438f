"""When a rule would have fired, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cloudseed.errors import UsageError
from cloudseed.surrogate import parse_problem
from cloudseed.surrogate.backtesting import (
    Rules,
    Run,
    StopRule,
    Truth,
    load_searcher,
    replay,
    start_rows,
    stopping,
)

VALUES = {"score": np.arange(20.0)}
HITS = Truth.of(parse_problem("find all", ["score <= 3"]), VALUES, share=None)
BEST = Truth.of(parse_problem("min score"), VALUES, share=0.2)
ORDER = (10, 0, 11, 12, 13, 14, 15, 1, 2, 16, 17, 18, 19, 5, 6, 3)


def test_a_rule_on_hits_waits_for_a_quiet_time():
    rule = StopRule(below=0.5, ahead=2)
    run = Run(ORDER, 2, outlooks=((2, 0.4), (4, 0.3), (8, 0.1)))
    found = stopping([run], HITS, rule, batch=2)
    # At two nothing that the model chose has come yet.
    assert (found.fired, found.after, found.found) == (1, 6.0, 0.25)
    assert (found.judged, found.early, found.left, found.late) == (1, 1, 1.0, None)
    busy = stopping([Run(ORDER, 2, outlooks=((6, 0.1), (8, 0.1)))], HITS, rule, batch=2)
    assert (busy.fired, busy.after, busy.found, busy.late) == (0, None, 1.0, 0.0)
    right = stopping([Run(ORDER, 2, outlooks=((11, 0.1),))], HITS, rule, batch=1)
    assert (right.after, right.early, right.judged, right.late) == (12.0, 0, 1, 3.0)
    end = stopping([Run(ORDER[:13], 2, outlooks=((11, 0.1),))], HITS, rule, batch=2)
    assert (end.after, end.judged, end.late, end.left) == (13.0, 0, 4.0, None)


def test_a_rule_on_hits_learns_that_it_expected_too_few():
    order = (10, 11, 0, 1, 12, 13, 14, 15, 16, 17)
    run = Run(order, 2, outlooks=((2, 0.1), (4, 0.3), (6, 0.3)))
    fires = {
        below: stopping([run], HITS, StopRule(below=below, ahead=2), batch=2).after
        for below in (0.6, 0.7)
    }
    # Two hits came where 0.4 were expected: 0.3 are taken as 0.3 * (1 + 2) / (1 + 0.4).
    assert fires == {0.6: None, 0.7: 8.0}


def test_a_rule_on_the_best_is_held_against_the_pools_best():
    rule = StopRule(epsilon=1.0, probability=0.9)
    early = Run((10, 5, 3, 2, 0, 4), 1, outlooks=((1, 0.2), (2, 0.95)))
    found = stopping([early], BEST, rule, batch=1)
    assert (found.after, found.left, found.early, found.late) == (3.0, 3.0, 1, None)
    right = Run((10, 5, 1, 2, 0, 4), 1, outlooks=((1, 0.2), (4, 0.95)))
    never = Run((10, 1, 2, 3, 4, 5), 1, outlooks=((1, 0.2), (4, 0.3)))
    found = stopping([right, never], BEST, rule, batch=1)
    assert (found.runs, found.fired, found.judged, found.early) == (2, 1, 1, 0)
    assert (found.after, found.left, found.late) == (5.0, 0.0, 3.0)


def test_runs_without_outlooks_say_nothing():
    assert stopping([Run(ORDER, 2)], HITS, StopRule(below=1), batch=2) is None
    for wrong in ({}, {"below": 1.0, "epsilon": 1.0}):
        with pytest.raises(UsageError) as caught:
            StopRule(**wrong)
        assert caught.value.hint


def test_replays_look_ahead_as_they_are_told():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4))
    problem = parse_problem("max score")
    truth = Truth.of(problem, {"score": features[:, 0]}, share=0.1)
    start = start_rows(features, 8, 0)
    runs = [
        replay(load_searcher("greedy", features, problem), truth, start, Rules(20, 4, 4, 0, **how))
        for how in ({}, {"epsilon": 0.0}, {"epsilon": 9.0})
    ]
    assert runs[0].outlooks == ()
    exact, wide = (dict(run.outlooks) for run in runs[1:])
    assert list(exact) == list(wide) == [8, 12, 16]
    assert all(0 <= exact[done] < wide[done] <= 1 for done in exact)
    assert wide[16] > 0.99
