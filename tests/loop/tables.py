"""Campaigns on the table lab, with made-up values for every candidate of their pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from cloudseed.loop import campaign as module
from cloudseed.loop import create_campaign, load_spec, open_campaign
from cloudseed.units import unit_of
from tests.loop.small import PARENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pytest

    from cloudseed.loop import Snapshot, Workspace
    from cloudseed.loop.proposing import Proposed


def write_table_campaign(
    folder: Path,
    generation: Proposed,
    values: Mapping[str, Callable[[str], float]],
    **spec: object,
) -> Path:
    """Writes a campaign file, and beside it a table with each property's value of a key."""
    keys = [proposal.kept.candidate.key for proposal in generation.proposals]
    lines = [",".join([key, *(str(of(key)) for of in values.values())]) for key in keys]
    (folder / "values.csv").write_text("\n".join([",".join(["key", *values]), *lines]))
    lab = {
        "path": "values.csv",
        "column": "key",
        "match": "candidate",
        "units": {name: unit_of(name) for name in values},
    }
    usual = {
        "parents": [str(PARENTS)],
        "proposer": {"per_parent": 60},
        "lab": {"adapter": "table", "config": lab},
        "initial": 6,
        "seed": 3,
    }
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(usual | spec))
    return path


def ended(path: Path, folder: Path, patch: pytest.MonkeyPatch) -> tuple[Snapshot, Workspace]:
    """Runs a campaign to its end; returns how it stands then, and its run folder."""
    patch.setattr(module, "POLL_INTERVAL", 0.001)
    workspace = create_campaign(load_spec(path), folder, lambda _: None)
    with open_campaign(workspace, lambda _: None) as campaign:
        return campaign.run(), workspace
