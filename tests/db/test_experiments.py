"""Experiments: sending, acknowledging, changing state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from cloudseed.db.ledger import SqlLedger, open_ledger
from cloudseed.db.states import ExperimentState
from cloudseed.errors import LedgerError, TransitionError

from .kit import Lab, sql

if TYPE_CHECKING:
    from cloudseed.db.rows import CampaignRow, Claim

S = ExperimentState


def test_the_oldest_planned_is_sent_first(ledger: SqlLedger, claim: Claim, lab: Lab) -> None:
    planned = lab.plan("b", "a")
    item = ledger.next_to_send(claim)
    assert item is not None
    assert item.experiment.id == planned[0].id
    assert (item.experiment.state, item.experiment.attempt) == (S.SENDING, 1)
    second = ledger.next_to_send(claim)
    assert second is not None
    assert second.experiment.id == planned[1].id
    assert ledger.next_to_send(claim) is None


def test_what_was_being_sent_is_found_after_a_crash(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab, url: str
) -> None:
    lab.plan("a", "b")
    item = ledger.next_to_send(claim)
    with open_ledger(url) as other:
        assert other.unacknowledged(claim) == [item]
    assert item is not None
    ledger.acknowledge(claim, item, "job-1")
    assert ledger.unacknowledged(claim) == []
    row = lab.now(item.experiment.id)
    assert (row.state, row.handle, row.attempt) == (S.RUNNING, "job-1", 1)
    assert ledger.experiments(campaign.id, [S.RUNNING]) == [row]


def test_an_acknowledgement_may_be_repeated_but_not_contradicted(
    ledger: SqlLedger, claim: Claim, lab: Lab
) -> None:
    lab.plan("a")
    item = ledger.next_to_send(claim)
    assert item is not None
    ledger.acknowledge(claim, item, "job-1")
    log = lab.kinds()
    ledger.acknowledge(claim, item, "job-1")
    assert lab.kinds() == log
    with pytest.raises(TransitionError, match="job-2"):
        ledger.acknowledge(claim, item, "job-2")
    assert lab.now(item.experiment.id).handle == "job-1"


def test_an_acknowledgement_after_the_end_keeps_the_end(
    ledger: SqlLedger, claim: Claim, lab: Lab
) -> None:
    lab.plan("a")
    item = ledger.next_to_send(claim)
    assert item is not None
    ledger.settle(claim, lab.hear(item.experiment.idem_key), S.INFEASIBLE, reason="decomposes")
    ledger.acknowledge(claim, item, "job-1")
    row = lab.now(item.experiment.id)
    assert (row.state, row.handle, row.reason) == (S.INFEASIBLE, "job-1", "decomposes")
    assert ledger.verify() == []


def test_an_experiment_in_doubt_is_found_again(ledger: SqlLedger, claim: Claim, lab: Lab) -> None:
    lab.plan("a")
    item = ledger.next_to_send(claim)
    assert item is not None
    ledger.transition(claim, item.experiment.id, S.IN_DOUBT, "crashed in mid-send")
    assert lab.now(item.experiment.id).reason == "crashed in mid-send"
    ledger.acknowledge(claim, item, "job-1")
    assert lab.now(item.experiment.id).state is S.RUNNING


def test_a_retry_is_another_attempt_under_the_same_key(
    ledger: SqlLedger, claim: Claim, lab: Lab
) -> None:
    lab.plan("a", "b")
    first = lab.run()
    ledger.transition(claim, first.id, S.PLANNED, "the furnace tripped")
    assert lab.now(first.id).reason == "the furnace tripped"
    again = ledger.next_to_send(claim)
    assert again is not None
    assert again.experiment.id == first.id
    assert again.experiment.idem_key == first.idem_key
    assert (again.experiment.attempt, again.experiment.handle) == (2, None)
    assert ledger.verify() == []


def test_a_late_acknowledgement_of_an_older_attempt_is_refused(
    ledger: SqlLedger, claim: Claim, lab: Lab
) -> None:
    lab.plan("a")
    old = ledger.next_to_send(claim)
    assert old is not None
    ledger.transition(claim, old.experiment.id, S.PLANNED)
    with pytest.raises(TransitionError, match="given back"):
        ledger.acknowledge(claim, old, "job-1")
    assert ledger.next_to_send(claim) is not None
    with pytest.raises(TransitionError, match="newest attempt is 2"):
        ledger.acknowledge(claim, old, "job-1")
    assert ledger.verify() == []


def _reach(ledger: SqlLedger, lab: Lab, state: ExperimentState) -> int:
    """Brings a new experiment to a state; returns its id."""
    (row,) = lab.plan(f"to-{state}-{lab.steps}")
    if state is S.PLANNED:
        return row.id
    if state is S.CANCELLED:
        ledger.transition(lab.claim, row.id, S.CANCELLED)
        return row.id
    item = ledger.next_to_send(lab.claim)
    assert item is not None
    if state is S.IN_DOUBT:
        ledger.transition(lab.claim, row.id, S.IN_DOUBT)
    elif state is not S.SENDING:
        ledger.acknowledge(lab.claim, item, "job")
        if state is S.RETRACTED:
            ledger.transition(lab.claim, row.id, S.MEASURED)
        if state is not S.RUNNING:
            ledger.transition(lab.claim, row.id, state)
    return row.id


@pytest.mark.parametrize("before", list(S))
def test_every_change_of_state_is_legal_or_an_error(
    ledger: SqlLedger, claim: Claim, lab: Lab, before: ExperimentState
) -> None:
    for after in S:
        experiment_id = _reach(ledger, lab, before)
        if after in before.successors and after is not S.SENDING:
            ledger.transition(claim, experiment_id, after, "why")
            row = lab.now(experiment_id)
            assert (row.state, row.reason) == (after, "why")
            assert (row.finished_at is not None) == (after.terminal or before.terminal)
        else:
            with pytest.raises(TransitionError) as caught:
                ledger.transition(claim, experiment_id, after)
            assert caught.value.hint
            assert lab.now(experiment_id).state is before
        if not lab.now(experiment_id).state.terminal:
            # Nothing planned may stay in the way of the next one.
            end = S.FAILED
            ledger.transition(claim, experiment_id, end)
    assert ledger.verify() == []


def test_only_experiments_of_the_claimed_campaign_move(
    ledger: SqlLedger, claim: Claim, lab: Lab
) -> None:
    (row,) = lab.plan("a")
    other = ledger.create_campaign("other", {})
    with ledger.claim(other.id) as second:
        with pytest.raises(LedgerError, match="has no experiment"):
            ledger.transition(second, row.id, S.CANCELLED)
        assert ledger.next_to_send(second) is None
    with pytest.raises(LedgerError, match="has no experiment"):
        ledger.transition(claim, 10**6, S.CANCELLED)


def test_the_database_itself_refuses_a_second_open_attempt(
    ledger: SqlLedger, claim: Claim, lab: Lab
) -> None:
    lab.plan("a")
    item = ledger.next_to_send(claim)
    assert item is not None
    command = text(
        "INSERT INTO attempt (experiment_id, n, epoch, opened_at) "
        "VALUES (:id, 2, 1, '2026-01-01T00:00:00+00:00')"
    )
    with pytest.raises(Exception, match=r"(?i)unique"), sql(ledger) as connection:
        connection.execute(command, {"id": item.experiment.id})


def test_reading_many_experiments_takes_one_query(
    ledger: SqlLedger, campaign: CampaignRow, lab: Lab
) -> None:
    from sqlalchemy import event

    lab.plan(*[f"k{i}" for i in range(20)])
    for _ in range(10):
        lab.run()
    statements: list[str] = []
    event.listen(
        ledger._database.engine,
        "before_cursor_execute",
        lambda c, cur, statement, *rest: statements.append(statement),
    )
    assert len(ledger.experiments(campaign.id)) == 20
    assert len([s for s in statements if s.startswith("SELECT")]) == 1


def test_details_come_back(ledger: SqlLedger, claim: Claim, lab: Lab) -> None:
    lab.plan("a", "b")
    row, other = lab.run(), lab.run()
    ledger.settle(claim, lab.hear(row.idem_key), S.MEASURED, details={"cell": [1.0, 2.0]})
    assert ledger.details(row.id) == {"cell": [1.0, 2.0]}
    assert ledger.details(other.id) == {}
    ledger.settle(claim, lab.hear(row.idem_key), S.RETRACTED, details={"by": "hand"})
    assert ledger.details(row.id) == {"cell": [1.0, 2.0]}
    with pytest.raises(LedgerError, match="no experiment"):
        ledger.details(10**6)
