"""Pareto fronts of measured values: who is on one, and how much it dominates.

Everything here is of merits, larger is better, n x m: n materials, m objectives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["hypervolume", "hypervolumes", "layers", "nadir", "nondominated", "random_hypervolumes"]

#: A reference lies this share of the front's extent beyond its worst values, as in BoTorch
#: (H. Ishibuchi et al., IEEE Trans. Evol. Comput. 22, 2018, have one over the number of points).
_BEYOND = 0.1
#: Points at which a volume of three or more dimensions is integrated.
_POINTS = 4_096


def nondominated(merits: Array) -> Mask:
    """Tells which rows no other row equals in every column and beats in one, n.

    Rows with NaN or minus infinity are on no front; equal rows are on it together.
    """
    found = np.zeros(len(merits), dtype=bool)
    places = np.flatnonzero(np.isfinite(merits).all(axis=1))
    # The best sum is not dominated by any other, so each round settles one row at the least.
    while len(places):
        best = merits[places[merits[places].sum(axis=1).argmax()]]
        equal = (merits[places] == best).all(axis=1)
        found[places[equal]] = True
        places = places[(merits[places] > best).any(axis=1)]
    return found


def layers(merits: Array, most: int = 50) -> npt.NDArray[np.int64]:
    """Returns for each row how many fronts must be taken away until it is on one, n.

    Args:
        merits: Finite, n x m.
        most: Fronts that are taken away; what is left then has this number.
    """
    found = np.full(len(merits), most, dtype=np.int64)
    left = np.arange(len(merits))
    for layer in range(most):
        on = nondominated(merits[left])
        found[left[on]] = layer
        left = left[~on]
        if not len(left):
            break
    return found


def nadir(merits: Array) -> Array:
    """Returns a reference from which the hypervolume of a front may count, m.

    It is a tenth of the front's extent beyond the front's worst values, so that its ends count
    too; where all of the front are equal in an objective, a tenth of the extent of all rows.

    Args:
        merits: Finite, n x m; n >= 1.
    """
    front = merits[nondominated(merits)]
    worst, extent = front.min(axis=0), np.ptp(front, axis=0)
    whole = np.ptp(merits, axis=0)
    extent = np.where(extent > 0, extent, np.where(whole > 0, whole, np.maximum(abs(worst), 1.0)))
    return np.asarray(worst - _BEYOND * extent)


def hypervolume(merits: Array, reference: Array) -> float:
    """Returns the volume that rows dominate above a reference, by slices.

    Args:
        merits: n x m; rows that are not above the reference in every column count nothing.
        reference: m.
    """
    points = merits[(merits > reference).all(axis=1)]
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max() - reference[0])
    points = points[nondominated(points)]
    if points.shape[1] == 2:
        points = points[np.argsort(-points[:, 0], kind="stable")]
        below = np.concatenate([reference[1:], points[:-1, 1]])
        return float(((points[:, 0] - reference[0]) * (points[:, 1] - below)).sum())
    levels = np.unique(points[:, -1])
    depths = np.diff(np.concatenate([reference[-1:], levels]))
    return sum(
        float(depth) * hypervolume(points[points[:, -1] >= level, :-1], reference[:-1])
        for level, depth in zip(levels, depths, strict=True)
    )


def hypervolumes(merits: Array, reference: Array) -> Array:
    """Returns the volume that the first 1, 2, ... n rows dominate above a reference, n."""
    front = np.empty((0, merits.shape[1]))
    volumes = np.zeros(len(merits))
    reached = 0.0
    for place, row in enumerate(merits):
        if (row > reference).all() and not (front >= row).all(axis=1).any():
            front = np.vstack([front[(front > row).any(axis=1)], row])
            reached = hypervolume(front, reference)
        volumes[place] = reached
    return volumes


def random_hypervolumes(merits: Array, reference: Array, total: int, count: int) -> Array:
    """Returns the volume that k random picks are expected to dominate, for k = 1 ... count.

    A point of the volume that d of N candidates dominate is dominated by k random ones with
    probability 1 - C(N - d, k) / C(N, k). Of two objectives the volume is summed exactly; of more
    it is integrated over random points, with a relative error of about a percent.

    Args:
        merits: Of the candidates that count, n x m, finite.
        reference: m.
        total: The pool's size N, n or more.
        count: The largest k, at most N.
    """
    points = merits[(merits > reference).all(axis=1)]
    missed_by = np.zeros(len(points) + 1)  # volume by how many dominate it
    if points.shape[1] == 2:
        for volume, dominating in _areas(points, reference):
            missed_by += np.bincount(dominating, volume, minlength=len(missed_by))
    elif len(points):
        rng = np.random.default_rng(0)
        extent = points.max(axis=0) - reference
        drawn = reference + extent * rng.random((_POINTS, points.shape[1]))
        dominating = np.array([(points >= row).all(axis=1).sum() for row in drawn])
        missed_by += np.bincount(dominating, minlength=len(missed_by)) * (extent.prod() / _POINTS)
    missed_by[0] = 0.0
    dominating = np.arange(len(missed_by))
    missed, expected = np.ones(len(missed_by)), np.empty(count)
    for k in range(count):
        missed *= np.maximum(total - dominating - k, 0) / (total - k)
        expected[k] = float(missed_by @ (1 - missed))
    return expected


def _areas(points: Array, reference: Array) -> Sequence[tuple[Array, npt.NDArray[np.int64]]]:
    """Returns areas of the grid that points span, by row, and how many points dominate each."""
    xs, ys = (np.unique(points[:, j]) for j in (0, 1))
    widths = np.diff(np.concatenate([reference[:1], xs]))
    heights = np.diff(np.concatenate([reference[1:], ys]))
    rows = []
    column = np.searchsorted(ys, points[:, 1])
    for x, width in zip(xs, widths, strict=True):
        at_least = np.bincount(column[points[:, 0] >= x], minlength=len(ys))
        rows.append((width * heights, at_least[::-1].cumsum()[::-1]))
    return rows
