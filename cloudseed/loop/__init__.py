"""The campaign: the only part that knows the other four."""

from typing import TYPE_CHECKING

from cloudseed._lazily import lazily

if TYPE_CHECKING:
    from cloudseed.loop.campaign import Campaign, create_campaign, open_campaign
    from cloudseed.loop.results import Result, best, load_results, ranked
    from cloudseed.loop.snapshot import Snapshot, take_snapshot
    from cloudseed.loop.spec import CampaignSpec, load_spec
    from cloudseed.loop.workspace import RUNS, Workspace, campaign_of
else:
    __getattr__ = lazily(
        __name__,
        {
            "campaign": "Campaign create_campaign open_campaign",
            "results": "Result best load_results ranked",
            "snapshot": "Snapshot take_snapshot",
            "spec": "CampaignSpec load_spec",
            "workspace": "RUNS Workspace campaign_of",
        },
    )

__all__ = [
    "RUNS",
    "Campaign",
    "CampaignSpec",
    "Result",
    "Snapshot",
    "Workspace",
    "best",
    "campaign_of",
    "create_campaign",
    "load_results",
    "load_spec",
    "open_campaign",
    "ranked",
    "take_snapshot",
]
