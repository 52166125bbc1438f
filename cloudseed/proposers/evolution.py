"""Evolution: the best of what has been measured become parents.

GNoME recycles its discoveries in the same way (Merchant et al., Nature 624, 80 (2023),
doi:10.1038/s41586-023-06735-9). Two caps keep a campaign from following one lucky line: on the
number of generations, and on the share of what is proposed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudseed.errors import UsageError
from cloudseed.proposers.ionic import IonicSubstitution
from cloudseed.proposers.partial import PartialSubstitution
from cloudseed.proposers.protocols import Parent, ProposalContext

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from cloudseed.proposers.protocols import Candidate, Observation, Proposer

__all__ = ["Evolution"]

OPERATION = "evolution"


@dataclass(slots=True)
class Evolution:
    """Proposes children of the best measured crystals, through other proposers.

    What it proposes depends on the measurements that it was last given, on nothing before them, so
    that a campaign that starts again goes on as it would have. Without measurements it proposes
    nothing.

    Attributes:
        through: The proposers that make the children.
        elites: How many measured crystals become parents, the best first.
        depth: Largest number of operations between a child and a crystal that was given.
        share: Most children, as a share of those that the context's parents may have.
    """

    through: tuple[Proposer, ...] = (IonicSubstitution(), PartialSubstitution())
    elites: int = 8
    depth: int = 3
    share: float = 0.2
    name: str = field(default=OPERATION, init=False)
    version: str = field(default="1", init=False)
    _observed: tuple[Observation, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        if self.elites < 1 or self.depth < 1 or not self.through:
            raise UsageError(
                "Evolution needs at least one proposer, one elite and one generation.",
                hint="Give positive numbers.",
            )
        if not 0 < self.share <= 1:
            raise UsageError(
                f"The share {self.share} is not between 0 and 1.", hint="Give 0.2 or so."
            )

    def observe(self, results: Sequence[Observation]) -> None:
        """Takes all measurements so far, in place of those that it was given before."""
        self._observed = tuple(results)

    def parents(self) -> tuple[Parent, ...]:
        """Returns the parents to be: best first, each crystal once, not too deep."""
        ranked = sorted(
            (seen for seen in self._observed if math.isfinite(seen.value)),
            key=lambda seen: (-seen.value, seen.crystal.key),
        )
        found: dict[str, Parent] = {}
        for seen in ranked:
            if seen.depth < self.depth and len(found) < self.elites:
                parent = Parent(seen.name, seen.crystal, "measured", seen.depth)
                found.setdefault(seen.crystal.key, parent)
        return tuple(found.values())

    def propose(
        self, context: ProposalContext, budget: int, rng: np.random.Generator
    ) -> Iterator[Candidate]:
        """Yields at most `budget` children per elite, and `share` of the budget of all parents.

        The proposers take turns, each with its likeliest first. Children that are known already do
        not count: else those of the best would leave nothing to the others.
        """
        parents = self.parents()
        if not parents:
            return
        own = ProposalContext(parents, context.elements)
        each = max(1, budget // len(self.through))
        streams = [
            proposer.propose(own, each, stream)
            for proposer, stream in zip(self.through, rng.spawn(len(self.through)), strict=True)
        ]
        left = math.ceil(self.share * budget * max(1, len(context.parents)))
        while streams and left > 0:
            for stream in list(streams):
                candidate = next(stream, None)
                if candidate is None:
                    streams.remove(stream)
                elif left > 0 and candidate.key not in context.known:
                    left -= 1
                    yield candidate
