"""The sections that say when a campaign ends: its budget, and reasons to stop before that."""

from __future__ import annotations

from pydantic import Field

from cloudseed.loop.spec.values import AmountText, Duration, Section

__all__ = ["BudgetSpec", "ExpectedHitsSpec", "RegretSpec", "StopSpec"]


class BudgetSpec(Section):
    """What may be spent.

    Attributes:
        experiments: Measured experiments; infeasible, refused and failed ones count apart.
        unsuccessful: Experiments that may end without a measurement before the campaign gives up.
        wall_clock: Seconds since the campaign began, or a text such as "2 h".
        money: For instance "500 EUR". What labs cost is given with each lab.
        instrument_time: For instance "40 h".
        consumables: By name, for instance `TiO2: 20 g`.
    """

    experiments: int = Field(ge=1)
    unsuccessful: int = Field(default=50, ge=0)
    wall_clock: Duration | None = None
    money: AmountText | None = None
    instrument_time: AmountText | None = None
    consumables: dict[str, AmountText] = Field(default_factory=dict)


class ExpectedHitsSpec(Section):
    """Stop once little more is expected to be found.

    Attributes:
        below: So many hits.
        next: In so many experiments.
    """

    below: float = Field(gt=0)
    next: int = Field(default=10, ge=1)


class RegretSpec(Section):
    """Stop once the best is probably found.

    Attributes:
        epsilon: How much better than the best so far another may be, in the objective's unit.
        probability: That no candidate is better by more than that.
    """

    epsilon: float = Field(ge=0)
    probability: float = Field(default=0.95, gt=0, lt=1)


class StopSpec(Section):
    """When to stop before the budget is spent.

    Attributes:
        target: Stop once a feasible material reaches this value of the objective, or this distance
            from its target, or once so many materials are found, or a front has this hypervolume.
        no_improvement_rounds: Stop after so many decisions in a row without a better one, or
            without another hit or member of the front.
        expected_hits: Stop once fewer hits are expected; where all that meets the constraints is to
            be found.
        regret: Stop once the best so far is probably within reach of the pool's best; for an
            optimum or a target.
    """

    target: float | None = None
    no_improvement_rounds: int | None = Field(default=None, ge=1)
    expected_hits: ExpectedHitsSpec | None = None
    regret: RegretSpec | None = None
