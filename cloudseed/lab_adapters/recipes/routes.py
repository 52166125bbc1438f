"""Routes: which precursors, how much of each, how hot, under which gas; the best first.

The reaction is balanced by pymatgen. Carbon leaves as CO2, hydrogen as water and nitrogen as NO2;
oxygen comes or goes with the atmosphere, and only where the furnace has one that fits.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from cloudseed.errors import InputError
from cloudseed.lab_adapters.protocols import recipe_hash
from cloudseed.lab_adapters.recipes.driving import supply
from cloudseed.lab_adapters.recipes.redox import atmosphere, states
from cloudseed.lab_adapters.recipes.shelf import composition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymatgen.core import Composition

    from cloudseed.lab_adapters.recipes.shelf import Shelf, Substance

__all__ = [
    "Heating",
    "Rank",
    "Route",
    "TooManyRoutesError",
    "Weighed",
    "check_searchable",
    "routes",
]

Rank = Literal["cost", "supply"]

_LEAVES = {"C": "CO2", "H": "H2O", "N": "NO2"}
_SMALL = 1e-6
_MOST = 100_000
_TAMMAN = 2.0 / 3.0
_USUAL = 1373.15
_RAMP = 5.0
_HOURS = 12.0


class TooManyRoutesError(InputError):
    """A shelf holds too many precursors of a target's elements to try them all."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A precursor: its formula, moles per formula unit of the target, grams to weigh out."""

    formula: str
    moles: float
    grams: float


@dataclass(frozen=True, slots=True)
class Heating:
    """One firing: K, K/min, hours, gas; and what temperature and gas rest on."""

    temperature: float
    ramp: float
    hours: float
    gas: str
    basis: str
    gas_basis: str


@dataclass(frozen=True, slots=True)
class Route:
    """A way to make a target.

    Attributes:
        target: Its formula.
        grams: How much of it comes out in theory.
        precursors: What is weighed out.
        reaction: The balanced equation.
        released: Gas -> moles set free per formula unit.
        heating: The firing.
        states: Likely oxidation states in the target.
        cost: Of the precursors, in the shelf's currency; None if a price is missing.
        notes: What a person should think about.
        supply: What drives it, kJ per mole of target, to be compared with other routes of the same
            target; None if the shelf does not say enough.
    """

    target: str
    grams: float
    precursors: tuple[Weighed, ...]
    reaction: str
    released: dict[str, float]
    heating: Heating
    states: dict[str, float]
    cost: float | None
    notes: tuple[str, ...]
    supply: float | None = None

    def recipe(self) -> dict[str, Any]:
        """Returns what a lab would carry out, as safety checks read it."""
        firing = asdict(self.heating)
        return {
            "target": self.target,
            "reaction": self.reaction,
            "precursors": [{"formula": p.formula, "grams": p.grams} for p in self.precursors],
            "steps": [
                {"do": "mix and grind"},
                {"do": "heat", **{k: firing[k] for k in ("temperature", "ramp", "hours", "gas")}},
                {"do": "measure", "method": "XRD"},
            ],
        }

    @property
    def sha256(self) -> str:
        """The name under which a person approves the recipe."""
        return recipe_hash(self.recipe())

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self) | {"recipe": self.recipe(), "sha256": self.sha256}


def routes(
    target: str, shelf: Shelf, grams: float = 1.0, *, top: int = 10, rank: Rank = "cost"
) -> list[Route]:
    """Returns routes to a target, the best first.

    Routes that `rank` tells nothing of come last; ties go by cost, the number of precursors, and
    the gas released.

    Args:
        target: Its formula; without carbon, hydrogen or nitrogen.
        shelf: What there is.
        grams: How much of the target is wanted.
        top: How many routes at most.
        rank: "cost" for the cheapest first, "supply" for the one that is driven most.

    Raises:
        InputError: If the target is no formula or of another kind, or the mass is not positive.
        TooManyRoutesError: If there are too many combinations.
    """
    if not (math.isfinite(grams) and grams > 0):
        raise InputError(f"{grams} g is no mass to make.", hint="Give a positive number of grams.")
    try:
        wanted = composition(target)
    except ValueError as error:
        raise InputError(f"{error}.", hint="Write it as in SrTiO3.") from error
    wanted = wanted.reduced_composition
    if odd := sorted({str(e) for e in wanted.elements} & set(_LEAVES)):
        raise InputError(
            f"{target} holds {', '.join(odd)}, which leaves as gas in these routes.",
            hint="Solid-state routes are made for oxides, fluorides, sulfides and the like.",
        )
    found = [
        route
        for chosen in _combinations(wanted, shelf)
        if (route := _route(wanted, chosen, shelf, grams)) is not None
    ]
    found.sort(
        key=lambda r: (
            math.inf if rank == "cost" or r.supply is None else -r.supply,
            math.inf if r.cost is None else r.cost,
            len(r.precursors),
            sum(r.released.values()),
            r.reaction,
        )
    )
    return found[:top]


def _combinations(target: Composition, shelf: Shelf) -> Iterator[tuple[Substance, ...]]:
    """Yields sets of precursors that hold all elements of the target but oxygen, and no others."""
    needed = {str(e) for e in target.elements}
    allowed = needed | set(_LEAVES) | {"O"}
    held = {s: {str(e) for e in composition(s.formula).elements} for s in shelf.precursors}
    fit = [s for s, elements in held.items() if elements <= allowed and elements & needed - {"O"}]
    solid = needed - {"O"}
    sizes = range(1, len(solid) + 1)
    _check_number(len(fit), len(solid))
    for n in sizes:
        for chosen in itertools.combinations(fit, n):
            if solid <= set().union(*(held[s] for s in chosen)):
                yield chosen


def check_searchable(shelf: Shelf) -> None:
    """Checks that routes to targets of up to four elements besides oxygen can be searched.

    Raises:
        TooManyRoutesError: If there are too many precursors of the same elements.
    """
    inside = [
        {str(e) for e in composition(s.formula).elements} - set(_LEAVES) - {"O"}
        for s in shelf.precursors
    ]
    # The elements that most bottles hold, one after the other: most targets find fewer.
    wanted: set[str] = set()
    for count in range(1, 5):
        gains = {
            e: sum(bool(held) and held <= wanted | {e} for held in inside)
            for e in sorted(set().union(*inside) - wanted)
        }
        if not gains:
            return
        wanted.add(max(gains, key=lambda e: gains[e]))
        _check_number(sum(bool(held) and held <= wanted for held in inside), count)


def _check_number(precursors: int, elements: int) -> None:
    if sum(math.comb(precursors, n) for n in range(1, elements + 1)) > _MOST:
        raise TooManyRoutesError(
            f"{precursors} precursors give more than {_MOST:,} combinations.",
            hint="List fewer precursors.",
        )


def _route(
    target: Composition, chosen: tuple[Substance, ...], shelf: Shelf, grams: float
) -> Route | None:
    """Returns the route from some precursors, or None if there is none that works."""
    balance = _balanced(target, [composition(s.formula) for s in chosen])
    if balance is None:
        return None
    used, gases = balance
    gas, why = atmosphere(target, gases.get("O2", 0.0), shelf.gases)
    if gas is None:
        return None
    moles = grams / float(target.weight)
    weighed = []
    for substance, share in zip(chosen, used, strict=True):
        pure = share * moles * float(composition(substance.formula).weight)
        weighed.append(
            Weighed(substance.formula, round(share, 6), round(pure / substance.assay, 4))
        )
    if any(s.grams is not None and w.grams > s.grams for s, w in zip(chosen, weighed, strict=True)):
        return None
    pairs = zip(chosen, weighed, strict=True)
    prices = [None if s.price is None else s.price * w.grams for s, w in pairs]
    known = [p for p in prices if p is not None]
    temperature, basis = _temperature(chosen)
    likely = states(target)
    return Route(
        target=str(target.reduced_formula),
        grams=grams,
        precursors=tuple(weighed),
        reaction=_equation(target, weighed, gases),
        released={g: round(n, 6) for g, n in gases.items() if n > 0},
        heating=Heating(temperature, _RAMP, _HOURS, gas, basis, why),
        states=likely,
        cost=round(sum(known), 4) if len(known) == len(prices) else None,
        notes=() if likely else ("no charge-neutral oxidation states are known for the target",),
        supply=supply(zip(chosen, used, strict=True), gases),
    )


def _balanced(
    target: Composition, precursors: list[Composition]
) -> tuple[list[float], dict[str, float]] | None:
    """Returns moles of each precursor and of each gas per formula unit; gas taken up is negative.

    None if it does not balance with all precursors used up.
    """
    from pymatgen.analysis.reaction_calculator import Reaction, ReactionError
    from pymatgen.core import Composition

    symbols = {str(e) for p in precursors for e in p.elements}
    gases = {name: Composition(name) for e, name in _LEAVES.items() if e in symbols}
    gases["O2"] = Composition("O2")
    if target in precursors:
        return None
    try:
        reaction = Reaction(precursors, [target, *gases.values()])
        reaction.normalize_to(target)
        solids = [-float(reaction.get_coeff(p)) for p in precursors]
        freed = {name: float(reaction.get_coeff(c)) for name, c in gases.items()}
    except (ReactionError, ValueError, ZeroDivisionError):
        return None
    freed = {name: n for name, n in freed.items() if abs(n) > _SMALL}
    if min(solids) <= _SMALL or any(n < 0 for name, n in freed.items() if name != "O2"):
        return None
    return (solids, freed) if _adds_up(target, precursors, solids, freed) else None


def _adds_up(
    target: Composition,
    precursors: list[Composition],
    moles: list[float],
    gases: dict[str, float],
) -> bool:
    """Whether every element is conserved, whatever the solver says."""
    from pymatgen.core import Composition

    left: dict[str, float] = {}
    sides = [*zip(precursors, moles, strict=True), (target, -1.0)]
    sides += [(Composition(name), -n) for name, n in gases.items()]
    for what, count in sides:
        for element, amount in what.items():
            left[str(element)] = left.get(str(element), 0.0) + amount * count
    return all(abs(n) < 1e-4 for n in left.values())


def _equation(target: Composition, weighed: list[Weighed], gases: dict[str, float]) -> str:
    def term(n: float, name: str) -> str:
        return name if abs(n - 1) < _SMALL else f"{n:.6g} {name}"

    left = [term(w.moles, w.formula) for w in weighed]
    left += [term(-n, g) for g, n in gases.items() if n < 0]
    right = [str(target.reduced_formula), *(term(n, g) for g, n in gases.items() if n > 0)]
    return f"{' + '.join(left)} -> {' + '.join(right)}"


def _temperature(chosen: tuple[Substance, ...]) -> tuple[float, str]:
    """Returns a first guess of the firing temperature, K, and what it rests on."""
    melting = [s for s in chosen if s.melting is not None]
    if len(melting) < len(chosen):
        return _USUAL, "1100 degC, the median of published firings: a melting point is not known"
    lowest = min(melting, key=lambda s: s.melting or 0.0)
    guess = round(_TAMMAN * (lowest.melting or 0.0), 1)
    return guess, f"two thirds of where {lowest.formula} melts or decomposes, {lowest.melting:g} K"
