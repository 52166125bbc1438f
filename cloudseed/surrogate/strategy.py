"""By which acquisition a batch is chosen, and for what it may be asked.

| name | values a candidate by | for |
| --- | --- | --- |
| `expected_improvement` | the gain over the best that is to be expected | an optimum, a target |
| `upper_confidence_bound` | mean plus square root of beta times standard deviation | the same |
| `probability` | the chance to be better than the best, or to meet all bounds | all |
| `thompson` | a draw of the whole model, another for each pick | all |
| `level_set` | nearness to a bound while it is unsure (straddle) | find |
| `information` | what its value tells of the optimum's value, or of the bounds | all |

`auto` is the expected improvement for an optimum or a target, the probability where all is to be
found. Of several objectives it is the expected hypervolume improvement, of a share of the pool the
probability to belong to it; no other one is there for those two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from cloudseed.errors import ObjectiveError

if TYPE_CHECKING:
    from cloudseed.surrogate.protocols import Problem

__all__ = ["ACQUISITIONS", "EXPLORED", "AcquisitionName", "Strategy"]

AcquisitionName = Literal[
    "auto",
    "expected_improvement",
    "upper_confidence_bound",
    "thompson",
    "probability",
    "level_set",
    "information",
]
"""How an acquisition is called."""

ACQUISITIONS: tuple[AcquisitionName, ...] = get_args(AcquisitionName)
EXPLORED = 0.5
"""Share of a batch that explores while the alarm stands."""

_OF_AN_OPTIMUM = frozenset({"expected_improvement", "upper_confidence_bound"})
_OF_A_SET = frozenset({"level_set"})


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a batch is chosen by the models.

    Attributes:
        acquisition: What values a candidate.
        beta: Of the upper confidence bound: its square root is how many standard deviations count.
    """

    acquisition: AcquisitionName = "auto"
    beta: float = 4.0

    @property
    def width(self) -> float:
        """Standard deviations that count in the upper confidence bound."""
        return math.sqrt(self.beta)

    def acquisition_for(self, problem: Problem) -> AcquisitionName:
        """Returns the acquisition, never "auto".

        Raises:
            ObjectiveError: If it has no meaning for what is sought.
        """
        finds = problem.objective.direction == "find"
        if self.acquisition != "auto" and (problem.further or problem.objective.share is not None):
            sought = "several objectives" if problem.further else "a share of the pool"
            raise ObjectiveError(
                f"The acquisition {self.acquisition!r} is not there for {sought}.",
                hint="Use auto.",
            )
        if self.acquisition == "auto":
            return "probability" if finds else "expected_improvement"
        if finds and self.acquisition in _OF_AN_OPTIMUM:
            raise ObjectiveError(
                f"The acquisition {self.acquisition!r} needs an optimum or a target, and all that"
                " meets the bounds is to be found.",
                hint="Use auto, probability, thompson, level_set or information.",
            )
        if not finds and self.acquisition in _OF_A_SET:
            raise ObjectiveError(
                f"The acquisition {self.acquisition!r} needs an objective that finds all.",
                hint='Give a window or "find all", or use auto.',
            )
        return self.acquisition
