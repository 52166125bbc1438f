"""How a campaign's predictions came true, and how wide the next ones are to be taken."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.loop.results import in_order_of_arrival
from cloudseed.surrogate import coverage90, noise_sds, recalibration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.db import DecisionRow
    from cloudseed.loop.results import Result

__all__ = ["Prospective", "prospective", "widths"]


@dataclass(frozen=True, slots=True)
class Prospective:
    """How what was predicted at decisions came true, of one property.

    Picks are no fair sample: they are what a model liked, so an honest model covers less of them.
    Hurdle models are left out: they predict no normal distribution.

    Attributes:
        count: Predictions whose value came.
        coverage90: Share of the values inside the predicted 90 % interval, noise included.
        nlpd: Mean negative log predictive density; lower is better.
        sharpness: Mean predicted standard deviation, in the property's unit.
        width: What the next standard deviations would be multiplied by.
    """

    count: int
    coverage90: float
    nlpd: float
    sharpness: float
    width: float

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Residual:
    """One prediction beside what came.

    Attributes:
        error: Measured less predicted.
        sd: Standard deviation that was predicted, noise included.
        width: What it had been multiplied by.
    """

    error: float
    sd: float
    width: float


def prospective(
    results: Sequence[Result], decisions: Sequence[DecisionRow], last: int
) -> dict[str, Prospective]:
    """Returns how each property's predictions came true; nothing of what no model predicted.

    Args:
        results: Every experiment.
        decisions: Every decision.
        last: Predictions that the next widths look back on; 0 for none.
    """
    found = {}
    for name, residuals in _residuals(results, decisions).items():
        error, sd = np.array([(r.error, r.sd) for r in residuals]).T
        z = error / sd
        found[name] = Prospective(
            count=len(z),
            coverage90=coverage90(z),
            nlpd=float((0.5 * np.log(2 * np.pi * sd**2) + 0.5 * z**2).mean()),
            sharpness=float(sd.mean()),
            width=_width(residuals, last),
        )
    return found


def widths(
    results: Sequence[Result], decisions: Sequence[DecisionRow], last: int
) -> dict[str, float]:
    """Returns what a decision multiplies standard deviations by; what stays as it is is left out.

    Args:
        results: Every experiment.
        decisions: Every decision.
        last: Predictions that are looked back on; 0 for none.
    """
    found = {n: _width(rs, last) for n, rs in _residuals(results, decisions).items()}
    return {name: width for name, width in found.items() if width != 1}


def _width(residuals: Sequence[_Residual], last: int) -> float:
    """Judges the model as it is: what earlier widths did is taken back."""
    seen = residuals[len(residuals) - last :] if last < len(residuals) else residuals
    return recalibration(np.array([r.error / r.sd * r.width for r in seen])) if last else 1.0


def _residuals(
    results: Sequence[Result], decisions: Sequence[DecisionRow]
) -> dict[str, list[_Residual]]:
    """Returns each property's residuals in order of arrival."""
    models: dict[int, Mapping[str, Any]] = {row.step: row.model for row in decisions}
    found: dict[str, list[_Residual]] = {}
    for result in in_order_of_arrival(results):
        model = models[result.step]
        noise = noise_sds(model, tuple(result.predicted))
        for name, (mean, latent) in result.predicted.items():
            value = result.value(name)
            sd = math.hypot(latent, noise.get(name, 0.0))
            if value is None or name not in noise or not sd > 0:
                continue
            width = model.get("recalibrated", {}).get(name, 1.0)
            found.setdefault(name, []).append(_Residual(value - mean, sd, width))
    return found
