"""SCOPE: a crystal as one short line of text, symmetry first, then sites, then composition.

Two dialects, which `parse` tells apart by itself:

    cloud      0 3 n O O O i O O O e O O O 0 | 4h 2e 3g 3f | S 0.5 K 0.5
    canonical  1 4 b O O O c O O O d O O O e O O O 0 | 1a Ti 1b Sr 3c O | Ti 0.2 Sr 0.2 O 0.6

`cloud` is byte for byte the published rule: the generator string of the space group in single
characters, Wyckoff symbols in order of the sites and each once, and elements with their atomic
fractions, in order of the sites. It depends on the order of the sites and on the choice of origin,
and says only through the order of the elements which one sits where.

`canonical` is this project's: no order of sites, origin or setting changes it, and every Wyckoff
symbol is followed by its elements. The letters are those that sort first among all that the affine
normaliser of the group makes equivalent; where several choices give the same letters, the elements
decide. It uses the published vocabulary only. It says less than `Crystal.key`: equal elements on
several orbits of one letter are named once.

The generator strings are pymatgen's, except for three groups, where the published table is kept so
that strings match its checkpoint: those of 39 and 131 generate the groups 21 and 130, a mistake of
that table; that of 222 is another valid encoding.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from importlib.resources import files
from itertools import chain, zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import numpy as np

from cloudseed._elements import SYMBOLS
from cloudseed.crystal import VACANCY, VACANT, multiplicities, relabelings
from cloudseed.errors import ScopeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.crystal import Crystal, GeometryRoot, Orbit, Symmetry

__all__ = [
    "DIALECTS",
    "ELEMENTS",
    "Dialect",
    "Scope",
    "element_order",
    "generators",
    "parse",
    "scope_string",
]

Dialect = Literal["cloud", "canonical"]

DIALECTS: Mapping[str, int] = {"canonical": 1, "cloud": 1}
"""Dialects and their versions; a change of a dialect's strings raises its version."""

ELEMENTS = SYMBOLS[1:]
"""Element symbols in order of atomic number."""

_PUBLISHED = {39: "03aODDbOOOcODO0", 131: "13bDDOgDOOcODD0", 222: "14bDDOcDODdOOOeOOD1YYY"}

_FRACTIONS = frozenset(str(n / 100) for n in range(101))

_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a SCOPE string says.

    Attributes:
        dialect: "cloud" or "canonical".
        space_group: International number, 1 to 230.
        orbits: Wyckoff symbols in the string's order, each with the elements on it; these are
            empty in the `cloud` dialect, which does not tell.
        composition: Elements in the string's order, each with its atomic fraction, which is
            rounded to two decimals, so that they need not sum to 1.
    """

    dialect: Dialect
    space_group: int
    orbits: tuple[tuple[str, tuple[str, ...]], ...]
    composition: tuple[tuple[str, float], ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Wyckoff symbols in the string's order."""
        return tuple(symbol for symbol, _ in self.orbits)

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements in the string's order."""
        return tuple(element for element, _ in self.composition)

    def __str__(self) -> str:
        """Returns the string that was parsed."""
        sites = " ".join(" ".join((symbol, *elements)) for symbol, elements in self.orbits)
        amounts = " ".join(f"{element} {fraction}" for element, fraction in self.composition)
        return f"{' '.join(generators()[self.space_group])} | {sites} | {amounts}"


def scope_string(crystal: Crystal, dialect: str = "cloud") -> str:
    """Returns the SCOPE string of a crystal.

    Whatever does not depend on the elements is worked out once for each root and partition of its
    orbits, so that a child whose symmetry is inherited costs microseconds.

    Args:
        crystal: The crystal.
        dialect: "cloud" or "canonical".

    Raises:
        ScopeError: If there is no such dialect.
    """
    templates = _TEMPLATES.setdefault(crystal.root, {})
    classes = {VACANCY: VACANT}
    partition = [classes.setdefault(element, len(classes) - 1) for element in crystal.colouring]
    key: tuple[str | int, ...] = (dialect, *partition)
    template = templates.get(key)
    if template is None:
        template = templates[key] = _template(crystal, dialect, partition)
    return template(tuple(classes)[1:])


Template = Callable[[tuple[str, ...]], str]
"""Makes the string from the elements, in order of their first orbit in the root."""

_TEMPLATES: WeakKeyDictionary[GeometryRoot, dict[tuple[str | int, ...], Template]] = (
    WeakKeyDictionary()
)


def _template(crystal: Crystal, dialect: str, partition: Sequence[int]) -> Template:
    if dialect not in DIALECTS:
        raise ScopeError(
            f"There is no SCOPE dialect {dialect!r}.",
            hint=f"Choose one of: {', '.join(DIALECTS)}.",
            token=dialect,
        )
    symmetry = crystal.symmetry
    head = " ".join(generators()[symmetry.space_group])
    counts = list(crystal.composition.values())
    amounts = [str(float(np.round(count / sum(counts), 2))) for count in counts]
    if dialect == "canonical":
        return _canonical(head, amounts, _layouts(partition, symmetry))
    symbols = " ".join(dict.fromkeys(orbit.symbol for orbit in _occupied(symmetry)))
    pattern = f"{head} | {symbols} | {' '.join(f'%s {amount}' for amount in amounts)}"
    return pattern.__mod__


def _occupied(symmetry: Symmetry) -> list[Orbit]:
    pairs = zip(symmetry.group, symmetry.orbits, strict=True)
    return [orbit for group, orbit in pairs if group != VACANT]


Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Wyckoff symbols in order of their letters, each with the classes of elements on it."""


def _layouts(partition: Sequence[int], symmetry: Symmetry) -> list[Layout]:
    """Returns the layouts whose letters sort first; several where the group leaves a choice."""
    sites = {
        group: (orbit, colour)
        for group, orbit, colour in zip(symmetry.group, symmetry.orbits, partition, strict=True)
        if group != VACANT
    }
    found: dict[tuple[str, ...], dict[Layout, None]] = {}
    for relabel in relabelings(symmetry.space_group):
        moved = sorted(
            (relabel[ord(orbit.letter)], orbit.multiplicity, colour)
            for orbit, colour in sites.values()
        )
        on: dict[str, dict[int, None]] = {}
        for letter, multiplicity, colour in moved:
            on.setdefault(f"{multiplicity}{letter}", {})[colour] = None
        layout = tuple((symbol, tuple(colours)) for symbol, colours in on.items())
        found.setdefault(tuple(letter for letter, _, _ in moved), {})[layout] = None
    return list(found[min(found)])


def _canonical(head: str, amounts: Sequence[str], layouts: Sequence[Layout]) -> Template:
    @cache
    def pattern(layout: Layout) -> tuple[str, list[int]]:
        on_sites = list(chain.from_iterable(colours for _, colours in layout))
        in_all = list(dict.fromkeys(on_sites))
        sites = " ".join(symbol + " %s" * len(colours) for symbol, colours in layout)
        composition = " ".join(f"%s {amounts[colour]}" for colour in in_all)
        return f"{head} | {sites} | {composition}", on_sites + in_all

    def fill(layout: Layout, elements: tuple[str, ...]) -> str:
        text, order = pattern(layout)
        return text % tuple([elements[colour] for colour in order])

    if len(layouts) == 1 and all(len(colours) == 1 for _, colours in layouts[0]):
        return partial(fill, layouts[0])

    def choose(elements: tuple[str, ...]) -> str:
        ranks = [_RANKS.get(element, (99, 0)) for element in elements]
        ordered = [
            tuple((symbol, tuple(sorted(on, key=ranks.__getitem__))) for symbol, on in layout)
            for layout in layouts
        ]
        best = min(ordered, key=lambda y: [[ranks[colour] for colour in on] for _, on in y])
        return fill(best, elements)

    return choose


def element_order(element: str) -> tuple[int, int]:
    """Returns column of the periodic table, hydrogen with the halogens, and atomic number."""
    number = ELEMENTS.index(element) + 1
    below = max(noble for noble in _NOBLE if noble < number)
    length = min(noble for noble in _NOBLE if noble >= number) - below
    place = number - below
    if number <= 2:
        return (17, 18)[number - 1], number
    return (place if place <= 2 else max(3, place + 18 - length)), number


_RANKS = {element: element_order(element) for element in ELEMENTS}


@lru_cache(maxsize=1)
def generators() -> Mapping[int, str]:
    """Returns space group -> generator string, for instance 221 -> "14bOOOcOOOdOOOeOOO0"."""
    text = (files("pymatgen.symmetry") / "symm_data.json").read_text(encoding="utf-8")
    groups = json.loads(text)["space_group_encoding"].values()
    table = {int(group["int_number"]): str(group["enc"]) for group in groups}
    return MappingProxyType({number: table[number] for number in sorted(table)} | _PUBLISHED)


def parse(string: str) -> Scope:
    """Reads a SCOPE string of either dialect.

    Raises:
        ScopeError: If a part is missing, or a generator string, Wyckoff symbol, element or
            fraction does not exist; `data["token"]` names the offender.

    Examples:
        >>> parse("0 0 0 | 1a | Po 1.0").space_group
        1
        >>> parse("1 4 b O O O c O O O d O O O e O O O 0 | 1a Po | Po 1.0").orbits
        (('1a', ('Po',)),)
    """
    parts = string.split(" | ") if isinstance(string, str) else []
    if len(parts) != 3:
        raise _bad(
            "A SCOPE string has three parts with ' | ' between them",
            string,
            "For instance: 1 4 b O O O c O O O d O O O e O O O 0 | 1a 1b 3c | Sr 0.2 Ti 0.2 O 0.6",
        )
    space_group = _groups().get(parts[0])
    if space_group is None:
        raise _bad("No space group has these generators", parts[0])
    orbits = _read_sites(parts[1], space_group)
    composition = _read_composition(parts[2])
    named = {element for _, elements in orbits for element in elements}
    if named and (strays := named ^ {element for element, _ in composition}):
        raise _bad("Sites and composition name different elements", min(strays))
    return Scope("canonical" if named else "cloud", space_group, orbits, composition)


@lru_cache(maxsize=1)
def _groups() -> Mapping[str, int]:
    return {" ".join(text): number for number, text in generators().items()}


def _read_sites(text: str, space_group: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    known = multiplicities(space_group)
    orbits: dict[str, list[str]] = {}
    symbol = ""
    for token in text.split(" "):
        if token in _RANKS and symbol:
            orbits[symbol].append(token)
        elif token[:-1] != str(known.get(token[-1:])):
            raise _bad(f"Space group {space_group} has no such Wyckoff symbol", token)
        elif token in orbits:
            raise _bad("A Wyckoff symbol is named twice", token)
        else:
            symbol = token
            orbits[symbol] = []
    empty = [symbol for symbol, elements in orbits.items() if not elements]
    if empty and len(empty) < len(orbits):
        raise _bad("A Wyckoff symbol has no element while others have", empty[0])
    return tuple((symbol, tuple(elements)) for symbol, elements in orbits.items())


def _read_composition(text: str) -> tuple[tuple[str, float], ...]:
    tokens = text.split(" ")
    amounts: dict[str, float] = {}
    for element, fraction in zip_longest(tokens[::2], tokens[1::2], fillvalue=""):
        if element not in _RANKS:
            raise _bad("There is no such element", element)
        if element in amounts:
            raise _bad("An element is named twice", element)
        if fraction not in _FRACTIONS:
            raise _bad(f"{element} needs an atomic fraction of two decimals, 0.0 to 1.0", fraction)
        amounts[element] = float(fraction)
    if abs(sum(amounts.values()) - 1) > 0.005 * len(amounts) + 1e-9:
        raise _bad("The atomic fractions do not sum to 1", text)
    return tuple(amounts.items())


def _bad(message: str, token: object, hint: str = "") -> ScopeError:
    return ScopeError(
        f"{message}: {token!r}.",
        hint=hint or "Make strings with `scope_string`, or check the dialect's rule.",
        token=token,
    )
