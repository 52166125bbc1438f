"""Ids as runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloudseed.db.ids import Ids

some_ids = st.lists(st.integers(0, 40), unique=True) | st.integers(0, 30).map(lambda n: range(5, n))


@given(some_ids)
def test_runs_are_the_ids_in_their_order(ids):
    found = Ids.of(ids)
    assert list(found) == list(ids)
    assert len(found) == len(ids)
    assert {i for i in range(-1, 45) if i in found} == set(ids)
    assert list(Ids.stored(found.to_json())) == list(ids)


@given(some_ids, st.sets(st.integers(0, 40)))
def test_how_many_are_among_others(ids, others):
    assert Ids.of(ids).among(sorted(others)) == len(others.intersection(ids))


def test_a_long_campaigns_ids_are_stored_as_runs():
    assert Ids.of(range(1, 200_001)).to_json() == {"runs": [[1, 200_000]]}
    assert Ids.of([7, 5, 6]).to_json() == [7, 5, 6]
    assert "7" not in Ids.of([7])
