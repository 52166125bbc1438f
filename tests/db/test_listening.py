"""Hints that people have said something: PostgreSQL gives them, and nothing depends on them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from cloudseed.db import ExperimentState, Wish, listening
from cloudseed.db.ledger import SqlLedger, open_ledger

from .kit import Lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudseed.db.rows import CampaignRow

LONG = 60.0
"""Seconds that a wait lasts where no hint comes."""


def wish(other: SqlLedger, campaign: CampaignRow) -> None:
    other.wish(campaign.id, Wish.STOP, "the hood is out of order")


def tell(other: SqlLedger, campaign: CampaignRow) -> None:
    other.tell(campaign.id, "m1", "a key", b"{}")


def word(other: SqlLedger, campaign: CampaignRow) -> None:
    other.record_word(campaign.id, None, {"word": "attended", "by": "ada", "reason": "here"})


@pytest.mark.parametrize("say", [wish, tell, word])
def test_a_wait_ends_when_another_process_says_something(
    postgresql_url: str, say: Callable[[SqlLedger, CampaignRow], None]
) -> None:
    with open_ledger(postgresql_url) as ledger, open_ledger(postgresql_url) as other:
        campaign = ledger.create_campaign("perovskites", {"budget": 10})
        with ledger.listening(campaign.id) as wait:
            say(other, campaign)
            assert wait(LONG)
            assert not wait(0.01)


def test_a_settled_doubt_ends_a_wait(postgresql_url: str) -> None:
    with open_ledger(postgresql_url) as ledger, open_ledger(postgresql_url) as other:
        campaign = ledger.create_campaign("perovskites", {"budget": 10})
        with ledger.claim(campaign.id) as claim, ledger.listening(campaign.id) as wait:
            (planned,) = Lab(ledger, claim).plan("a")
            ledger.next_to_send(claim)
            ledger.transition(claim, planned.id, ExperimentState.IN_DOUBT, "a crash")
            assert not wait(0.01)
            other.resolve(campaign.id, planned.id, ExperimentState.CANCELLED, reason="not there")
            assert wait(LONG)


def test_what_is_taken_back_or_meant_for_another_campaign_wakes_nobody(postgresql_url: str) -> None:
    with open_ledger(postgresql_url) as ledger, open_ledger(postgresql_url) as other:
        campaign = ledger.create_campaign("perovskites", {"budget": 10})
        elsewhere = ledger.create_campaign("garnets", {"budget": 10})
        with ledger.listening(campaign.id) as wait:
            other.wish(elsewhere.id, Wish.STOP)
            with suppress(ZeroDivisionError), other._database.writing() as session:
                listening.hint(session, campaign.id)
                raise ZeroDivisionError
            assert not wait(0.2)


def test_without_hints_a_wait_lasts_and_what_was_said_is_there(
    ledger: SqlLedger, campaign: CampaignRow, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(listening.time, "sleep", slept.append)
    monkeypatch.setattr(listening, "_NOTIFY", text("SELECT :channel"))
    listened: list[tuple[float, bool]] = []
    hear = listening.Listener._hear

    def heard(self: listening.Listener, seconds: float) -> bool:
        listened.append((seconds, self._connection is not None))
        return hear(self, seconds)

    monkeypatch.setattr(listening.Listener, "_hear", heard)
    with open_ledger(url) as other, ledger.listening(campaign.id) as wait:
        other.wish(campaign.id, Wish.STOP, "lost")
        assert not wait(0.05)
        assert ledger.wished(campaign.id) == (Wish.STOP, "lost")
    # PostgreSQL is listened to all the time; where nothing is, all of it is slept.
    on_postgresql = url.startswith("postgresql")
    assert listened == [(0.05, on_postgresql)]
    if not on_postgresql:
        assert sum(slept) == pytest.approx(0.05, abs=0.01)


def test_a_lost_connection_is_waited_out_and_made_again(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(postgresql_url) as ledger, open_ledger(postgresql_url) as other:
        campaign = ledger.create_campaign("perovskites", {"budget": 10})
        with ledger.listening(campaign.id) as wait:
            with other._database.writing() as session:
                killed = session.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND query LIKE 'LISTEN %'"
                    )
                ).all()
            assert killed == [(True,)]
            assert not wait(0.05)
            other.wish(campaign.id, Wish.PAUSE)
            assert not wait(0.01)
            assert ledger.wished(campaign.id)[0] is Wish.PAUSE
            monkeypatch.setattr(listening.time, "monotonic", Later(listening.AGAIN))
            # The first wait connects; what is said from then on is heard again.
            wait(0.0)
            other.wish(campaign.id, Wish.STOP)
            assert wait(LONG)


class Later:
    """A clock that is ahead."""

    def __init__(self, ahead: float) -> None:
        self._clock, self._ahead = listening.time.monotonic, ahead

    def __call__(self) -> float:
        return self._clock() + self._ahead
