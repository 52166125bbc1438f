"""The section `safety` of a campaign file: what may go to a real lab."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - pydantic reads the types
from itertools import chain
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from cloudseed._elements import NUMBERS, VACANCY
from cloudseed.errors import UnitError
from cloudseed.loop.amounts import parse_amount

__all__ = ["FORBIDDEN", "HAZARDOUS", "PAIRS", "Grams", "SafetySpec"]

FORBIDDEN = (
    "Be", "As", "Tc", "Cd", "Os", "Hg", "Tl", "Pb", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th",
    "Pa", "U", "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr",
)  # fmt: skip
"""Elements that no lab gets unless the owner lists others: radioactive, or toxic as dust."""

HAZARDOUS = (
    "HF", "KCN", "NaCN", "NaN3", "NH4NO3", "NH4ClO4", "KClO4", "NaClO4", "LiClO4", "KClO3",
    "NaClO3", "OsO4", "CrO3", "P", "LiAlH4", "NaH",
)  # fmt: skip
"""Precursors that are explosive, pyrophoric or acutely toxic."""

PAIRS = (
    ("H2", "O2"),
    ("NH3", "O2"),
    ("CH4", "O2"),
    ("CO", "O2"),
    ("H2", "NaNO3"),
    ("H2", "KNO3"),
    ("C", "KNO3"),
    ("C", "NaNO3"),
    ("H2", "Cl2"),
)
"""Substances that may not meet in one recipe; air counts as O2."""

_KNOWN = frozenset([*HAZARDOUS, *chain.from_iterable(PAIRS)])


def _in(unit: str) -> Callable[[object], object]:
    """Returns what turns a text with a unit into a number in `unit`; numbers are in it already."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            amount = parse_amount(value)
            return amount.to(unit) if amount.unit else amount.value
        except UnitError as error:
            raise ValueError(f"{error.message} {error.hint}".rstrip()) from error

    return read


_Kelvin = Annotated[float, BeforeValidator(_in("K")), Field(gt=0)]
_Ramp = Annotated[float, BeforeValidator(_in("K/min")), Field(gt=0)]
Grams = Annotated[float, BeforeValidator(_in("g")), Field(gt=0)]
"""A mass in grams, or a text such as "5 g"."""
_Seconds = Annotated[float, BeforeValidator(_in("s")), Field(gt=0)]


class SafetySpec(BaseModel):
    """What may go to a real lab. Every limit has a default; the lab's own limits apply as well.

    Attributes:
        forbidden: Elements that may not be in a material or a precursor.
        hazardous: Precursors and gases that may not be used.
        pairs: Substances that may not meet in one recipe.
        temperature: The hottest that a recipe may be, K.
        ramp: The fastest that it may heat or cool, K/min.
        mass: The most that it may weigh out in all, g.
        daily: Experiments in any 24 hours.
        daily_mass: Grams weighed out in any 24 hours; what states no mass counts as `mass`.
        approval: "first": a person approves the first of each chemical system and of whatever the
            lab compiles no complete recipe for; "each": every experiment.
        approval_lasts: How long an approval is good, s.
        attended: How long experiments are sent without a sign of a person, s; then the campaign
            pauses.
        clock: How far a lab's clock may be off, s.
        refusals: Refused checks that stop the campaign, until a person has attended to them.
        simulated_too: Whether simulated labs are guarded like real ones, as in a rehearsal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    forbidden: tuple[str, ...] = FORBIDDEN
    hazardous: tuple[str, ...] = HAZARDOUS
    pairs: tuple[tuple[str, str], ...] = PAIRS
    temperature: _Kelvin = 1473.15
    ramp: _Ramp = 10.0
    mass: Grams = 10.0
    daily: int = Field(default=24, ge=1)
    daily_mass: Grams = 100.0
    approval: Literal["first", "each"] = "first"
    approval_lasts: _Seconds = 7 * 86400.0
    attended: _Seconds = 86400.0
    clock: _Seconds = 300.0
    refusals: int = Field(default=5, ge=1)
    simulated_too: bool = False

    @field_validator("forbidden")
    @classmethod
    def _elements(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if symbol not in NUMBERS or symbol == VACANCY:
                raise ValueError(f"{symbol!r} is no element")
        return symbols

    @field_validator("hazardous", "pairs")
    @classmethod
    def _substances(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        from cloudseed.loop.safety.facts import substance

        for each in value:
            for formula in (each,) if isinstance(each, str) else each:  # type: ignore[attr-defined]
                # Those of the defaults are known to be formulas; to read them takes pymatgen.
                if formula not in _KNOWN:
                    substance(formula)
        return value
