"""Labs that answer at once, as told."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from cloudseed.errors import LabError
from cloudseed.lab_adapters import (
    DeliveryClass,
    ExperimentRequest,
    Feature,
    LabDescription,
    LabMessage,
    Measurement,
    Outcome,
    OutcomeKind,
    Validation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def modulus(request: ExperimentRequest) -> Outcome:
    """A smooth function of the species, so that a model can learn it."""
    numbers = [sum(map(ord, s)) % 40 for s in request.cell.species]
    value = 60.0 + 4.0 * sum(numbers) / len(numbers) + 10.0 * math.sin(numbers[0])
    energy = -1.0 - 0.08 * numbers[-1]
    return Outcome(
        OutcomeKind.MEASURED,
        (
            Measurement("bulk_modulus", value, "GPa", 1.0),
            Measurement("formation_energy", energy, "eV/atom", 0.01),
        ),
        cell=request.cell,
    )


class InstantLab:
    """Keeps what it was given and answers at the next poll.

    Args:
        answer: Makes the outcome of a request.
        delivery: The delivery class to declare; A honours keys, B and C do not.
        lose: Keys' ordinals whose submission raises after the lab has taken it.
    """

    def __init__(
        self,
        answer: Callable[[ExperimentRequest], Outcome] = modulus,
        delivery: DeliveryClass = DeliveryClass.A,
        lose: frozenset[int] = frozenset(),
    ) -> None:
        self.answer = answer
        self.delivery = delivery
        self.lose = lose
        self.runs: Counter[str] = Counter()
        self.requests: dict[str, ExperimentRequest] = {}
        self.submissions = 0

    def describe(self) -> LabDescription:
        units = {"bulk_modulus": "GPa", "formation_energy": "eV/atom"}
        able = frozenset({Feature.RECIPES})
        return LabDescription("instant", units, 2, self.delivery, simulated=True, features=able)

    def validate(self, request: ExperimentRequest) -> Validation:
        return Validation(accepted=True)

    def submit(self, request: ExperimentRequest) -> str:
        self.submissions += 1
        if request.key not in self.requests or self.delivery is not DeliveryClass.A:
            self.runs[request.key] += 1
            self.requests[request.key] = request
        if self.submissions in self.lose:
            raise LabError("The connection broke.")
        return f"handle-{request.key}"

    def lookup(self, key: str) -> str | None:
        return f"handle-{key}" if key in self.requests else None

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        keys = [h.removeprefix("handle-") for h in handles]
        return [
            LabMessage(f"result-{key}", key, self.answer(self.requests[key]).to_json())
            for key in keys
            if key in self.requests
        ]

    def close(self, *, stop_jobs: bool = False) -> None:
        """Nothing to let go of."""
