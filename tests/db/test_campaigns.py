"""Campaigns and claims."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cloudseed.db import controls
from cloudseed.db.ledger import SqlLedger, open_ledger
from cloudseed.db.rows import CampaignRow, Claim, NewMeasurement
from cloudseed.db.states import ExperimentState, Wish
from cloudseed.errors import CampaignRunningError, LedgerError, StaleWorkerError

from .kit import Lab, candidate, decision

S = ExperimentState


def test_a_campaign_is_found_as_it_was_made(ledger: SqlLedger) -> None:
    made = ledger.create_campaign("oxides", {"b": [1, 2.5], "a": None, "ä": "\u0000"})
    assert ledger.campaign("oxides") == made
    assert ledger.campaigns() == [made]
    assert made.config == {"b": [1, 2.5], "a": None, "ä": "\u0000"}
    assert (made.status, made.stop_reason, made.epoch) == ("new", "", 0)
    assert made.heartbeat_at is None
    assert made.created_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - made.created_at) < timedelta(minutes=1)


def test_the_hash_of_a_config_does_not_depend_on_its_order(ledger: SqlLedger) -> None:
    one = ledger.create_campaign("one", {"a": 1, "b": {"c": 2, "d": 3}})
    two = ledger.create_campaign("two", {"b": {"d": 3, "c": 2}, "a": 1})
    assert one.config_sha == two.config_sha
    assert one.config_sha != ledger.create_campaign("three", {"a": 2}).config_sha


def test_a_name_is_given_once(ledger: SqlLedger, campaign: CampaignRow) -> None:
    with pytest.raises(LedgerError, match="already") as caught:
        ledger.create_campaign(campaign.name, {})
    assert caught.value.hint
    assert ledger.campaigns() == [campaign]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_a_config_that_is_not_json_is_refused(ledger: SqlLedger, value: object) -> None:
    with pytest.raises(LedgerError, match="JSON"):
        ledger.create_campaign("odd", {"x": value})
    assert ledger.campaigns() == []


def test_an_unknown_campaign_is_none_or_an_error(ledger: SqlLedger) -> None:
    assert ledger.campaign("nobody") is None
    with pytest.raises(LedgerError, match="no campaign"), ledger.claim(99):
        pass


def test_each_claim_is_a_new_epoch(ledger: SqlLedger, campaign: CampaignRow) -> None:
    for epoch in (1, 2, 3):
        with ledger.claim(campaign.id) as claim:
            assert claim == Claim(campaign.id, epoch)
    found = ledger.campaign(campaign.name)
    assert found is not None
    assert found.epoch == 3
    assert found.heartbeat_at is not None


def test_a_second_claim_is_refused_while_the_first_lasts(
    ledger: SqlLedger, campaign: CampaignRow, url: str
) -> None:
    other = ledger.create_campaign("other", {})
    with open_ledger(url) as second, ledger.claim(campaign.id) as first:
        with pytest.raises(CampaignRunningError, match="perovskites") as caught:
            second.claim(campaign.id).__enter__()
        assert caught.value.data["heartbeat_at"] is not None
        with pytest.raises(CampaignRunningError):
            ledger.claim(campaign.id).__enter__()
        with second.claim(other.id):
            ledger.heartbeat(first)
    with ledger.claim(campaign.id):
        pass


def test_a_claim_is_freed_by_an_error(ledger: SqlLedger, campaign: CampaignRow) -> None:
    with pytest.raises(RuntimeError), ledger.claim(campaign.id):
        raise RuntimeError
    with ledger.claim(campaign.id):
        pass


def test_an_error_of_the_engine_passes_through_its_claim_unchanged(
    ledger: SqlLedger, campaign: CampaignRow
) -> None:
    with pytest.raises(FileNotFoundError), ledger.claim(campaign.id):
        raise FileNotFoundError


def test_a_heartbeat_moves_forward_and_leaves_no_event(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim
) -> None:
    before, log = ledger.campaign(campaign.name), ledger.events(campaign.id)
    ledger.heartbeat(claim)
    after = ledger.campaign(campaign.name)
    assert before is not None
    assert after is not None
    assert before.heartbeat_at is not None
    assert after.heartbeat_at is not None
    assert after.heartbeat_at > before.heartbeat_at
    assert ledger.events(campaign.id) == log


def test_status_and_reason_are_set_and_logged_once(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim
) -> None:
    ledger.set_status(claim, "running")
    ledger.set_status(claim, "stopped", "by hand")
    ledger.set_status(claim, "stopped", "by hand")
    found = ledger.campaign(campaign.name)
    assert found is not None
    assert (found.status, found.stop_reason) == ("stopped", "by hand")
    told = [e.data["after"] for e in ledger.events(campaign.id) if e.kind == "campaign_status"]
    assert told == ["running", "stopped"]
    with pytest.raises(LedgerError, match="cannot be 'runing'"):
        ledger.set_status(claim, "runing")


def test_no_write_of_a_stale_claim_is_recorded(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab
) -> None:
    lab.plan("a", "b", "c")
    sent = ledger.next_to_send(claim)
    running = lab.run()
    assert sent is not None
    inbox_id = lab.hear(running.idem_key)
    stale = Claim(claim.campaign_id, claim.epoch - 1)
    writes = [
        lambda: ledger.heartbeat(stale),
        lambda: ledger.set_status(stale, "finished"),
        lambda: ledger.add_candidates(stale, [candidate("new")]),
        lambda: ledger.record_decision(stale, decision(9)),
        lambda: ledger.next_to_send(stale),
        lambda: ledger.unacknowledged(stale),
        lambda: ledger.acknowledge(stale, sent, "job"),
        lambda: ledger.transition(stale, running.id, S.CANCELLED),
        lambda: ledger.receive(stale, "lab", "late", "key", b""),
        lambda: ledger.settle(
            stale, inbox_id, S.MEASURED, measurements=[NewMeasurement("band_gap", 1.0, "eV")]
        ),
    ]
    before = (
        ledger.campaigns(),
        ledger.candidates(campaign.id),
        ledger.experiments(campaign.id),
        ledger.events(campaign.id),
        ledger.unprocessed(campaign.id),
    )
    for write in writes:
        with pytest.raises(StaleWorkerError, match="taken over"):
            write()
    assert before == (
        ledger.campaigns(),
        ledger.candidates(campaign.id),
        ledger.experiments(campaign.id),
        ledger.events(campaign.id),
        ledger.unprocessed(campaign.id),
    )
    assert ledger.verify() == []


def test_a_word_and_the_wish_that_follows_it_are_one(
    ledger: SqlLedger, campaign: CampaignRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = {"word": "resumed", "by": "Ada", "reason": "dry"}
    assert not ledger.let_go_on(campaign.id, word, "resumed")
    ledger.wish(campaign.id, Wish.PAUSE, "wet")
    lines = len(ledger.events(campaign.id))

    def fail(*_: object) -> None:
        raise RuntimeError("The power went.")

    with monkeypatch.context() as patch:
        patch.setattr(controls, "wish", fail)
        with pytest.raises(RuntimeError):
            ledger.let_go_on(campaign.id, word, "resumed")
    assert len(ledger.events(campaign.id)) == lines
    assert ledger.wished(campaign.id) == (Wish.PAUSE, "wet")
    assert ledger.let_go_on(campaign.id, word, "resumed")
    assert [e.kind for e in ledger.events(campaign.id)[lines:]] == ["person_said", "wish_recorded"]
    assert ledger.wished(campaign.id) == (Wish.RUN, "resumed")
