"""Finds proposers by name: entry points in the group `cloudseed.proposers`."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

from cloudseed.errors import UsageError
from cloudseed.proposers._options import made, nearest
from cloudseed.proposers.guarding import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudseed.proposers.protocols import Proposer

__all__ = ["available_proposers", "load_proposer"]

GROUP = "cloudseed.proposers"


def available_proposers() -> tuple[str, ...]:
    """Returns the names of all installed proposers."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def load_proposer(name: str, options: Mapping[str, Any] | None = None) -> Proposer:
    """Returns a proposer.

    Args:
        name: As registered.
        options: Its settings; the others keep their defaults.

    Raises:
        UsageError: If none of that name is installed, or it has no such option; the hint names
            the nearest.
        PluginError: If it cannot be imported or made.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise UsageError(
            f"There is no proposer {name!r}.", hint=nearest(name, sorted(found)), name=name
        )
    with guarded("proposer", name):
        return cast("Proposer", made("proposer", name, found[name].load(), options or {}))
