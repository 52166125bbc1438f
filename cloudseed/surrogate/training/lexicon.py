"""Reads compositions and sites back from rows of token numbers, many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.scope import ELEMENTS, generators
from cloudseed.surrogate.splits import fold_of, group_of
from cloudseed.surrogate.tokenizer import SPECIAL, WholeTokenizer, whole_vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["PAD", "Compositions", "Lexicon", "pad"]

PAD = SPECIAL.index("[PAD]")

_SITES, _COMPOSITION = 1, 2


@dataclass(frozen=True, eq=False)
class Compositions:
    """The elements of n strings, in the strings' order.

    Attributes:
        elements: Atomic numbers less one, n x k, -1 where a string names fewer.
        amounts: Atomic fractions, n x k, 0 there.
    """

    elements: npt.NDArray[np.int64]
    amounts: npt.NDArray[np.float64]


class Lexicon:
    """What each token of `whole_vocabulary` means.

    Attributes:
        tokenizer: The tokenizer whose numbers are meant.
        element: Atomic number less one of each token, -1 where it is no element.
        fraction: Atomic fraction of each token, NaN where it is none.
        symbol: Whether each token is a Wyckoff symbol.
        token: Token of each element, 118.
    """

    def __init__(self, limit: int) -> None:
        words = whole_vocabulary()
        self.tokenizer = WholeTokenizer(words, limit)
        size = len(words)
        self.element = np.full(size, -1, dtype=np.int64)
        self.fraction = np.full(size, np.nan)
        self.symbol = np.zeros(size, dtype=bool)
        self.token = np.array([words.index(element) for element in ELEMENTS])
        self.element[self.token] = np.arange(len(ELEMENTS))
        for number, word in enumerate(words[len(SPECIAL) + 1 :], start=len(SPECIAL) + 1):
            if word[0].isdigit():
                if "." in word:
                    self.fraction[number] = float(word)
                else:
                    self.symbol[number] = True
        self._bar = self.tokenizer.vocabulary["|"]
        self._groups = {" ".join(text): number for number, text in generators().items()}

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self.element)

    def space_group(self, text: str) -> int:
        """Returns the space group of a string that the tokenizer has accepted."""
        return self._groups[text.split(" | ", 1)[0]]

    def parts(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns the part that each token belongs to: 0 generators, 1 sites, 2 composition."""
        return np.asarray((tokens == self._bar).cumsum(axis=1))

    def compositions(self, tokens: npt.NDArray[np.int64]) -> Compositions:
        """Returns the elements and fractions of padded rows of tokens, n x length."""
        inside = (self.parts(tokens) == _COMPOSITION) & (self.element[tokens] >= 0)
        place = inside.cumsum(axis=1) - 1
        rows, columns = np.nonzero(inside)
        shape = len(tokens), int(place.max(initial=0)) + 1
        elements = np.full(shape, -1, dtype=np.int64)
        amounts = np.zeros(shape)
        elements[rows, place[rows, columns]] = self.element[tokens[rows, columns]]
        amounts[rows, place[rows, columns]] = self.fraction[tokens[rows, columns + 1]]
        return Compositions(elements, amounts)

    def folds(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Returns the fold of each row's composition (`splits.fold`), n."""
        found = self.compositions(tokens)
        return np.array(
            [
                fold_of(
                    group_of(
                        {ELEMENTS[e]: float(x) for e, x in zip(row, part, strict=True) if e >= 0}
                    )
                )
                for row, part in zip(found.elements, found.amounts, strict=True)
            ]
        )

    def tied(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Returns which rows tie elements to sites, as the `canonical` dialect does."""
        on_sites = (self.parts(tokens) == _SITES) & (self.element[tokens] >= 0)
        return np.asarray(on_sites.any(axis=1))


def pad(rows: Sequence[npt.NDArray[np.integer] | Sequence[int]]) -> npt.NDArray[np.int64]:
    """Returns rows of unequal length as one table, filled up with [PAD]."""
    table = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
    for row, tokens in zip(table, rows, strict=True):
        row[: len(tokens)] = tokens
    return table
