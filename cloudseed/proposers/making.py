"""Who proposes from what: one unit of work per parent, in this process or in several."""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import PluginError, StructureError, UsageError
from cloudseed.proposers.blocks import Block
from cloudseed.proposers.guarding import guarded
from cloudseed.proposers.protocols import (
    Batch,
    BatchProposer,
    Candidate,
    Operation,
    Parent,
    ProposalContext,
)
from cloudseed.proposers.provenance import settings_of, sha256_of
from cloudseed.proposers.sieve import Sieve, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cloudseed.proposers.protocols import Filter, Proposer

__all__ = ["PARENTS", "Makers", "make_blocks"]

PARENTS = "parents"
"""Who proposes the parents themselves."""

_TOGETHER = 256
_CHUNKS_PER_WORKER = 8


@dataclass(frozen=True, slots=True)
class Makers:
    """All that is needed to make the children of any parent.

    Attributes:
        proposers: In order; their places start from 1.
        filters: In order.
        context: Parents and permitted elements.
        budget: Raw candidates per parent and proposer.
        entropy: What the random generators are seeded with.
        keep_parents: Whether the parents themselves are candidates.
    """

    proposers: tuple[Proposer, ...]
    filters: tuple[Filter, ...]
    context: ProposalContext
    budget: int
    entropy: int
    keep_parents: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names by place; the parents come first."""
        return (PARENTS, *(proposer.name for proposer in self.proposers))

    @property
    def labels(self) -> tuple[tuple[str, str, str], ...]:
        """Name, version and hash of the settings by place."""
        named = [(p.name, p.version, sha256_of(settings_of(p))) for p in self.proposers]
        return ((PARENTS, "1", ""), *named)

    def stream(self, *names: str) -> tuple[int, ...]:
        """Returns the entropy and the key of the generator for a proposer and its parent."""
        return (self.entropy, *(zlib.crc32(name.encode()) for name in names))

    def children(self, parent: Parent, sieve: Sieve) -> Iterator[Block]:
        """Yields what the batch proposers make of one parent, filtered."""
        for maker, proposer in enumerate(self.proposers, 1):
            if isinstance(proposer, BatchProposer):
                stream = self.stream(proposer.name, parent.crystal.key)
                rng = _generator(stream)
                made = iter(proposer.batches(parent, self.context, self.budget, rng))
                while (batch := _next(proposer, made, sieve.tally)) is not None:
                    rows, codes, judged = sieve.batch(batch, proposer.name)
                    if len(rows):
                        yield Block(rows, codes, judged, maker, stream)

    def others(
        self, sieve: Sieve, progress: Callable[[int, int], None] | None = None
    ) -> Iterator[Block]:
        """Yields the parents and what the other proposers make, filtered."""
        done = 0
        if self.keep_parents:
            yield sieve.loose([_given(parent) for parent in self.context.parents], PARENTS, 0)
        for maker, proposer in enumerate(self.proposers, 1):
            if isinstance(proposer, BatchProposer):
                continue
            stream = self.stream(proposer.name)
            proposed = self._loose(proposer, stream)
            while some := list(islice(proposed, _TOGETHER)):
                yield replace(sieve.loose(some, proposer.name, maker), stream=stream)
                done += len(some)
                if progress:
                    progress(done, 0)

    def _loose(self, proposer: Proposer, stream: tuple[int, ...]) -> Iterator[Candidate]:
        with guarded("proposer", proposer.name):
            yield from proposer.propose(self.context, self.budget, _generator(stream))


def _next(proposer: Proposer, made: Iterator[Batch], tally: Tally) -> Batch | None:
    """Returns the next batch, None at the end; a parent that gives no structure ends there."""
    try:
        with guarded("proposer", proposer.name):
            return next(made, None)
    except StructureError as error:
        tally.dropped["structure", error.message] += 1
        return None


def _generator(stream: tuple[int, ...]) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(stream[0], spawn_key=stream[1:]))


def _given(parent: Parent) -> Candidate:
    arguments: dict[str, object] = {"source": parent.source}
    if parent.values:
        arguments["values"] = dict(parent.values)
    operation = Operation("parent", arguments)
    return Candidate(parent.crystal, (parent.name,), operation, 0.0, "given", depth=parent.depth)


def make_blocks(
    makers: Makers, workers: int, progress: Callable[[int, int], None] | None
) -> tuple[list[Block], Tally]:
    """Makes everything, in the order of the parents.

    Args:
        makers: What to make.
        workers: Processes; 1 for this one alone.
        progress: Called with the number of parents done and of all; before that, while a list is
            read, with the number of its candidates and 0.

    Raises:
        UsageError: If the number of workers is not positive.
        PluginError: If a proposer or filter fails; the message names it.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers do nothing.", hint="Give a positive number.")
    sieve = Sieve(makers.filters)
    blocks = list(makers.others(sieve, progress))
    parents = makers.context.parents
    if workers == 1 or not any(isinstance(p, BatchProposer) for p in makers.proposers):
        for done, parent in enumerate(parents, 1):
            blocks.extend(makers.children(parent, sieve))
            if progress:
                progress(done, len(parents))
        return blocks, sieve.tally
    blocks.extend(_shared(makers, workers, sieve.tally, progress))
    return blocks, sieve.tally


def _shared(
    makers: Makers, workers: int, tally: Tally, progress: Callable[[int, int], None] | None
) -> Iterator[Block]:
    """Yields the children of all parents, made by several processes."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    parents = makers.context.parents
    size = max(1, len(parents) // (workers * _CHUNKS_PER_WORKER))
    chunks = [parents[i : i + size] for i in range(0, len(parents), size)]
    alone = replace(makers, context=replace(makers.context, parents=()))
    done = 0
    # Forking a process whose libraries run threads can hang.
    context = multiprocessing.get_context("spawn")
    with (
        _explained(makers),
        ProcessPoolExecutor(workers, context, initializer=_start, initargs=(alone,)) as pool,
    ):
        for chunk, (packed, counted) in zip(chunks, pool.map(_work, chunks), strict=True):
            tally.add(counted)
            for place, block, memo in packed:
                yield _unpacked(chunk[place], block, memo)
            done += len(chunk)
            if progress:
                progress(done, len(parents))


@contextmanager
def _explained(makers: Makers) -> Iterator[None]:
    """Maps the errors of processes that cannot be started or that die."""
    from concurrent.futures import BrokenExecutor
    from pickle import PicklingError

    names = [*makers.names[1:], *(judge.name for judge in makers.filters)]
    try:
        yield
    except (BrokenExecutor, PicklingError, AttributeError) as error:
        raise PluginError(
            f"A process that proposes could not be started or died ({type(error).__name__}).",
            hint="Give one worker alone: it shows which of"
            f" {', '.join(names)} it is, unless memory was short.",
        ) from error


_MAKERS: list[Makers] = []
"""What this process makes, if it is a worker."""


def _start(makers: Makers) -> None:
    _MAKERS[:] = [makers]


Packed = tuple[int, Block, dict[tuple[int, ...], Any]]
"""Place of the parent in its chunk, a block without it, and what was learned about its root."""


def _work(chunk: Sequence[Parent]) -> tuple[list[Packed], Tally]:
    (makers,) = _MAKERS
    sieve = Sieve(makers.filters)
    packed = [
        _packed(place, parent, block)
        for place, parent in enumerate(chunk)
        for block in makers.children(parent, sieve)
    ]
    return packed, sieve.tally


def _packed(place: int, parent: Parent, block: Block) -> Packed:
    """Takes away what the other process has: the parent, and its root where it is the block's."""
    rows = block.rows
    assert isinstance(rows, Batch)
    own = rows.root is parent.crystal.root
    bare: Any = replace(rows, parent=None, root=None if own else rows.root)  # type: ignore[arg-type]
    return place, replace(block, rows=bare), parent.crystal.root.memo if own else {}


def _unpacked(parent: Parent, block: Block, memo: dict[tuple[int, ...], Any]) -> Block:
    rows = block.rows
    assert isinstance(rows, Batch)
    parent.crystal.root.memo.update(memo)
    root = parent.crystal.root if rows.root is None else rows.root
    return replace(block, rows=replace(rows, parent=parent, root=root))
