"""Values come back as they went."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite

from cloudseed.db.columns import Json, Moment, Seed, State, Words, canonical
from cloudseed.db.states import ExperimentState
from cloudseed.errors import LedgerError

DIALECTS = [sqlite.dialect(), postgresql.dialect()]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=50)
@given(value=JSON)
def test_json_is_ascii_and_comes_back(value: object) -> None:
    stored = Json().process_bind_param(value, DIALECTS[0])
    assert stored.isascii()
    assert "\0" not in stored
    assert Json().process_result_value(stored, DIALECTS[0]) == value
    assert canonical(value) == stored


@pytest.mark.parametrize("value", [math.nan, math.inf, b"", {1}, {"a": object()}])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(LedgerError, match="JSON"):
        canonical(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(LedgerError, match="JSON"):
        canonical(loop)


@settings(max_examples=50)
@given(value=st.text())
def test_stored_text_can_be_encoded_and_is_kept_where_it_can(value: str) -> None:
    stored = Words().process_bind_param(value, DIALECTS[0])
    assert stored is not None
    assert "\0" not in stored
    assert len(stored) == len(value)
    stored.encode()
    if "\0" not in value:
        assert stored == value


def test_a_lone_surrogate_is_replaced() -> None:
    assert Words().process_bind_param("a\udfffb", DIALECTS[0]) == "a\ufffdb"


@pytest.mark.parametrize("dialect", DIALECTS, ids=["sqlite", "postgresql"])
@settings(max_examples=30)
@given(
    value=st.datetimes(
        min_value=datetime(2000, 1, 1),  # noqa: DTZ001
        timezones=st.integers(-14, 14).map(lambda h: timezone(timedelta(hours=h))),
    )
)
def test_times_come_back_in_utc(dialect: object, value: datetime) -> None:
    column = Moment()
    stored = column.process_bind_param(value, dialect)  # type: ignore[arg-type]
    found = column.process_result_value(stored, dialect)  # type: ignore[arg-type]
    assert found == value
    assert found.tzinfo is UTC


@given(st.lists(st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)), min_size=2))  # noqa: DTZ001
def test_times_sort_as_text(values: list[datetime]) -> None:
    texts = [Moment().process_bind_param(v, DIALECTS[0]) for v in values]
    assert sorted(texts) == [Moment().process_bind_param(v, DIALECTS[0]) for v in sorted(values)]


@given(st.integers())
def test_seeds_of_any_size_come_back(value: int) -> None:
    stored = Seed().process_bind_param(value, DIALECTS[0])
    assert Seed().process_result_value(stored, DIALECTS[0]) == value


def test_only_states_are_states() -> None:
    assert State().process_bind_param(ExperimentState.SENDING, DIALECTS[0]) == "sending"
    with pytest.raises(ValueError, match="flying"):
        State().process_bind_param("flying", DIALECTS[0])  # type: ignore[arg-type]
