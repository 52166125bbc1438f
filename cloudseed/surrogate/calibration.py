"""How well the model predicts what was measured, each value from all the others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import ObjectiveError
from cloudseed.surrogate import gp
from cloudseed.surrogate.modelling import Space, column

if TYPE_CHECKING:
    import numpy.typing as npt

    from cloudseed.surrogate.features import Features
    from cloudseed.surrogate.protocols import Observations

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["ALARM_LEAST", "Calibration", "calibrate", "ranks_worse_than_random"]

ALARM_LEAST = 10
"""With fewer predictions nothing can be told."""

#: Chance of an alarm where predictions say nothing.
ALARM_LEVEL = 0.05
#: Half the width of a normal distribution's central 95 %, in standard deviations.
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Calibration:
    """Leave-one-out predictions of one property, next to what was measured.

    Attributes:
        name: The property.
        rows: Row of each measurement, n.
        measured: Measured values, n, in the property's unit.
        mean: Predicted means, n.
        sd: Predicted standard deviations, noise included, n.
        notes: What went otherwise than planned in the fit.
    """

    name: str
    rows: Rows
    measured: Array
    mean: Array
    sd: Array
    notes: tuple[str, ...] = ()

    @property
    def r2(self) -> float:
        """Share of the variance that is predicted; NaN where all values are equal."""
        spread = float(self.measured.var())
        return 1 - float(((self.measured - self.mean) ** 2).mean()) / spread if spread else math.nan

    @property
    def mean_absolute_error(self) -> float:
        """Mean absolute error, in the property's unit."""
        return float(np.abs(self.measured - self.mean).mean())

    @property
    def coverage95(self) -> float:
        """Share of the measurements that lie in the predicted 95 % interval; 0.95 is ideal."""
        return float((np.abs(self.measured - self.mean) <= _Z95 * self.sd).mean())

    @property
    def nll(self) -> float:
        """Mean negative log likelihood; lower is better."""
        z = (self.measured - self.mean) / self.sd
        return float((0.5 * np.log(2 * np.pi * self.sd**2) + 0.5 * z * z).mean())


def ranks_worse_than_random(predicted: Array, came: Array) -> bool:
    """Tells whether predictions order what came significantly worse than chance would.

    Picks are what a model liked best, so that among them little order is to be expected; none at
    all is no alarm, but the wrong one is. Spearman's rank correlation, one-sided, at the level of
    `ALARM_LEVEL`.

    Args:
        predicted: What was predicted of each, n, larger for what was thought better.
        came: What came, n, larger for what is better.
    """
    if len(predicted) < ALARM_LEAST or np.ptp(predicted) == 0 or np.ptp(came) == 0:
        return False
    from scipy.stats import spearmanr

    return bool(spearmanr(predicted, came, alternative="less").pvalue < ALARM_LEVEL)


def calibrate(
    features: Features | npt.NDArray[Any], observations: Observations, name: str, *, seed: int
) -> Calibration:
    """Predicts every measurement of a property from all the others.

    Hyperparameters are those of the fit to all, so that this costs one fit. A value that was
    measured twice is predicted from its own replicate too.

    Args:
        features: As in `decide`, N rows.
        observations: What was measured; at least two values of the property.
        name: The property.
        seed: Chooses the rows for hyperparameters in large data.

    Raises:
        ObjectiveError: If the property was measured fewer than two times.
        InputError: If a value is infinite.
        FitError: If the measurements cannot be modelled.
    """
    values = column(observations, name)
    known = np.isfinite(values)
    if known.sum() < 2:
        raise ObjectiveError(
            f"{int(known.sum())} values of {name} are too few to leave one out.",
            hint="Measure at least two.",
            property=name,
        )
    rows = observations.rows[known]
    space = Space.of(features)
    model = gp.fit(
        space[rows],
        values[known],
        seed=seed,
        name=name,
        widths=space.widths,
        kernel=space.features.kernel,
    )
    mean, sd = model.leave_one_out()
    return Calibration(name, rows, values[known], mean, sd, model.notes)
