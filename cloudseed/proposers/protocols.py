"""Crystals in, candidates out: the whole of this part on one page.

A `Proposer` yields `Candidate`s made from `Parent`s, likeliest first, and nothing else: the part's
core (`generate`) keys, deduplicates and filters whatever proposers yield. A `Filter` answers pass,
fail or unknown, with a reason; unknown never rejects.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from cloudseed.crystal import Crystal

__all__ = [
    "Candidate",
    "Filter",
    "FilterResult",
    "Operation",
    "Parent",
    "ProposalContext",
    "Proposer",
    "Verdict",
]


@dataclass(frozen=True, slots=True)
class Parent:
    """A crystal that children are made from.

    Attributes:
        name: How people call it; unique within a campaign.
        crystal: The refined crystal.
        source: Where it comes from: a file, a database entry, an experiment.
    """

    name: str
    crystal: Crystal
    source: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """What was done to a parent.

    Attributes:
        name: For instance "ionic_substitution".
        arguments: What is needed to do it again; plain JSON values.
    """

    name: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A crystal proposed for making, with its papers; no structure is built.

    Attributes:
        crystal: Root and colouring.
        parents: Names of the parents it was made from.
        operation: How it was made.
        log_probability: Natural logarithm of its probability, of the kind named beside it.
        probability_kind: What the probability means, for instance "hautier2011".
        rank: Position among its parent's children, from 0.
    """

    crystal: Crystal
    parents: tuple[str, ...]
    operation: Operation
    log_probability: float
    probability_kind: str
    rank: int = 0

    @property
    def key(self) -> str:
        """What makes two candidates the same: the crystal's key."""
        return self.crystal.key


@dataclass(frozen=True, slots=True)
class ProposalContext:
    """What a proposer may know.

    Attributes:
        parents: The crystals to start from.
        elements: Symbols that may be used; None for all that are not radioactive.
    """

    parents: tuple[Parent, ...]
    elements: frozenset[str] | None = None


@runtime_checkable
class Proposer(Protocol):
    """Makes candidates from parents.

    Attributes:
        name: As registered.
        version: Changes whenever the same input gives other candidates.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...

    def propose(
        self, context: ProposalContext, budget: int, rng: np.random.Generator
    ) -> Iterator[Candidate]:
        """Yields at most `budget` raw candidates per parent, likeliest first.

        Deterministic under the state of `rng`.
        """
        ...


class Verdict(StrEnum):
    """A filter's answer. UNKNOWN passes, and is recorded."""

    PASS = "pass"  # noqa: S105  a verdict, no password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FilterResult:
    """A verdict with its reason.

    Attributes:
        filter: Name of the filter.
        version: Its version.
        verdict: Pass, fail or unknown.
        reason: One clause for people; the same words for the same cause, so that it can be counted.
    """

    filter: str
    version: str
    verdict: Verdict
    reason: str = ""


@runtime_checkable
class Filter(Protocol):
    """Judges one candidate by what its papers say.

    Attributes:
        name: What results call it.
        version: Changes whenever the same candidate gets another verdict.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...

    def check(self, candidate: Candidate) -> FilterResult:
        """Returns the verdict on a candidate."""
        ...
