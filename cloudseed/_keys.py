"""Keys of many colourings of one root at once, as numbers; `Crystal.key` tells what a key is.

A code is a byte for the space group, then two for each occupied orbit, in the key's order: Wyckoff
letter and the element's place in the alphabet. Equal codes are equal keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cloudseed._elements import SYMBOLS, VACANCY
from cloudseed._root import VACANT
from cloudseed._symmetry import multiplicities, relabelings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from cloudseed._root import GeometryRoot, Symmetry

__all__ = ["key_code", "key_codes", "key_text", "patterns"]

_ALPHABET = ("", *sorted(symbol for symbol in SYMBOLS if symbol != VACANCY))
_PLACE = np.array([0, *(_ALPHABET.index(symbol) for symbol in SYMBOLS[1:])], dtype=np.uint16)


def key_codes(
    root: GeometryRoot, classes: Sequence[int], numbers: npt.NDArray[np.uint8]
) -> list[bytes]:
    """Returns the codes of the keys of many colourings.

    Args:
        root: Where the atoms sit.
        classes: For each orbit of the root its column of `numbers`.
        numbers: Atomic numbers, `n x classes`; 0 for a vacancy.

    Raises:
        StructureError: If a row leaves every orbit empty.
    """
    codes: list[bytes] = [b""] * len(numbers)
    for pattern, places in patterns(numbers):
        symmetry = root.symmetry(_partition(classes, pattern))
        table = _codes(symmetry, classes, numbers[places])
        width, packed = table.shape[1], table.tobytes()
        for i, place in enumerate(places.tolist()):
            codes[place] = packed[i * width : (i + 1) * width]
    return codes


def key_text(code: bytes) -> str:
    """Returns the key of a code, for instance "221 1a:Sr 1b:Ti 3c:O"."""
    table = multiplicities(code[0])
    orbits = [
        f"{table[chr(letter)]}{chr(letter)}:{_ALPHABET[element]}"
        for letter, element in zip(code[1::2], code[2::2], strict=True)
    ]
    return f"{code[0]} {' '.join(orbits)}"


def key_code(text: str) -> bytes:
    """Returns the code of a key.

    Raises:
        ValueError: If the text is no key.
    """
    space_group, _, orbits = text.partition(" ")
    code = bytearray([int(space_group)])
    for orbit in orbits.split(" "):
        symbol, _, element = orbit.partition(":")
        code += bytes([ord(symbol[-1]), _ALPHABET.index(element)])
    return bytes(code)


def patterns(
    numbers: npt.NDArray[np.uint8],
) -> Iterator[tuple[list[int], npt.NDArray[np.intp]]]:
    """Yields groups of rows in which the same columns are equal and the same are empty.

    Yields:
        For each column the first that equals it, or `VACANT`; and the rows of the group.
    """
    first = (numbers[:, :, None] == numbers[:, None, :]).argmax(axis=2).astype(np.int16)
    first[numbers == 0] = VACANT
    if (first == first[:1]).all():
        if len(first):
            yield first[0].tolist(), np.arange(len(first))
        return
    patterns, inverse = np.unique(first, axis=0, return_inverse=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(inverse.ravel()))
    yield from zip(patterns.tolist(), np.split(order, ends[:-1]), strict=True)


def _partition(classes: Sequence[int], pattern: Sequence[int]) -> tuple[int, ...]:
    seen = {VACANT: VACANT}
    return tuple([seen.setdefault(pattern[column], len(seen) - 1) for column in classes])


def _codes(
    symmetry: Symmetry, classes: Sequence[int], numbers: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Returns the codes of rows of one symmetry, `n x bytes`."""
    columns: dict[int, tuple[str, int]] = {}
    for group, orbit, column in zip(symmetry.group, symmetry.orbits, classes, strict=True):
        if group != VACANT:
            columns.setdefault(group, (orbit.letter, column))
    elements = _PLACE[numbers[:, [column for _, column in columns.values()]]]
    # Most maps of the normaliser leave the letters that are in use as they are.
    layouts = {
        tuple(ord(relabel[ord(letter)]) << 8 for letter, _ in columns.values())
        for relabel in relabelings(symmetry.space_group)
    }
    best, *others = (
        np.sort(elements + np.array(layout, dtype=np.uint16), axis=1) for layout in sorted(layouts)
    )
    for other in others:
        at = (other != best).argmax(axis=1)[:, None]
        smaller = np.take_along_axis(other, at, 1) < np.take_along_axis(best, at, 1)
        best = np.where(smaller, other, best)
    head = np.full((len(numbers), 1), symmetry.space_group, dtype=np.uint8)
    return np.hstack([head, np.ascontiguousarray(best, dtype=">u2").view(np.uint8)])
