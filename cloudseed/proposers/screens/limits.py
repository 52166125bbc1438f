"""Limits on what the elements of a material cost, how rare they are, and who sells them."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from cloudseed._elements import NUMBERS
from cloudseed.errors import InputError, UsageError
from cloudseed.proposers.protocols import Verdict
from cloudseed.proposers.screens._abundance import CRUST
from cloudseed.proposers.screens.protocols import Answer, CompositionScreen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Abundance", "ElementLimit", "SupplyRisk", "atomic_masses"]

Mean = Literal["mass", "worst"]


@dataclass(frozen=True, slots=True)
class Abundance(CompositionScreen):
    """Fails materials that hold an element rarer in the Earth's crust than a limit.

    Attributes:
        least: Milligrams per kilogram of crust that every element must reach.
    """

    least: float = 0.1
    name: str = field(default="abundance", init=False)
    version: str = field(default="1", init=False)

    def judge(self, composition: Mapping[str, int]) -> Answer:
        """Names the rarest element; elements that the table lacks are unknown."""
        for element in sorted(composition, key=lambda e: (CRUST.get(e, math.inf), e)):
            share = CRUST.get(element)
            if share is None:
                return Verdict.UNKNOWN, f"no abundance of {element} is known"
            if share < self.least:
                return Verdict.FAIL, f"{element} is too rare"
        return Verdict.PASS, ""


@dataclass(frozen=True, slots=True)
class SupplyRisk(CompositionScreen):
    """Fails materials whose elements come from too few countries.

    The Herfindahl-Hirschman index, the sum of the squares of market shares in percent, of the
    elements' production or reserves, averaged by mass: Gaultois et al., Chem. Mater. 25, 2911
    (2013), doi:10.1021/cm400893e, from the table that pymatgen ships. Markets above 2,500 count as
    concentrated.

    Attributes:
        most: Largest mean index, 0 to 10,000.
        of: "production" or "reserves".
    """

    most: float = 4000.0
    of: Literal["production", "reserves"] = "production"
    name: str = field(default="supply_risk", init=False)
    version: str = field(default="1", init=False)

    def judge(self, composition: Mapping[str, int]) -> Answer:
        """Compares the mean; elements that the table lacks are unknown."""
        return _by_mean(
            {e: pair[self.of == "reserves"] for e, pair in _concentrations().items()},
            composition,
            self.most,
            "mass",
            f"the index of {self.of}",
        )


@dataclass(frozen=True, slots=True)
class ElementLimit(CompositionScreen):
    """Fails materials above a limit on something that the user lists by element.

    For instance a price per kilogram, averaged by mass, or a toxicity, of which the worst counts.

    Attributes:
        of: What is listed, for reasons.
        values: Element -> value.
        most: The limit.
        mean: "mass" for the mean by mass, "worst" for the largest value.
    """

    of: str
    values: Mapping[str, float]
    most: float
    mean: Mean = "mass"
    version: str = field(default="1", init=False)

    @property
    def name(self) -> str:  # type: ignore[override]
        """What is listed."""
        return self.of

    def judge(self, composition: Mapping[str, int]) -> Answer:
        """Compares the mean; elements that the list lacks are unknown."""
        return _by_mean(self.values, composition, self.most, self.mean, f"the {self.of}")

    @classmethod
    def read(cls, path: Path, most: float, of: str = "", mean: Mean = "mass") -> ElementLimit:
        """Reads a CSV with the columns `element` and one more, which is what is listed.

        Args:
            path: The table.
            most: The limit.
            of: The column; the only other one if empty.
            mean: As the attribute.

        Raises:
            InputError: If the file, a column, an element or a number is missing or wrong.
        """
        column, values = _table(path, of)
        return cls(column, values, most, mean)


def _by_mean(
    values: Mapping[str, float], composition: Mapping[str, int], most: float, mean: Mean, what: str
) -> Answer:
    missing = sorted(set(composition) - set(values))
    known = {e: n for e, n in composition.items() if e in values}
    if mean == "worst":
        worst = max(sorted(known), key=lambda e: values[e], default=None)
        if worst is not None and values[worst] > most:
            return Verdict.FAIL, f"{what} of {worst} is too high"
    if missing:
        return Verdict.UNKNOWN, f"{what} of {missing[0]} is not known"
    if mean == "mass":
        masses = {e: n * atomic_masses()[e] for e, n in known.items()}
        average = sum(masses[e] * values[e] for e in known) / sum(masses.values())
        if average > most:
            return Verdict.FAIL, f"{what} is too high"
    return Verdict.PASS, ""


def _table(path: Path, column: str) -> tuple[str, dict[str, float]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = list(reader.fieldnames or ())
            others = [c for c in columns if c != "element"]
            if "element" not in columns or not others or (column and column not in others):
                raise InputError(
                    f"{path} needs the columns 'element' and {column or 'one more'!r}.",
                    hint=f"Its columns are {', '.join(columns) or 'none'}.",
                    path=str(path),
                )
            if not column and len(others) > 1:
                raise UsageError(
                    f"{path} has several columns: {', '.join(others)}.", hint="Name one of them."
                )
            column = column or others[0]
            rows = [(row["element"].strip(), row[column]) for row in reader if row[column]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as a table of elements.",
            hint="Give a CSV with the columns element and a value.",
            path=str(path),
        ) from error
    return column, {element: _value(path, element, text) for element, text in rows}


def _value(path: Path, element: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if element not in NUMBERS or NUMBERS[element] == 0 or not math.isfinite(value):
        raise InputError(
            f"{path}: {element!r} with {text!r} is no element with a number.",
            hint="Leave a cell empty where nothing is known.",
            path=str(path),
        )
    return value


@lru_cache(maxsize=1)
def _concentrations() -> Mapping[str, tuple[float, float]]:
    """Returns element -> indices of production and of reserves; files are read, not imported."""
    text = (files("pymatgen") / "analysis" / "hhi_data.csv").read_text(encoding="utf-8")
    rows = (line.split(",") for line in text.splitlines() if line and not line.startswith("#"))
    return {element: (float(made), float(left)) for element, made, left in rows}


@lru_cache(maxsize=1)
def atomic_masses() -> Mapping[str, float]:
    """Returns element -> atomic mass in daltons."""
    from cloudseed.proposers._tables import periodic_table

    return {e: float(raw["Atomic mass"]) for e, raw in periodic_table().items()}
