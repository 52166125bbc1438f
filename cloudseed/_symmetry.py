"""Symmetry searches by spglib, and the tables of Wyckoff positions."""

from __future__ import annotations

import gzip
import json
import os
import warnings
from functools import lru_cache
from importlib.resources import files
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cloudseed.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

__all__ = [
    "SYMPREC",
    "Row",
    "multiplicities",
    "placed_by_letters",
    "primitive_cell",
    "relabelings",
    "site_permutations",
    "symmetry_dataset",
]

SYMPREC = 0.01
"""Distance tolerance of the symmetry search in angstrom; pymatgen's default, hence CLOUD's."""

ANGLE_TOLERANCE = 5.0
"""Angle tolerance of a search in degrees; pymatgen's default, hence CLOUD's."""

Row = tuple[float, float, float]


def symmetry_dataset(
    lattice: Sequence[Row], coords: Sequence[Row], numbers: Sequence[int], symprec: float
) -> Any:
    """Returns spglib's dataset of a cell.

    Args:
        lattice: Row vectors in angstrom.
        coords: Fractional coordinates.
        numbers: For each site what is on it; equal numbers may be mapped onto each other.
        symprec: Tolerance in angstrom.

    Raises:
        StructureError: If spglib finds no symmetry.
    """
    cell = (lattice, coords, numbers)
    return _found(
        lambda: _spglib().get_symmetry_dataset(
            cell, symprec=symprec, angle_tolerance=ANGLE_TOLERANCE
        ),
        symprec,
    )


def site_permutations(
    lattice: Sequence[Row], coords: Sequence[Row], numbers: Sequence[int], symprec: float
) -> np.ndarray:
    """Returns how the space group moves the sites of a cell: `operations x sites`, each once.

    Args:
        lattice: Row vectors in angstrom.
        coords: Fractional coordinates.
        numbers: For each site what is on it.
        symprec: Tolerance in angstrom.

    Raises:
        StructureError: If spglib finds no symmetry, or if an operation maps two sites onto one.
    """
    dataset = symmetry_dataset(lattice, coords, numbers, symprec)
    sites, rows = np.array(coords), np.array(lattice)
    found = set()
    for rotation, translation in zip(dataset.rotations, dataset.translations, strict=True):
        apart = (sites @ rotation.T + translation)[:, None, :] - sites[None, :, :]
        apart -= np.round(apart)
        found.add(tuple(np.linalg.norm(apart @ rows, axis=2).argmin(axis=1).tolist()))
    permutations = np.array(sorted(found), dtype=np.intp)
    if (np.sort(permutations, axis=1) != np.arange(len(sites))).any():
        raise _no_symmetry(symprec)
    return permutations


def primitive_cell(
    lattice: Sequence[Row], coords: Sequence[Row], labels: Sequence[int], symprec: float
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Returns the refined primitive cell: lattice `3 x 3`, coordinates `n x 3` and `n` labels.

    Args:
        lattice: Row vectors in angstrom.
        coords: Fractional coordinates.
        labels: For each site what is on it, from 0.
        symprec: Tolerance in angstrom.

    Raises:
        StructureError: If spglib cannot refine the cell.
    """
    cell = (lattice, coords, [label + 1 for label in labels])
    refined, sites, numbers = _found(
        lambda: _spglib().standardize_cell(
            cell, to_primitive=True, symprec=symprec, angle_tolerance=ANGLE_TOLERANCE
        ),
        symprec,
    )
    return np.asarray(refined), np.asarray(sites), [int(n) - 1 for n in numbers]


def placed_by_letters(
    lattice: Sequence[Row],
    coords: np.ndarray,
    numbers: Sequence[int],
    letters: Sequence[str],
    *,
    space_group: int,
    symprec: float,
) -> np.ndarray | None:
    """Returns the coordinates, moved so that spglib finds wanted Wyckoff letters.

    Letters depend on the choice of the origin, which refining may change for one in forty crystals.
    Shifts by quarters of the axes are tried, and the inverse where the group has improper
    operations.

    Args:
        lattice: Row vectors in angstrom.
        coords: Fractional coordinates, `n x 3`.
        numbers: For each site what is on it.
        letters: For each site the wanted letter.
        space_group: The wanted group.
        symprec: Tolerance in angstrom.

    Returns:
        None if nothing serves, or if refining has changed the group.
    """
    wanted = list(letters)
    first = symmetry_dataset(lattice, coords.tolist(), numbers, symprec)
    if first.number != space_group:
        return None
    if list(first.wyckoffs) == wanted:
        return coords
    improper = bool((np.linalg.det(first.rotations) < 0).any())
    for sign in (1, -1) if improper else (1,):
        for shift in product((0.0, 0.5, 0.25, 0.75), repeat=3):
            moved = (sign * coords + shift) % 1.0
            dataset = symmetry_dataset(lattice, moved.tolist(), numbers, symprec)
            if list(dataset.wyckoffs) == wanted and dataset.number == space_group:
                return moved
    return None


def _spglib() -> ModuleType:
    """Loads spglib with its warnings off: it writes them past Python to the error stream."""
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    import spglib

    return cast("ModuleType", spglib)


def _found(search: Callable[[], Any], symprec: float) -> Any:
    """Returns what spglib finds; nothing found and an exception of its own are the same error."""
    try:
        with warnings.catch_warnings():
            # spglib 2.8 announces at every call that its errors will be exceptions.
            warnings.simplefilter("ignore", DeprecationWarning)
            found = search()
    except Exception as error:
        raise _no_symmetry(symprec) from error
    if found is None:
        raise _no_symmetry(symprec)
    return found


def _no_symmetry(symprec: float) -> StructureError:
    return StructureError(
        "spglib finds no symmetry.",
        hint="Check the coordinates, or try another symprec.",
        symprec=symprec,
    )


@lru_cache(maxsize=1)
def _prototype_tables() -> tuple[dict[str, Any], dict[str, Any]]:
    """Wyckoff multiplicities and normaliser relabellings, from pymatgen's data files.

    Read as files because importing `pymatgen.analysis.prototypes` takes seconds.
    """
    folder = files("pymatgen") / "analysis" / "prototypes"
    tables = []
    for name in ("multiplicities", "relabelings"):
        packed = (folder / f"wyckoff-position-{name}.json.gz").read_bytes()
        tables.append(json.loads(gzip.decompress(packed)))
    return tables[0], tables[1]


def multiplicities(space_group: int) -> Mapping[str, int]:
    """Returns Wyckoff letter -> multiplicity in the conventional cell."""
    return _multiplicities(space_group)


@lru_cache(maxsize=230)
def _multiplicities(space_group: int) -> dict[str, int]:
    return {k: int(v) for k, v in _prototype_tables()[0][str(space_group)].items()}


@lru_cache(maxsize=230)
def relabelings(space_group: int) -> tuple[Mapping[int, str], ...]:
    """Returns the letter maps of the group's affine normaliser, each code point -> letter.

    The first map is the identity.
    """
    maps = _prototype_tables()[1][str(space_group)]
    return tuple({int(k): str(v) for k, v in m.items()} for m in maps)
