"""A decision made again from the ledger is the same; where it is not, the reason is told."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from cloudseed.db import ExperimentState
from cloudseed.errors import EncoderError, UsageError
from cloudseed.loop import fingerprints, replaying
from cloudseed.loop.replaying import Replayer, find_decision
from tests.db.kit import sql
from tests.loop.recorded import SPEC, run, spec_of


def replayer(ledger, spec) -> Replayer:
    return Replayer(ledger, ledger.campaign(spec.name), spec)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_decision_is_made_again(kind, request, generation):
    if kind == "sqlite":
        ledger = request.getfixturevalue("finished")
    else:
        ledger = request.getfixturevalue("on_postgresql")
        run(ledger, SPEC, generation)
    decisions = ledger.decisions(1)
    found = replayer(ledger, SPEC)
    again = [found.replay(d) for d in decisions]
    assert len(again) >= 8
    assert all(r.same and r.made for r in again), [r.to_json() for r in again]
    modelled = [r for r in again if r.scores_compared]
    assert len(modelled) >= 5
    assert all(r.bit_equal for r in modelled)
    assert not any(r.differences or r.assumed or r.doubts for r in again)
    assert ledger.experiments(1, [ExperimentState.INFEASIBLE])


def test_another_seed_is_another_batch(finished):
    ledger, spec = finished, SPEC
    other = spec.model_copy(update={"seed": spec.seed + 1})
    again = replayer(ledger, other).replay(ledger.decisions(1)[0])
    assert not again.same
    assert any("Another batch" in line for line in again.differences)


def test_a_changed_pool_value_and_version_are_told(finished, monkeypatch):
    ledger, spec = finished, SPEC
    decision = ledger.decisions(1)[-1]
    with sql(ledger) as connection:
        connection.execute(text("UPDATE measurement SET value = value + 50 WHERE id = 1"))
        connection.execute(text("UPDATE candidate SET key = '1 other' WHERE position = 0"))
    monkeypatch.setattr(replaying, "versions", lambda: {**fingerprints.versions(), "torch": "9"})
    again = replayer(ledger, spec).replay(decision)
    told = " ".join(again.differences)
    for words in ("pool is not the one", "values that it was fitted to", "here is 9"):
        assert words in told
    assert again.bit_equal is False


def test_a_lost_measurement_is_told(finished):
    ledger, spec = finished, SPEC
    with sql(ledger) as connection:
        connection.execute(text("DELETE FROM measurement WHERE id = 1"))
    again = replayer(ledger, spec).replay(ledger.decisions(1)[-1])
    assert any("1 of its measurements" in line for line in again.differences)


def test_decisions_of_an_older_version_are_made_again(finished):
    ledger, spec = finished, SPEC
    with sql(ledger) as connection:
        rows = connection.execute(text("SELECT id, model FROM decision")).all()
        for decision_id, model in rows:
            connection.execute(
                text("UPDATE decision SET model = :model WHERE id = :id"),
                {"id": decision_id, "model": model.replace('"replay"', '"other"')},
            )
    again = [replayer(ledger, spec).replay(d) for d in ledger.decisions(1)[2:5]]
    assert all(r.same and r.assumed and r.bit_equal is None for r in again)


def test_embeddings_of_another_encoder_are_not_taken(finished):
    ledger, spec = finished, SPEC
    with sql(ledger) as connection:
        connection.execute(text("DELETE FROM embedding"))
    with pytest.raises(EncoderError, match="another 'cloud-small' encoder"):
        replayer(ledger, spec).replay(ledger.decisions(1)[0])


def test_a_round_that_was_not_made_is_refused(finished):
    ledger = finished
    assert find_decision(ledger, 1, 1).step == 0
    with pytest.raises(UsageError, match="no round 99"):
        find_decision(ledger, 1, 99)


@pytest.mark.nightly
def test_fifty_decisions_are_made_again(either, generation):
    spec = spec_of(budget={"experiments": 55, "unsuccessful": 1000}, initial=5, batch=1)
    run(either, spec, generation)
    decisions = either.decisions(1)
    assert len(decisions) >= 50
    found = replayer(either, spec)
    assert all(found.replay(d).same for d in decisions)
