"""How well a composition's charges can close its shells: what tells insulators from metals.

A compound has a band gap where ions with closed shells balance: charges that add up to nothing, the
more electronegative elements negative, and no shell left partly filled. The penalty below counts
what is missing from that, for the assignment of charges that misses least. It is chemistry's oldest
rule of thumb for gaps; as the prior mean of a model it lets a search begin where a chemist would,
and measurements overrule it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import ScopeError
from cloudseed.surrogate.element_table import element_table, oxidation_states
from cloudseed.surrogate.scope import ELEMENTS, composition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    _Composition = tuple[tuple[int, float], ...]

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
#: Assignments looked at together; some arrays of half a megabyte.
_BLOCK = 65_536
#: Penalties that differ by less are equal: the first assignment counts.
_EQUAL = 1e-9
#: Price of an assignment without cations or without anions.
_ONE_SIGN = 2.0
_NO_STATE = 3.0
_D_SHELL, _NOBLE = 10, 10
_LANTHANOIDS, _ACTINOIDS = range(57, 72), range(89, 104)


def shell_penalties(strings: Sequence[str]) -> Array:
    """Returns for each SCOPE string what keeps its composition from being a closed-shell insulator.

    Compositions whose elements have equally many oxidation states are looked at together, in blocks
    of bounded memory; what a string gets does not depend on the others.

    Args:
        strings: SCOPE strings, n, of any dialect.

    Returns:
        Penalties, n, zero and up: the sum of the cost of unusual oxidation states, of charge left
        over, of anions less electronegative than cations, and twice the electrons per atom that
        open shells hold. A string that cannot be read has the worst.
    """
    penalties = np.full(len(strings), WORST)
    known, places = _compositions(strings)
    each = np.full(len(known), WORST)
    for counts, rows in _alike(known).items():
        block = max(1, _BLOCK // math.prod(counts))
        for start in range(0, len(rows), block):
            some = rows[start : start + block]
            each[some] = _penalties([known[row] for row in some])
    readable = places >= 0
    penalties[readable] = each[places[readable]]
    return penalties


def _compositions(strings: Sequence[str]) -> tuple[list[_Composition], npt.NDArray[np.int64]]:
    """Returns the different compositions, and for each string its own's place; -1 for none."""
    number = {element: index for index, element in enumerate(ELEMENTS)}
    found: list[_Composition] = []
    seen: dict[str, int] = {}
    for string in strings:
        text = string.rpartition(" | ")[2]
        if text in seen:
            continue
        try:
            shares = composition(string)
        except ScopeError:
            seen[text] = -1
        else:
            seen[text] = len(found)
            found.append(tuple((number[element], share) for element, share in shares))
    places = [seen[string.rpartition(" | ")[2]] for string in strings]
    return found, np.array(places, dtype=np.int64)


def _alike(compositions: Sequence[_Composition]) -> Mapping[tuple[int, ...], list[int]]:
    """Groups compositions, by their places, by how many states each element has in turn.

    Those with more assignments of charges than can be looked at are left out.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, shares in enumerate(compositions):
        counts = tuple(len(_states(element)) for element, _ in shares)
        if math.prod(counts) <= _MOST_ASSIGNMENTS:
            groups.setdefault(counts, []).append(place)
    return groups


def _penalties(compositions: Sequence[_Composition]) -> Array:
    """Returns the penalties of compositions whose elements have equally many states in turn."""
    elements = np.array([[element for element, _ in c] for c in compositions])
    shares = np.array([[share for _, share in c] for c in compositions])
    shares = shares / shares.sum(axis=1, keepdims=True)
    charge, cost = np.zeros((2, len(elements), 1))
    cation, anion = np.full((len(elements), 1), -np.inf), np.full((len(elements), 1), np.inf)
    electronegativity = _electronegativities()[elements]
    tables = [[_states(element) for element in column] for column in elements.T.tolist()]
    for place, column in enumerate(tables):
        told = np.array(column, dtype=np.float64)
        share, own = shares[:, place, None], electronegativity[:, place, None]
        charge = _crossed(np.add, charge, told[:, :, 0] * share)
        cost = _crossed(np.add, cost, told[:, :, 1] * share)
        cation = _crossed(np.maximum, cation, np.where(told[:, :, 0] > 0, own, -np.inf))
        anion = _crossed(np.minimum, anion, np.where(told[:, :, 0] < 0, own, np.inf))
    penalty = cost + _PER_CHARGE * np.maximum(np.abs(charge) - _ROUNDING, 0.0)
    over = cation - anion
    penalty += np.where(np.isfinite(over), np.maximum(over, 0.0), _ONE_SIGN)
    least = penalty.min(axis=1)
    best = (penalty <= least[:, None] + _EQUAL).argmax(axis=1)
    chosen = np.unravel_index(best, [len(column[0]) for column in tables])
    held = np.zeros(len(elements))
    for place, states in enumerate(chosen):
        ions = zip(elements[:, place].tolist(), tables[place], states.tolist(), strict=True)
        held += shares[:, place] * [_open_electrons(e, known[state][0]) for e, known, state in ions]
    penalties: Array = np.minimum(least, WORST) + _PER_OPEN_SHELL * held
    return penalties


def _crossed(ufunc: np.ufunc, left: Array, right: Array) -> Array:
    """Returns, for each row, what each value left, n x a, makes with each right, n x b: n x ab."""
    found: Array = ufunc(left[:, :, None], right[:, None, :])
    return found.reshape(len(left), -1)


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


@lru_cache(maxsize=1)
def _electronegativities() -> Array:
    """Returns each element's, standardised; the highest where none is tabulated."""
    names, table = element_table()
    column = table[:, names.index("electronegativity")]
    return np.where(np.isnan(column), np.nanmax(column), column)


@lru_cache(maxsize=2_048)
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
