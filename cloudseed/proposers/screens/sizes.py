"""Whether an ion is about as large as the one whose place it takes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudseed.crystal import VACANCY
from cloudseed.errors import UsageError
from cloudseed.proposers._tables import Ion
from cloudseed.proposers.protocols import FilterResult, Verdict
from cloudseed.proposers.screens.radii import mean_radius

if TYPE_CHECKING:
    from cloudseed.proposers.protocols import Candidate
    from cloudseed.proposers.screens.protocols import Answer

__all__ = ["IonSize"]

_ION = re.compile(r"([A-Z][a-z]?)(\d+)([+-])")


@dataclass(frozen=True, slots=True)
class IonSize:
    """Fails children in which an ion is much smaller or larger than its predecessor.

    Goldschmidt's rule that ions replace each other where their radii agree, Naturwissenschaften 14,
    477 (1926), doi:10.1007/BF01507527, taken widely: a whole structure may adapt, which a site in a
    solid solution cannot. Radii are Shannon's, averaged over coordinations.

    Attributes:
        least: Smallest ratio of the new radius to the old.
        most: Largest one.
    """

    least: float = 0.65
    most: float = 1.6
    name: str = field(default="ion_size", init=False)
    version: str = field(default="1", init=False)
    depends_on: str = field(default="crystal", init=False)
    late: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.least < 1 < self.most:
            raise UsageError(
                f"Ratios from {self.least} to {self.most} do not enclose 1.",
                hint="Give for instance least=0.65 and most=1.6.",
            )

    def check(self, candidate: Candidate) -> FilterResult:
        """Compares each ion with the one before; without charges or radii it is unknown."""
        verdict, reason = self._judge(candidate)
        return FilterResult(self.name, self.version, verdict, reason)

    def _judge(self, candidate: Candidate) -> Answer:
        species = candidate.operation.arguments.get("species")
        if not isinstance(species, list):
            return Verdict.PASS, ""
        doubt = ""
        for before, after in species:
            if before == after or VACANCY in {before, after}:
                continue
            was, now = _radius(before), _radius(after)
            if was is None or now is None:
                doubt = doubt or _doubt(before if was is None else after)
            elif now < self.least * was:
                return Verdict.FAIL, "an ion is too small for its site"
            elif now > self.most * was:
                return Verdict.FAIL, "an ion is too large for its site"
        return (Verdict.UNKNOWN, doubt) if doubt else (Verdict.PASS, "")


def _radius(text: str) -> float | None:
    """Returns the radius of an ion written as "Ti4+"; None for what has no charge or radius."""
    ion = _ION.fullmatch(text)
    if ion is None:
        return None
    return mean_radius(Ion(ion[1], int(ion[2]) * (1 if ion[3] == "+" else -1)))


def _doubt(text: str) -> str:
    if _ION.fullmatch(text) is None:
        return "no charges can be given to the elements"
    return f"no radius of {text} is known"
