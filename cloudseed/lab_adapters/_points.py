"""Entry points by name: what is installed, what is nearest, and what cannot be loaded."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from cloudseed.errors import LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["broken", "named", "names_in"]


def names_in(group: str) -> set[str]:
    """Returns the names of the entry points of a group."""
    return {point.name for point in entry_points(group=group)}


def named(group: str, name: str, *, what: str, known: Sequence[str]) -> EntryPoint:
    """Returns an entry point, without loading it.

    Args:
        group: Its group.
        name: Its name.
        what: What people call such a thing.
        known: The names that there are.

    Raises:
        UsageError: If there is none; the hint tells the nearest name.
    """
    for point in entry_points(group=group, name=name):
        return point
    near = difflib.get_close_matches(name, known, n=1)
    raise UsageError(
        f"There is no {what} {name!r}.",
        hint=f"Did you mean {near[0]!r}?" if near else f"Installed: {', '.join(known)}.",
        name=name,
    )


def broken(point: EntryPoint, error: Exception, *, what: str) -> LabError:
    """Returns the error of an entry point that cannot be loaded."""
    return LabError(
        f"The {what} {point.name!r} cannot be loaded: {type(error).__name__}: {error}",
        hint=f"It is {point.value}; ask its author.",
        name=point.name,
    )
