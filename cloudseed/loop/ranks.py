"""Which ranks of a decision's candidates the ledger keeps, and what stands for the others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.db import ProposalRow

__all__ = ["kept_ranks", "sample_of", "spacing", "stands_for_all"]

ALL = 5_000
"""Scored candidates of which every rank is kept."""

TOP = 1_000
"""Best ranks that are kept of more."""

SPREAD = 4_000
"""Ranks of more that are kept besides, evenly from the first to the last."""


def kept_ranks(scored: int) -> int:
    """Returns how many of the best ranks of so many scored candidates are kept."""
    return scored if scored <= ALL else TOP


def spacing(scored: int) -> int:
    """Returns how many ranks each of the even sample stands for."""
    return 1 if scored <= ALL else math.ceil(scored / SPREAD)


def stands_for_all(rank: int, every: int) -> bool:
    """Whether a rank belongs to the even sample, given its spacing."""
    return rank % every == every // 2


def sample_of(proposals: Sequence[ProposalRow], scored: int) -> Sequence[ProposalRow] | None:
    """Returns the proposals that stand evenly for all that was scored.

    Args:
        proposals: What a decision recorded.
        scored: How many candidates it scored.

    Returns:
        All of a small pool; None where an older cloudseed has not kept enough.
    """
    every = spacing(scored)
    found = [p for p in proposals if stands_for_all(p.rank, every)]
    return found if len(found) >= len(range(every // 2, scored, every)) else None
