"""Amounts with units: budgets and what experiments cost."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from cloudseed.errors import UnitError
from cloudseed.units import convert

__all__ = ["Amount", "parse_amount"]

_AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*(\S.*?)?\s*", re.IGNORECASE)
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with its unit.

    Attributes:
        value: Finite and not negative.
        unit: A currency by its three letters, any unit of time, mass or volume, or a plain word
            that is counted, such as "crucibles".
    """

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.value:.10g} {self.unit}".rstrip()

    def to(self, unit: str) -> float:
        """Returns the value in another unit of the same kind.

        Raises:
            UnitError: If it is of another kind; one currency is never turned into another.
        """
        if unit == self.unit:
            return self.value
        if _CURRENCY.fullmatch(unit) or _CURRENCY.fullmatch(self.unit):
            raise UnitError(
                f"{self} is not an amount in {unit}.",
                hint="Give costs and budget in the same currency.",
                unit=self.unit,
            )
        return convert(self.value, self.unit, unit)


def parse_amount(text: object) -> Amount:
    """Reads an amount such as "500 EUR", "40 h" or "12 crucibles".

    Raises:
        ValueError: If it is none.

    >>> parse_amount("1.5 h").to("min")
    90.0
    """
    found = _AMOUNT.fullmatch(str(text))
    if found is None or not math.isfinite(float(found[1])):
        raise ValueError("an amount is a number with its unit, such as '500 EUR', '40 h' or '20 g'")
    return Amount(float(found[1]), found[2] or "")
