"""The core of proposing: proposals are filtered, keyed, deduplicated and given their papers.

    proposers -> filters, cheapest first -> key -> known? seen? -> Kept

Everything is counted, and the same arguments give the same generation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudseed.errors import UsageError
from cloudseed.proposers.protocols import (
    Candidate,
    Filter,
    FilterResult,
    Operation,
    ProposalContext,
    Proposer,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import numpy as np

__all__ = ["Generation", "Kept", "Origin", "generate"]


@dataclass(frozen=True, slots=True)
class Origin:
    """One way in which a crystal was proposed.

    Attributes:
        candidate: The candidate as proposed.
        proposer: Name of the proposer; "parents" for the parents themselves.
        version: Its version.
    """

    candidate: Candidate
    proposer: str
    version: str

    def to_json(self) -> dict[str, Any]:
        """Returns the origin as plain values."""
        made = self.candidate
        return {
            "parents": list(made.parents),
            "root": made.crystal.root.sha,
            "colouring": list(made.crystal.colouring),
            "operation": made.operation.name,
            "arguments": dict(made.operation.arguments),
            "log_probability": made.log_probability,
            "probability_kind": made.probability_kind,
            "rank": made.rank,
            "proposer": self.proposer,
            "proposer_version": self.version,
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """A candidate that passed, with its papers.

    Attributes:
        candidate: The first proposal of this crystal.
        origins: Every way in which the crystal was proposed, the candidate's first.
        results: What the filters said, in order.
        seed: Entropy of the random generator, as text.
    """

    candidate: Candidate
    origins: tuple[Origin, ...]
    results: tuple[FilterResult, ...]
    seed: str

    @property
    def key(self) -> str:
        """What makes two candidates the same."""
        return self.candidate.key

    def papers(self) -> dict[str, Any]:
        """Returns where the candidate comes from, as plain JSON values."""
        return {
            "key": self.key,
            "formula": self.candidate.crystal.formula,
            "origins": [origin.to_json() for origin in self.origins],
            "filters": [
                {
                    "filter": result.filter,
                    "version": result.version,
                    "verdict": str(result.verdict),
                    "reason": result.reason,
                }
                for result in self.results
            ],
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Generation:
    """What one call of `generate` made.

    Attributes:
        kept: The candidates that passed, each crystal once: parents, then children in the order of
            the proposers, likeliest first.
        raw: Number of candidates proposed, parents included.
        duplicates: Number of those that passed and had been proposed before.
        known: Number of distinct crystals left out because the caller knows them.
        dropped: (filter, reason) -> number of candidates that failed.
        unknown: (filter, reason) -> number of candidates that the filter could not judge.
    """

    kept: tuple[Kept, ...]
    raw: int
    duplicates: int = 0
    known: int = 0
    dropped: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unknown: Mapping[tuple[str, str], int] = field(default_factory=dict)


def generate(
    proposers: Sequence[Proposer],
    context: ProposalContext,
    filters: Sequence[Filter],
    *,
    budget: int,
    rng: np.random.Generator,
    keep_parents: bool = True,
    known: Collection[str] = (),
) -> Generation:
    """Runs the proposers and keeps what passes the filters, each crystal once.

    Args:
        proposers: Who proposes, in order; of a crystal proposed twice the first proposal counts
            and all are recorded.
        context: Parents and permitted elements.
        filters: Asked in this order, cheapest first; the first that fails ends the questions.
        budget: Raw candidates per parent and proposer.
        rng: Source of randomness; each proposer gets a generator spawned from it.
        keep_parents: Whether the parents themselves are candidates, where they pass.
        known: Keys to leave out, for instance those in the ledger.

    Raises:
        UsageError: If there is no parent, no proposer, or no budget.
    """
    _check(proposers, context, budget)
    sieve = _Sieve(filters, frozenset(known), _seed(rng))
    if keep_parents:
        for origin in _parents(context):
            sieve.take(origin)
    for proposer, stream in zip(proposers, rng.spawn(len(proposers)), strict=True):
        for candidate in proposer.propose(context, budget, stream):
            sieve.take(Origin(candidate, proposer.name, proposer.version))
    return sieve.generation()


def _check(proposers: Sequence[Proposer], context: ProposalContext, budget: int) -> None:
    if not context.parents:
        raise UsageError("There are no parents.", hint="Give at least one crystal to start from.")
    if not proposers:
        raise UsageError("There are no proposers.", hint="Name one, such as ionic_substitution.")
    if budget < 1:
        raise UsageError(
            f"A budget of {budget} candidates per parent proposes nothing.",
            hint="Give a positive number.",
        )


def _parents(context: ProposalContext) -> Iterator[Origin]:
    for parent in context.parents:
        operation = Operation("parent", {"source": parent.source})
        candidate = Candidate(parent.crystal, (parent.name,), operation, 0.0, "given")
        yield Origin(candidate, "parents", "1")


def _seed(rng: np.random.Generator) -> str:
    return str(getattr(rng.bit_generator.seed_seq, "entropy", ""))


class _Sieve:
    """Filters, keys and deduplicates one candidate after the other, and counts."""

    def __init__(self, filters: Sequence[Filter], known: frozenset[str], seed: str) -> None:
        self._filters = filters
        self._known = known
        self._seed = seed
        self._raw = 0
        self._kept: dict[str, tuple[list[Origin], tuple[FilterResult, ...]]] = {}
        self._met: set[str] = set()
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._unknown: Counter[tuple[str, str]] = Counter()
        self._duplicates = 0

    def take(self, origin: Origin) -> None:
        """Judges one proposal."""
        self._raw += 1
        results = self._judge(origin.candidate)
        if results is None:
            return
        key = origin.candidate.key
        if key in self._known:
            self._met.add(key)
        elif key in self._kept:
            self._duplicates += 1
            self._kept[key][0].append(origin)
        else:
            self._kept[key] = ([origin], results)

    def _judge(self, candidate: Candidate) -> tuple[FilterResult, ...] | None:
        results = []
        for judge in self._filters:
            result = judge.check(candidate)
            if result.verdict is Verdict.FAIL:
                self._dropped[result.filter, result.reason] += 1
                return None
            if result.verdict is Verdict.UNKNOWN:
                self._unknown[result.filter, result.reason] += 1
            results.append(result)
        return tuple(results)

    def generation(self) -> Generation:
        """Returns what has been kept and counted."""
        return Generation(
            kept=tuple(
                Kept(origins[0].candidate, tuple(origins), results, self._seed)
                for origins, results in self._kept.values()
            ),
            raw=self._raw,
            duplicates=self._duplicates,
            known=len(self._met),
            dropped=dict(self._dropped.most_common()),
            unknown=dict(self._unknown.most_common()),
        )
