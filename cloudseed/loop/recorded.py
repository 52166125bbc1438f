"""What a ledger has recorded of one candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudseed.errors import UsageError

if TYPE_CHECKING:
    from cloudseed.db import Ledger

__all__ = ["recorded_papers"]


def recorded_papers(ledger: Ledger, campaign_id: int, what: str) -> dict[str, Any]:
    """Returns the papers of one candidate of a campaign.

    Args:
        ledger: Where it is recorded.
        campaign_id: The campaign.
        what: The candidate's key, or its formula where only one has it.

    Raises:
        UsageError: If the campaign has no such candidate, or several.
    """
    rows = ledger.candidates_named(campaign_id, what)
    found = [row for row in rows if row.key == what] or rows
    if len(found) == 1:
        return dict(ledger.papers(found[0].id))
    if found:
        raise UsageError(
            f"The campaign has {len(found)} candidates {what!r}.",
            hint=f"Give a key: {', '.join(repr(row.key) for row in found[:5])}.",
        )
    raise UsageError(
        f"The campaign has no candidate {what!r}.",
        hint="Give a key or a formula as `cloudseed export` writes it.",
    )
