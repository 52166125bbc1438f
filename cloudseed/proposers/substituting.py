"""What all substituters share: their children come in batches, one parent at a time."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.crystal import VACANCY
from cloudseed.proposers.protocols import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.proposers.maps import Maps
    from cloudseed.proposers.protocols import Candidate, Parent, ProposalContext
    from cloudseed.proposers.subsets import Colours

__all__ = ["Substituter", "changing", "children", "likeliest_rows", "taken"]


class Substituter(ABC):
    """A proposer that needs only to say which children one parent has."""

    name: str
    version: str

    @abstractmethod
    def batches(
        self, parent: Parent, context: ProposalContext, budget: int, rng: np.random.Generator
    ) -> Iterator[Batch]:
        """Yields at most `budget` children of one parent, in batches."""

    def propose(
        self, context: ProposalContext, budget: int, rng: np.random.Generator
    ) -> Iterator[Candidate]:
        """Yields at most `budget` children per parent, likeliest first over all parents."""
        batches = [
            batch
            for parent, stream in zip(context.parents, rng.spawn(len(context.parents)), strict=True)
            for batch in self.batches(parent, context, budget, stream)
        ]
        yield from heapq.merge(*batches, key=lambda candidate: -candidate.log_probability)


def children(
    parent: Parent,
    colours: Colours,
    maps: Maps,
    *,
    species: Sequence[str],
    kind: str,
    operation: str,
    arguments: Mapping[str, object],
    charged: bool = True,
) -> Batch:
    """Returns the children of a parent that maps of its species make, likeliest first.

    Args:
        parent: The parent.
        colours: The children's root and classes.
        maps: One column for each class but that of empty orbits.
        species: What each column was in the parent.
        kind: What the probabilities mean.
        operation: Name of the operation.
        arguments: What all children share, as JSON values.
        charged: Whether the charges mean something.
    """
    numbers, charges, names = maps.numbers, maps.charges, tuple(species)
    if max(colours.classes) >= numbers.shape[1]:
        nothing = np.zeros((len(maps), 1))
        numbers = np.hstack([numbers, nothing]).astype(np.uint8)
        charges = np.hstack([charges, nothing]).astype(np.int8)
        names = (*names, VACANCY)
    return Batch(
        parent=parent,
        root=colours.root,
        classes=colours.classes,
        species=names,
        numbers=numbers,
        charges=charges if charged else None,
        log_probability=maps.log_probability,
        ranks=np.arange(len(maps), dtype=np.int32),
        probability_kind=kind,
        operation=operation,
        arguments=arguments,
        orbit_map=colours.orbit_map,
    )


def changing(maps: Maps, own: Sequence[int], budget: int) -> Maps:
    """Returns the first maps that change something.

    Args:
        maps: The maps.
        own: Atomic numbers of the parent's species.
        budget: Most maps.
    """
    changed = (maps.numbers != np.array(own, dtype=np.uint8)).any(axis=1)
    return maps.at(np.flatnonzero(changed)[:budget])


def likeliest_rows(batches: Iterable[Batch], budget: int) -> Iterator[Batch]:
    """Yields what is left of the batches if only the likeliest rows stay, with their ranks."""
    given = [batch for batch in batches if len(batch)]
    if not given:
        return
    logs = np.concatenate([batch.log_probability for batch in given])
    order = np.argsort(-logs, kind="stable")[:budget]
    ranks = np.full(len(logs), -1, dtype=np.int32)
    ranks[order] = np.arange(len(order))
    start = 0
    for batch in given:
        own = ranks[start : start + len(batch)]
        start += len(batch)
        if (own >= 0).any():
            yield taken(replace(batch, ranks=own), own >= 0)


def taken(batch: Batch, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Batch:
    """Returns some rows of a batch, by places or by a mask."""
    return replace(
        batch,
        numbers=batch.numbers[rows],
        charges=None if batch.charges is None else batch.charges[rows],
        log_probability=batch.log_probability[rows],
        ranks=batch.ranks[rows],
    )
