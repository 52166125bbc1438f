"""Element descriptors as a user of the peers would make them: Magpie's statistics and per site.

Both are tables of numbers, one row per crystal, from our table of element properties, reduced to
what a Gaussian process of 200 points can use: eight properties, each a column's worth per site or
per statistic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.element_table import element_table
from cloudseed.surrogate.scope import ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

PROPERTIES = (
    "electronegativity",
    "radius",
    "Mendeleev number",
    "ionisation energy 1",
    "electron affinity",
    "p electrons",
    "d electrons",
    "row",
)


def by_site(sites: Sequence[Sequence[Sequence[str]]]) -> np.ndarray:
    """Returns the mean of every property on each site, N x (sites * 8), by site.

    Args:
        sites: Per crystal, per site the elements on it.
    """
    rows = [np.concatenate([_values(site).mean(axis=0) for site in crystal]) for crystal in sites]
    return np.array(rows)


def spread(elements: Sequence[Sequence[str]]) -> np.ndarray:
    """Returns the standard deviation of every property over the elements of one site, N x 8."""
    return np.array([_values(site).std(axis=0) for site in elements])


def magpie(amounts: Sequence[dict[str, float]]) -> np.ndarray:
    """Returns mean, average deviation, lowest and highest of every property by fraction, N x 32."""
    rows = []
    for formula in amounts:
        values = _values(list(formula))
        weights = np.array(list(formula.values())) / sum(formula.values())
        mean = weights @ values
        deviation = weights @ np.abs(values - mean)
        rows.append(np.concatenate([mean, deviation, values.min(axis=0), values.max(axis=0)]))
    return np.array(rows)


def unit(features: np.ndarray) -> np.ndarray:
    """Scales columns to [0, 1], drops constant ones and sets equal rows apart by 1e-6.

    BayBE refuses equal rows; what tells polymorphs apart must not tell more than that.
    """
    low, high = features.min(axis=0), features.max(axis=0)
    kept = high > low
    scaled = (features[:, kept] - low[kept]) / (high - low)[kept]
    seen: dict[bytes, int] = {}
    for row in scaled:
        key = np.round(row, 9).tobytes()
        seen[key] = seen.get(key, -1) + 1
        # The step leads into the unit cube, also from its upper face.
        row[0] += seen[key] * (1e-6 if row[0] < 0.5 else -1e-6)
    return scaled


def _values(elements: Sequence[str]) -> np.ndarray:
    names, table = element_table()
    columns = [names.index(name) for name in PROPERTIES]
    return np.nan_to_num(table)[[ELEMENTS.index(e) for e in elements]][:, columns]
