"""How the rows of a pool stand when a decision is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import EmptyPoolError, InputError
from cloudseed.surrogate.space import checked_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.protocols import Observations

    Rows = npt.NDArray[np.int64]

__all__ = ["Standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The rows of a decision, each kind sorted, without repeats, and disjoint.

    Attributes:
        open: What may be chosen.
        pending: What is being measured.
        tried: What was measured or could not be.
    """

    open: Rows
    pending: Rows
    tried: Rows

    @classmethod
    def of(
        cls,
        count: int,
        observations: Observations,
        available: Sequence[int] | Rows,
        pending: Sequence[int] | Rows,
        batch: int,
    ) -> Standing:
        if batch < 1:
            raise InputError(f"A batch of {batch} is empty.", hint="Ask for at least one.")
        tried = np.concatenate([observations.rows, observations.infeasible])
        given, waiting, done = (checked_rows(rows, count) for rows in (available, pending, tried))
        free = np.setdiff1d(given, np.union1d(waiting, done), assume_unique=True)
        if not len(free):
            raise EmptyPoolError(
                "No candidate is left that is neither tried nor pending.",
                hint="Add parents or widen the filters, or end the campaign here.",
                available=len(given),
            )
        return cls(free, np.setdiff1d(waiting, done, assume_unique=True), done)
