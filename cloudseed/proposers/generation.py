"""The core of proposing: proposals are filtered, keyed, deduplicated and given their papers.

    proposers -> filters, cheapest first -> key -> known? seen? -> quotas -> Kept

Everything is counted, and the same arguments give the same generation, with any number of workers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudseed.errors import UsageError
from cloudseed.proposers.making import Makers, make_blocks
from cloudseed.proposers.provenance import Kept, Origin, settings_of, sha256_of
from cloudseed.proposers.quotas import Quotas
from cloudseed.proposers.shelf import KeptRows, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy as np

    from cloudseed.proposers.protocols import Candidate, Filter, ProposalContext, Proposer

__all__ = ["Generation", "Kept", "Origin", "Quotas", "generate"]


@dataclass(frozen=True, slots=True)
class Generation:
    """What one call of `generate` made.

    Attributes:
        kept: The candidates that were taken, each crystal once: parents, then children in the order
            of the proposers, likeliest first; with `top` or quotas the proposers take turns. Made
            when asked for: a million take little memory.
        raw: Number of candidates proposed, parents included.
        duplicates: Number of those that passed and had been proposed before.
        known: Number of distinct crystals left out because the caller knows them.
        dropped: (filter, reason) -> number of candidates that failed.
        unknown: (filter, reason) -> number of candidates that the filter could not judge.
        proposed: Proposer -> number of its raw candidates.
        passed: Proposer -> number of those that passed the filters.
        taken: Proposer -> number of candidates kept that it proposed first.
        skipped: Quota -> number of candidates that it kept out.
        fruitful: Names of the parents that yielded something new.
    """

    kept: Sequence[Kept]
    raw: int
    duplicates: int = 0
    known: int = 0
    dropped: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unknown: Mapping[tuple[str, str], int] = field(default_factory=dict)
    proposed: Mapping[str, int] = field(default_factory=dict)
    passed: Mapping[str, int] = field(default_factory=dict)
    taken: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    fruitful: tuple[str, ...] = ()


def generate(
    proposers: Sequence[Proposer],
    context: ProposalContext,
    filters: Sequence[Filter],
    *,
    budget: int,
    rng: np.random.Generator,
    keep_parents: bool = True,
    known: Collection[str] = (),
    top: int | None = None,
    quotas: Quotas | None = None,
    accept: Callable[[Candidate], bool] | None = None,
    settings: Mapping[str, object] | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Generation:
    """Runs the proposers and keeps what passes the filters, each crystal once.

    Args:
        proposers: Who proposes, in order; of a crystal proposed twice the first proposal counts
            and all are recorded.
        context: Parents and permitted elements.
        filters: Asked in this order, cheapest first; the first that fails ends the questions.
        budget: Raw candidates per parent and proposer.
        rng: Source of randomness. Each proposer gets a generator of its own for each parent, which
            depends on their names alone, so that neither the number of workers nor the other
            parents change what it draws.
        keep_parents: Whether the parents themselves are candidates, where they pass. They are
            outside the quotas.
        known: Keys to leave out, for instance those in the ledger.
        top: How many candidates to keep; None for all.
        quotas: What may come from where; fewer than `top` are kept if they cannot be met, and what
            they kept out is counted.
        accept: Whether a candidate may be kept; asked, in turn, only of those that otherwise would
            be, for judgements that cost too much to be passed on all. Quotas and `top` count what
            it lets through.
        settings: What else decides what is kept, such as the settings behind `accept`; goes into
            the hash of the settings.
        workers: Processes that propose and filter at the same time.
        progress: Called with the number of parents done and of all; before that, while a list is
            read, with the number of its candidates and 0.

    Raises:
        UsageError: If there is nothing to start from, no proposer, no budget, or a quota for a
            proposer that is not there.
    """
    quotas = quotas or Quotas()
    _check(proposers, context, budget, top)
    quotas.check([proposer.name for proposer in proposers])
    makers = Makers(
        tuple(proposers), tuple(filters), context, budget, int(rng.integers(2**63)), keep_parents
    )
    blocks, tally = make_blocks(makers, workers, progress)
    shelf = Shelf(blocks, [parent.name for parent in context.parents], known)
    picked = shelf.pick(makers.names, top, quotas, rng, accept)
    config = sha256_of(_config(makers, top, quotas, rng) | dict(settings or {}))
    kept = KeptRows(shelf, picked, makers.labels, _seed(rng), config)
    return Generation(
        kept=kept,
        raw=tally.raw.total(),
        duplicates=shelf.duplicates,
        known=shelf.known,
        dropped=_sorted(tally.dropped),
        unknown=_sorted(tally.unknown),
        proposed=dict(tally.raw),
        passed=dict(tally.passed),
        taken=shelf.taken(picked, makers.names),
        skipped=picked.skipped,
        fruitful=shelf.fruitful(),
    )


def _check(
    proposers: Sequence[Proposer], context: ProposalContext, budget: int, top: int | None
) -> None:
    if not context.parents and any(getattr(p, "needs_parents", True) for p in proposers):
        raise UsageError("There are no parents.", hint="Give at least one crystal to start from.")
    if not proposers:
        raise UsageError("There are no proposers.", hint="Name one, such as ionic_substitution.")
    twice = [name for name, n in Counter(p.name for p in proposers).items() if n > 1]
    if twice:
        raise UsageError(
            f"{twice[0]} is named twice among the proposers.",
            hint="Name it once; papers and quotas tell proposers apart by name.",
        )
    if budget < 1:
        raise UsageError(
            f"A budget of {budget} candidates per parent proposes nothing.",
            hint="Give a positive number.",
        )
    if top is not None and top < 1:
        raise UsageError(f"The top {top} candidates are none.", hint="Give a positive number.")


def _sorted(counts: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _seed(rng: np.random.Generator) -> str:
    return str(getattr(rng.bit_generator.seed_seq, "entropy", ""))


def _config(
    makers: Makers, top: int | None, quotas: Quotas, rng: np.random.Generator
) -> dict[str, object]:
    """Returns all that decides a generation but the parents and the known crystals."""
    elements = makers.context.elements
    return {
        "proposers": [settings_of(proposer) for proposer in makers.proposers],
        "filters": [settings_of(judge) for judge in makers.filters],
        "budget": makers.budget,
        "keep_parents": makers.keep_parents,
        "elements": None if elements is None else sorted(elements),
        "top": top,
        "quotas": settings_of(quotas),
        "seed": _seed(rng),
    }
