"""Replaying searchers on tiny pools."""

from __future__ import annotations

import numpy as np
import pytest

from cloudseed.errors import EmptyPoolError, InputError, UsageError
from cloudseed.surrogate import (
    RECALIBRATION_LEAST,
    Choice,
    Scores,
    parse_problem,
    recalibration,
)
from cloudseed.surrogate.backtesting import (
    SEARCHERS,
    Conduct,
    Rules,
    Truth,
    foresight,
    load_searcher,
    replay,
    start_rows,
)

PROBLEM = parse_problem("max score", ["cost <= 1"])


def pool(count=60, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 6))
    score = features[:, 0] + 0.1 * features[:, 1]
    return features, {"score": score, "cost": features[:, 2]}


@pytest.mark.parametrize("method", SEARCHERS)
def test_a_replay_spends_its_budget_once_per_row_and_repeats(method):
    features, values = pool()
    truth = Truth.of(PROBLEM, values, share=0.05)
    start = start_rows(features, 8, 3)
    rules = Rules(budget=14, batch=3, arriving=3, seed=3)
    first = replay(load_searcher(method, features, PROBLEM), truth, start, rules)
    assert len(first.order) == len(set(first.order)) == 14
    assert first.order[:8] == start
    assert first.decisions == 2
    again = replay(load_searcher(method, features, PROBLEM), truth, start, rules)
    assert again.order == first.order
    known = foresight([first], truth)
    assert [f.count for f in known] == ([] if method == "random" else [6, 6])


def test_the_model_finds_more_than_chance():
    features, values = pool(200)
    truth = Truth.of(PROBLEM, values, share=0.05)
    rules = Rules(budget=40, batch=8, arriving=8, seed=1)
    start = start_rows(features, 16, 1)
    found = {
        m: truth.hits[list(replay(load_searcher(m, features, PROBLEM), truth, start, rules).order)]
        for m in ("greedy", "random")
    }
    assert found["greedy"].sum() >= 0.8 * truth.hits.sum() > found["random"].sum()


class Watcher:
    """Takes the first rows that are free and remembers what it was told."""

    def __init__(self, picks=None):
        self.seen = []
        self.picks = picks

    def next(self, available, pending, observations, batch, seed):
        self.seen.append((len(observations.rows), pending.tolist(), batch))
        assert not set(available) & {*pending.tolist(), *observations.rows.tolist()}
        return Choice(self.picks or tuple(available[:batch].tolist()), None, "watcher")


def test_results_that_trickle_in_leave_the_rest_pending():
    _, values = pool()
    watcher = Watcher()
    rules = Rules(budget=11, batch=4, arriving=1, seed=0)
    run = replay(watcher, Truth.of(PROBLEM, values), [50, 51], rules)
    assert run.order == (50, 51, *range(9))
    assert watcher.seen[:3] == [(2, [], 4), (3, [1, 2, 3], 1), (4, [2, 3, 4], 1)]
    assert len(watcher.seen) == 6


def test_rows_without_values_cost_an_experiment_and_are_infeasible():
    _, values = pool()
    for column in values.values():
        column[:5] = np.nan
    values["cost"][5] = np.nan
    truth = Truth.of(PROBLEM, values)
    watcher = Watcher()
    run = replay(watcher, truth, [10], Rules(budget=9, batch=4, arriving=4, seed=0))
    assert run.order == (10, *range(8))
    assert [seen[0] for seen in watcher.seen] == [1, 1]
    assert not truth.hits[:6].any()
    seen = truth.observe(np.arange(7))
    assert (seen.rows.tolist(), seen.infeasible.tolist()) == ([5, 6], list(range(5)))


def test_a_replay_ends_with_the_pool():
    _, values = pool(12)
    rules = Rules(budget=99, batch=5, arriving=2, seed=0)
    assert sorted(replay(Watcher(), Truth.of(PROBLEM, values), [3], rules).order) == list(range(12))


@pytest.mark.parametrize("picks", [(7, 7), (3,), (1, 2, 4, 5, 6), (99,)])
def test_a_searcher_that_breaks_the_rules_is_named(picks):
    _, values = pool()
    rules = Rules(budget=9, batch=4, arriving=4, seed=0)
    with pytest.raises(InputError, match="different available rows"):
        replay(Watcher(picks), Truth.of(PROBLEM, values), [3], rules)


def test_starts_are_drawn_from_the_seed():
    features, _ = pool()
    for kind in ("coverage", "random"):
        rows = start_rows(features, 10, 5, kind)
        assert rows == start_rows(features, 10, 5, kind) != start_rows(features, 10, 6, kind)
        assert len(set(rows)) == 10
    with pytest.raises(UsageError, match="no 61"):
        start_rows(features, 61, 0)


def test_hits_are_the_best_share_of_what_is_feasible_with_ties():
    values = {"score": np.array([5.0, 5, 4, 9, np.nan]), "cost": np.array([0.0, 0, 0, 2, 0])}
    assert Truth.of(PROBLEM, values, share=0.3).hits.tolist() == [True, True, False, False, False]
    assert Truth.of(PROBLEM, values, share=None).hits.sum() == 4
    lowest = Truth.of(parse_problem("min score", ["cost <= 1"]), values, share=0.3)
    assert lowest.hits.tolist() == [False, False, True, False, False]
    assert lowest.merit.max() == -4


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"score": np.ones(3)}, InputError, "cost is known of no candidate"),
        ({"score": np.ones(3), "cost": np.full(3, np.nan)}, InputError, "cost is known of no"),
        ({"score": np.ones(1), "cost": np.zeros(1)}, EmptyPoolError, "pool of 1"),
        ({"score": np.ones(3), "cost": np.full(3, 2.0)}, InputError, "No row is a hit"),
        ({"score": np.ones(3), "cost": np.zeros(3)}, InputError, "Every row is a hit"),
        ({"score": np.array([1, np.inf]), "cost": np.zeros(2)}, InputError, "infinite"),
    ],
)
def test_tables_that_cannot_be_replayed_are_refused(values, error, text):
    with pytest.raises(error, match=text):
        Truth.of(PROBLEM, values)


def test_what_has_no_value_is_not_said_to_be_known():
    with pytest.raises(InputError, match="cost is known of no") as caught:
        Truth.of(PROBLEM, {"score": np.ones(3), "cost": np.full(3, np.nan)})
    assert caught.value.hint == "Known are: score."


def test_bad_shares_rules_and_methods_are_refused():
    features, values = pool()
    with pytest.raises(UsageError, match="share of hits"):
        Truth.of(PROBLEM, values, share=0)
    with pytest.raises(UsageError, match="cannot be spent"):
        Rules(budget=5, batch=2, arriving=3, seed=0)
    for name in ("clod", "nowhere:Searcher", "cloudseed:Searcher"):
        with pytest.raises(UsageError, match=name):
            load_searcher(name, features, PROBLEM)
    features[4, 2] = np.nan
    with pytest.raises(InputError, match="row 5"):
        load_searcher("random", features, PROBLEM)


def test_a_replayed_campaign_explores_while_its_model_is_misled(monkeypatch):
    asked = []

    def decided(features, observations, *, available, batch, exploration, **_):
        asked.append(exploration)
        rows = available[:batch]
        # Thinks the more of a row the less it will turn out to be.
        mean = -features.first[rows]
        chances = np.ones(len(rows))
        scores = Scores(rows, mean, np.ones((len(rows), 1)), chances, chances, ("x",))
        return Choice(tuple(rows.tolist()), scores, "contrary")

    monkeypatch.setattr("cloudseed.surrogate.backtesting.searchers.decide", decided)
    values = np.random.default_rng(0).normal(size=60)
    goal = parse_problem("max x")
    truth = Truth.of(goal, {"x": values}, share=0.1)
    for alarm, last in ((20, 0.5), (0, 0.1)):
        asked.clear()
        conduct = Conduct(exploration=0.1, alarm=alarm)
        searcher = load_searcher("cloud", values[:, None], goal, None, conduct)
        run = replay(searcher, truth, range(5), Rules(40, 5, 5, 0))
        assert asked[0] == 0.1
        assert asked[-1] == last
        assert any("alarm" in note for note in run.notes) == (alarm > 0)


def test_a_share_s_predictions_are_judged_by_the_last_threshold(monkeypatch):
    asked = []

    def decided(features, observations, *, available, batch, exploration, **_):
        asked.append(exploration)
        rows = available[:batch]
        # Holds for likely members what will turn out not to be.
        chances = 1 / (1 + np.exp(3 * features.first[rows, 0]))
        scores = Scores(rows, features.first[rows], np.ones((len(rows), 1)), chances, chances, "x")
        return Choice(tuple(rows.tolist()), scores, "contrary", {"threshold": 0.5})

    monkeypatch.setattr("cloudseed.surrogate.backtesting.searchers.decide", decided)
    values = np.random.default_rng(0).normal(size=60)
    goal = parse_problem("find highest 30 % x")
    truth = Truth.of(goal, {"x": values})
    searcher = load_searcher("cloud", values[:, None], goal, None, Conduct(alarm=20))
    run = replay(searcher, truth, range(5), Rules(40, 5, 5, 0))
    assert asked[0] == 0.0
    assert asked[-1] == 0.5
    assert any("alarm" in note for note in run.notes)


def test_a_replayed_campaign_widens_what_came_true_too_seldom(monkeypatch):
    asked = []

    def decided(features, observations, *, available, batch, widths, **_):
        asked.append(dict(widths))
        rows = available[:batch]
        # Believes itself four times too sure, and does as it is told about it.
        sd = np.full((len(rows), 1), widths.get("x", 1.0) / 4)
        chances = np.ones(len(rows))
        scores = Scores(rows, np.zeros((len(rows), 1)), sd, chances, chances, ("x",))
        return Choice(tuple(rows.tolist()), scores, "sure", {"surrogates": {"x": {}}})

    monkeypatch.setattr("cloudseed.surrogate.backtesting.searchers.decide", decided)
    values = np.random.default_rng(0).normal(size=100)
    goal = parse_problem("max x")
    truth = Truth.of(goal, {"x": values}, share=0.1)
    for last in (40, 0):
        asked.clear()
        searcher = load_searcher("cloud", values[:, None], goal, None, Conduct(recalibrate=last))
        replay(searcher, truth, range(5), Rules(90, 5, 5, 0))
        first, *_ = (i for i, told in enumerate([*asked, {"x": 1}]) if told)
        if not last:
            assert first == len(asked)
            continue
        assert first == RECALIBRATION_LEAST / 5
        for decision, told in enumerate(asked[first:], first):
            z = 4 * values[5 : 5 + 5 * decision][-last:]
            assert told == pytest.approx({"x": recalibration(z)})
