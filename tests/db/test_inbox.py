"""Messages: received once, settled once, never lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from cloudseed.db.rows import CampaignRow, Claim, NewMeasurement
from cloudseed.db.states import ExperimentState
from cloudseed.errors import LedgerError, TransitionError, UnitError

from .kit import Lab, sql

if TYPE_CHECKING:
    from cloudseed.db.ledger import SqlLedger

S = ExperimentState
GAP = NewMeasurement("band_gap", 1.5, "eV", 0.1, "optical")


def _outcomes(ledger: SqlLedger, campaign: CampaignRow) -> list[str]:
    return [e.data["outcome"] for e in ledger.events(campaign.id) if e.kind == "message_read"]


def test_a_message_is_kept_byte_for_byte(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim
) -> None:
    raw = bytes(range(256))
    assert ledger.receive(claim, "lab", "1", "key", raw)
    ((_, key, kept),) = ledger.unprocessed(campaign.id)
    assert (key, kept) == ("key", raw)


def test_a_message_again_is_no_news(ledger: SqlLedger, campaign: CampaignRow, claim: Claim) -> None:
    assert ledger.receive(claim, "lab", "1", "key", b"x")
    log = ledger.events(campaign.id)
    assert not ledger.receive(claim, "lab", "1", "key", b"x")
    assert ledger.events(campaign.id) == log
    assert ledger.receive(claim, "another lab", "1", "key", b"x")
    assert len(ledger.unprocessed(campaign.id)) == 2


def test_two_campaigns_may_hear_the_same_id(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim
) -> None:
    ledger.receive(claim, "lab", "1", "key", b"x")
    other = ledger.create_campaign("other", {})
    with ledger.claim(other.id) as second:
        assert ledger.receive(second, "lab", "1", "key", b"y")
    assert len(ledger.unprocessed(other.id)) == 1


@pytest.mark.parametrize(("key", "raw"), [("key", b"other"), ("other", b"x")])
def test_an_id_with_other_contents_is_kept_aside_and_the_first_stands(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, key: str, raw: bytes
) -> None:
    ledger.receive(claim, "lab", "1", "key", b"x")
    for _ in range(3):
        assert not ledger.receive(claim, "lab", "1", key, raw)
    assert [m[1:] for m in ledger.unprocessed(campaign.id)] == [("key", b"x")]
    assert [e.kind for e in ledger.events(campaign.id)].count("message_conflict") == 1
    with sql(ledger) as connection:
        kept = connection.execute(text("SELECT idem_key, raw FROM inbox_conflict")).all()
    assert [(k, bytes(r)) for k, r in kept] == [(key, raw)]


def test_a_result_becomes_a_state_and_measurements(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab
) -> None:
    lab.plan("a")
    row = lab.run()
    volume = NewMeasurement("volume", 12.0, "angstrom^3/atom")
    ledger.settle(claim, lab.hear(row.idem_key), S.MEASURED, measurements=[GAP, volume])
    assert ledger.unprocessed(campaign.id) == []
    found = ledger.measurements(campaign.id)
    assert [(m.property, m.value, m.unit, m.sigma, m.method) for m in found] == [
        ("band_gap", 1.5, "eV", 0.1, "optical"),
        ("volume", 12.0, "angstrom^3/atom", None, ""),
    ]
    assert {m.candidate_id for m in found} == {row.candidate_id}
    ended = lab.now(row.id)
    assert ended.state is S.MEASURED
    assert ended.finished_at is not None
    assert lab.kinds()[-4:] == [
        "experiment_moved",
        "measurement_recorded",
        "measurement_recorded",
        "message_read",
    ]
    assert ledger.verify() == []


def test_settling_again_changes_nothing(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab
) -> None:
    lab.plan("a")
    row = lab.run()
    inbox_id = lab.hear(row.idem_key)
    ledger.settle(claim, inbox_id, S.MEASURED, measurements=[GAP])
    log = ledger.events(campaign.id)
    ledger.settle(claim, inbox_id, S.MEASURED, measurements=[GAP])
    ledger.settle(claim, inbox_id, S.FAILED)
    assert ledger.events(campaign.id) == log
    assert len(ledger.measurements(campaign.id)) == 1


def test_a_result_after_the_end_is_read_and_not_counted(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab
) -> None:
    lab.plan("a")
    row = lab.run()
    ledger.settle(claim, lab.hear(row.idem_key), S.MEASURED, measurements=[GAP])
    ledger.settle(claim, lab.hear(row.idem_key), S.FAILED, reason="furnace")
    ledger.settle(claim, lab.hear(row.idem_key), S.MEASURED, measurements=[GAP])
    assert _outcomes(ledger, campaign) == ["applied", "late", "noted"]
    assert lab.now(row.id).state is S.MEASURED
    assert len(ledger.measurements(campaign.id)) == 1
    assert ledger.events(campaign.id)[-3].data["reason"] == "furnace"


def test_a_message_about_nothing_is_marked_as_read(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab
) -> None:
    ledger.settle(claim, lab.hear("unheard of"), S.MEASURED, measurements=[GAP])
    lab.plan("a")
    row = lab.run()
    ledger.settle(claim, lab.hear(row.idem_key), None, reason="the lab cannot say")
    assert _outcomes(ledger, campaign) == ["stranger", "noted"]
    assert ledger.events(campaign.id)[-1].data["reason"] == "the lab cannot say"
    assert ledger.unprocessed(campaign.id) == []
    assert ledger.measurements(campaign.id) == []
    assert lab.now(row.id).state is S.RUNNING


def test_a_key_of_another_campaign_is_a_stranger(
    ledger: SqlLedger, campaign: CampaignRow, lab: Lab
) -> None:
    lab.plan("a")
    row = lab.run()
    other = ledger.create_campaign("other", {})
    with ledger.claim(other.id) as second:
        ledger.receive(second, "lab", "1", row.idem_key, b"")
        ((inbox_id, _, _),) = ledger.unprocessed(other.id)
        ledger.settle(second, inbox_id, S.MEASURED, measurements=[GAP])
    assert _outcomes(ledger, other) == ["stranger"]
    assert lab.now(row.id).state is S.RUNNING


@pytest.mark.parametrize("before", [S.SENDING, S.IN_DOUBT, S.RUNNING, S.PLANNED])
@pytest.mark.parametrize("after", [S.MEASURED, S.INFEASIBLE, S.REFUSED, S.FAILED])
def test_an_outcome_may_come_whenever_the_lab_may_have_the_experiment(
    ledger: SqlLedger,
    claim: Claim,
    lab: Lab,
    before: ExperimentState,
    after: ExperimentState,
) -> None:
    (row,) = lab.plan("a")
    item = ledger.next_to_send(claim)
    assert item is not None
    if before is S.RUNNING:
        ledger.acknowledge(claim, item, "job")
    elif before is not S.SENDING:
        ledger.transition(claim, row.id, before)
    ledger.settle(claim, lab.hear(row.idem_key), after, reason="so it is")
    ended = lab.now(row.id)
    assert (ended.state, ended.reason) == (after, "so it is")
    assert ledger.next_to_send(claim) is None
    assert ledger.verify() == []


def test_a_failure_may_send_it_again(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab
) -> None:
    lab.plan("a")
    row = lab.run()
    ledger.settle(claim, lab.hear(row.idem_key), S.PLANNED, reason="furnace tripped")
    ledger.settle(claim, lab.hear(row.idem_key), S.PLANNED, reason="furnace tripped")
    assert _outcomes(ledger, campaign) == ["applied", "noted"]
    assert lab.run().attempt == 2


def test_a_retraction_takes_measurements_out(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab
) -> None:
    lab.plan("a", "b")
    for row in (lab.run(), lab.run()):
        ledger.settle(claim, lab.hear(row.idem_key), S.MEASURED, measurements=[GAP])
    ledger.settle(claim, lab.hear(row.idem_key), S.RETRACTED, reason="wrong sample")
    assert lab.now(row.id).state is S.RETRACTED
    assert [m.experiment_id for m in ledger.measurements(campaign.id)] == [row.id - 1]
    assert ledger.verify() == []


def test_a_retraction_that_overtakes_its_result_holds(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab
) -> None:
    lab.plan("a")
    row = lab.run()
    ledger.settle(claim, lab.hear(row.idem_key), S.RETRACTED, reason="wrong sample")
    assert lab.now(row.id).state is S.RUNNING
    ledger.settle(claim, lab.hear(row.idem_key), S.MEASURED, measurements=[GAP])
    assert _outcomes(ledger, campaign) == ["early", "applied"]
    assert lab.now(row.id).state is S.RETRACTED
    assert ledger.measurements(campaign.id) == []
    assert ledger.verify() == []


def test_a_superseded_value_does_not_stand(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab
) -> None:
    lab.plan("a")
    row = lab.run()
    ledger.settle(claim, lab.hear(row.idem_key), S.MEASURED, measurements=[GAP, GAP])
    first, second = ledger.measurements(campaign.id)
    with sql(ledger) as connection:
        connection.execute(
            text("UPDATE measurement SET supersedes = :a WHERE id = :b"),
            {"a": first.id, "b": second.id},
        )
    assert ledger.measurements(campaign.id) == [second]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (NewMeasurement("band_gap", 1500.0, "meV"), UnitError),
        (NewMeasurement("band_gap", float("nan"), "eV"), LedgerError),
        (NewMeasurement("band_gap", 1.0, "eV", -0.1), LedgerError),
        (NewMeasurement("band_gap", 1.0, "eV", float("nan")), LedgerError),
    ],
)
def test_a_value_that_cannot_be_meant_leaves_the_message_unread(
    ledger: SqlLedger,
    campaign: CampaignRow,
    claim: Claim,
    lab: Lab,
    bad: NewMeasurement,
    kind: type[Exception],
) -> None:
    lab.plan("a")
    row = lab.run()
    inbox_id = lab.hear(row.idem_key)
    log = ledger.events(campaign.id)
    with pytest.raises(kind):
        ledger.settle(claim, inbox_id, S.MEASURED, measurements=[GAP, bad])
    assert lab.now(row.id).state is S.RUNNING
    assert ledger.events(campaign.id) == log
    assert [m[0] for m in ledger.unprocessed(campaign.id)] == [inbox_id]


def test_no_message_sends_an_experiment_or_comes_from_nowhere(
    ledger: SqlLedger, claim: Claim, lab: Lab
) -> None:
    (row,) = lab.plan("a")
    with pytest.raises(TransitionError, match="No message"):
        ledger.settle(claim, lab.hear(row.idem_key), S.SENDING)
    with pytest.raises(TransitionError):
        ledger.settle(claim, lab.hear(row.idem_key), S.RUNNING)
    with pytest.raises(LedgerError, match="no message"):
        ledger.settle(claim, 10**6, S.MEASURED)


def test_odd_text_from_a_lab_is_kept(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab
) -> None:
    (row,) = lab.plan("a")
    lab.run()
    odd = "Öfen\x00\ud800 'DROP TABLE event; --"
    assert ledger.receive(claim, odd, odd, row.idem_key, b"x")
    assert not ledger.receive(claim, odd, odd, row.idem_key, b"x")
    ((inbox_id, _, _),) = ledger.unprocessed(campaign.id)
    ledger.settle(
        claim,
        inbox_id,
        S.MEASURED,
        measurements=[NewMeasurement(odd, 1.0, odd, None, odd)],
        reason=odd,
        details={odd: odd},
    )
    assert lab.now(row.id).reason == "Öfen\ufffd\ufffd 'DROP TABLE event; --"
    assert ledger.details(row.id) == {odd: odd}
    assert ledger.verify() == []
