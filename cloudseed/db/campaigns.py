"""Campaigns, and the right to write to them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from cloudseed.db import events
from cloudseed.db.columns import canonical, now
from cloudseed.db.events import EventKind
from cloudseed.db.models import Campaign
from cloudseed.db.rows import CampaignRow, Claim
from cloudseed.errors import LedgerError, StaleWorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

__all__ = [
    "all_rows",
    "by_id",
    "by_name",
    "create",
    "encoder_changes",
    "fenced",
    "locked",
    "record_encoder",
    "set_status",
]

STATUSES = ("new", "running", "stopped", "finished")


def create(session: Session, name: str, config: Mapping[str, Any]) -> CampaignRow:
    """Records a new campaign."""
    if by_name(session, name) is not None:
        raise LedgerError(
            f"There is a campaign {name!r} already.",
            hint="Resume it, or choose another name.",
            name=name,
        )
    text = canonical(dict(config))
    campaign = Campaign(
        name=name,
        config=dict(config),
        config_sha=hashlib.sha256(text.encode()).hexdigest(),
        status="new",
        stop_reason="",
        epoch=0,
        created_at=now(),
        heartbeat_at=None,
    )
    session.add(campaign)
    session.flush()
    events.append(
        session, campaign.id, EventKind.CREATED, name=name, config_sha=campaign.config_sha
    )
    return _row(campaign)


def by_name(session: Session, name: str) -> CampaignRow | None:
    """Returns a campaign, or None."""
    found = session.scalar(select(Campaign).where(Campaign.name == name))
    return None if found is None else _row(found)


def by_id(session: Session, campaign_id: int) -> CampaignRow:
    """Returns a campaign.

    Raises:
        LedgerError: If there is none.
    """
    return _row(_existing(session.get(Campaign, campaign_id), campaign_id))


def all_rows(session: Session) -> list[CampaignRow]:
    """Returns all campaigns, newest last."""
    return [_row(c) for c in session.scalars(select(Campaign).order_by(Campaign.id))]


def fenced(session: Session, claim: Claim) -> Campaign:
    """Locks a campaign for the rest of the transaction, if the claim is its newest.

    Raises:
        StaleWorkerError: If it is not.
    """
    campaign = locked(session, claim.campaign_id)
    if campaign.epoch != claim.epoch:
        raise StaleWorkerError(
            f"Another engine has taken over the campaign {campaign.name!r}.",
            hint="Stop this engine; nothing it did since was recorded.",
            campaign_id=claim.campaign_id,
            epoch=claim.epoch,
            current=campaign.epoch,
        )
    return campaign


def set_status(session: Session, claim: Claim, status: str, reason: str) -> None:
    """Sets the status."""
    if status not in STATUSES:
        raise LedgerError(
            f"A campaign cannot be {status!r}.", hint=f"Use one of {', '.join(STATUSES)}."
        )
    campaign = fenced(session, claim)
    if (campaign.status, campaign.stop_reason) == (status, reason):
        return
    events.append(
        session,
        campaign.id,
        EventKind.STATUS,
        before=campaign.status,
        after=status,
        reason=reason,
    )
    campaign.status, campaign.stop_reason = status, reason


def record_encoder(session: Session, claim: Claim, name: str, encoder_id: str) -> None:
    """Records that a campaign goes on with another encoder."""
    campaign = fenced(session, claim)
    events.append(session, campaign.id, EventKind.ENCODER, name=name, encoder_id=encoder_id)


def encoder_changes(session: Session, campaign_id: int) -> list[tuple[str, str]]:
    """Returns name and id of each encoder that a campaign was changed to, oldest first."""
    told = events.of_kind(session, campaign_id, EventKind.ENCODER)
    return [(str(data["name"]), str(data["encoder_id"])) for data in told]


def locked(session: Session, campaign_id: int) -> Campaign:
    """Reads a campaign and, on PostgreSQL, locks its row (SQLite's writers are alone anyway)."""
    # FOR NO KEY UPDATE: a stronger lock would make other campaigns' foreign keys wait.
    found = session.get(Campaign, campaign_id, with_for_update={"key_share": True})
    return _existing(found, campaign_id)


def _existing(campaign: Campaign | None, campaign_id: int) -> Campaign:
    if campaign is None:
        raise LedgerError(
            f"There is no campaign with id {campaign_id}.",
            hint="`cloudseed status` lists the campaigns of a ledger.",
            campaign_id=campaign_id,
        )
    return campaign


def _row(campaign: Campaign) -> CampaignRow:
    return CampaignRow(
        id=campaign.id,
        name=campaign.name,
        config=campaign.config,
        config_sha=campaign.config_sha,
        status=campaign.status,
        stop_reason=campaign.stop_reason,
        epoch=campaign.epoch,
        created_at=campaign.created_at,
        heartbeat_at=campaign.heartbeat_at,
    )
