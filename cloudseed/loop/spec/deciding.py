"""The sections that say how experiments are chosen and what models the properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from cloudseed._elements import SYMBOLS
from cloudseed.loop.spec.values import Section
from cloudseed.surrogate import (
    ALARM_LEAST,
    BLOCKS,
    RECALIBRATION_LEAST,
    AcquisitionName,
    Block,
    ModelKind,
    ModelSettings,
    Strategy,
    experiment_costs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = ["CostSpec", "DecideSpec", "SurrogateSpec"]


class CostSpec(Section):
    """What an experiment costs, in any one unit.

    Attributes:
        base: What each costs.
        elements: What an element adds wherever a candidate holds it.
    """

    base: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    elements: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict
    )

    @field_validator("elements")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(value) - set(SYMBOLS))
        if unknown:
            raise ValueError(f"there is no element {', '.join(unknown)}")
        return value

    def of(self, strings: Sequence[str]) -> npt.NDArray[np.float64] | None:
        """Returns the cost of each candidate, by its SCOPE string; None where all cost the same."""
        return experiment_costs(strings, self.base, self.elements) if self.elements else None


class DecideSpec(Section):
    """How experiments are chosen.

    Attributes:
        acquisition: What values a candidate; "auto" for the expected improvement of an optimum or
            a target, and the probability of a hit where all is to be found.
        beta: Of the upper confidence bound, mean + sqrt(beta) * standard deviation.
        cost: What an experiment costs: candidates are valued per cost.
        exploration: Share of each batch that is chosen to stand for the rest of the pool instead of
            by the model, on average.
        alarm: Predictions looked back on: where the model ordered the last so many results worse
            than chance would, half of the next batch explores. 0 for never.
        features: What the models see of a candidate: the "embedding" of its SCOPE string, what the
            periodic table says of its "elements", and of those on each kind of its "sites". The
            first decides what is near to what.
        recalibrate: Predictions looked back on: where the last so many values of a property came
            inside their 90 % intervals too seldom or too often, the next standard
            deviations are mended. 0 for never.
    """

    acquisition: AcquisitionName = "auto"
    beta: float = Field(default=4.0, ge=0, allow_inf_nan=False)
    cost: CostSpec = CostSpec()
    exploration: float = Field(default=0.0, ge=0, le=1)
    alarm: int = Field(default=20, ge=0)
    recalibrate: int = Field(default=100, ge=0)
    features: tuple[Block, ...] = BLOCKS

    @property
    def strategy(self) -> Strategy:
        """By which acquisition the models choose."""
        return Strategy(self.acquisition, self.beta)

    @field_validator("alarm", "recalibrate")
    @classmethod
    def _enough(cls, value: int, info: ValidationInfo) -> int:
        least = ALARM_LEAST if info.field_name == "alarm" else RECALIBRATION_LEAST
        if 0 < value < least:
            raise ValueError(f"of fewer than {least} predictions nothing can be told")
        return value

    @field_validator("features")
    @classmethod
    def _different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("name at least one block, and each once")
        return value


class SurrogateSpec(Section):
    """What models the properties.

    Attributes:
        kind: "auto" for what predicts the data at hand best; "gp", "robust" or "variational".
        kinds: The same for single properties.
        prior: Whether predictions by the encoder's own heads are the prior mean of what they
            predict and lead the first experiments: "heads" or "none".
        heads: Property -> head, for properties that a head of another name predicts.
    """

    kind: ModelKind = "auto"
    kinds: dict[str, ModelKind] = Field(default_factory=dict)
    prior: Literal["heads", "none"] = "heads"
    heads: dict[str, str] = Field(default_factory=dict)

    @property
    def settings(self) -> ModelSettings:
        """What the models are asked for."""
        return ModelSettings(self.kind, self.kinds)
