"""One rule for the volume of what is proposed, judged, written and sent to a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudseed.proposers import predict_volume

if TYPE_CHECKING:
    from cloudseed.crystal import Crystal

__all__ = ["is_given", "predictor_of", "volume_of"]

_GIVEN = frozenset({"parent", "fixed_list"})


def is_given(operation: str) -> bool:
    """Tells whether an operation's crystals come with their own volume: parents, and lists."""
    return operation in _GIVEN


def predictor_of(operation: str) -> str:
    """Names how the volume of an operation's crystals is found."""
    return "as given" if is_given(operation) else "DLS"


def volume_of(crystal: Crystal, operation: str, reference: Crystal | None) -> float:
    """Returns the volume of a candidate's primitive cell in cubic angstrom.

    Args:
        crystal: The candidate's crystal.
        operation: Name of the operation that made it; a given crystal keeps its volume.
        reference: The crystal that it was made from, in its right size.
    """
    cell = crystal.build()
    return cell.volume if is_given(operation) else predict_volume(cell, reference)
