"""Finds proposers by name: entry points in the group `cloudseed.proposers`."""

from __future__ import annotations

import difflib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from cloudseed.errors import UsageError

if TYPE_CHECKING:
    from cloudseed.proposers.protocols import Proposer

__all__ = ["load_proposer"]

GROUP = "cloudseed.proposers"


def load_proposer(name: str) -> Proposer:
    """Returns a proposer with its default settings.

    Raises:
        UsageError: If none of that name is installed; the hint names the nearest.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        raise UsageError(
            f"There is no proposer {name!r}.",
            hint=f"Did you mean {near[0]!r}?" if near else f"Installed: {', '.join(found)}.",
            name=name,
        )
    return cast("Proposer", found[name].load()())
