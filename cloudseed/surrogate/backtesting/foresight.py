"""What was predicted of picks against what then came."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.backtesting.protocols import Forecast
from cloudseed.surrogate.calibration import coverage90, noise_sds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.surrogate.backtesting.protocols import Run
    from cloudseed.surrogate.backtesting.truth import Truth
    from cloudseed.surrogate.protocols import Choice

__all__ = ["Foresight", "foresight", "foretold"]


@dataclass(frozen=True, slots=True)
class Foresight:
    """Prospective calibration of one property.

    Picks are no fair sample: they are what a model liked, so an honest model covers less of them.

    Attributes:
        property: The property.
        count: Forecasts whose value came.
        coverage90: Share of the values inside the predicted 90 % interval.
        nlpd: Mean negative log predictive density; lower is better.
        sharpness: Mean predicted standard deviation, in the property's unit.
        mean_absolute_error: In the property's unit.
    """

    property: str
    count: int
    coverage90: float
    nlpd: float
    sharpness: float
    mean_absolute_error: float


def foretold(choice: Choice) -> list[Forecast]:
    """Returns what the scores of a choice say of its picks."""
    scores = choice.scores
    if scores is None:
        return []
    wanted = set(choice.picks)
    noise = noise_sds(choice.model, scores.properties)
    places = [i for i, row in enumerate(scores.rows.tolist()) if row in wanted]
    return [
        Forecast(
            int(scores.rows[i]),
            name,
            float(scores.mean[i, j]),
            math.hypot(float(scores.sd[i, j]), noise[name]),
        )
        for i in places
        for j, name in enumerate(scores.properties)
        if name in noise
    ]


def foresight(runs: Sequence[Run], truth: Truth) -> tuple[Foresight, ...]:
    """Compares every forecast of some runs with the truth, property by property."""
    made: dict[str, list[Forecast]] = {}
    for run in runs:
        for forecast in run.forecasts:
            made.setdefault(forecast.property, []).append(forecast)
    found = [_compare(name, forecasts, truth) for name, forecasts in made.items()]
    return tuple(f for f in found if f is not None)


def _compare(name: str, forecasts: Sequence[Forecast], truth: Truth) -> Foresight | None:
    came = truth.values[[f.row for f in forecasts], truth.problem.properties.index(name)]
    mean, sd = np.array([(f.mean, f.sd) for f in forecasts]).T
    known = np.isfinite(came) & (sd > 0)
    if not known.any():
        return None
    error, sd = (came - mean)[known], sd[known]
    z = error / sd
    return Foresight(
        property=name,
        count=int(known.sum()),
        coverage90=coverage90(z),
        nlpd=float((0.5 * np.log(2 * np.pi * sd**2) + 0.5 * z**2).mean()),
        sharpness=float(sd.mean()),
        mean_absolute_error=float(np.abs(error).mean()),
    )
