"""The space that models see a pool in, and what was measured there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import InputError
from cloudseed.surrogate.features import Features, project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.features import Projection
    from cloudseed.surrogate.protocols import Guess, Observations

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["LARGEST", "SMALLEST", "Space", "checked_rows", "column"]

LARGEST = 1e100
"""Measured values beyond it are drawn in, so that the volume of three of them is a number."""

SMALLEST = 1 / LARGEST
"""Measured values nearer to zero are zero, for the same reason."""


@dataclass(frozen=True, slots=True)
class Space:
    """The space of the kernel, with every candidate at its place.

    Attributes:
        features: What the candidates look like, N rows.
        projections: Block -> the map from its columns, made from all rows.
        hints: What is known of each beforehand, N; the last coordinate of its point. None for
            points without.
        guesses: Property -> what was predicted of each beforehand; in this order, their means are
            the coordinates before the hint.
    """

    features: Features
    projections: Mapping[str, Projection]
    hints: Array | None = None
    guesses: Mapping[str, Guess] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        features: Features | npt.NDArray[Any],
        hints: Array | None = None,
        guesses: Mapping[str, Guess] | None = None,
    ) -> Space:
        """Makes the space of a pool; a block in which all rows are equal is left out.

        Raises:
            InputError: If a matrix is empty or holds NaN or infinity, or hints or guesses are not
                one finite number a row.
        """
        guesses = dict(guesses or {})
        given = [] if hints is None else [("hints", hints)]
        given += [
            (f"guesses of {name}", part) for name, g in guesses.items() for part in (g.mean, g.sd)
        ]
        for what, values in given:
            if len(values) != len(features):
                raise InputError(
                    f"{len(values)} {what} do not go with {len(features)} rows of features.",
                    hint="Give one finite number per row.",
                )
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad):
                raise InputError(
                    f"Among the {what}, that of row {bad[0]} is {values[bad[0]]:g}.",
                    hint="Give one finite number per row.",
                    row=int(bad[0]),
                )
        found = Features.of(features)
        return cls(found, project(found), hints, guesses)

    @property
    def widths(self) -> tuple[int, ...]:
        """Coordinates of each block, in order."""
        return tuple(p.dimension for p in self.projections.values())

    @property
    def dimension(self) -> int:
        """Coordinates of all blocks together."""
        return sum(self.widths)

    @property
    def projection(self) -> Projection:
        """The first block's map."""
        return next(iter(self.projections.values()))

    def near(self, rows: Rows) -> Array:
        """Returns the first block of rows' points, in which distances are told, k x p."""
        return self.projection(self.features.first[rows])

    def __getitem__(self, rows: Rows) -> Array:
        """Returns the points of rows: the blocks, the guesses, and the hint."""
        parts = [p(self.features.blocks[name][rows]) for name, p in self.projections.items()]
        parts += [guess.mean[rows, None] for guess in self.guesses.values()]
        if self.hints is not None:
            parts.append(self.hints[rows, None])
        return parts[0] if len(parts) == 1 else np.hstack(parts)

    def prior(self, name: str, points: Array) -> tuple[int, Array] | None:
        """Returns which coordinate holds the guess of a property, and its values at points."""
        if name not in self.guesses:
            return None
        place = self.dimension + list(self.guesses).index(name)
        return place, points[:, place]


def checked_rows(rows: Sequence[int] | Rows, count: int) -> Rows:
    """Returns rows sorted and without repeats.

    Raises:
        InputError: If a row is negative or not below `count`.
    """
    found = np.asarray(rows, dtype=np.int64)
    if (np.diff(found) <= 0).any():
        found = np.unique(found)
    if len(found) and (found[0] < 0 or found[-1] >= count):
        bad = int(found[0] if found[0] < 0 else found[-1])
        raise InputError(
            f"Row {bad} is not among the {count} rows of the features.",
            hint="Rows count from zero.",
            row=bad,
        )
    return found


def column(observations: Observations, name: str) -> Array:
    """Returns the measured values of one property, n, within `LARGEST`, NaN where there is none.

    What is below `SMALLEST` in size is zero.

    Raises:
        InputError: If a value is infinite.
    """
    if name not in observations.properties:
        return np.full(len(observations.rows), np.nan)
    values = np.asarray(
        observations.values[:, observations.properties.index(name)], dtype=np.float64
    )
    if np.isinf(values).any():
        row = int(observations.rows[np.isinf(values)][0])
        raise InputError(
            f"The value of {name} measured for row {row} is infinite.",
            hint="Correct the value, or give NaN where nothing was measured.",
            property=name,
            row=row,
        )
    values = np.where(np.abs(values) < SMALLEST, 0.0, values)
    return np.clip(values, -LARGEST, LARGEST)
