"""Descriptors of composition as a user of the peers would make them.

Statistics by fraction as in L. Ward et al., npj Comput. Mater. 2, 16028 (2016), of eight element
properties: what a Gaussian process of 200 points can use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import InputError
from cloudseed.surrogate.element_table import element_table
from cloudseed.surrogate.scope import ELEMENTS, composition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["composition_features", "element_values", "magpie", "unit"]

#: Of `element_table`.
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


def composition_features(strings: Sequence[str]) -> Array:
    """Returns what peers see of candidates: their compositions, N x d in [0, 1], d at most 32.

    Args:
        strings: SCOPE strings, N, of any dialect.

    Raises:
        ScopeError: If a string has no composition.
        InputError: If all have the same.
    """
    return unit(magpie([dict(composition(string)) for string in strings]))


def magpie(amounts: Sequence[Mapping[str, float]]) -> Array:
    """Returns mean, average deviation, lowest and highest of every property by fraction, N x 32.

    Args:
        amounts: Element -> how much of it, one per candidate.
    """
    rows = []
    for formula in amounts:
        values = element_values(list(formula))
        weights = np.array(list(formula.values())) / sum(formula.values())
        mean = weights @ values
        deviation = weights @ np.abs(values - mean)
        rows.append(np.concatenate([mean, deviation, values.min(axis=0), values.max(axis=0)]))
    return np.array(rows)


def element_values(elements: Sequence[str]) -> Array:
    """Returns eight properties of each element, n x 8; what is not tabulated is average."""
    names, table = element_table()
    columns = [names.index(name) for name in PROPERTIES]
    return np.nan_to_num(table)[[ELEMENTS.index(e) for e in elements]][:, columns]


def unit(features: npt.NDArray[Any]) -> Array:
    """Scales columns to [0, 1], drops constant ones and sets equal rows apart by 1e-6.

    BayBE refuses equal rows; what tells polymorphs apart must not tell more than that.

    Args:
        features: N x p.

    Returns:
        N x d, d at most p.

    Raises:
        InputError: If all rows are equal.
    """
    low, high = features.min(axis=0), features.max(axis=0)
    kept = high > low
    if not kept.any():
        raise InputError(
            "All candidates look alike to the peers, which see descriptors of composition.",
            hint="Leave the peers out of --methods, or give --features that tell them apart.",
        )
    scaled: Array = (features[:, kept] - low[kept]) / (high - low)[kept]
    seen: dict[bytes, int] = {}
    for row in scaled:
        key = np.round(row, 9).tobytes()
        seen[key] = seen.get(key, -1) + 1
        # The step leads into the unit cube, also from its upper face.
        row[0] += seen[key] * (1e-6 if row[0] < 0.5 else -1e-6)
    return scaled
