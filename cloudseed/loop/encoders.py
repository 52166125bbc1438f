"""Which encoder a campaign goes by: the one of its file, or the last that it was changed to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudseed.db import CampaignRow, Ledger
    from cloudseed.loop.spec import CampaignSpec

__all__ = ["in_force"]


def in_force(
    ledger: Ledger, campaign: CampaignRow, spec: CampaignSpec, encoder_id: str | None = None
) -> CampaignSpec:
    """Returns a spec with the encoder that is in force, or that had an id.

    Args:
        ledger: The record.
        campaign: The campaign.
        spec: Its spec, as its file has it.
        encoder_id: Id of the encoder that a decision names; None for the one of today.
    """
    changes = ledger.encoder_changes(campaign.id)
    fitting = [name for name, other in changes if encoder_id in {None, other}]
    return spec.model_copy(update={"encoder": fitting[-1]}) if fitting else spec
