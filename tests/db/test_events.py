"""The event log cannot be changed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from .kit import Lab, sql

if TYPE_CHECKING:
    from cloudseed.db.ledger import SqlLedger
    from cloudseed.db.rows import CampaignRow


@pytest.mark.parametrize(
    "deed",
    [
        "UPDATE event SET kind = 'nothing'",
        "UPDATE event SET at = at WHERE id = 1",
        "DELETE FROM event",
        "DELETE FROM event WHERE id = 1",
    ],
)
def test_the_database_refuses_to_change_the_log(
    ledger: SqlLedger, campaign: CampaignRow, deed: str
) -> None:
    log = ledger.events(campaign.id)
    with pytest.raises(Exception, match="append-only"), sql(ledger) as connection:
        connection.execute(text(deed))
    assert ledger.events(campaign.id) == log


def test_nor_does_replacing_or_truncating_go_past_it(
    ledger: SqlLedger, campaign: CampaignRow, url: str
) -> None:
    log = ledger.events(campaign.id)
    replace = (
        "REPLACE INTO event (id, campaign_id, at, kind, data) VALUES (1, 1, '', 'x', '{}')"
        if url.startswith("sqlite")
        else "TRUNCATE event"
    )
    with pytest.raises(Exception, match="append-only"), sql(ledger) as connection:
        connection.execute(text(replace))
    assert ledger.events(campaign.id) == log


def test_events_are_in_order_of_time_and_can_be_followed(
    ledger: SqlLedger, campaign: CampaignRow, lab: Lab
) -> None:
    lab.plan("a", "b")
    seen = ledger.events(campaign.id)
    lab.run()
    news = ledger.events(campaign.id, after=seen[-1].id)
    everything = ledger.events(campaign.id)
    assert everything == seen + news
    assert [e.kind for e in news] == [
        "experiment_moved",
        "attempt_acknowledged",
        "experiment_moved",
    ]
    assert [e.at for e in everything] == sorted(e.at for e in everything)
    assert everything[0].at.utcoffset() == timedelta(0)
    assert ledger.events(campaign.id, after=everything[-1].id) == []


def test_events_of_a_campaign_are_its_own(ledger: SqlLedger, campaign: CampaignRow) -> None:
    other = ledger.create_campaign("other", {})
    assert [e.data["name"] for e in ledger.events(other.id)] == ["other"]
    assert [e.data["name"] for e in ledger.events(campaign.id)] == [campaign.name]
