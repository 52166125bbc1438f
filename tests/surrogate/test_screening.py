"""Cheap assays before dear ones."""

import itertools

import numpy as np
import pytest

from cloudseed.errors import EmptyPoolError, InputError
from cloudseed.surrogate import gp, parse_problem
from cloudseed.surrogate.gp import optimising
from cloudseed.surrogate.kernels import Covariance, Term
from cloudseed.surrogate.protocols import Observations
from cloudseed.surrogate.screening import Assay, assign, expected_costs

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(120, 3))
A, B = FEATURES[:, 0] - 0.3 * FEATURES[:, 1], FEATURES[:, 2]
GOAL = parse_problem("max a", ["b <= 0"])
CHEAP, DEAR = Assay(("b",), 1.0), Assay(("a",), 30.0)


def test_the_order_is_the_cheapest_of_all_orders():
    costs = RNG.uniform(0.5, 20.0, 4)
    chances = RNG.uniform(0.05, 0.95, (50, 4))
    found, first = expected_costs(costs, np.log(chances), done=np.zeros((50, 4), dtype=bool))
    for line, total, begin in zip(chances, found, first, strict=True):
        paid = {
            order: sum(costs[i] * np.prod(line[list(order[:k])]) for k, i in enumerate(order))
            for order in itertools.permutations(range(4))
        }
        best = min(paid, key=paid.get)
        assert total == pytest.approx(paid[best])
        assert begin == best[0]


def test_what_is_done_costs_nothing_more():
    done = np.array([[True, False], [True, True]])
    found, first = expected_costs(np.array([1.0, 30.0]), np.log(np.full((2, 2), 0.5)), done=done)
    assert found.tolist() == [30.0, 0.0]
    assert first.tolist() == [1, -1]


def seen(screened=()):
    """Forty measured whole, and some of which only the cheap property is known."""
    rows = np.concatenate([np.arange(40), np.array(screened, dtype=np.int64)])
    values = np.column_stack([A[rows], B[rows]])
    values[40:, 0] = np.nan
    return Observations(rows, values, ("a", "b"))


def ask(observations, *, assays=(CHEAP, DEAR), count=10, available=range(40, 120), **more):
    return assign(
        FEATURES,
        observations,
        assays,
        available=available,
        problem=more.pop("problem", GOAL),
        count=count,
        seed=0,
        **more,
    )


def test_the_cheap_property_comes_first_where_it_may_fail():
    assert {a.assay for a in ask(seen(), count=20)} == {CHEAP}
    # The dear one is no bar of its own, so that it comes last at whatever cost.
    reverse = (Assay(("b",), 30.0), Assay(("a",), 1.0))
    assert {a.assay.properties for a in ask(seen(), assays=reverse, count=20)} == {("b",)}


def test_what_has_passed_is_measured_whole_and_what_failed_is_left_alone():
    first = [a.row for a in ask(seen(), count=12)]
    then = ask(seen(first), count=80)
    assert not {a.row for a in then} & {row for row in first if B[row] > 0}
    passed = [a for a in then if a.row in first]
    assert passed
    assert {a.assay for a in passed} == {DEAR}
    assert {a.assay for a in then if a.row not in first} == {CHEAP}


def test_a_campaign_that_screens_pays_less_for_the_best(monkeypatch):
    """Whether a candidate passes cannot be learned here, and most do not."""
    covariance = Covariance((Term(3, (2.0,), 1.0),))
    hyper = gp.Hyperparameters(covariance, noise=1e-2, mean=0.0)
    monkeypatch.setattr(optimising, "_optimise", lambda *_, **__: hyper)
    luck = np.random.default_rng(5).normal(size=120)
    unseen = 40 + np.argsort(-A[40:])
    luck[unseen[:12]] = 1.0
    best = unseen[12]
    luck[best] = -1.0

    def spent(assays):
        rows, values, paid = np.arange(40), np.column_stack([A, luck])[:40], 0.0
        for _ in range(40):
            (told,) = ask(Observations(rows, values, ("a", "b")), assays=assays, count=1)
            paid += told.assay.cost
            fresh = np.array([A[told.row], luck[told.row]])
            fresh[[name not in told.assay.properties for name in ("a", "b")]] = np.nan
            if told.row == best and np.isfinite(fresh[0]):
                return paid
            rows, values = np.append(rows, told.row), np.vstack([values, fresh])
        raise AssertionError("the best was not found")

    assert spent((CHEAP, DEAR)) < 0.5 * spent((Assay(("a", "b"), 31.0),))


def test_all_that_meets_bounds_is_screened_in_the_order_of_price_over_risk():
    problem = parse_problem("find all", ["a >= 1", "b <= 2.5"])
    told = ask(seen(), problem=problem, assays=(Assay(("a",), 2.0), Assay(("b",), 1.0)), count=5)
    # Nearly all pass b: though cheaper, it is asked later.
    assert {a.assay.properties for a in told} == {("a",)}


@pytest.mark.parametrize(
    "assays", [(CHEAP,), (CHEAP, DEAR, Assay(("b",), 2.0)), (CHEAP, Assay(("a",), 0.0))]
)
def test_every_property_has_one_assay_with_a_cost(assays):
    with pytest.raises(InputError) as caught:
        ask(seen(), assays=assays)
    assert caught.value.hint


def test_nothing_left_is_an_error():
    with pytest.raises(EmptyPoolError):
        ask(seen(), available=np.arange(40))


@pytest.mark.parametrize(("end", "sign"), [("lowest", 1), ("highest", -1)])
def test_a_share_of_the_pool_is_looked_for_where_it_lies(end, sign):
    problem = parse_problem(f"find {end} 10 % a", ["b <= 3"])
    told = ask(seen(), problem=problem, assays=(Assay(("a",), 1.0), Assay(("b",), 1.0)), count=8)
    ranks = np.argsort(np.argsort(sign * A[40:]))[[a.row - 40 for a in told]]
    assert ranks.mean() < 10
    # What is known to lie elsewhere is left alone, though b is still open.
    far = 40 + int(np.argmax(sign * A[40:]))
    rows = np.append(np.arange(40), far)
    values = np.column_stack([A[rows], B[rows]])
    values[-1, 1] = np.nan
    told = ask(Observations(rows, values, ("a", "b")), problem=problem, count=80)
    assert far not in {a.row for a in told}


@pytest.mark.parametrize("goal", ["max a", "find lowest 10 % a", "find all"])
def test_nothing_measured_is_refused(goal):
    bounds = ["a >= 0", "b <= 0"] if goal == "find all" else ["b <= 0"]
    nothing = Observations(np.empty(0, dtype=np.int64), np.empty((0, 2)), ("a", "b"))
    with pytest.raises(InputError, match="no measured value of a") as caught:
        ask(nothing, problem=parse_problem(goal, bounds))
    assert caught.value.hint


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_assignment_is_refused(count):
    with pytest.raises(InputError, match="assignments") as caught:
        ask(seen(), count=count)
    assert caught.value.hint
