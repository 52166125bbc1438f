"""What all substituters share: their children come in batches, one parent at a time."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from cloudseed.crystal import Crystal
    from cloudseed.proposers.protocols import Batch, Candidate, Parent, ProposalContext

__all__ = ["Substituter", "element_classes", "likeliest_rows", "taken"]


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


def element_classes(crystal: Crystal) -> tuple[int, ...]:
    """Returns, for each orbit, the place of its element in the composition."""
    places = {element: place for place, element in enumerate(crystal.composition)}
    return tuple([places.get(element, len(places)) for element in crystal.colouring])


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
