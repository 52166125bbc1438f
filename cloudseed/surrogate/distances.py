"""Distances and the Matern kernel of many points, as matrix products in place.

A million candidates against some hundred measurements are 1e8 distances; one by one they cost ten
times as much as the matrix product that holds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["distances", "matern52"]


def distances(a: Array, b: Array) -> Array:
    """Returns the Euclidean distances of the rows of a, n x p, from those of b, m x p: n x m.

    Between equal rows it may be 1e-8 times their length instead of zero, which a kernel that is
    flat there does not notice.
    """
    found = np.asarray(a @ b.T)
    found *= -2.0
    found += np.einsum("ij,ij->i", a, a)[:, None]
    found += np.einsum("ij,ij->i", b, b)
    np.maximum(found, 0.0, out=found)
    return np.sqrt(found, out=found)


def matern52(r: Array) -> Array:
    """Returns the Matern 5/2 correlation (1 + r + r^2 / 3) exp(-r); r is overwritten.

    Args:
        r: Distances over the length scale, times the square root of 5.
    """
    found = r * r
    found /= 3.0
    found += r
    found += 1.0
    np.negative(r, out=r)
    found *= np.exp(r, out=r)
    return found
