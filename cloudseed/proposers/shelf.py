"""The shelf: what passed, each crystal once, as numbers; papers are written when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from cloudseed._keys import key_code, key_text
from cloudseed.proposers.making import PARENTS
from cloudseed.proposers.protocols import Batch
from cloudseed.proposers.provenance import Kept, Origin
from cloudseed.proposers.quotas import Pick, Quotas, Row, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import numpy.typing as npt

    from cloudseed.crystal import Crystal
    from cloudseed.proposers.blocks import Block
    from cloudseed.proposers.protocols import Candidate

__all__ = ["KeptRows", "Shelf"]


class Shelf:
    """All proposals that passed, in order, and which of them are the same crystal.

    Args:
        blocks: The proposals.
        parents: Names of the parents, in order.
        known: Keys to leave out.
    """

    def __init__(
        self, blocks: Sequence[Block], parents: Sequence[str], known: Collection[str]
    ) -> None:
        self._blocks = _ordered(blocks, parents)
        self._starts = np.cumsum([0, *map(len, self._blocks)])
        order = self._order()
        codes = [code for block in self._blocks for code in block.codes]
        unique, self._first = _numbered(codes, order.tolist(), _codes_of(known))
        self.known = unique.known
        self.codes = unique.codes
        self._heads = np.array(unique.heads, dtype=np.int64)
        self._places, self._ends = _grouped(order, self._first[order], len(unique.codes))
        self.duplicates = int(self._ends[-1]) - len(unique.codes) if unique.codes else 0

    def __len__(self) -> int:
        return len(self.codes)

    def _order(self) -> npt.NDArray[np.int64]:
        """Returns the proposals by maker and place within it, then as they came."""
        before: Counter[int] = Counter()
        makers, places = [], []
        for block in self._blocks:
            makers.append(np.full(len(block), block.maker))
            places.append(block.places(before[block.maker]))
            before[block.maker] += len(block)
        if not makers:
            return np.zeros(0, dtype=np.int64)
        return np.lexsort((np.concatenate(places), np.concatenate(makers))).astype(np.int64)

    def where(self, proposal: int) -> tuple[Block, int]:
        """Returns the block and row of a proposal."""
        block = int(np.searchsorted(self._starts, proposal, side="right")) - 1
        return self._blocks[block], proposal - int(self._starts[block])

    def proposals(self, place: int) -> list[tuple[Block, int]]:
        """Returns every proposal of one crystal, in order."""
        start = int(self._ends[place - 1]) if place else 0
        return [self.where(int(p)) for p in self._places[start : int(self._ends[place])]]

    def crystals(self, places: Sequence[int]) -> Iterator[Crystal]:
        """Yields crystals as they were first proposed."""
        heads = self._heads[places]
        blocks = np.searchsorted(self._starts, heads, side="right") - 1
        rows = heads - self._starts[blocks]
        for block, row in zip(blocks.tolist(), rows.tolist(), strict=True):
            source = self._blocks[block].rows
            yield source.crystal(row)

    def pick(
        self,
        names: Sequence[str],
        top: int | None,
        quotas: Quotas,
        rng: np.random.Generator,
        accept: Callable[[Candidate], bool] | None = None,
    ) -> Pick:
        """Takes what is wanted: parents first, then children by the quotas.

        Args:
            names: Of the makers, by place.
            top: How many are wanted; None for all.
            quotas: What may come from where.
            rng: For what is drawn.
            accept: Whether a candidate may be taken; asked only of those that would be.
        """

        def accepted(place: int) -> bool:
            return accept is None or accept(self._candidate(place))

        everything = range(len(self))
        if top is None and quotas == Quotas():
            return Pick([p for p in everything if accepted(p)], 0, {}, chosen=False)
        rows = [self._row(place, names) for place in everything]
        given: list[int] = []
        for place in (p for p in everything if rows[p].maker == PARENTS):
            if top is not None and len(given) >= top:
                break
            if accepted(place):
                given.append(place)
        others = [place for place in everything if rows[place].maker != PARENTS]
        wanted = len(others) if top is None else max(0, top - len(given))
        picked = choose(
            [rows[place] for place in others],
            wanted,
            quotas,
            rng,
            None if accept is None else lambda at: accepted(others[at]),
        )
        return picked._replace(places=given + [others[place] for place in picked.places])

    def _candidate(self, place: int) -> Candidate:
        block, row = self.where(int(self._heads[place]))
        return block.rows.candidate(row)

    def _row(self, place: int, names: Sequence[str]) -> Row:
        block, row = self.where(int(self._heads[place]))
        code = self.codes[place]
        return Row(
            names[block.maker],
            block.parents(row),
            bytes(sorted(set(code[2::2]))),
            block.log_probability(row),
        )

    def taken(self, picked: Pick, names: Sequence[str]) -> dict[str, int]:
        """Returns how many of the picked crystals each proposer proposed first."""
        blocks = np.searchsorted(self._starts, self._heads[picked.places], side="right") - 1
        makers = np.array([block.maker for block in self._blocks], dtype=np.intp)
        found = np.bincount(makers[blocks], minlength=len(names)).tolist()
        counts = dict(zip(names, found, strict=True))
        return {name: counts[name] for name in names if counts[name]}

    def fruitful(self) -> tuple[str, ...]:
        """Returns the names of the parents that first proposed something."""
        found: dict[str, None] = {}
        blocks = np.searchsorted(self._starts, self._heads, side="right") - 1
        for at in np.unique(blocks).tolist():
            block = self._blocks[at]
            if isinstance(block.rows, Batch):
                found[block.rows.parent.name] = None
            elif block.maker:
                heads = self._heads[blocks == at] - int(self._starts[at])
                found.update((n, None) for row in heads.tolist() for n in block.parents(row))
        return tuple(found)


def _ordered(blocks: Sequence[Block], parents: Sequence[str]) -> list[Block]:
    """Returns the blocks by maker, then by parent, so that ties do not hang on who was faster."""
    places = {name: place for place, name in enumerate(parents)}
    return sorted(
        blocks,
        key=lambda block: (
            block.maker,
            places.get(block.rows.parent.name, -1) if isinstance(block.rows, Batch) else -1,
        ),
    )


def _codes_of(known: Collection[str]) -> set[bytes]:
    found = set()
    for text in known:
        try:
            found.add(key_code(text))
        except (ValueError, IndexError):  # no crystal has such a key
            continue
    return found


class _Unique:
    """Distinct crystals: their codes, their first proposals, and how many are known."""

    def __init__(self) -> None:
        self.codes: list[bytes] = []
        self.heads: list[int] = []
        self.known = 0


def _numbered(
    codes: Sequence[bytes], order: Sequence[int], known: set[bytes]
) -> tuple[_Unique, npt.NDArray[np.int64]]:
    """Numbers the distinct codes in order; -1 for known ones."""
    unique = _Unique()
    places: dict[bytes, int] = {}
    numbers = np.empty(len(codes), dtype=np.int64)
    for proposal in order:
        code = codes[proposal]
        place = places.get(code)
        if place is None:
            if code in known:
                place = -1
                unique.known += 1
            else:
                place = len(unique.codes)
                unique.codes.append(code)
                unique.heads.append(proposal)
            places[code] = place
        numbers[proposal] = place
    return unique, numbers


def _grouped(
    order: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64], size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns proposals by crystal, each in order, and where each crystal's end."""
    kept = numbers >= 0
    order, numbers = order[kept], numbers[kept]
    grouped = order[np.argsort(numbers, kind="stable")]
    return grouped, np.cumsum(np.bincount(numbers, minlength=size))


class KeptRows(Sequence[Kept]):
    """The candidates that were taken; each is made when it is asked for.

    Args:
        shelf: What passed.
        picked: What was taken.
        labels: Name, version and hash of each proposer.
        seed: Entropy of the random generator, as text.
        config: Hash of the generation's settings.
    """

    def __init__(
        self,
        shelf: Shelf,
        picked: Pick,
        labels: Sequence[tuple[str, str, str]],
        seed: str,
        config: str,
    ) -> None:
        self._shelf = shelf
        self._picked = picked
        self._labels = labels
        self._seed = seed
        self._config = config

    def __len__(self) -> int:
        return len(self._picked.places)

    @overload
    def __getitem__(self, index: int) -> Kept: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Kept, ...]: ...
    def __getitem__(self, index: int | slice) -> Kept | tuple[Kept, ...]:
        if isinstance(index, slice):
            return tuple(self._kept(i) for i in range(len(self))[index])
        return self._kept(range(len(self))[index])

    def crystals(self) -> Iterator[Crystal]:
        """Yields the crystals alone, which is quick."""
        return self._shelf.crystals(self._picked.places)

    def keys(self) -> Iterator[str]:
        """Yields the keys alone, which is quick."""
        return (key_text(self._shelf.codes[place]) for place in self._picked.places)

    def _kept(self, index: int) -> Kept:
        proposals = self._shelf.proposals(self._picked.places[index])
        origins = tuple(
            Origin(block.rows.candidate(row), *self._labels[block.maker], stream=block.stream)
            for block, row in proposals
        )
        first, row = proposals[0]
        return Kept(
            origins, first.results(row), self._seed, self._config, chosen=self._chosen(index)
        )

    def _chosen(self, index: int) -> str:
        if not self._picked.chosen:
            return "all"
        return "likeliest" if index < len(self) - self._picked.explored else "exploration"
