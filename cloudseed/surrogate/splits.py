"""Which part of a table a material belongs to: the same for every table, model and run.

Materials are grouped by composition, so that no model is tested on a polymorph, a duplicate or
another setting of what it was trained on. The group decides the fold through its SHA-256: nothing
is drawn, and a table that grows moves no material.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import InputError
from cloudseed.surrogate.scope import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

__all__ = [
    "TEST",
    "VALIDATION",
    "fold",
    "fold_of",
    "folds",
    "group",
    "group_of",
    "is_held_out",
    "is_validation",
]

#: The labels of folds below this are held out from all training (strings without labels are not),
TEST = 0.1
#: and folds from there to this tell when to stop and how wide errors are.
VALIDATION = 0.2

_BITS = 52


@lru_cache(maxsize=262_144)
def group(material: str) -> str:
    """Returns the composition that a material is grouped by.

    Fractions are rounded as in SCOPE strings, so that a formula and a string of either dialect
    give the same group. The few compositions that share all rounded fractions fall together.

    Args:
        material: A formula, reduced or not, or a SCOPE string.

    Raises:
        InputError: If a formula cannot be read.
        ScopeError: If a string does not parse.

    >>> group("SrTiO3") == group("Ti2Sr2O6")
    True
    >>> group("SrTiO3")
    'O0.6 Sr0.2 Ti0.2'
    """
    if "|" in material:
        amounts = dict(parse(material).composition)
        return group_of(amounts)
    return group_of(_fractions(material))


def group_of(fractions: Mapping[str, float | str]) -> str:
    """Returns the group of a composition, element -> atomic fraction of two decimals."""
    return " ".join(f"{element}{fractions[element]}" for element in sorted(fractions))


def _fractions(formula: str) -> dict[str, float]:
    from pymatgen.core import Composition

    try:
        counts = Composition(formula).get_el_amt_dict()
        total = sum(counts.values())
        if not total > 0:
            raise ValueError(formula)
    except (ValueError, TypeError) as error:  # pymatgen raises several kinds of ValueError
        raise InputError(
            f"{formula!r} is no formula.", hint="Write it as SrTiO3.", formula=formula
        ) from error
    return {element: float(np.round(count / total, 2)) for element, count in counts.items()}


@lru_cache(maxsize=262_144)
def fold(material: str) -> float:
    """Returns where a material's group falls in [0, 1).

    Args:
        material: A formula or a SCOPE string.

    Raises:
        InputError: If a formula cannot be read.
        ScopeError: If a string does not parse.

    >>> 0 <= fold("SrTiO3") < 1
    True
    """
    return fold_of(group(material))


def fold_of(group: str) -> float:
    """Returns where a group falls in [0, 1)."""
    digest = hashlib.sha256(group.encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / (1 << _BITS)


def is_held_out(material: str) -> bool:
    """Returns whether a material belongs to the tenth on which models are tested."""
    return fold(material) < TEST


def is_validation(material: str) -> bool:
    """Returns whether a material belongs to the tenth on which models are validated."""
    return TEST <= fold(material) < VALIDATION


def folds(materials: Sequence[str], count: int, seed: int = 0) -> npt.NDArray[Any]:
    """Deals groups into folds for cross-validation, equally many materials to each.

    The largest groups are dealt first, each to the smallest fold; the seed decides ties.

    Args:
        materials: Formulas or SCOPE strings, n.
        count: Number of folds.
        seed: Seed of the order in which groups of one size are dealt.

    Returns:
        The fold of each material, 0 to count - 1.
    """
    names = [group(material) for material in materials]
    sizes: dict[str, int] = {}
    for name in names:
        sizes[name] = sizes.get(name, 0) + 1
    ranks = {n: hashlib.sha256(f"{seed} {n}".encode()).digest() for n in sizes}
    filled = [0] * count
    dealt: dict[str, int] = {}
    for name in sorted(sizes, key=lambda n: (-sizes[n], ranks[n])):
        dealt[name] = filled.index(min(filled))
        filled[dealt[name]] += sizes[name]
    return np.array([dealt[name] for name in names], dtype=np.int64)
