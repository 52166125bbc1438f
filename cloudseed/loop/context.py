"""What the three phases of a step work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cloudseed.db import CampaignRow, Claim, Ledger
    from cloudseed.lab_adapters import LabAdapter
    from cloudseed.loop.pool import CrystalShelf, Pool
    from cloudseed.loop.recipe import Choice
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

    @property
    def in_flight(self) -> int:
        """How many experiments may run at the same time."""
        return min(self.spec.in_flight, self.lab.describe().concurrency)
