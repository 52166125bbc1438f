"""What an experiment costs, by the elements that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

__all__ = ["checked_log_costs", "experiment_costs"]


def checked_log_costs(costs: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Returns the log of what measuring each of `count` rows costs.

    Raises:
        InputError: If that is not one positive number a row.
    """
    if len(costs) != count:
        raise InputError(
            f"{len(costs)} costs do not go with {count} rows of features.",
            hint="Give one positive number per row.",
        )
    costs = np.asarray(costs, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(costs) & (costs > 0)))
    if len(bad):
        raise InputError(
            f"Among the costs, that of row {bad[0]} is {costs[bad[0]]:g}.",
            hint="Give one positive number per row.",
            row=int(bad[0]),
        )
    return np.log(costs)


def experiment_costs(
    strings: Sequence[str], base: float, elements: Mapping[str, float]
) -> npt.NDArray[np.float64]:
    """Returns the cost of an experiment on each candidate, n.

    Args:
        strings: SCOPE strings, n, of any dialect.
        base: What every experiment costs, in any unit.
        elements: What each of these elements adds wherever it is needed, in the same unit.

    >>> strings = ["0 0 0 | 1a | Rh 1.0", "0 0 0 | 1a | Po 1.0"]
    >>> experiment_costs(strings, 1.0, {"Rh": 30.0}).tolist()
    [31.0, 1.0]
    """
    dear = elements.keys()
    costs = np.full(len(strings), float(base))
    for place, string in enumerate(strings):
        # The composition is the last part; fractions are no element's name.
        for element in dear & set(string.rpartition("|")[2].split()):
            costs[place] += elements[element]
    return costs
