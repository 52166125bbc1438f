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

Both have a full form, which drops nothing: `cloud` names one Wyckoff symbol per site of the cell
that it is given, in order of the sites, as the published rule does before it removes what repeats;
`canonical` names one symbol with its element per orbit, so that it still depends on no cell. The
published code writes the reduced form only, and its checkpoint has seen nothing else; no string of
more than 64 tokens is encoded, whatever its form.

The generator strings are pymatgen's, except for three groups, where the published table is kept so
that strings match its checkpoint: those of 39 and 131 generate the groups 21 and 130, a mistake of
that table; that of 222 is another valid encoding.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from importlib.resources import files
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import numpy as np

from cloudseed._elements import SYMBOLS
from cloudseed._symmetry import freedoms, symmetry_dataset
from cloudseed.crystal import SYMPREC, VACANCY, VACANT, multiplicities, relabelings
from cloudseed.errors import ScopeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.crystal import Cell, Crystal, GeometryRoot, Symmetry

__all__ = [
    "DIALECTS",
    "ELEMENTS",
    "Dialect",
    "Scope",
    "composition",
    "element_order",
    "full_string",
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
    def is_full(self) -> bool:
        """Whether a Wyckoff symbol is named more than once, which only the full form does."""
        return len(set(self.symbols)) < len(self.orbits)

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements in the string's order."""
        return tuple(element for element, _ in self.composition)

    def __str__(self) -> str:
        """Returns the string that was parsed."""
        sites = " ".join(" ".join((symbol, *elements)) for symbol, elements in self.orbits)
        amounts = " ".join(f"{element} {fraction}" for element, fraction in self.composition)
        return f"{' '.join(generators()[self.space_group])} | {sites} | {amounts}"


def scope_string(crystal: Crystal, dialect: str = "cloud", *, full: bool = False) -> str:
    """Returns the SCOPE string of a crystal.

    Whatever does not depend on the elements is worked out once for each root and partition of its
    orbits, so that a child whose symmetry is inherited costs microseconds.

    Args:
        crystal: The crystal.
        dialect: "cloud" or "canonical".
        full: Whether to name every orbit (`canonical`), or every site of the refined primitive
            cell (`cloud`; `full_string` takes a cell as it is).

    Raises:
        ScopeError: If there is no such dialect.
    """
    templates = _TEMPLATES.setdefault(crystal.root, {})
    classes = {VACANCY: VACANT}
    partition = [classes.setdefault(element, len(classes) - 1) for element in crystal.colouring]
    key: tuple[str | int, ...] = (dialect, full, *partition)
    template = templates.get(key)
    if template is None:
        template = templates[key] = _template(crystal, dialect, partition, full=full)
    return template(tuple(classes)[1:])


Template = Callable[[tuple[str, ...]], str]
"""Makes the string from the elements, in order of their first orbit in the root."""

_TEMPLATES: WeakKeyDictionary[GeometryRoot, dict[tuple[str | int, ...], Template]] = (
    WeakKeyDictionary()
)


def full_string(cell: Cell, symprec: float = SYMPREC) -> str:
    """Returns the full form of a cell in the `cloud` dialect: one Wyckoff symbol per site.

    Args:
        cell: Its sites are named in their order; a supercell names each as often as it holds it.
        symprec: Tolerance of the symmetry search, in angstrom.

    Raises:
        StructureError: If no symmetry can be found.
    """
    counts = Counter(cell.species)
    numbers = [list(counts).index(element) + 1 for element in cell.species]
    dataset = symmetry_dataset(cell.lattice, cell.frac_coords, numbers, symprec)
    table = multiplicities(dataset.number)
    symbols = [f"{table[letter]}{letter}" for letter in dataset.wyckoffs]
    amounts = [f"{element} {_fraction(n, len(numbers))}" for element, n in counts.items()]
    head = " ".join(generators()[int(dataset.number)])
    return f"{head} | {' '.join(symbols)} | {' '.join(amounts)}"


def _fraction(count: int, total: int) -> str:
    return str(float(np.round(count / total, 2)))


def _template(crystal: Crystal, dialect: str, partition: Sequence[int], *, full: bool) -> Template:
    if dialect not in DIALECTS:
        raise ScopeError(
            f"There is no SCOPE dialect {dialect!r}.",
            hint=f"Choose one of: {', '.join(DIALECTS)}.",
            token=dialect,
        )
    symmetry = crystal.symmetry
    head = " ".join(generators()[symmetry.space_group])
    counts = list(crystal.composition.values())
    amounts = [_fraction(count, sum(counts)) for count in counts]
    if dialect == "canonical":
        return _canonical(head, amounts, _layouts(partition, symmetry, full=full), full=full)
    named = crystal.root.site_orbits if full else range(len(symmetry.orbits))
    sites = [symmetry.orbits[i].symbol for i in named if symmetry.group[i] != VACANT]
    symbols = " ".join(sites if full else dict.fromkeys(sites))
    pattern = f"{head} | {symbols} | {' '.join(f'%s {amount}' for amount in amounts)}"
    return pattern.__mod__


Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Wyckoff symbols in order of their letters, each with the classes of elements on its orbits."""


def _layouts(partition: Sequence[int], symmetry: Symmetry, *, full: bool) -> list[Layout]:
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
        on: dict[str, list[int]] = {}
        for letter, multiplicity, colour in moved:
            on.setdefault(f"{multiplicity}{letter}", []).append(colour)
        layout = tuple((s, tuple(c if full else dict.fromkeys(c))) for s, c in on.items())
        found.setdefault(tuple(letter for letter, _, _ in moved), {})[layout] = None
    return list(found[min(found)])


def _canonical(
    head: str, amounts: Sequence[str], layouts: Sequence[Layout], *, full: bool
) -> Template:
    @cache
    def pattern(layout: Layout) -> tuple[str, list[int]]:
        on_sites = list(chain.from_iterable(colours for _, colours in layout))
        in_all = list(dict.fromkeys(on_sites))
        sites = " ".join(
            " ".join([f"{symbol} %s"] * len(colours)) if full else symbol + " %s" * len(colours)
            for symbol, colours in layout
        )
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
    """Reads a SCOPE string of either dialect and form.

    Raises:
        ScopeError: If a part is missing, or a generator string, Wyckoff symbol, element or
            fraction does not exist; the message shows where, `data["token"]` names the offender
            and `data["position"]` its first character in the string, from 0.

    Examples:
        >>> parse("0 0 0 | 1a | Po 1.0").space_group
        1
        >>> parse("1 4 b O O O c O O O d O O O e O O O 0 | 1a Po | Po 1.0").orbits
        (('1a', ('Po',)),)
    """
    parts = string.split(" | ") if isinstance(string, str) else []
    if len(parts) != 3:
        raise _TokenError(
            "A SCOPE string has three parts with ' | ' between them",
            string,
            0,
            "For instance: 1 4 b O O O c O O O d O O O e O O O 0 | 1a 1b 3c | Sr 0.2 Ti 0.2 O 0.6",
        ).within(string, 0)
    space_group = _groups().get(parts[0])
    start = 0
    try:
        if space_group is None:
            raise _no_group(parts[0])
        start += len(parts[0]) + 3
        orbits = _read_sites(parts[1].split(" "), space_group)
        start += len(parts[1]) + 3
        composition = _read_composition(parts[2].split(" "))
        _check_elements(parts[2].split(" "), orbits, composition)
    except _TokenError as error:
        raise error.within(string, start) from None
    told = any(elements for _, elements in orbits)
    return Scope("canonical" if told else "cloud", space_group, orbits, composition)


def composition(string: str) -> tuple[tuple[str, float], ...]:
    """Reads only the elements and fractions that a SCOPE string ends with; sites go unchecked.

    Raises:
        ScopeError: As in `parse`.

    Examples:
        >>> composition("0 0 0 | 1a | Po 1.0")
        (('Po', 1.0),)
    """
    head, bar, text = string.rpartition(" | ")
    try:
        return _read_composition(text.split(" "))
    except _TokenError as error:
        raise error.within(string, len(head) + len(bar)) from None


@lru_cache(maxsize=1)
def _groups() -> Mapping[str, int]:
    return {" ".join(text): number for number, text in generators().items()}


def _no_group(head: str) -> _TokenError:
    """Points at the first character that no group's generators go on with."""
    tokens = head.split(" ")
    known = [text.split(" ") for text in _groups()]
    for place in range(len(tokens)):
        if not any(text[: place + 1] == tokens[: place + 1] for text in known):
            return _TokenError.at("No space group has these generators", tokens, place)
    return _TokenError("No space group has these generators; they end too early", head, 0)


def _read_sites(tokens: Sequence[str], space_group: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    known = multiplicities(space_group)
    orbits: list[tuple[str, list[str]]] = []
    places = []
    for place, token in enumerate(tokens):
        if token in _RANKS and orbits:
            orbits[-1][1].append(token)
        elif token[:-1] != str(known.get(token[-1:])):
            message = f"Space group {space_group} has no such Wyckoff symbol"
            raise _TokenError.at(message, tokens, place)
        else:
            orbits.append((token, []))
            places.append(place)
    empty = [place for place, (_, elements) in zip(places, orbits, strict=True) if not elements]
    if empty and len(empty) < len(orbits):
        raise _TokenError.at("A Wyckoff symbol has no element while others have", tokens, empty[0])
    if not empty:
        _refuse_points_twice(tokens, places, space_group)
    return tuple((symbol, tuple(elements)) for symbol, elements in orbits)


def _refuse_points_twice(tokens: Sequence[str], places: Sequence[int], space_group: int) -> None:
    """Refuses two orbits on one position without free coordinates: they would be the same one."""
    seen: set[str] = set()
    for place in places:
        symbol = tokens[place]
        if symbol in seen and not freedoms(space_group)[symbol[-1]]:
            raise _TokenError.at(
                "A Wyckoff symbol without free coordinates is named twice", tokens, place
            )
        seen.add(symbol)


def _read_composition(tokens: Sequence[str]) -> tuple[tuple[str, float], ...]:
    amounts: dict[str, float] = {}
    for place in range(0, len(tokens), 2):
        element = tokens[place]
        if element not in _RANKS:
            raise _TokenError.at("There is no such element", tokens, place)
        if element in amounts:
            raise _TokenError.at("An element is named twice", tokens, place)
        if place + 1 == len(tokens) or tokens[place + 1] not in _FRACTIONS:
            message = f"{element} needs an atomic fraction of two decimals, 0.0 to 1.0"
            raise _TokenError.at(message, [*tokens, ""], place + 1)
        amounts[element] = float(tokens[place + 1])
    if abs(sum(amounts.values()) - 1) > 0.005 * len(amounts) + 1e-9:
        raise _TokenError("The atomic fractions do not sum to 1", " ".join(tokens), 0)
    return tuple(amounts.items())


def _check_elements(
    tokens: Sequence[str],
    orbits: Sequence[tuple[str, tuple[str, ...]]],
    composition: Sequence[tuple[str, float]],
) -> None:
    """Refuses a composition that the sites do not bear out, where they name elements."""
    named = {element for _, elements in orbits for element in elements}
    strays = named ^ {element for element, _ in composition}
    if named and strays:
        stray = min(strays)
        message = "Sites and composition name different elements"
        if stray in tokens:
            raise _TokenError.at(message, tokens, tokens.index(stray))
        raise _TokenError(message, stray, 0)


class _TokenError(Exception):
    """What is wrong at a token; `within` makes a `ScopeError` once the whole string is at hand."""

    def __init__(self, message: str, token: object, position: int, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.token, self.position = message, token, position
        self.hint = hint or "Make strings with `scope_string`, or check the dialect's rule."

    @classmethod
    def at(cls, message: str, tokens: Sequence[str], place: int) -> _TokenError:
        """Points at one of the tokens that single spaces separate."""
        return cls(message, tokens[place], sum(len(token) + 1 for token in tokens[:place]))

    def within(self, string: object, start: int) -> ScopeError:
        """Returns the error, with the token shown in its string.

        Args:
            string: The whole string.
            start: Where the part begins in it that the position counts from.
        """
        position = min(start + self.position, len(string)) if isinstance(string, str) else 0
        return ScopeError(
            f"{self.message}: {self.token!r}{_pointer(string, position, self.token)}",
            hint=self.hint,
            token=self.token,
            position=position,
            string=string,
        )


def _pointer(string: object, position: int, token: object) -> str:
    """Returns two lines, the string around a token and carets under it; a stop if there is none."""
    if not isinstance(string, str) or not string or token == string:
        return "."
    left, right = max(0, position - 36), position + 36
    shown = ("..." if left else "") + string[left:right] + ("..." if right < len(string) else "")
    indent = " " * (position - left + (3 if left else 0))
    width = min(max(1, len(str(token))), right - position)
    return f", at character {position}:\n    {shown}\n    {indent}{'^' * width}"
