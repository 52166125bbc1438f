"""Whether what was predicted came true, and what to do where it did not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = [
    "ALARM_LEAST",
    "RECALIBRATION_LEAST",
    "coverage90",
    "noise_sds",
    "ranks_worse_than_random",
    "recalibration",
]

ALARM_LEAST = 10
"""With fewer predictions nothing can be told."""

#: Chance of an alarm where predictions say nothing.
ALARM_LEVEL = 0.05
RECALIBRATION_LEAST = 20
"""With fewer predictions intervals are taken as they are."""

#: Share of values that 90 % intervals should hold.
_WANTED = 0.9
#: Predictions that the belief in the model as it is weighs as much as.
_BELIEF = 20
#: Factors beyond these speak of a wrong model, not of wrong widths.
_FACTORS = (0.5, 3.0)
#: Half the width of a normal distribution's central 90 %, in standard deviations.
Z90 = 1.6448536269514722


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


def coverage90(z: Array) -> float:
    """Returns the share of standardised residuals inside a normal distribution's central 90 %."""
    return float((np.abs(z) <= Z90).mean())


def recalibration(z: Array) -> float:
    """Returns by what standard deviations are to be multiplied, from how predictions came true.

    1 as long as the coverage of 90 % intervals is within its standard error of 90 %. Else the
    factor that would have brought it there, drawn towards 1 on the scale of logarithms by as much
    as if twenty further predictions had come true as they should. It follows a quantile, so that a
    few wild outliers do not widen everything.

    Args:
        z: Standardised residuals, n: (measured - predicted) / standard deviation, noise included,
            of predictions that were made before, newest last.
    """
    if len(z) < RECALIBRATION_LEAST:
        return 1.0
    error = math.sqrt(_WANTED * (1 - _WANTED) / len(z))
    if abs(coverage90(z) - _WANTED) <= error:
        return 1.0
    needed = float(np.quantile(np.abs(z), _WANTED)) / Z90
    bounded = min(max(needed, _FACTORS[0]), _FACTORS[1])
    return math.exp(math.log(bounded) * len(z) / (len(z) + _BELIEF))


def noise_sds(model: Mapping[str, Any], properties: Sequence[str]) -> dict[str, float]:
    """Returns the noise of each property that has a Gaussian process, in its unit.

    Models that say nothing of noise are taken as without. Hurdle models are left out, for they
    predict no normal distribution, and so is what no model predicted but the encoder's heads.

    Args:
        model: `Choice.model`.
        properties: What was predicted.
    """
    told: Mapping[str, Any] = model.get("surrogates", {})
    found = {}
    for name in properties:
        one = told.get(name)
        if one is not None and "floor" not in one:
            found[name] = math.sqrt(one.get("noise", 0.0)) * one.get("scale", 0.0)
    return found
