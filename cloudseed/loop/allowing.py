"""A person's word that a paused or stopped campaign may go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudseed.errors import UsageError
from cloudseed.loop.safety.approvals import ATTENDED, unattended_refusals

if TYPE_CHECKING:
    from cloudseed.db import CampaignRow, Ledger
    from cloudseed.loop.spec import CampaignSpec

__all__ = ["allow", "check_allowed"]


def allow(
    ledger: Ledger, campaign: CampaignRow, spec: CampaignSpec, *, by: str, reason: str
) -> bool:
    """Takes back a pause or a wish to stop, and records who says so and why.

    Args:
        ledger: The record.
        campaign: The campaign.
        spec: What it is to do.
        by: Who says so.
        reason: Why; may be empty.

    Returns:
        Whether there was a pause or a wish to stop.

    Raises:
        UsageError: If the campaign is finished, or refused checks keep it from going on.
    """
    check_allowed(ledger, campaign, spec)
    word = {"word": "resumed", "by": by, "reason": reason}
    return ledger.let_go_on(campaign.id, word, ATTENDED)


def check_allowed(ledger: Ledger, campaign: CampaignRow, spec: CampaignSpec) -> None:
    """Refuses where no person's word lets a campaign go on.

    Raises:
        UsageError: If the campaign is finished, or refused checks keep it from going on.
    """
    if campaign.status == "finished":
        raise UsageError(
            f"The campaign {campaign.name!r} is finished: {campaign.stop_reason}.",
            hint="`cloudseed report` writes what came of it; `cloudseed run` starts another.",
        )
    if count := unattended_refusals(ledger, campaign, spec):
        raise UsageError(
            f"{count} safety checks were refused, and nobody has attended to them.",
            hint="Look why: `cloudseed experiments list --state refused`; then say so with"
            " `cloudseed approvals attend --reason TEXT`, and resume.",
        )
