"""Opening the ledger of the campaign that a command is asked about."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudseed.db import CampaignRow, Ledger
    from cloudseed.loop import CampaignSpec, Workspace

__all__ = ["Opened", "opened"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A campaign, as long as its ledger is open.

    Attributes:
        workspace: Its run folder.
        ledger: What holds it.
        row: The campaign there.
        spec: What its owner wrote.
    """

    workspace: Workspace
    ledger: Ledger
    row: CampaignRow
    spec: CampaignSpec


@contextmanager
def opened(campaign: str | None) -> Iterator[Opened]:
    """Opens a campaign's ledger without claiming it; may be done while an engine runs.

    Args:
        campaign: A run folder, or a name under `runs`; None for the newest there.

    Raises:
        UsageError: If there is no such run folder, or the ledger does not hold the campaign.
    """
    from cloudseed.loop import Workspace, campaign_of
    from cloudseed.loop.workspace import reading

    workspace = Workspace.find(campaign)
    with reading(workspace) as ledger:
        yield Opened(workspace, ledger, *campaign_of(ledger, workspace))
