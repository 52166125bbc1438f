from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudseed.errors import LabError
from cloudseed.lab_adapters import (
    EFFECTS,
    FailureKind,
    Instrument,
    Measurement,
    Outcome,
    OutcomeKind,
    Quality,
    RawData,
    recipe_hash,
)

OLD = (
    b'{"cell":null,"details":{"a":1},"duration":2.5,"kind":"measured","measurements":'
    b'[{"method":"test","property":"energy","sigma":0.1,"unit":"eV/atom","value":-8.0}],"reason":""}'
)

numbers = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0, max_value=1e12)
moments = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000))
measurements = st.builds(
    Measurement,
    property=st.text(min_size=1),
    value=numbers,
    unit=st.text(),
    sigma=st.none() | positive,
    method=st.text(),
    sigma_method=st.text(),
    n=st.none() | st.integers(1, 10**6),
    quality=st.sampled_from(Quality),
    raw=st.none() | st.builds(RawData, uri=st.text(), sha256=st.just("0a" * 32)),
)
outcomes = st.builds(
    Outcome,
    kind=st.sampled_from(OutcomeKind),
    measurements=st.lists(measurements, max_size=3).map(tuple),
    reason=st.text(),
    duration=st.none() | positive,
    failure=st.none() | st.sampled_from(FailureKind),
    recipe=st.none() | st.dictionaries(st.text(), st.integers()),
    instrument=st.none() | st.builds(Instrument, name=st.text(), firmware=st.text()),
    simulated=st.none() | st.booleans(),
    started=st.none() | moments,
    ended=st.none() | moments,
    cost=st.none() | positive,
)


@settings(max_examples=40)
@given(outcomes)
def test_an_outcome_comes_back_as_it_went(outcome: Outcome) -> None:
    again = Outcome.from_json(outcome.to_json())
    assert again == outcome
    assert again.to_json() == outcome.to_json()


def test_messages_of_earlier_versions_keep_their_bytes() -> None:
    outcome = Outcome.from_json(OLD)
    assert outcome.measurements[0].quality is Quality.GOOD
    assert outcome.failure is None
    assert outcome.to_json() == OLD


def test_what_a_later_version_adds_is_passed_over() -> None:
    data = json.loads(OLD) | {"humidity": 0.4}
    assert Outcome.from_json(json.dumps(data).encode()) == Outcome.from_json(OLD)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"started": "2026-01-01T00:00:00"}, "without a time zone"),
        ({"ended": "yesterday"}, "no outcome"),
        ({"duration": -1.0}, "the duration -1.0"),
        ({"cost": float("inf")}, "the cost inf"),
        ({"failure": "gremlins"}, "no outcome"),
        ({"instrument": {"colour": "red"}}, "no outcome"),
        ({"measurements": [{"property": "x", "value": 1.0, "unit": "", "n": 0}]}, "0 readings"),
        ({"measurements": [{"property": "x", "value": float("nan"), "unit": ""}]}, "as nan"),
        (
            {
                "measurements": [
                    {
                        "property": "x",
                        "value": 1.0,
                        "unit": "",
                        "raw": {"uri": "a", "sha256": "b"},
                    }
                ]
            },
            "no SHA-256",
        ),
    ],
)
def test_a_record_that_cannot_be_true_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(LabError, match=words):
        Outcome.from_json(json.dumps(json.loads(OLD) | change).encode())


def test_times_are_utc() -> None:
    started = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=9)))
    raw = Outcome(OutcomeKind.UNKNOWN, started=started).to_json()
    assert json.loads(raw)["started"] == "2026-01-01T03:00:00.000+00:00"
    with pytest.raises(LabError, match="time zone"):
        Outcome(OutcomeKind.UNKNOWN, started=datetime(2026, 1, 1)).to_json()  # noqa: DTZ001


def test_every_failure_has_its_effect() -> None:
    assert set(EFFECTS) == set(FailureKind)
    teaching = {kind for kind, effect in EFFECTS.items() if effect.teaches}
    assert teaching == {FailureKind.SAMPLE_FAILED}
    assert {e.outcome for e in EFFECTS.values() if e.retry == "new key"} == {
        OutcomeKind.FAILED_RETRYABLE
    }
    outcome = Outcome.failed(FailureKind.REJECTED_STOCK, "No TiO2 is left.")
    assert (outcome.kind, outcome.failure) == (OutcomeKind.REFUSED, FailureKind.REJECTED_STOCK)


def test_a_recipe_is_bound_by_its_content() -> None:
    recipe = {"hold": {"K": 1373, "h": 12}, "masses": {"TiO2": 0.435}}
    assert recipe_hash(recipe) == recipe_hash(dict(reversed(recipe.items())))
    assert recipe_hash(recipe) != recipe_hash(recipe | {"hold": {"K": 1374, "h": 12}})
