"""What there is to make things from: precursors and gases."""

from __future__ import annotations

import re
import warnings
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from cloudseed.errors import InputError, LabError
from cloudseed.lab_adapters._settings import LabSettings
from cloudseed.lab_adapters.protocols import Precursor

if TYPE_CHECKING:
    from pathlib import Path

    from pymatgen.core import Composition

    from cloudseed.lab_adapters.protocols import LabDescription

__all__ = ["GASES", "Gas", "Shelf", "Substance", "composition", "described_shelf", "read_shelf"]

Gas = Literal["O2", "air", "N2", "Ar", "H2/Ar"]
GASES = ("O2", "air", "N2", "Ar", "H2/Ar")
"""Atmospheres, from the most oxidising to the most reducing."""

_LARGEST = 1_000_000
_MOST = 200
_WATER = re.compile(r"[·*]\s*(\d+(?:\.\d+)?)?\s*H2O$")


def composition(formula: str) -> Composition:
    """Returns a composition; water of hydration is written as in "Ba(OH)2·8H2O" or with "*".

    Raises:
        ValueError: If it is no formula.
    """
    from pymatgen.core import Composition

    text = formula.strip()
    water = _WATER.search(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dry = Composition(text[: water.start()] if water else text, strict=True)
            whole = dry + Composition("H2O") * float(water[1] or 1) if water else dry
    except Exception as error:  # pymatgen raises many kinds for what it cannot read
        raise ValueError(f"{formula[:80]!r} is no formula") from error
    if not whole or len(formula) > 80:
        raise ValueError(f"{formula[:80]!r} is no formula")
    return whole


class Substance(LabSettings):
    """A precursor in its bottle."""

    formula: str = Field(description='As it is weighed, with its water: "Ba(OH)2·8H2O".')
    assay: float = Field(default=1.0, gt=0, le=1, description="Share of it that is the formula.")
    grams: float | None = Field(default=None, ge=0, description="What is left; none: enough.")
    price: float | None = Field(default=None, ge=0, description="Per gram, in one currency.")
    melting: float | None = Field(
        default=None, gt=0, description="Where it melts or decomposes, K, if known."
    )
    enthalpy: float | None = Field(
        default=None, description="Of formation at 298 K, kJ per mole of the formula, if known."
    )
    entropy: float | None = Field(
        default=None, ge=0, description="At 298 K, J/K per mole of the formula, if known."
    )

    @field_validator("formula")
    @classmethod
    def _readable(cls, formula: str) -> str:
        composition(formula)
        return formula


class Shelf(LabSettings):
    """A lab's precursors and the gases that its furnace can have."""

    precursors: tuple[Substance, ...] = Field(min_length=1, max_length=_MOST)
    gases: tuple[Gas, ...] = Field(default=("air",), min_length=1)

    @property
    def told(self) -> tuple[Precursor, ...]:
        """The precursors as a lab describes them."""
        known = {f.name for f in fields(Precursor)}
        return tuple(Precursor(**s.model_dump(include=known)) for s in self.precursors)


def described_shelf(lab: LabDescription) -> Shelf | None:
    """Returns the shelf that a lab tells of, with air where it tells no gases; None without one.

    Gases that recipes do not know are left out.

    Raises:
        LabError: If what it tells cannot be a shelf.
    """
    if not lab.shelf:
        return None
    known = None if lab.gases is None else [gas for gas in lab.gases if gas in GASES]
    gases = {} if known is None else {"gases": known}
    try:
        return Shelf.model_validate({"precursors": [asdict(p) for p in lab.shelf], **gases})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise LabError(
            f"The lab {lab.name!r} tells of a shelf that cannot be one: {where}: {first['msg']}.",
            hint=f"Formulas are as they are weighed; some gas is among {', '.join(GASES)}.",
        ) from error


def read_shelf(path: Path) -> Shelf:
    """Reads a shelf from YAML.

    Raises:
        InputError: If the file is missing, too large, or holds no shelf.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is too large for a shelf.")
        return Shelf.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise InputError(
            f"There is no shelf {path}." if missing else f"{path} cannot be read as a shelf.",
            hint="It is YAML with `precursors:`, each with a `formula`, and `gases:`.",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"{path}: {where}: {first['msg']}.",
            hint="It is YAML with `precursors:`, each with a `formula`, and `gases:`.",
        ) from error
