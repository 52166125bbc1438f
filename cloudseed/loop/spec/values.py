"""What the sections of a campaign file are made of."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cloudseed.loop.amounts import parse_amount

__all__ = ["NAME", "AmountText", "Duration", "Section"]

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What names of campaigns and labs look like: letters, digits, dots, hyphens and underscores."""

_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(s|sec|min|h|d)?\s*")
_SECONDS = {None: 1.0, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(value: object) -> object:
    """Turns "90 min" into 5400.0; numbers are seconds already."""
    if isinstance(value, str):
        found = _DURATION.fullmatch(value)
        if found is None:
            raise ValueError("a duration is a number with s, min, h or d, such as '90 min'")
        return float(found[1]) * _SECONDS[found[2]]
    return value


def _amount(value: object) -> str:
    """Writes "500  EUR" in one way; a bare number has no unit."""
    return str(parse_amount(value))


AmountText = Annotated[str, BeforeValidator(_amount)]
"""An amount with its unit, such as "500 EUR", written in one way."""

Duration = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
"""Seconds; a text such as "90 min" is turned into them."""


class Section(BaseModel):
    """A mapping of the campaign file: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
