"""The likeliest maps of a parent's species onto others, by a sweep over falling thresholds.

A map gives every species of a parent one of its options; its log probability is the sum of theirs.
For a threshold, all maps above it are found exactly: species after species, a partial map is kept
only while the likeliest way to complete it, with the charges made to cancel, is above the
threshold. The threshold falls until enough maps are found. Everything is done on arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["Maps", "Options", "likeliest_maps"]

FIRST_STEP = 2.0
LARGEST_STEP = 3.0
"""Steps of the threshold, in units of the natural logarithm."""


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """What one species may become, `k` options by falling probability.

    Attributes:
        numbers: Atomic numbers; 0 for a vacancy.
        charges: Oxidation states; zeros where charges are not counted.
        log_probability: Natural logarithms.
    """

    numbers: npt.NDArray[np.uint8]
    charges: npt.NDArray[np.int8]
    log_probability: npt.NDArray[np.float64]

    @classmethod
    def of(cls, choices: Sequence[tuple[float, int, int]]) -> Options:
        """Sorts choices, each a log probability, an atomic number and a charge."""
        ordered = sorted(choices, key=lambda choice: (-choice[0], choice[1], choice[2]))
        return cls(
            np.array([number for _, number, _ in ordered], dtype=np.uint8),
            np.array([charge for _, _, charge in ordered], dtype=np.int8),
            np.array([log_p for log_p, _, _ in ordered], dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.log_probability)

    def at(self, places: npt.NDArray[np.intp]) -> Options:
        """Returns some of the options."""
        return Options(self.numbers[places], self.charges[places], self.log_probability[places])

    def with_vacancy(self, log_p: float) -> Options:
        """Returns the options and that of leaving the sites empty."""
        place = int(np.searchsorted(-self.log_probability, -log_p, side="right"))
        return Options(
            np.insert(self.numbers, place, 0),
            np.insert(self.charges, place, 0),
            np.insert(self.log_probability, place, log_p),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """Maps by falling probability, `n` rows of one option for each of `m` species.

    Attributes:
        numbers: Atomic numbers, `n x m`.
        charges: Oxidation states, `n x m`.
        log_probability: Sums of natural logarithms, `n`.
    """

    numbers: npt.NDArray[np.uint8]
    charges: npt.NDArray[np.int8]
    log_probability: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.log_probability)

    def at(self, rows: npt.NDArray[np.intp]) -> Maps:
        """Returns some of the rows."""
        return Maps(self.numbers[rows], self.charges[rows], self.log_probability[rows])

    def shifted(self, log_p: float) -> Maps:
        """Returns the maps with a log probability added to all."""
        return Maps(self.numbers, self.charges, self.log_probability + log_p)


def likeliest_maps(
    options: Sequence[Options],
    counts: Sequence[int],
    *,
    limit: int,
    least: float = -math.inf,
    neutral: bool = True,
    merging: bool = True,
) -> Maps:
    """Returns the likeliest maps, ties in the order of their options.

    Args:
        options: What each species may become.
        counts: Atoms of each species in the cell.
        limit: How many maps are wanted.
        least: Log probability below which no map counts.
        neutral: Whether the charges must cancel.
        merging: Whether two species may become the same one. One element in two charges never
            comes out: its sites could not be told apart. Vacancies are always the same.
    """
    sweep = _Sweep(options, counts, neutral=neutral, merging=merging)
    best = sweep.best
    if not best >= least or limit < 1 or best == -math.inf:
        return sweep.maps(np.zeros((0, len(options)), dtype=np.intp), limit)
    lowest = max(least, best - sweep.depth)
    threshold, before, step = best, 0, FIRST_STEP
    while True:
        threshold = max(lowest, threshold - step)
        found = sweep.above(threshold)
        if len(found) >= limit or threshold <= lowest:
            return sweep.maps(found, limit)
        step = _next_step(before, len(found), step, limit)
        before = len(found)


def _next_step(before: int, now: int, step: float, limit: int) -> float:
    """Guesses how far the threshold must fall, from how fast the maps became more."""
    if before < 1 or now <= before:
        return min(step * 1.5, LARGEST_STEP)
    rate = math.log(now / before) / step
    return min(max(math.log(1.2 * limit / now) / rate, 0.1), LARGEST_STEP)


class _Sweep:
    """Finds all maps above a threshold."""

    def __init__(
        self, options: Sequence[Options], counts: Sequence[int], *, neutral: bool, merging: bool
    ) -> None:
        self._options = options
        self._merging = merging
        self._groups = [
            _groups(o.charges.astype(np.int64) * (counts[i] if neutral else 0))
            for i, o in enumerate(options)
        ]
        self._reach = 1 + sum(max(map(abs, groups), default=0) for groups in self._groups)
        self._bounds = self._likeliest_rests()
        self.best = float(self._bounds[0][self._reach]) if all(map(len, options)) else -math.inf
        self.depth = 1.0 + sum(
            float(o.log_probability[0] - o.log_probability[-1]) for o in options if len(o)
        )

    def _likeliest_rests(self) -> list[npt.NDArray[np.float64]]:
        """Returns, for each species, the likeliest choice from it on by the charge so far.

        Charges are offset by the reach; the last array is that of an empty rest.
        """
        size = 2 * self._reach + 1
        rest = np.full(size, -np.inf)
        rest[self._reach] = 0.0
        rests = [rest]
        for option, groups in zip(self._options[::-1], self._groups[::-1], strict=True):
            grown = np.full(size, -np.inf)
            for charge, places in groups.items():
                gain = option.log_probability[places[0]]
                low, high = max(0, -charge), min(size, size - charge)
                moved = rest[low + charge : high + charge] + gain
                grown[low:high] = np.maximum(grown[low:high], moved)
            rest = grown
            rests.append(rest)
        return rests[::-1]

    def above(self, threshold: float) -> npt.NDArray[np.intp]:
        """Returns every allowed map at or above a threshold: places in the options, `n x m`."""
        # Sums in another order may differ in their last digits.
        floor = threshold - 1e-9
        rows = np.zeros((1, 0), dtype=np.intp)
        logs, charges = np.zeros(1), np.zeros(1, dtype=np.int64)
        for i in range(len(self._options)):
            rows, logs, charges = self._extended(i, rows, logs, charges, floor)
        return rows[self._exact(rows) >= threshold]

    def _extended(
        self,
        i: int,
        rows: npt.NDArray[np.intp],
        logs: npt.NDArray[np.float64],
        charges: npt.NDArray[np.int64],
        floor: float,
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Returns the partial maps with one more species."""
        option, rest = self._options[i], self._bounds[i + 1]
        parts = []
        for charge, places in self._groups[i].items():
            # Options of one charge fall in probability, so that those above the floor come first.
            needed = floor - logs - rest.take(charges + (charge + self._reach), mode="clip")
            enough = np.searchsorted(-option.log_probability[places], -needed, side="right")
            row = np.repeat(np.arange(len(rows)), enough)
            first = np.cumsum(enough) - enough
            parts.append((row, places[np.arange(len(row)) - first[row]]))
        row = np.concatenate([part[0] for part in parts])
        choice = np.concatenate([part[1] for part in parts])
        kept = self._allowed(i, rows, row, choice)
        row, choice = row[kept], choice[kept]
        grown = np.empty((len(row), i + 1), dtype=np.intp)
        grown[:, :i], grown[:, i] = rows[row], choice
        own = np.zeros(len(option), dtype=np.int64)
        for charge, places in self._groups[i].items():
            own[places] = charge
        return grown, logs[row] + option.log_probability[choice], charges[row] + own[choice]

    def _allowed(
        self,
        i: int,
        rows: npt.NDArray[np.intp],
        row: npt.NDArray[np.intp],
        choice: npt.NDArray[np.intp],
    ) -> npt.NDArray[np.bool_]:
        """Tells which new choices may stand beside those before them."""
        allowed = np.ones(len(row), dtype=bool)
        number, charge = self._options[i].numbers[choice], self._options[i].charges[choice]
        for j in range(i):
            other = rows[row, j]
            same = (self._options[j].numbers[other] == number) & (number != 0)
            if self._merging:
                same &= self._options[j].charges[other] != charge
            allowed &= ~same
        return allowed

    def _exact(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        total = np.zeros(len(rows))
        for i, option in enumerate(self._options):
            total += option.log_probability[rows[:, i]]
        return total

    def maps(self, rows: npt.NDArray[np.intp], limit: int) -> Maps:
        """Returns the likeliest of the rows."""
        total = self._exact(rows)
        order = np.lexsort((*rows.T[::-1], -total))[:limit]
        rows = rows[order]
        pairs = list(enumerate(self._options))
        return Maps(
            np.stack([o.numbers[rows[:, i]] for i, o in pairs], axis=1),
            np.stack([o.charges[rows[:, i]] for i, o in pairs], axis=1),
            total[order],
        )


def _groups(charges: npt.NDArray[np.int64]) -> dict[int, npt.NDArray[np.intp]]:
    """Returns charge -> places of the options that have it."""
    return {charge: np.flatnonzero(charges == charge) for charge in np.unique(charges).tolist()}
