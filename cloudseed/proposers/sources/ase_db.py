"""ASE databases: SQLite (.db) and JSON files of many structures."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from cloudseed.errors import InputError, StructureError
from cloudseed.proposers.sources.entries import Entry, sites_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SUFFIXES", "read_ase_database"]

SUFFIXES = {".db": "db", ".json": "json"}
"""Suffix -> ASE's name of the format; server databases are not opened from a file name."""


def read_ase_database(path: Path, limit: int | None = None) -> Iterator[Entry]:
    """Yields the structures of an ASE database in the order of their ids.

    Numbers among a row's key-value pairs, and its energy in eV/atom as "energy_per_atom", are its
    values.

    Args:
        path: The database.
        limit: Rows to read at most.

    Raises:
        InputError: If it is missing or no ASE database.
    """
    if not path.is_file():
        raise InputError(
            f"There is no file {path}.",
            hint="Check the path; it is relative to the folder you are in.",
            path=str(path),
        )
    from ase.db import connect

    try:
        rows = connect(str(path), type=SUFFIXES[path.suffix.lower()]).select(limit=limit, sort="id")
        for row in itertools.islice(rows, limit):
            yield _entry(path, row)
    except InputError:
        raise
    except Exception as error:  # sqlite3, JSON and ASE raise what they like
        raise InputError(
            f"{path} cannot be read as an ASE database.",
            hint="Write it with `ase.db.connect(path).write(atoms)`.",
            path=str(path),
        ) from error


def _entry(path: Path, row: Any) -> Entry:
    from ase.data import chemical_symbols

    name = f"{path.stem}-{row.id}"
    origin = f"{path}, row {row.id}"
    values = {k: float(v) for k, v in row.key_value_pairs.items() if isinstance(v, int | float)}
    if "energy" in row:
        values["energy_per_atom"] = float(row.energy) / max(row.natoms, 1)
    if not all(row.pbc):
        error = StructureError(
            f"{origin}: the atoms are not periodic in three directions.",
            hint="Molecules, chains and slabs are no parents; set `pbc` and a cell for crystals.",
            source=origin,
        )
        return Entry(name, origin, error, values)
    species = [{chemical_symbols[number]: 1.0} for number in row.numbers]
    coords = row.toatoms().get_scaled_positions(wrap=False)
    return Entry(name, origin, sites_task(origin, row.cell, species, coords), values)
