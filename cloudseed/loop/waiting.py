"""Why nothing else happens right now: always one clause that a person can act on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudseed._printable import printable
from cloudseed.db import ExperimentState, Wish
from cloudseed.loop.budgets import charges, exceeds
from cloudseed.loop.safety.approvals import open_questions
from cloudseed.loop.synthesis import is_held, why_held

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudseed.db import CampaignRow, Ledger
    from cloudseed.loop.spec import CampaignSpec

__all__ = ["why_waiting"]

_S = ExperimentState


def why_waiting(
    ledger: Ledger,
    campaign: CampaignRow,
    spec: CampaignSpec,
    states: Mapping[ExperimentState, int],
) -> str:
    """Returns what a campaign waits for, and who or what could change that."""
    # Labs say some of it.
    return printable(_why(ledger, campaign, spec, states))


def _why(
    ledger: Ledger,
    campaign: CampaignRow,
    spec: CampaignSpec,
    states: Mapping[ExperimentState, int],
) -> str:
    if campaign.status in {"finished", "stopped"}:
        return campaign.stop_reason
    parts = [_wish(ledger, campaign), _running(states), *_labs(ledger, campaign)]
    parts = [part for part in parts if part]
    if parts:
        return "; ".join(parts)
    if states.get(_S.IN_DOUBT):
        count = states[_S.IN_DOUBT]
        return (
            f"for a person: {count} experiment{'s are' if count > 1 else ' is'} in doubt;"
            " `cloudseed experiments resolve` settles it"
        )
    if states.get(_S.PLANNED):
        return _planned(ledger, campaign, spec)
    if states.get(_S.SENDING):
        return "for the lab to take planned experiments"
    return "for the next decision" if states else "for the first decision"


def _wish(ledger: Ledger, campaign: CampaignRow) -> str:
    wish, why = ledger.wished(campaign.id)
    because = f" ({why})" if why else ""
    return {
        Wish.RUN: "",
        Wish.PAUSE: f"paused by a person{because}; `cloudseed resume` goes on",
        Wish.DRAIN: f"told to stop once the labs are done{because}",
        Wish.STOP: f"told to stop{because}",
    }[wish]


def _running(states: Mapping[ExperimentState, int]) -> str:
    count = states.get(_S.RUNNING, 0)
    return f"for {count} experiment{'s' * (count > 1)} in the lab" if count else ""


def _labs(ledger: Ledger, campaign: CampaignRow) -> list[str]:
    found = []
    for name, health in ledger.health(campaign.id).items():
        if health.failures:
            until = health.closed_until
            when = f", asked again at {_clock(until)}" if until is not None else ""
            found.append(f"for the lab {name} to answer: {health.error.rstrip('.')}{when}")
    return found


def _planned(ledger: Ledger, campaign: CampaignRow, spec: CampaignSpec) -> str:
    planned = ledger.experiments(campaign.id, [_S.PLANNED])
    if planned and all(map(is_held, planned)):
        return why_held(planned)
    due = ledger.due(campaign.id)
    if due and min(due.values()) > datetime.now(UTC):
        return f"until {_clock(min(due.values()))} to try again what failed"
    if asked := len(open_questions(ledger, campaign.id)):
        return (
            f"for a person: {asked} experiment{'s' * (asked > 1)} need{'s' * (asked == 1)}"
            " approval; `cloudseed approvals list` shows them"
        )
    spending = ledger.spent(campaign.id)
    short = [exceeds(spec, spending, charges(spec, lab)) for lab in spec.lab_labels]
    if all(short):
        return f"for the budget: {short[0]}"
    return "for the lab to take planned experiments"


def _clock(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%H:%M:%S UTC")
