"""The best share of a pool: how it is written, where it begins, and what is then chosen."""

import numpy as np
import pytest

from cloudseed.errors import ObjectiveError
from cloudseed.surrogate import Observations, decide, is_feasible, merit, parse_problem, rank
from cloudseed.surrogate.backtesting import CloudSearcher, Rules, Truth, replay
from cloudseed.surrogate.judging import as_optimum, bounded
from cloudseed.surrogate.modelling import fit_criterion
from cloudseed.surrogate.objectives import describe, objective_text
from cloudseed.surrogate.shares import membership
from cloudseed.surrogate.space import Space

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(400, 5))
A = FEATURES[:, 0] - 0.5 * FEATURES[:, 1] ** 2
B = FEATURES[:, 2]
EVERY = np.arange(400)


def observed(rows, *columns, names=("a",)):
    rows = np.asarray(rows)
    return Observations(rows, np.column_stack([c[rows] for c in columns]), names)


@pytest.mark.parametrize("text", ["find lowest 1 % a", "find highest 2.5 % heat_capacity@500K"])
def test_a_share_is_read_and_written(text):
    found = parse_problem(text)
    assert objective_text(found.objective) == text
    assert parse_problem(objective_text(found.objective)) == found
    assert parse_problem(text.replace(" % ", "% of ")) == found
    assert describe(found) == text


@pytest.mark.parametrize(
    ("text", "constraints", "hint"),
    [
        ("find lowset 1 % a", [], "find lowest 1 % a"),
        ("find lowest 0 % a", [], "more than 0 %"),
        ("find lowest 100 % a", [], "less than 100 %"),
        ("find lowest 1 % a", ["a <= 3"], "find all"),
        ("find lowest 1 a", [], "find lowest 1 %"),
    ],
)
def test_what_is_no_share_is_refused(text, constraints, hint):
    with pytest.raises(ObjectiveError) as error:
        parse_problem(text, constraints)
    assert hint in error.value.hint


def test_nothing_is_known_to_belong_before_the_share_is_bounded():
    problem = parse_problem("find highest 10 % a", ["b >= 0"])
    assert not is_feasible(problem, {"a": 9.0, "b": 1.0})
    bound = bounded(problem, 2.0)
    assert [merit(bound, {"a": a, "b": b}) for a, b in ((2, 1), (2, -1), (1, 1))] == [1, 0, 0]
    assert as_optimum(problem) == parse_problem("max a", ["b >= 0"])
    assert as_optimum(bound) is bound


def begins(goal, rows, constraints=()):
    problem = parse_problem(goal, constraints)
    names, columns = problem.properties, {"a": A, "b": B}
    known = observed(rows, *(columns[n] for n in names), names=names)
    space = Space.of(FEATURES)
    criterion = fit_criterion(space, known, problem, 0, [])
    left = np.setdiff1d(EVERY, rows)
    return membership(space, criterion, known, left[1:], left[:1]).threshold


@pytest.mark.parametrize(("goal", "quantile"), [("highest", 0.95), ("lowest", 0.05)])
def test_the_threshold_nears_the_true_quantile(goal, quantile):
    true = np.quantile(A, quantile)
    errors = [abs(begins(f"find {goal} 5 % a", EVERY[:n]) - true) for n in (30, 120)]
    assert errors[0] < 0.6
    assert errors[1] < 0.25


def test_a_share_is_one_of_what_meets_the_constraints():
    true = np.quantile(A[B >= 0.5], 0.9)
    assert begins("find highest 10 % a", EVERY[:150], ["b >= 0.5"]) == pytest.approx(true, abs=0.25)


def test_the_smallest_share_is_one_candidate():
    assert begins("find highest 0.001 % a", EVERY[:100]) >= A[:100].max() - 1e-9


def test_values_at_a_floor_are_told_from_those_above():
    gaps = np.maximum(A - 0.5, 0)
    problem = parse_problem("find highest 5 % gap")
    known = observed(EVERY[:80], gaps, names=("gap",))
    choice = decide(FEATURES, known, available=EVERY, problem=problem, batch=10, seed=0)
    assert choice.model["surrogates"]["gap"]["floor"] == 0
    assert choice.model["threshold"] == pytest.approx(np.quantile(gaps, 0.95), abs=0.5)
    assert (gaps[list(choice.picks)] > 0).mean() >= 0.7


def test_a_decision_takes_the_likeliest_and_records_where_the_share_begins():
    problem = parse_problem("find lowest 5 % a")
    asked = {"available": EVERY, "problem": problem, "seed": 0}
    choice = decide(FEATURES, observed(EVERY[:60], A), batch=8, **asked)
    assert choice.method == "ExpectedHits"
    assert choice.model["bolder"] < choice.model["threshold"]
    assert set(choice.scores.rows[:6]) <= set(choice.picks)
    assert len(set(choice.picks)) == 8
    assert choice.model["threshold"] == pytest.approx(np.quantile(A, 0.05), abs=0.6)
    assert (A[list(choice.picks)] <= np.quantile(A, 0.1)).sum() >= 4
    ranking = rank(FEATURES, observed(EVERY[:60], A), **asked)
    assert "find lowest 5 % a: from" in ranking.notes[-1]


def test_back_tests_count_the_share_and_rank_by_the_property():
    truth = Truth.of(parse_problem("find lowest 5 % a"), {"a": A}, share=0.5)
    assert truth.hits.sum() == 20
    assert truth.goal_name == "a"
    assert truth.direction == -1
    searcher = CloudSearcher(FEATURES, truth.problem)
    run = replay(searcher, truth, EVERY[:20].tolist(), Rules(60, 10, 10, 0))
    assert truth.hits[list(run.order)].sum() >= 12
    assert run.outlooks


def test_hints_do_not_move_where_a_share_begins():
    """Values of a cheap lab that are far too high for any that counts."""
    problem = parse_problem("find highest 5 % a")
    rows = np.arange(80)
    source = (rows >= 40).astype(np.int64)
    values = A[rows] + 100.0 * source
    hinted = Observations(rows, values[:, None], ("a",), source=source)
    asked = {"available": np.arange(80, 400), "problem": problem, "batch": 2, "seed": 0}
    choice = decide(FEATURES, hinted, **asked)
    true = np.sort(A)[-20]
    assert abs(choice.model["threshold"] - true) < 1.0
