"""What an encoder is trained on: strings that exist, and children of them with other elements.

The targets of `descriptors` follow from any string, so a child needs no label. Strings whose hash
falls into the held-out share are never drawn, wherever they come from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.scope import ELEMENTS, element_order, scope_string

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.crystal import Crystal

__all__ = ["Corpus", "held_out"]

HELD_OUT_SHARE = 5 / 256


@dataclass(frozen=True)
class Corpus:
    """What strings are drawn from.

    Attributes:
        strings: Existing `cloud` strings.
        crystals: Crystals, from which strings of both dialects are made.
    """

    strings: Sequence[str]
    crystals: Sequence[Crystal] = ()
    _near: npt.NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_near", _swap_odds(self.strings))

    def draw(self, count: int, rng: np.random.Generator) -> tuple[list[str], npt.NDArray[np.bool_]]:
        """Draws training strings; none is held out.

        Returns:
            The strings, at most `count`, and whether each belongs to an existing crystal.
        """
        odds = (0.35, 0.15, 0.2, 0.3) if self.crystals else (0.6, 0.0, 0.4, 0.0)
        kinds = rng.choice(4, size=count, p=odds)
        texts = [self._one(int(kind), rng) for kind in kinds]
        kept = [i for i, text in enumerate(texts) if not held_out(text)]
        return [texts[i] for i in kept], np.isin(kinds[kept], (0, 1))

    def _one(self, kind: int, rng: np.random.Generator) -> str:
        dialect = "canonical" if rng.random() < 0.75 else "cloud"
        if kind == 0:
            return self.strings[int(rng.integers(len(self.strings)))]
        if kind == 2:
            return self._child(self.strings[int(rng.integers(len(self.strings)))], rng)
        crystal = self.crystals[int(rng.integers(len(self.crystals)))]
        if kind == 3:
            swap = self._swap(tuple(crystal.composition), rng)
            crystal = crystal.recoloured([swap[element] for element in crystal.colouring])
        return scope_string(crystal, dialect)

    def _child(self, text: str, rng: np.random.Generator) -> str:
        """Returns a `cloud` string with other elements, its sites sometimes in another order."""
        head, sites, amounts = text.split(" | ")
        tokens = amounts.split(" ")
        swap = self._swap(tuple(tokens[::2]), rng)
        pairs = [f"{swap[e]} {x}" for e, x in zip(tokens[::2], tokens[1::2], strict=True)]
        symbols = sites.split(" ")
        if rng.random() < 0.5:
            pairs = [pairs[i] for i in rng.permutation(len(pairs))]
            symbols = [symbols[i] for i in rng.permutation(len(symbols))]
        return f"{head} | {' '.join(symbols)} | {' '.join(pairs)}"

    def _swap(self, elements: tuple[str, ...], rng: np.random.Generator) -> dict[str, str]:
        """Returns another element for each, no two the same."""
        swap: dict[str, str] = {}
        for element in elements:
            odds = self._near[ELEMENTS.index(element)]
            while (other := ELEMENTS[int(np.searchsorted(odds, rng.random()))]) in swap.values():
                pass
            swap[element] = other
        return swap


def held_out(text: str) -> bool:
    """Returns whether a string belongs to the validation split, which its SHA-256 decides."""
    return hashlib.sha256(text.encode()).digest()[0] < HELD_OUT_SHARE * 256


def _swap_odds(strings: Sequence[str]) -> npt.NDArray[np.float64]:
    """Returns cumulative odds of replacing row by column: half by a neighbour, half by any."""
    counts = np.full(len(ELEMENTS), 3.0)
    order = {element: i for i, element in enumerate(ELEMENTS)}
    for text in strings:
        for element in text.rsplit(" | ", 1)[1].split(" ")[::2]:
            counts[order[element]] += 1
    common = np.sqrt(counts)
    column = np.array([element_order(element)[0] for element in ELEMENTS])
    near = np.exp(-np.abs(column[:, None] - column[None, :])) * common
    near /= near.sum(axis=1, keepdims=True)
    odds = np.cumsum(0.5 * near + 0.5 * common / common.sum(), axis=1)
    odds[:, -1] = 1.0
    return odds
