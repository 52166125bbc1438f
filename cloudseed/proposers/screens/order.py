"""Electronegativity order: anions should want electrons more than cations do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudseed.proposers._tables import elements
from cloudseed.proposers.ionic import assign_ions
from cloudseed.proposers.protocols import Verdict
from cloudseed.proposers.screens.protocols import Answer, CompositionScreen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CationsPresent", "ElectronegativityOrder"]

_FAMILIES = (frozenset({"S", "Se", "Te"}), frozenset({"Cl", "Br", "I"}), frozenset({"P", "As"}))


@dataclass(frozen=True, slots=True)
class ElectronegativityOrder(CompositionScreen):
    """Doubts compositions whose likeliest ions are in the wrong order of electronegativity.

    The ions are the most common neutral choice (`assign_ions`), not any choice as for charge
    neutrality, so that this asks more. The test is that of Davies et al., Chem 1, 617 (2016),
    doi:10.1016/j.chempr.2016.09.010, and of SMACT's `pauling_test`: every anion is more
    electronegative than every cation.

    Attributes:
        hard: Whether the wrong order fails; it is unknown otherwise, for there are exceptions.
        margin: By how much, on Pauling's scale, anions must exceed cations.
    """

    hard: bool = False
    margin: float = 0.0
    name: str = field(default="electronegativity_order", init=False)
    version: str = field(default="1", init=False)

    def judge(self, composition: Mapping[str, int]) -> Answer:
        """Passes the right order; elements without charges or electronegativity are unknown."""
        table = elements()
        ions = assign_ions(composition)
        if ions is None:
            return Verdict.UNKNOWN, "no charges can be given to the elements"
        for element in composition:
            if table[element].electronegativity is None:
                return Verdict.UNKNOWN, f"no electronegativity of {element} is known"
        scale = {ion: table[element].electronegativity or 0.0 for element, ion in ions.items()}
        cations = [x for ion, x in scale.items() if ion.charge > 0]
        anions = [x for ion, x in scale.items() if ion.charge < 0]
        if not cations or not anions or min(anions) - max(cations) > self.margin:
            return Verdict.PASS, ""
        verdict = Verdict.FAIL if self.hard else Verdict.UNKNOWN
        return verdict, "a cation is as electronegative as an anion"


@dataclass(frozen=True, slots=True)
class CationsPresent(CompositionScreen):
    """Fails compounds of heavier chalcogens alone, of halogens alone, or of phosphorus and arsenic.

    TeS2 and ICl are neutral on paper and in the right order, but molecules or alloys in the flask.
    Oxygen and fluorine do make cations of their families.
    """

    name: str = field(default="cations_present", init=False)
    version: str = field(default="1", init=False)

    def judge(self, composition: Mapping[str, int]) -> Answer:
        """Looks at the elements only; pure elements pass."""
        if len(composition) > 1 and any(set(composition) <= family for family in _FAMILIES):
            return Verdict.FAIL, "no element but those of one family of anions"
        return Verdict.PASS, ""
