"""The process that parses foreign structure files, and the checks that every structure passes.

Started by `cloudseed._reading`, which tells why it is a process of its own.
"""

from __future__ import annotations

import importlib
import io
import itertools
import json
import math
import os
import re
import sys
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO

from cloudseed.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymatgen.core import Structure

__all__ = [
    "LIMITS",
    "Disorder",
    "Limits",
    "PlainCell",
    "Task",
    "plain_cell",
    "serve",
    "serve_within",
]

SHORTEST_DISTANCE = 0.5
"""Atoms closer than this, in angstrom, are taken for an error: the H-H bond is 0.74 long."""

Row = tuple[float, float, float]

Disorder = Literal["refuse", "majority"]
"""What is done with partly occupied sites: refused, or each given to whatever is on most of it.

By "majority" a site that is empty more often than not stays empty, and of two elements that share
it evenly the first in the alphabet wins; the composition changes.
"""


class PlainCell(NamedTuple):
    """A checked cell as plain values; lattice rows in angstrom."""

    lattice: tuple[Row, Row, Row]
    species: tuple[str, ...]
    frac_coords: tuple[Row, ...]

    @classmethod
    def of(cls, lattice: Any, species: Any, frac_coords: Any) -> PlainCell:
        """Makes tuples of whatever sequences it is given."""
        first, second, third = _rows(lattice)
        return cls((first, second, third), tuple(species), _rows(frac_coords))


def _rows(matrix: Any) -> tuple[Row, ...]:
    return tuple((float(a), float(b), float(c)) for a, b, c in matrix)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one structure may cost.

    Attributes:
        megabytes: Size of its text, in units of 10^6 bytes.
        sites: Sites in the cell, after the symmetry operations.
        cpu_seconds: Processor time of the parser, rounded up to whole seconds.
        wall_seconds: Time on the clock, for a parser that waits instead of computing.
        memory_gigabytes: Address space of the worker.
    """

    megabytes: float = 1.0
    sites: int = 500
    cpu_seconds: float = 5.0
    wall_seconds: float = 20.0
    memory_gigabytes: float = 4.0


LIMITS = Limits()


class Task(NamedTuple):
    """A text to parse; the format is "cif", "poscar", "extxyz" or "sites".

    The last is JSON: a lattice of row vectors, for each site element -> occupancy, and fractional
    coordinates.
    """

    name: str
    format: str
    text: str
    disorder: Disorder = "refuse"


def plain_cell(structure: Structure, disorder: Disorder = "refuse") -> PlainCell:
    """Returns a pymatgen structure as a plain cell.

    Oxidation states, magnetic moments and labels are dropped; deuterium and tritium become H.

    Args:
        structure: The structure.
        disorder: What is done with partly occupied sites.

    Raises:
        StructureError: If it has no atoms or no volume, or if a site is partly occupied, holds no
            element or is on top of another.
    """
    if not structure.is_ordered and disorder == "majority":
        structure = _by_majority(structure)
    if len(structure) == 0:
        raise StructureError("The structure has no atoms.", hint="Check that the file is complete.")
    if not structure.is_ordered:
        raise StructureError(
            f"{structure.composition.reduced_formula} has partly occupied sites.",
            hint="Order it first, for instance with pymatgen's"
            " OrderDisorderedStructureTransformation, or by majority where that is offered.",
            disordered=True,
        )
    species = [_element(site.specie) for site in structure]
    cell = PlainCell.of(structure.lattice.matrix, species, structure.frac_coords)
    if not all(map(math.isfinite, itertools.chain(*cell.lattice, *cell.frac_coords))):
        raise StructureError("A coordinate is not a number.", hint="Check the lattice and sites.")
    if not structure.volume > 0:
        raise StructureError("The lattice has no volume.", hint="Check the lattice parameters.")
    _refuse_overlaps(structure)
    return cell


def _by_majority(structure: Structure) -> Structure:
    from pymatgen.core import Structure

    species, coords = [], []
    for site in structure:
        shares: dict[str, float] = {}
        for specie, share in site.species.items():
            shares[_element(specie)] = shares.get(_element(specie), 0.0) + float(share)
        empty = 1.0 - sum(shares.values())
        element = min(shares, key=lambda e: (-round(shares[e], 6), e))
        if shares[element] >= empty - 1e-6:
            species.append(element)
            coords.append(site.frac_coords)
    return Structure(structure.lattice, species, coords)


def _element(specie: Any) -> str:
    from pymatgen.core import Element

    symbol = str(getattr(specie, "symbol", specie))
    symbol = {"D": "H", "T": "H"}.get(symbol, symbol)
    if not Element.is_valid_symbol(symbol):
        raise StructureError(
            f"{symbol!r} is not an element.",
            hint="Replace dummy species and vacancies by real elements, or remove them.",
            element=symbol,
        )
    return symbol


def _refuse_overlaps(structure: Structure) -> None:
    first, second, _, distances = structure.get_neighbor_list(SHORTEST_DISTANCE)
    if len(first):
        raise StructureError(
            f"Sites {first[0]} and {second[0]} of {structure.composition.reduced_formula} are only"
            f" {distances[0]:.2f} angstrom apart.",
            hint="Check the lattice parameters and coordinates; overlapping atoms are refused.",
            sites=(int(first[0]), int(second[0])),
        )


def serve() -> None:
    """Reads tasks from standard input and answers on standard output, until the input ends."""

    def answer(question: dict[str, Any], limits: Limits) -> dict[str, Any]:
        return _parse_safely(Task(**question), limits)

    def prepare(question: dict[str, Any]) -> None:
        for module in _PARSERS[question["format"]]:
            importlib.import_module(module)  # before the clock runs

    serve_within("pymatgen.core", answer, prepare)


def serve_within(
    library: str,
    answer: Callable[[dict[str, Any], Limits], dict[str, Any]],
    prepare: Callable[[dict[str, Any]], None] = lambda _: None,
) -> None:
    """Answers the questions on standard input, each within the limits on its first line.

    Args:
        library: A module to load before memory is limited.
        answer: Turns a question into an answer, and lets no error out.
        prepare: Called with each question before its time runs.
    """
    import resource

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a parser prints must not be taken for an answer
    limits = Limits(**json.loads(sys.stdin.readline()))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    importlib.import_module(library)
    size = int(limits.memory_gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    _answer(answers, "ready")
    for line in sys.stdin:
        question = json.loads(line)
        prepare(question)
        budget = math.ceil(time.process_time() + limits.cpu_seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (budget, hard))
        _answer(answers, json.dumps(answer(question, limits)))


def _answer(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()


def _parse_safely(task: Task, limits: Limits) -> dict[str, Any]:
    """Returns a plain cell or an error with its hint; lets nothing out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = _parse(task)
            if len(structure) > limits.sites:
                raise StructureError(
                    f"the cell has {len(structure)} sites; at most {limits.sites} are taken.",
                    hint="Give a smaller cell.",
                )
            return plain_cell(structure, task.disorder)._asdict()
    except StructureError as error:
        return {"error": error.message, "hint": error.hint, "data": error.data}
    except MemoryError:
        return {
            "error": f"parsing needs more than {limits.memory_gigabytes:g} GB of memory.",
            "hint": "Give a smaller cell.",
        }
    except Exception as error:  # any parser, any file
        # Only these are written for people; "list index out of range" helps nobody.
        said = str(error).strip().splitlines() if isinstance(error, ValueError | OSError) else []
        why = f" ({said[0][:200].rstrip('.')})" if said else ""
        return {
            "error": f"it cannot be parsed as {_FORMAT_NAMES[task.format]}{why}.",
            "hint": "Open it in a structure viewer, repair it or export it again.",
        }


_PARSERS = {
    "cif": ("pymatgen.io.cif",),
    "poscar": ("pymatgen.io.vasp.inputs",),
    "extxyz": ("ase.io.extxyz", "pymatgen.io.ase"),
    "sites": ("pymatgen.core",),
}
_FORMAT_NAMES = {
    "cif": "CIF",
    "poscar": "POSCAR",
    "extxyz": "extended XYZ",
    "sites": "a list of sites",
}


def _parse(task: Task) -> Structure:
    if not task.text.strip():
        raise StructureError("the file is empty.", hint="Export it again.")
    parsers = {
        "cif": _parse_cif,
        "poscar": _parse_poscar,
        "extxyz": _parse_extxyz,
        "sites": _parse_sites,
    }
    return parsers[task.format](task.text)


def _parse_cif(text: str) -> Structure:
    from pymatgen.io.cif import CifParser

    _refuse_strange_symbols(text)
    parser = CifParser(io.StringIO(text))
    structures = parser.parse_structures(primitive=False, on_error="raise")
    _refuse_several(len(structures))
    return structures[0]


def _refuse_strange_symbols(text: str) -> None:
    """Refuses what pymatgen would misread: "Vac" as V, "Wat" as O, "?" as nothing."""
    from pymatgen.io.cif import CifFile

    for block in CifFile.from_str(text).data.values():
        symbols = block.data.get("_atom_site_type_symbol")
        suffix = r"(\d*[+-]|[+-]\d+|0)?"
        if symbols is None:
            symbols = block.data.get("_atom_site_label", [])
            suffix = r"([\d+(_'*-].*)?"
        for symbol in sorted(set(symbols)):
            match = re.fullmatch(rf"([A-Za-z]{{1,2}}){suffix}", symbol)
            if match is None or not _names_element(match[1]):
                raise StructureError(
                    f"{symbol!r} is not an element.",
                    hint="Write element symbols such as Ca, C or Ca2+ under"
                    " _atom_site_type_symbol; vacancies and dummies cannot be read.",
                )


def _names_element(letters: str) -> bool:
    """Tells whether letters name one element; CA does, CO may be carbon and oxygen."""
    from pymatgen.core import Element

    if letters.isupper() and len(letters) == 2 and set(letters) <= set("BCFHIKNOPSUVWY"):
        return False
    return bool(Element.is_valid_symbol(letters.capitalize()))


def _parse_poscar(text: str) -> Structure:
    from pymatgen.io.vasp import Poscar

    poscar = Poscar.from_str(text)
    if not poscar.true_names:
        raise StructureError(
            "it does not name its elements.", hint="Put the symbols on the sixth line (VASP 5)."
        )
    return poscar.structure


def _parse_extxyz(text: str) -> Structure:
    from ase.io import read
    from pymatgen.io.ase import AseAtomsAdaptor

    frames = read(io.StringIO(text), index=":", format="extxyz")
    _refuse_several(len(frames))
    if not all(frames[0].pbc):
        raise StructureError(
            "the atoms are not periodic in three directions.",
            hint='Give the lattice in the second line: Lattice="..." pbc="T T T".',
        )
    return AseAtomsAdaptor.get_structure(frames[0])


def _parse_sites(text: str) -> Structure:
    from pymatgen.core import Lattice, Structure

    data = json.loads(text)
    return Structure(Lattice(data["lattice"]), data["species"], data["frac_coords"])


def _refuse_several(count: int) -> None:
    if count != 1:
        raise StructureError(f"it holds {count} structures.", hint="Give one crystal a file.")
