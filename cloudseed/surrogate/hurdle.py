"""A model of a property that is often exactly at its floor, as a band gap is zero in every metal.

One normal distribution fits such values badly: it lets a heap of equal values set the mean and the
noise. A hurdle model (J. Mullahy, J. Econometrics 33, 341, 1986) asks two questions in turn: is the
value above its floor, which a classifier answers, and how far above, which a Gaussian process
fitted to those that are answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.classifier import HintPrior, fit_classifier
from cloudseed.surrogate.normal import log_probability_between
from cloudseed.surrogate.selecting import fit_property

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.classifier import Classifier
    from cloudseed.surrogate.gp import FittedSurrogate
    from cloudseed.surrogate.selecting import Measured

    Array = npt.NDArray[np.float64]

__all__ = ["Hurdle", "fit_hurdle", "is_inflated"]

#: Share of equal smallest values from which on a property is taken to have a floor.
INFLATED = 0.3
#: With fewer values than this nobody can tell.
LEAST_VALUES = 5
#: With fewer different values above the floor, how far above is not modelled.
LEAST_ABOVE = 4
#: Prior of the classifier where a hint is given: one step of the hint is worth a factor of twenty
#: in the odds, give or take one of three.
HINTED = HintPrior(offset=-1.0, weight=3.0, spread=1.0)
PLAIN = HintPrior(offset=0.0, weight=0.0, spread=1.0)


@dataclass(frozen=True, slots=True)
class Hurdle:
    """A fitted hurdle model.

    Attributes:
        floor: The smallest value.
        above: Tells how likely a value is above it.
        height: Model of the values above it; None where there are too few.
        usual: Mean and standard deviation of the values above it, or a guess where there is none.
        hinted: Whether the last coordinate of a point is a hint for the classifier.
        notes: What went otherwise than planned.
    """

    floor: float
    above: Classifier
    height: FittedSurrogate | None
    usual: tuple[float, float]
    hinted: bool
    notes: tuple[str, ...]

    @property
    def scale(self) -> float:
        """A plausible difference between two values, in the property's unit."""
        return self.usual[1]

    @property
    def summary(self) -> Mapping[str, object]:
        """What tells this model from another; JSON values."""
        return {
            "kernel": "hurdle: Laplace GP classifier, then scale * Matern 5/2",
            "floor": self.floor,
            "lengthscale": self.above.lengthscale,
            "outputscale": self.above.outputscale,
            "log_evidence": self.above.log_evidence,
            "hinted": self.hinted,
            "height": None if self.height is None else dict(self.height.summary),
        }

    def log_above(self, x: Array) -> Array:
        """Returns the log probability of a value above the floor at points, k x p or more: k."""
        return self.above.log_probability(*_parts(x, self.above.dimension, hinted=self.hinted))

    def evaluate(self, x: Array, lower: float, upper: float) -> tuple[Array, Array, Array]:
        """Returns what `FittedSurrogate.evaluate` does."""
        chance = self.log_above(x)
        if self.height is None:
            mean, sd = (np.full(len(x), value) for value in self.usual)
            inside = log_probability_between(mean, sd, lower, upper)
        else:
            mean, sd, inside = self.height.evaluate(x, lower, upper)
        above = np.exp(chance)
        middle = self.floor + above * (mean - self.floor)
        second = above * (sd * sd + (mean - self.floor) ** 2)
        spread = np.sqrt(np.maximum(second - (middle - self.floor) ** 2, 0.0))
        if not (math.isfinite(lower) or math.isfinite(upper)):
            return middle, spread, np.zeros(len(x))
        log_inside = chance + inside
        if lower <= self.floor <= upper:
            log_inside = np.logaddexp(log_inside, np.log1p(-np.minimum(above, 1 - 1e-12)))
        return middle, spread, log_inside


def is_inflated(values: Array) -> bool:
    """Tells whether so many values equal the smallest that one normal distribution misleads.

    Args:
        values: Measured values, n, finite.
    """
    at_floor = int((values == values.min()).sum()) if len(values) else 0
    return len(values) >= LEAST_VALUES and at_floor >= max(2, INFLATED * len(values))


def fit_hurdle(measured: Measured, hints: Array | None, *, seed: int) -> Hurdle:
    """Fits a hurdle model of one property.

    Args:
        measured: The measurements. A prediction made beforehand is one of values above the floor.
        hints: What tells beforehand whether a value is above it, n; None where nothing does.
        seed: As in `gp.fit`.

    Raises:
        FitError: If the values cannot be modelled.
    """
    y, name = measured.y, measured.name
    floor = float(y.min())
    above = y > floor
    classifier = fit_classifier(
        measured.first,
        above,
        np.zeros(len(y)) if hints is None else hints,
        PLAIN if hints is None else HINTED,
    )
    found = y[above]
    share = f"{int((~above).sum())} of {len(y)} values of {name} are {floor:g}"
    notes = [f"{share}: whether a value is above that is modelled first"]
    height = None
    if len(np.unique(found)) >= LEAST_ABOVE:
        height = fit_property(measured.at(np.flatnonzero(above)), seed)
        notes.extend(height.notes)
    else:
        notes.append(f"{len(found)} values of {name} above it are too few to tell how far above")
    wide = measured.spread or abs(floor) or 1.0
    usual = (floor + wide, wide)
    if len(found):
        usual = (float(found.mean()), float(found.std()) or wide)
    return Hurdle(floor, classifier, height, usual, hints is not None, tuple(notes))


def _parts(x: Array, dimension: int, *, hinted: bool) -> tuple[Array, Array]:
    """Returns features and hints of points, which may hold more that is for other models."""
    return x[:, :dimension], x[:, -1] if hinted else np.zeros(len(x))
