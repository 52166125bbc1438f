"""Children of crystals and of strings, with other elements: more to learn from, without labels.

The targets of `targets` follow from any string, so a child needs none. An element is replaced half
of the time by a neighbour in the periodic table and half of the time by any; those that crystals
hold often come often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.scope import ELEMENTS, element_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.crystal import Crystal

__all__ = ["Substitution"]

_TRIES = 4


class Substitution:
    """Draws other elements.

    Args:
        counts: How many strings hold each element, 118.
    """

    def __init__(self, counts: npt.NDArray[np.integer] | Sequence[int]) -> None:
        common = np.sqrt(np.asarray(counts, dtype=np.float64) + 3.0)
        column = np.array([element_order(element)[0] for element in ELEMENTS])
        near = np.exp(-np.abs(column[:, None] - column[None, :])) * common
        near /= near.sum(axis=1, keepdims=True)
        self._odds = np.cumsum(0.5 * near + 0.5 * common / common.sum(), axis=1)
        self._odds[:, -1] = 1.0

    def swap(
        self, elements: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """Returns other elements, no two of a row the same; a row without luck stays as it is.

        Args:
            elements: Atomic numbers less one, n x k, -1 where a row has fewer.
            rng: Source of randomness.
        """
        result = elements.copy()
        left = np.arange(len(elements))
        for _ in range(_TRIES):
            old = elements[left]
            dice = rng.random(old.shape)
            new = (self._odds[np.maximum(old, 0)] < dice[..., None]).sum(axis=-1)
            new[old < 0] = -1 - np.nonzero(old < 0)[1]
            ordered = np.sort(new, axis=1)
            distinct = (np.diff(ordered, axis=1) != 0).all(axis=1)
            result[left[distinct]] = np.maximum(new[distinct], -1)
            left = left[~distinct]
        return result

    def recolour(self, crystal: Crystal, count: int, rng: np.random.Generator) -> list[Crystal]:
        """Returns children of a crystal on its own sites."""
        own = list(crystal.composition)
        rows = np.tile([ELEMENTS.index(element) for element in own], (count, 1))
        children = []
        for row in self.swap(rows, rng):
            other = dict(zip(own, (ELEMENTS[i] for i in row), strict=True))
            children.append(crystal.recoloured([other[element] for element in crystal.colouring]))
        return children
