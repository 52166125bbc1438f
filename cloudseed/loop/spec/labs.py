"""The section that says where candidates are made and measured."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from cloudseed.loop.shelves import RecipesSpec  # noqa: TC001 - pydantic reads it
from cloudseed.loop.spec.values import NAME, AmountText, Section

__all__ = ["LabSpec"]


class LabSpec(Section):
    """Where candidates are made and measured.

    Attributes:
        adapter: Entry point in the group `cloudseed.lab_adapters`.
        config: The adapter's own settings; a `path` is relative to the campaign file.
        name: What the campaign calls it; by default the name that the lab gives itself. Two labs
            of one adapter need names.
        costs: What one experiment may cost there, by resource: `money: 12 EUR`,
            `instrument_time: 2 h`, or a consumable's name.
        in_flight: Experiments that run there at the same time; None for as many as it takes.
        fidelity: "dear" where its values are what counts, "cheap" where they only hint at it; None
            where all labs measure alike.
        recipes: That requests carry a recipe, from which shelf and for how much; None for none.
    """

    adapter: str = "mlip"
    config: dict[str, Any] = Field(default_factory=dict)
    name: str = Field(default="", pattern=f"{NAME}|^$")
    costs: dict[str, AmountText] = Field(default_factory=dict)
    in_flight: int | None = Field(default=None, ge=1)
    fidelity: Literal["cheap", "dear"] | None = None
    recipes: RecipesSpec | None = None
