"""Crystals in, candidates out: the whole of this part on one page.

A `Proposer` yields `Candidate`s made from `Parent`s, likeliest first, and nothing else: the part's
core (`generate`) keys, deduplicates, filters and records whatever proposers yield. Three things a
proposer or filter may offer besides, each a small protocol of its own:

    BatchProposer      hands over children by the thousand, as arrays
    Observer           learns from what has been measured
    CompositionFilter  judges compositions by the thousand, as arrays

A `Filter` answers pass, fail or unknown, with a reason; unknown never rejects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cloudseed._elements import SYMBOLS
from cloudseed.crystal import Crystal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from cloudseed.crystal import GeometryRoot

__all__ = [
    "Batch",
    "BatchProposer",
    "Candidate",
    "CompositionFilter",
    "Filter",
    "FilterResult",
    "Judged",
    "Observation",
    "Observer",
    "Operation",
    "Parent",
    "ProposalContext",
    "Proposer",
    "Verdict",
    "species_text",
]


@dataclass(frozen=True, slots=True)
class Parent:
    """A crystal that children are made from.

    Attributes:
        name: How people call it; unique within a campaign.
        crystal: The refined crystal.
        source: Where it comes from: a file, a database entry, an experiment.
        depth: How many operations lie between it and a crystal that was given.
        values: Numbers that its source gives, such as "energy_per_atom" in eV/atom.
    """

    name: str
    crystal: Crystal
    source: str = ""
    depth: int = 0
    values: Mapping[str, float] = field(default_factory=dict)


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
        orbit_map: For each orbit of the crystal's root the orbit of the parent's that it lies on;
            None where they are the same.
        depth: How many operations lie between it and a crystal that was given.
    """

    crystal: Crystal
    parents: tuple[str, ...]
    operation: Operation
    log_probability: float
    probability_kind: str
    rank: int = 0
    orbit_map: tuple[int, ...] | None = None
    depth: int = 1

    @property
    def key(self) -> str:
        """What makes two candidates the same: the crystal's key."""
        return self.crystal.key


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Children of one parent that differ in their elements only, as arrays of `n` rows.

    Orbits of one class hold one element in every row. Rows follow one another by falling
    probability.

    Attributes:
        parent: What they were made from.
        root: Where their atoms sit; the parent's own root, or one with split orbits.
        classes: For each orbit of the root its class, a column of `numbers`.
        species: What each class was in the parent, for instance "Ti4+" or "Ni".
        numbers: Atomic numbers, `n x classes`; 0 for a vacancy.
        charges: Oxidation states, `n x classes`; None where there are none.
        log_probability: Natural logarithms, `n`.
        ranks: Positions among the children that one proposer makes from the parent, `n`.
        probability_kind: What the probability means.
        operation: Name of the operation.
        arguments: Those of the operation's arguments that all rows share; plain JSON values.
        orbit_map: As in `Candidate`.
    """

    parent: Parent
    root: GeometryRoot
    classes: tuple[int, ...]
    species: tuple[str, ...]
    numbers: npt.NDArray[np.uint8]
    charges: npt.NDArray[np.int8] | None
    log_probability: npt.NDArray[np.float64]
    ranks: npt.NDArray[np.int32]
    probability_kind: str
    operation: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    orbit_map: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.log_probability)

    def __iter__(self) -> Iterator[Candidate]:
        return (self.candidate(row) for row in range(len(self)))

    def crystal(self, row: int) -> Crystal:
        """Returns the crystal of one row."""
        symbols = [SYMBOLS[number] for number in self.numbers[row].tolist()]
        return Crystal(self.root, tuple([symbols[column] for column in self.classes]))

    def candidate(self, row: int) -> Candidate:
        """Returns one row as a candidate.

        Its arguments are the shared ones and "species": for each class what it was and is.
        """
        return Candidate(
            crystal=self.crystal(row),
            parents=(self.parent.name,),
            operation=Operation(self.operation, {**self.arguments, "species": self.changes(row)}),
            log_probability=float(self.log_probability[row]),
            probability_kind=self.probability_kind,
            rank=int(self.ranks[row]),
            orbit_map=self.orbit_map,
            depth=self.parent.depth + 1,
        )

    def changes(self, row: int) -> list[list[str]]:
        """Returns, for each class, what it was in the parent and what it is in one row."""
        after = [SYMBOLS[number] for number in self.numbers[row].tolist()]
        if self.charges is not None:
            charges = self.charges[row].tolist()
            after = [species_text(e, q) for e, q in zip(after, charges, strict=True)]
        return [list(pair) for pair in zip(self.species, after, strict=True)]


def species_text(element: str, charge: int) -> str:
    """Returns an element with its charge, for instance "Ti4+"; without one if it is 0."""
    return f"{element}{abs(charge)}{'+' if charge > 0 else '-'}" if charge else element


@dataclass(frozen=True, slots=True)
class ProposalContext:
    """What a proposer may know.

    Attributes:
        parents: The crystals to start from.
        elements: Symbols that may be used; None for all that are not radioactive.
        known: Keys of candidates that are there already; who has few to give leaves them out.
    """

    parents: tuple[Parent, ...]
    elements: frozenset[str] | None = None
    known: frozenset[str] = frozenset()


@runtime_checkable
class Proposer(Protocol):
    """Makes candidates from parents, or from nothing.

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


@runtime_checkable
class BatchProposer(Proposer, Protocol):
    """A proposer whose children depend on one parent each; the core prefers its batches."""

    def batches(
        self, parent: Parent, context: ProposalContext, budget: int, rng: np.random.Generator
    ) -> Iterator[Batch]:
        """Yields at most `budget` children of one parent."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """A crystal that has been measured.

    Attributes:
        crystal: What was measured.
        name: How people call it.
        value: How good it is; larger is better.
        depth: As in `Candidate`.
    """

    crystal: Crystal
    name: str
    value: float
    depth: int = 0


@runtime_checkable
class Observer(Protocol):
    """A proposer that learns from measurements."""

    def observe(self, results: Sequence[Observation]) -> None:
        """Takes all measurements so far, in place of those that it was given before."""
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

    def to_json(self) -> dict[str, str]:
        """Returns the result as plain values."""
        return {
            "filter": self.filter,
            "version": self.version,
            "verdict": str(self.verdict),
            "reason": self.reason,
        }


@runtime_checkable
class Filter(Protocol):
    """Judges one candidate by what its papers say.

    A filter with an attribute `depends_on` that is "composition" promises that its verdict depends
    on the reduced composition alone; the core then asks once for each. A filter that asks for the
    candidate's key or structure has "crystal", which is taken where the attribute is absent.

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


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Many verdicts, of which few are different.

    Attributes:
        results: The different ones.
        index: For each of `n` rows its place in `results`, an array of integers.
    """

    results: Sequence[FilterResult]
    index: npt.NDArray[np.intp]


@runtime_checkable
class CompositionFilter(Filter, Protocol):
    """A filter that judges many compositions of the same amounts at once."""

    def check_many(self, numbers: npt.NDArray[np.uint8], amounts: Sequence[int]) -> Judged:
        """Returns the verdicts on compositions, the same as `check`'s.

        Args:
            numbers: Atomic numbers, `n x m`, no two of a row equal.
            amounts: Atoms of each column in the cell, `m`.
        """
        ...
