"""What the three phases of a step work on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudseed.loop.descriptions import Descriptions
from cloudseed.loop.mirror import Mirror
from cloudseed.loop.results import load_results
from cloudseed.loop.synthesis import Used

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudseed.db import CampaignRow, Claim, Ledger
    from cloudseed.lab_adapters import LabAdapter
    from cloudseed.loop.pool import CrystalShelf, Pool
    from cloudseed.loop.recipe import Choice
    from cloudseed.loop.results import Result
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.proposers import Parent
    from cloudseed.surrogate import Encoder

__all__ = ["Context"]


@dataclass(frozen=True, slots=True)
class Context:
    """A campaign's parts, joined once.

    Attributes:
        ledger: The record.
        claim: The right to write to it.
        campaign: The campaign's row, as it was when the claim was made.
        spec: What the owner asked for.
        lab: Where candidates are made.
        pool: The candidates with their embeddings.
        shelf: Builds their crystals.
        parents: What the pool began from.
        observers: Proposers that learn from measurements; none for a pool that never grows.
        encoder: Embeds what a growing pool gains.
        embeddings: Folder of a large pool's embeddings.
        label: Name of `lab` within the campaign; "" for the one it gives itself.
        others: Further labs, by name.
        described: What the labs last said of themselves.
        used: What was sent to them.
    """

    ledger: Ledger
    claim: Claim
    campaign: CampaignRow
    spec: CampaignSpec
    lab: LabAdapter
    pool: Pool
    shelf: CrystalShelf
    parents: tuple[Parent, ...] = ()
    observers: tuple[Choice, ...] = ()
    encoder: Encoder | None = None
    embeddings: Path | None = None
    label: str = ""
    others: Mapping[str, LabAdapter] = field(default_factory=dict)
    described: Descriptions = field(default_factory=Descriptions)
    used: Used = field(default_factory=Used)

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.lab.describe().name)

    @property
    def labs(self) -> dict[str, LabAdapter]:
        """All labs, by name."""
        return {self.label: self.lab, **self.others}

    def results(self) -> list[Result]:
        """Returns every experiment with what came of it, in the order of planning."""
        if isinstance(self.ledger, Mirror):
            return self.ledger.results(self.spec.problem)
        return load_results(self.ledger, self.campaign.id, self.spec.problem)
