"""How well a composition's charges can close its shells: what tells insulators from metals.

A compound has a band gap where ions with closed shells balance: charges that add up to nothing, the
more electronegative elements negative, and no shell left partly filled. The penalty below counts
what is missing from that, for the assignment of charges that misses least. It is chemistry's oldest
rule of thumb for gaps; as the prior mean of a model it lets a search begin where a chemist would,
and measurements overrule it.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import ScopeError
from cloudseed.surrogate.element_table import element_table, oxidation_states
from cloudseed.surrogate.scope import ELEMENTS, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["WORST", "shell_penalties"]

WORST = 5.0
"""The largest penalty of charges that do not balance; open shells come on top."""

#: Elementary charges per atom that rounded fractions may leave over.
_ROUNDING = 0.02
_PER_CHARGE = 20.0
#: Weight of the share of atoms with an open shell.
_PER_OPEN_SHELL = 2.0
#: Assignments looked at; compounds of more elements than can be enumerated get the worst penalty.
_MOST_ASSIGNMENTS = 50_000
_NO_STATE = 3.0
_D_SHELL, _NOBLE = 10, 10
_LANTHANOIDS, _ACTINOIDS = range(57, 72), range(89, 104)


def shell_penalties(strings: Sequence[str]) -> Array:
    """Returns for each SCOPE string what keeps its composition from being a closed-shell insulator.

    Args:
        strings: SCOPE strings, n, of any dialect.

    Returns:
        Penalties, n, zero and up: the sum of the cost of unusual oxidation states, of charge left
        over, of anions less electronegative than cations, and twice the electrons per atom that
        open shells hold. A string that cannot be read has the worst.
    """
    return np.array([_of_string(string) for string in strings], dtype=np.float64)


def _of_string(string: str) -> float:
    try:
        composition = parse(string).composition
    except ScopeError:
        return WORST
    return _penalty(tuple((ELEMENTS.index(element), share) for element, share in composition))


@lru_cache(maxsize=65_536)
def _penalty(composition: tuple[tuple[int, float], ...]) -> float:
    elements = [element for element, _ in composition]
    shares = np.array([share for _, share in composition])
    shares = shares / shares.sum()
    choices = [_states(element) for element in elements]
    if np.prod([len(found) for found in choices], dtype=float) > _MOST_ASSIGNMENTS:
        return WORST
    charges = np.array(list(itertools.product(*([q for q, _ in found] for found in choices))))
    costs = np.array(list(itertools.product(*([c for _, c in found] for found in choices))))
    left = np.maximum(np.abs(charges @ shares) - _ROUNDING, 0.0)
    penalty = costs @ shares + _PER_CHARGE * left + _disorder(charges, _electronegativity(elements))
    best = int(penalty.argmin())
    held = [_open_electrons(e, int(q)) for e, q in zip(elements, charges[best], strict=True)]
    return float(min(penalty[best], WORST) + _PER_OPEN_SHELL * (shares @ np.array(held)))


def _disorder(charges: npt.NDArray[np.int64], electronegativity: Array) -> Array:
    """Returns by how much each assignment's cations are more electronegative than its anions."""
    cations = np.where(charges > 0, electronegativity, -np.inf).max(axis=1)
    anions = np.where(charges < 0, electronegativity, np.inf).min(axis=1)
    with np.errstate(invalid="ignore"):
        over = cations - anions
    return np.where(np.isfinite(over), np.maximum(over, 0.0), 2.0)


@lru_cache(maxsize=128)
def _states(element: int) -> tuple[tuple[int, float], ...]:
    """Returns an element's charges with what each costs; neutral, at a price, where none is."""
    states, costs = oxidation_states()
    known = [
        (int(q), float(c))
        for q, c in zip(states[element], costs[element], strict=True)
        if np.isfinite(c)
    ]
    return tuple(known) or ((0, _NO_STATE),)


def _electronegativity(elements: Sequence[int]) -> Array:
    names, table = element_table()
    column = table[:, names.index("electronegativity")]
    return np.where(np.isnan(column), np.nanmax(column), column)[list(elements)]


def _open_electrons(element: int, charge: int) -> float:
    """Returns how many electrons an ion is from a closed shell, d by d and s with p.

    A lone pair counts as closed, as does the trivalent state of an f element.
    """
    from pymatgen.core import Element

    number = element + 1
    if number in _LANTHANOIDS or number in _ACTINOIDS:
        return float(charge != 3)
    group = Element(ELEMENTS[element]).group
    if 3 <= group <= 12:
        left = group - charge
        return float(min(left, _D_SHELL - left)) if 0 < left < _D_SHELL else 0.0
    if group >= 13 and charge > 0:
        return float(group - _NOBLE - charge not in {0, 2})
    return 0.0
