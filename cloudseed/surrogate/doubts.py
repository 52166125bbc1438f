"""Where a bound runs: what is unsure about whether candidates meet all bounds.

A candidate may be unsure by several variables, each with bounds of its own: a property; whether a
property is above its floor at all; whether the candidate can be made. It is worth as much as the
most doubtful of them, times the chance that everything else holds, for where that fails the answer
matters to nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate import judging
from cloudseed.surrogate.acquisition import SMALLEST_SD
from cloudseed.surrogate.gp import FittedSurrogate
from cloudseed.surrogate.values import label_information, straddle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion, Evaluation
    from cloudseed.surrogate.classifier import Classifier

    Array = npt.NDArray[np.float64]

__all__ = ["Doubt", "doubts", "worth"]


@dataclass(frozen=True, slots=True)
class Doubt:
    """One normal variable, the bounds asked of it, and the chance of everything else.

    Attributes:
        mean: Its means, k.
        sd: Its standard deviations, positive, k.
        noise_sd: Standard deviation of a measurement.
        limits: Lower and upper bound.
        scale: A plausible difference between two of its values.
        others: Log probability that all else holds, k.
        joint: Returns its means and covariance at points of the space.
    """

    mean: Array
    sd: Array
    noise_sd: float
    limits: tuple[float, float]
    scale: float
    others: Array
    joint: Callable[[Array], tuple[Array, Array]]

    def log_value(self, sd: Array, *, straddles: bool) -> Array:
        """Returns the log of what measuring is worth with these standard deviations, k."""
        sd = np.maximum(sd, SMALLEST_SD * self.scale)
        if straddles:
            # Over the scale, so that properties in different units compare.
            value = straddle(self.mean, sd, *self.limits, self.scale / 10) - math.log(self.scale)
        else:
            value = label_information(self.mean, sd, self.noise_sd, *self.limits)
        return np.asarray(value + self.others)


def worth(found: Sequence[Doubt], sds: Sequence[Array], *, straddles: bool) -> Array:
    """Returns what candidates are worth by the most doubtful variable of each, k."""
    values = [d.log_value(sd, straddles=straddles) for d, sd in zip(found, sds, strict=True)]
    return np.asarray(np.max(values, axis=0))


def doubts(criterion: Criterion, x: Array, found: Evaluation) -> list[Doubt]:
    """Returns what is unsure at points of the space, k x p, of which the models say `found`."""
    limits = judging.bounds(criterion.problem)
    answer = []
    for column, (name, model) in enumerate(criterion.surrogates.items()):
        if name not in limits:
            continue
        others = found.log_feasible - found.inside[:, column]
        if isinstance(model, FittedSurrogate):
            mean, sd = found.mean[:, column], found.sd[:, column]
            answer.append(_of_property(model, mean, sd, limits[name], others))
            continue
        dimension = model.above.dimension
        answer.append(_of_classes(model.above, x, dimension, others, hinted=model.hinted))
        if model.height is not None:
            mean, sd = model.height.posterior_moments(x)
            likely = others + model.log_above(x)
            answer.append(_of_property(model.height, mean, sd, limits[name], likely))
    if criterion.makeable is not None:
        others = found.log_feasible - criterion.log_makeable(x)
        made = criterion.makeable
        answer.append(_of_classes(made.classifier, x, made.dimension, others, hinted=False))
    return answer


def _of_property(
    model: FittedSurrogate, mean: Array, sd: Array, limits: tuple[float, float], others: Array
) -> Doubt:
    return Doubt(
        mean, sd, model.noise_sd, limits, model.scale, others, partial(_joint_of_property, model)
    )


def _joint_of_property(model: FittedSurrogate, x: Array) -> tuple[Array, Array]:
    mean, covariance = model.standardised_joint(x)
    return model.centre + model.scale * mean, model.scale**2 * covariance


def _of_classes(
    classifier: Classifier, x: Array, dimension: int, others: Array, *, hinted: bool
) -> Doubt:
    mean, variance = classifier.latent_moments(*_split(x, dimension, hinted=hinted))

    def joint(points: Array) -> tuple[Array, Array]:
        return classifier.latent_joint(*_split(points, dimension, hinted=hinted))

    return Doubt(
        mean=mean,
        sd=np.sqrt(variance),
        noise_sd=classifier.noise_sd,
        limits=(0.0, math.inf),
        scale=math.sqrt(classifier.outputscale),
        others=others,
        joint=joint,
    )


def _split(x: Array, dimension: int, *, hinted: bool) -> tuple[Array, Array]:
    return x[:, :dimension], x[:, -1] if hinted else np.zeros(len(x))
