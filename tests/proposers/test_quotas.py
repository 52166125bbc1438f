"""Quotas: caps hold, proposers take turns, exploration is drawn, bad quotas are refused."""

from collections import Counter

import numpy as np
import pytest

from cloudseed.errors import UsageError
from cloudseed.proposers import Quotas
from cloudseed.proposers.quotas import Row, choose


def rows(count=200, makers=("a", "b"), parents=5, systems=7):
    return [
        Row(maker, (f"p{i % parents}",), bytes([i % systems]), -0.1 * i)
        for maker in makers
        for i in range(count)
    ]


def pick(top, some=None, seed=0, **quotas):
    given = some or rows()
    picked = choose(given, top, Quotas(**quotas), np.random.default_rng(seed))
    return [given[place] for place in picked.places], picked


def test_without_quotas_proposers_take_turns():
    taken, picked = pick(10)
    assert [row.maker for row in taken] == ["a", "b"] * 5
    assert picked.skipped == {}
    assert len(set(picked.places)) == 10


def test_shares_are_met_and_the_rest_is_shared_out():
    taken, _ = pick(40, shares={"a": 0.25})
    assert Counter(row.maker for row in taken) == {"a": 10, "b": 30}
    taken, picked = pick(40, rows(makers=("a",)), shares={"a": 0.25})
    assert len(taken) == 10
    assert picked.skipped["share of a"] == 190


@pytest.mark.parametrize("exploration", [0.0, 0.5])
def test_caps_hold(exploration):
    taken, picked = pick(100, per_parent=9, per_system=6, exploration=exploration)
    assert max(Counter(row.parents for row in taken).values()) <= 9
    assert max(Counter(row.system for row in taken).values()) <= 6
    assert len(taken) == 42
    assert set(picked.skipped) == {"per_system", "per_parent"} or picked.skipped["per_system"]


def test_only_parents_with_something_new_count():
    taken, picked = pick(30, parents=2)
    assert len({row.parents for row in taken}) == 2
    assert len(taken) == 30
    assert picked.skipped["parents"]


def test_exploration_is_drawn_by_floored_probabilities():
    some = [Row("a", ("p",), b"", -1.0 * i) for i in range(400)]
    plain, _ = pick(40, some)
    drawn, picked = pick(40, some, exploration=0.5, floor=1e-6)
    assert picked.explored == 20
    assert drawn[:20] == plain[:20]
    assert min(row.log_probability for row in drawn[20:]) < -40
    assert pick(40, some, exploration=0.5)[1].places == pick(40, some, exploration=0.5)[1].places
    assert pick(40, some, seed=1, exploration=0.5)[1].places != picked.places


@pytest.mark.parametrize(
    "bad",
    [
        {"shares": {"a": 1.5}},
        {"exploration": -0.1},
        {"floor": 0.0},
        {"per_parent": 0},
        {"per_system": -1},
        {"parents": 0},
    ],
)
def test_impossible_quotas_are_refused(bad):
    with pytest.raises(UsageError) as caught:
        Quotas(**bad)
    assert caught.value.hint


def test_quotas_for_others_and_quotas_that_leave_a_gap_are_refused():
    with pytest.raises(UsageError, match="does not propose") as caught:
        Quotas(shares={"ionic_substitutoin": 0.5}).check(["ionic_substitution"])
    assert "ionic_substitution" in caught.value.hint
    with pytest.raises(UsageError, match=r"only 0\.7 together"):
        Quotas(shares={"a": 0.3, "b": 0.4}).check(["a", "b"])
    Quotas(shares={"a": 0.3, "b": 0.4}).check(["a", "b", "c"])


def test_quotas_leave_exploration_its_share():
    taken, picked = pick(50, per_parent=10, exploration=0.2)
    assert picked.explored == 10
    assert set(Counter(row.parents for row in taken).values()) == {10}
    drawn = Counter(row.parents for row in taken[-10:])
    assert set(drawn.values()) == {2}
    # Where a quota of one cannot be shared, it is exploration's as often as its share says.
    some = [Row("a", (f"p{i % 400}",), b"", -0.01 * i) for i in range(4000)]
    taken, picked = pick(1000, some, per_parent=1, exploration=0.25)
    assert len(taken) == 400
    assert 80 <= picked.explored <= 120
    assert picked.skipped == {"per_parent": 3600}


def test_what_exploration_leaves_goes_to_the_likeliest():
    some = [Row("a", ("p",), bytes([i]), -0.1 * i) for i in range(20)]
    taken, picked = pick(10, some, per_parent=10, exploration=0.5)
    assert (len(taken), picked.explored) == (10, 5)
    lonely = [*some[:3], *(Row("a", (f"q{i}",), b"", -9.0) for i in range(9))]
    taken, picked = pick(8, lonely, per_parent=2, per_system=4, exploration=0.5)
    assert len(taken) == len(set(picked.places)) == 6
    assert max(Counter(row.system for row in taken).values()) <= 4
