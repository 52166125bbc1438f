"""Physics-informed targets: what an encoder learns to say of a string, from the string alone.

Nothing here was measured on, or computed for, the crystal: every target is made of its composition,
of which element stands where, and of tabulated properties of the elements. The statistics are those
of Ward et al., npj Comput. Mater. 2, 16028 (2016). Oxidation states are the cheapest set that makes
the composition neutral; from them follow ionic radii and the tolerance factors of Goldschmidt,
Naturwissenschaften 14, 477 (1926), and of Bartel et al., Sci. Adv. 5, eaav0693 (2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.surrogate.element_table import (
    CHARGES,
    element_table,
    ionic_radii,
    oxidation_states,
)
from cloudseed.surrogate.scope import ELEMENTS

if TYPE_CHECKING:
    import numpy.typing as npt

    from cloudseed.surrogate.training.lexicon import Compositions, Lexicon

    Array = npt.NDArray[np.float64]

__all__ = ["BLOCKS", "SLOTS", "blocks", "charges", "describe"]

SLOTS = 5
"""Sites whose element is described one by one: the first four and the last."""

BLOCKS = ("fractions", "statistics", "sites", "site_fractions", "contrasts", "charges", "ionic")

_PAIRS = ((0, 1), (0, 2), (1, 2))
_STATES_TRIED = {2: 6, 3: 6, 4: 4, 5: 4}
"""Number of elements -> states tried of each; with more elements the sets would be too many."""
_PEROVSKITE = (0.2, 0.2, 0.6)
_LARGEST_TAU = 10.0


def blocks() -> dict[str, slice]:
    """Returns where each kind of target stands among the columns of `describe`."""
    p = len(element_table()[0])
    widths = (len(ELEMENTS), 5 * p, SLOTS * p, SLOTS, 2 * len(_PAIRS) + 1, SLOTS + 1, 4)
    edges = np.cumsum([0, *widths])
    return {
        name: slice(int(a), int(b))
        for name, a, b in zip(BLOCKS, edges[:-1], edges[1:], strict=True)
    }


def describe(tokens: npt.NDArray[np.int64], lexicon: Lexicon) -> npt.NDArray[np.float32]:
    """Returns the targets of padded rows of tokens, n x t, NaN where one does not apply.

    Per string: atomic fractions; mean, standard deviation, minimum, maximum and range over the
    composition of every element property; the properties and fraction of the element on each of
    the first four sites and the last, in the string's order; contrasts between sites; oxidation
    states of the same five and whether any set is neutral; ratio of mean cation to mean anion
    radius, logarithm of the ionic volume per atom, and both tolerance factors of ABX3.
    """
    found = lexicon.compositions(tokens)
    states = charges(found)
    return np.hstack(
        [
            _fractions(found),
            _statistics(found),
            *_sites(found),
            np.hstack([_slots(states, found), ~np.isnan(states).all(axis=1, keepdims=True)]),
            _ionic(found, states),
        ]
    ).astype(np.float32)


def _fractions(found: Compositions) -> Array:
    table = np.zeros((len(found.elements), len(ELEMENTS)))
    rows, columns = np.nonzero(found.elements >= 0)
    table[rows, found.elements[rows, columns]] = found.amounts[rows, columns]
    return table


def _statistics(found: Compositions) -> Array:
    _, properties = element_table()
    present = (found.elements >= 0)[..., None]
    values = np.where(present, properties[found.elements], np.nan)
    weights = np.where(present, np.maximum(found.amounts, 0.005)[..., None], 0.0)
    weights = weights / weights.sum(axis=1, keepdims=True)
    mean = (weights * np.where(present, values, 0.0)).sum(axis=1)
    spread = np.sqrt((weights * np.where(present, values - mean[:, None], 0.0) ** 2).sum(axis=1))
    low = np.where(present, values, np.inf).min(axis=1)
    high = np.where(present, values, -np.inf).max(axis=1)
    return np.hstack([mean, spread, low, high, high - low])


def _slots(values: Array, found: Compositions) -> Array:
    """Returns the values of the first four elements and of the last, n x 5, NaN where absent."""
    count = (found.elements >= 0).sum(axis=1)
    padded = np.pad(values, ((0, 0), (0, SLOTS)), constant_values=np.nan)
    first = np.where(np.arange(SLOTS - 1) < count[:, None], padded[:, : SLOTS - 1], np.nan)
    return np.hstack([first, padded[np.arange(len(count)), count - 1][:, None]])


def _sites(found: Compositions) -> list[Array]:
    _, properties = element_table()
    n = len(found.elements)
    slots = _slots(found.elements.astype(float), found)
    absent = np.isnan(slots)
    values = properties[np.where(absent, 0, slots).astype(int)]
    values[absent] = np.nan
    electronegativity, radius = values[:, :, 0], values[:, :, 1]
    contrasts = [
        np.abs(table[:, i] - table[:, j])
        for table in (electronegativity, radius)
        for i, j in _PAIRS
    ]
    ionicity = np.abs(electronegativity[:, 0] - electronegativity[:, -1])
    amounts = _slots(found.amounts, found) * 4
    return [values.reshape(n, -1), amounts, np.stack([*contrasts, ionicity], axis=1)]


def charges(found: Compositions) -> Array:
    """Returns the oxidation state of each element, n x k, NaN where no set is neutral.

    Of all sets of tabulated states whose sum is zero within the rounding of the fractions, the one
    of the commonest states is taken, then the one whose charges follow electronegativity best.
    """
    n, k = found.elements.shape
    result = np.full((n, k), np.nan)
    count = (found.elements >= 0).sum(axis=1)
    for size, tried in _STATES_TRIED.items():
        rows = np.flatnonzero(count == size)
        for chunk in np.array_split(rows, len(rows) * tried**size // 200_000 + 1):
            if len(chunk):
                result[chunk, :size] = _neutral(
                    found.elements[chunk, :size], found.amounts[chunk, :size], tried
                )
    return result


def _neutral(elements: npt.NDArray[np.int64], amounts: Array, tried: int) -> Array:
    states, costs = (table[:, :tried].astype(np.float32) for table in oxidation_states())
    electronegativity = np.nan_to_num(element_table()[1][:, 0]).astype(np.float32)
    n, size = elements.shape
    total, rounding, cost = np.zeros((3, n, 1), dtype=np.float32)
    for place in range(size):
        charge, element = states[elements[:, place]], elements[:, place]
        share = amounts[:, place, None].astype(np.float32)
        total = _paired(total, (charge * share).astype(np.float32))
        rounding = _paired(rounding, np.float32(0.005) * np.abs(charge))
        cost = _paired(cost, costs[element] + 0.01 * charge * electronegativity[element, None])
    cost[np.abs(total) > rounding + 1e-6] = np.inf
    cost += 0.1 * np.abs(total)
    best = cost.argmin(axis=1)
    digits = np.stack(np.unravel_index(best, (tried,) * size), axis=1)
    chosen = np.take_along_axis(states[elements], digits[..., None], axis=2)[..., 0].astype(float)
    chosen[~np.isfinite(cost[np.arange(n), best])] = np.nan
    return chosen


def _paired(sums: npt.NDArray[np.float32], terms: npt.NDArray[np.float32]) -> Any:
    """Returns every sum with every term added, n x (s t)."""
    return (sums[:, :, None] + terms[:, None, :]).reshape(len(sums), -1)


def _ionic(found: Compositions, states: Array) -> Array:
    known = ~np.isnan(states)
    index = np.where(known, states, 0).astype(int) - CHARGES.start
    radii = np.where(known, ionic_radii()[found.elements, index], np.nan)
    weights = np.where(known, found.amounts, 0.0)
    cation, anion = (_mean(radii, weights * (sign * states > 0)) for sign in (1, -1))
    whole = ~(np.isnan(radii) & (found.elements >= 0)).any(axis=1)
    volume = (weights * np.nan_to_num(radii) ** 3).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.where(whole & (volume > 0), np.log(volume), np.nan)
    return np.stack([cation / anion, logarithm, *_tolerance(found, states, radii)], axis=1)


def _mean(values: Array, weights: Array) -> Array:
    weights = np.where(np.isnan(weights), 0.0, weights)
    gaps = (np.isnan(values) & (weights > 0)).any(axis=1)
    with np.errstate(invalid="ignore"):
        mean = (np.nan_to_num(values) * weights).sum(axis=1) / weights.sum(axis=1)
    return np.where(gaps, np.nan, mean)


def _tolerance(found: Compositions, states: Array, radii: Array) -> tuple[Array, Array]:
    """Returns Goldschmidt's and Bartel's factors, NaN for what is no ABX3."""
    n, k = found.elements.shape
    goldschmidt, tau = np.full(n, np.nan), np.full(n, np.nan)
    if k < len(_PEROVSKITE):
        return goldschmidt, tau
    order = np.argsort(found.amounts[:, :3], axis=1, kind="stable")
    amounts = np.take_along_axis(found.amounts[:, :3], order, axis=1)
    radii, states = (np.take_along_axis(t[:, :3], order, axis=1) for t in (radii, states))
    ternary = (found.elements >= 0).sum(axis=1) == len(_PEROVSKITE)
    fits = ternary & np.isclose(amounts, _PEROVSKITE).all(axis=1) & (states[:, 2] < 0)
    fits &= (states[:, :2] > 0).all(axis=1) & ~np.isnan(radii).any(axis=1)
    pair = radii[fits, :2]
    large = pair.argmax(axis=1)
    here = np.arange(len(pair))
    a, b, x = pair[here, large], pair[here, 1 - large], radii[fits, 2]
    charge = states[fits, :2][here, large]
    goldschmidt[fits] = (a + x) / (np.sqrt(2) * (b + x))
    ratio = np.maximum(a / b, 1 + 1e-3)
    tau[fits] = np.clip(x / b - charge * (charge - ratio / np.log(ratio)), -1, _LARGEST_TAU)
    return goldschmidt, tau
