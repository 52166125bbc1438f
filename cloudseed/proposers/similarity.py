"""Substitution by similarity on the modified Pettifor scale, for intermetallics.

Glawe, Sanna, Gross & Marques, "The optimal one dimensional periodic table: a modified Pettifor
chemical scale from data mining", New J. Phys. 18, 093011 (2016),
doi:10.1088/1367-2630/18/9/093011: elements that are close in this order replace each other often.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from cloudseed._elements import NUMBERS
from cloudseed.errors import UsageError
from cloudseed.proposers._tables import permitted_elements
from cloudseed.proposers.ionic import assign_ions, check_threshold
from cloudseed.proposers.maps import Options, likeliest_maps
from cloudseed.proposers.subsets import coloured
from cloudseed.proposers.substituting import Substituter, changing, children

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from cloudseed.proposers.protocols import Batch, Parent, ProposalContext

__all__ = ["PETTIFOR", "SimilaritySubstitution"]

OPERATION = "similarity_substitution"
KIND = "pettifor-similarity"

_SCALE = (
    "He Ne Ar Kr Xe Rn Fr Cs Rb K Na Li Ra Ba Sr Ca Eu Yb Lu Tm Y Er Ho Dy Tb Gd Sm Pm Nd Pr Ce La"
    " Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Sc Zr Hf Ti Ta Nb V Cr Mo W Re Tc Os Ru Ir Rh Pt"
    " Pd Au Ag Cu Ni Co Fe Mn Mg Zn Cd Hg Be Al Ga In Tl Pb Sn Ge Si B C N P As Sb Bi Po Te Se S O"
    " At I Br Cl F H"
)

PETTIFOR = tuple(_SCALE.split())
"""Elements in the order of the modified Pettifor scale; those after lawrencium are not on it."""


@dataclass(frozen=True, slots=True)
class SimilaritySubstitution(Substituter):
    """Proposes children whose elements are neighbours of the parent's on the scale.

    The similarity of two elements falls as exp(-distance/width); shared out over all elements it
    serves as a probability, of kind "pettifor-similarity". Elements that are not on the scale stay.

    Attributes:
        width: Distance on the scale over which the similarity falls to 1/e.
        threshold: Smallest product of probabilities of a child.
        everywhere: Whether parents whose elements can be given neutral charges are taken too.
    """

    width: float = 3.0
    threshold: float = 1e-6
    everywhere: bool = False
    name: str = field(default=OPERATION, init=False)
    version: str = field(default="1", init=False)

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        if not 0 < self.width < math.inf:
            raise UsageError(
                f"The width {self.width} is not a positive number.", hint="Give 3 or so."
            )

    def batches(
        self,
        parent: Parent,
        context: ProposalContext,
        budget: int,
        rng: np.random.Generator,  # noqa: ARG002  the enumeration is exact
    ) -> Iterator[Batch]:
        """Yields one batch, at most `budget` children, likeliest first."""
        composition = parent.crystal.composition
        if not self.everywhere and assign_ions(composition) is not None:
            return
        elements = permitted_elements(context.elements)
        maps = likeliest_maps(
            [_options(element, elements, self.width) for element in composition],
            list(composition.values()),
            limit=budget + 1,
            least=math.log(self.threshold),
            neutral=False,
            merging=False,
        )
        maps = changing(maps, [NUMBERS[element] for element in composition], budget)
        if len(maps):
            yield children(
                parent,
                coloured(parent.crystal, ()),
                maps,
                species=list(composition),
                kind=KIND,
                operation=OPERATION,
                arguments={
                    "table": "modified Pettifor scale, doi:10.1088/1367-2630/18/9/093011",
                    "table_sha256": hashlib.sha256(" ".join(PETTIFOR).encode()).hexdigest(),
                    "width": self.width,
                    "threshold": self.threshold,
                },
                charged=False,
            )


@lru_cache(maxsize=1024)
def _options(old: str, elements: frozenset[str], width: float) -> Options:
    """Returns what an element may become, with its share of the similarity to all elements."""
    if old not in PETTIFOR:
        return Options.of([(0.0, NUMBERS[old], 0)] if old in elements else [])
    here = PETTIFOR.index(old)
    weights = [math.exp(-abs(place - here) / width) for place in range(len(PETTIFOR))]
    total = math.fsum(weights)
    return Options.of(
        [
            (math.log(weight / total), NUMBERS[new], 0)
            for new, weight in zip(PETTIFOR, weights, strict=True)
            if new in elements
        ]
    )
