"""What the periodic table says of a string's composition, as numbers of a fixed length.

Mean and mean absolute deviation of every tabulated property over the atoms, as in L. Ward et al.,
npj Comput. Mater. 2, 16028 (2016). Nothing in them was learned from crystals. Beside an embedding
they let a model find from few measurements what follows from the elements alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.element_table import element_table
from cloudseed.surrogate.scope import ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

__all__ = ["ELEMENT_ROWS", "descriptor_names", "element_descriptors", "element_properties"]

#: Strings described at once: bounds the memory beside the answer.
_CHUNK = 16_384
ELEMENT_ROWS = {symbol: row for row, symbol in enumerate(ELEMENTS)}
"""Element -> its row in `element_properties`."""


def descriptor_names() -> tuple[str, ...]:
    """Returns what each column of `element_descriptors` is."""
    names = element_table()[0]
    return (*(f"mean {name}" for name in names), *(f"deviation of {name}" for name in names))


def element_descriptors(strings: Sequence[str]) -> Array:
    """Describes the compositions of SCOPE strings by the properties of their elements.

    Properties are standardised over the periodic table; where one is not tabulated, the element
    counts as average. Polymorphs have the same row.

    Args:
        strings: SCOPE strings, n, of any dialect.

    Returns:
        n x `len(descriptor_names())`, finite. A string without a composition that can be read has
        zeros, the average of all elements.
    """
    table = element_properties()
    found = np.zeros((len(strings), 2 * table.shape[1]), dtype=np.float32)
    for start in range(0, len(strings), _CHUNK):
        compositions = [_composition(s) for s in strings[start : start + _CHUNK]]
        found[start : start + _CHUNK] = _statistics(compositions, table)
    return found


def _composition(string: str) -> tuple[list[int], list[float]]:
    """Returns atomic numbers less one and amounts; of nothing where they cannot be read."""
    tokens = string.rpartition(" | ")[2].split(" ")
    try:
        elements = [ELEMENT_ROWS[token] for token in tokens[::2]]
        amounts = [float(token) for token in tokens[1::2]]
    except (KeyError, ValueError):
        return [], []
    known = len(elements) == len(amounts) and min(amounts) >= 0 and 0 < sum(amounts) < np.inf
    return (elements, amounts) if known else ([], [])


def _statistics(compositions: Sequence[tuple[list[int], list[float]]], table: Array) -> Array:
    """Returns means and mean absolute deviations, n x 2 p."""
    counts = np.array([len(elements) for elements, _ in compositions])
    width = max(1, int(counts.max(initial=1)))
    filled = np.arange(width) < counts[:, None]
    elements = np.zeros((len(counts), width), dtype=np.int64)
    amounts = np.zeros((len(counts), width), dtype=np.float32)
    elements[filled] = [number for row, _ in compositions for number in row]
    amounts[filled] = [amount for _, row in compositions for amount in row]
    amounts /= np.maximum(amounts.sum(axis=1, keepdims=True), np.float32(1e-30))
    mean = np.zeros((len(counts), table.shape[1]), dtype=np.float32)
    deviation = np.zeros_like(mean)
    for place in range(width):
        mean += amounts[:, [place]] * table[elements[:, place]]
    for place in range(width):
        deviation += amounts[:, [place]] * np.abs(table[elements[:, place]] - mean)
    return np.hstack([mean, deviation])


@lru_cache(maxsize=1)
def element_properties() -> Array:
    """Returns the properties of the elements, standardised over the periodic table, 118 x p.

    Where one is not tabulated, the element counts as average.
    """
    return np.nan_to_num(element_table()[1]).astype(np.float32)
