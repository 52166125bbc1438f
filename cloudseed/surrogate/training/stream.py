"""Batches for training: an endless, seeded stream over shards that can begin anywhere.

The order depends on the seed alone, and where the stream stands is two numbers, so that a killed
training goes on with the very batch that it did not finish. Several processes share a stream: each
takes every n-th batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import Queue
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.training.children import Substitution
from cloudseed.surrogate.training.lexicon import Lexicon, pad
from cloudseed.surrogate.training.shards import VALIDATION_SHARE
from cloudseed.surrogate.training.targets import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from cloudseed.surrogate.training.shards import Shard, TokenShards

__all__ = ["Batch", "Stream", "ahead", "batch_of", "shuffle_sites"]

_SHUFFLED = 0.5
"""Share of the `cloud` strings whose sites are named in another order."""
_SWAPPED = 0.35
"""Share of them that become children."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Strings of like length, n.

    Attributes:
        tokens: Token numbers, n x length, filled up with [PAD].
        groups: Space groups less one, n.
        real: Whether each belongs to an existing crystal, n.
        targets: Physics-informed targets, n x t, NaN where one does not apply.
        symbols: Which tokens are Wyckoff symbols of the string, n x vocabulary.
        labels: Measured or computed properties, n x p, NaN where there is none; p may be 0.
    """

    tokens: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    real: npt.NDArray[np.bool_]
    targets: npt.NDArray[np.float32]
    symbols: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]


def batch_of(
    tokens: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    real: npt.NDArray[np.bool_],
    lexicon: Lexicon,
    labels: npt.NDArray[np.float32] | None = None,
) -> Batch:
    """Returns a batch with the targets that follow from its strings."""
    symbols = np.zeros((len(tokens), lexicon.size), dtype=np.float32)
    rows, columns = np.nonzero(lexicon.symbol[tokens])
    symbols[rows, tokens[rows, columns]] = 1.0
    if labels is None:
        labels = np.zeros((len(tokens), 0), dtype=np.float32)
    return Batch(tokens, groups - 1, real, describe(tokens, lexicon), symbols, labels)


@dataclass(frozen=True, eq=False)
class Stream:
    """Batches of prepared strings, without end.

    Attributes:
        shards: What is read.
        lexicon: What tokens mean.
        size: Strings in a batch.
        seed: Seed of the order and of what is varied.
        rank: Which of the processes this is.
        world: How many there are.
    """

    shards: TokenShards
    lexicon: Lexicon
    size: int
    seed: int = 0
    rank: int = 0
    world: int = 1

    def __call__(self, taken: int = 0) -> Iterator[Batch]:
        """Yields batches, without the first `taken` ones."""
        substitution = Substitution(self.shards.elements)
        number, begin = self._locate(taken)
        while True:
            shard = self.shards.read(self._order(number))
            plan = self._plan(shard, np.random.default_rng((self.seed, 1, number)))
            for index in range(begin, len(plan)):
                rng = np.random.default_rng((self.seed, 2, number, index, self.rank))
                yield self._batch(shard, plan[index], substitution, rng)
            number, begin = number + 1, 0

    def _order(self, number: int) -> int:
        """Returns which shard is read as the `number`-th, over all epochs."""
        epoch, place = divmod(number, len(self.shards.counts))
        rng = np.random.default_rng((self.seed, 0, epoch))
        return int(rng.permutation(len(self.shards.counts))[place])

    def _batches(self, shard: int) -> int:
        """Returns how many batches of a shard fall to this process."""
        return max(1, -(-self.shards.counts[shard] // self.size) // self.world)

    def _locate(self, taken: int) -> tuple[int, int]:
        """Returns how many shards are done, and how many batches of the next."""
        per_epoch = sum(map(self._batches, range(len(self.shards.counts))))
        epochs, taken = divmod(taken, per_epoch)
        number = epochs * len(self.shards.counts)
        while taken >= (count := self._batches(self._order(number))):
            number, taken = number + 1, taken - count
        return number, taken

    def _plan(self, shard: Shard, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
        """Deals strings of like length to batches; returns those of this process."""
        lengths = np.diff(shard.offsets)
        order = np.argsort(lengths + rng.random(len(lengths)), kind="stable")
        pieces = [order[i : i + self.size] for i in range(0, len(order), self.size)]
        turn = rng.permutation(len(pieces))
        mine = [pieces[i] for i in turn[self.rank :: self.world]]
        return mine[: max(1, len(pieces) // self.world)] or [order[: self.size]]

    def _batch(
        self,
        shard: Shard,
        index: npt.NDArray[np.int64],
        substitution: Substitution,
        rng: np.random.Generator,
    ) -> Batch:
        tokens = pad(shard.rows(index))
        real = shard.real[index].copy()
        loose = np.flatnonzero(~self.lexicon.tied(tokens))
        swapped = loose[rng.random(len(loose)) < _SWAPPED]
        before = tokens[swapped]
        _swap(tokens, swapped, self.lexicon, substitution, rng)
        validated = self.lexicon.folds(tokens[swapped]) < VALIDATION_SHARE
        tokens[swapped[validated]] = before[validated]
        real[swapped[~validated]] = False
        shuffle_sites(tokens, loose[rng.random(len(loose)) < _SHUFFLED], self.lexicon, rng)
        return batch_of(tokens, shard.groups[index], real, self.lexicon)


def _swap(
    tokens: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    lexicon: Lexicon,
    substitution: Substitution,
    rng: np.random.Generator,
) -> None:
    """Gives some rows other elements, in place."""
    if not len(rows):
        return
    part = tokens[rows]
    old = lexicon.compositions(part).elements
    new = substitution.swap(old, rng)
    number = lexicon.element[part]
    for place in range(old.shape[1]):
        here = (number == old[:, place, None]) & (old[:, place, None] >= 0)
        part = np.where(here, lexicon.token[np.maximum(new[:, place, None], 0)], part)
    tokens[rows] = part


def shuffle_sites(
    tokens: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    lexicon: Lexicon,
    rng: np.random.Generator,
) -> None:
    """Names the sites of some `cloud` rows in another order, in place; the crystal is the same."""
    for row in rows:
        line = tokens[row]
        (symbols,) = np.nonzero(lexicon.symbol[line])
        line[symbols] = line[rng.permutation(symbols)]
        (elements,) = np.nonzero(lexicon.element[line] >= 0)
        moved = rng.permutation(elements)
        line[elements], line[elements + 1] = line[moved], line[moved + 1]


def ahead(batches: Iterator[Batch], depth: int = 4) -> Iterator[Batch]:
    """Yields the same batches, made a few ahead by a thread of their own."""
    queue: Queue[Batch | BaseException] = Queue(depth)
    stop = Event()

    def fill() -> None:
        try:
            for batch in batches:
                queue.put(batch)
                if stop.is_set():
                    return
        except BaseException as error:  # told to the reader, which raises it
            queue.put(error)

    Thread(target=fill, daemon=True).start()
    try:
        while True:
            got = queue.get()
            if isinstance(got, BaseException):
                raise got
            yield got
    finally:
        stop.set()
        while not queue.empty():
            queue.get_nowait()
