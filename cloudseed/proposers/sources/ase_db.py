"""ASE databases: SQLite (.db) and JSON files of many structures.

They are foreign files as CIFs are: a process of its own reads them, under limits of time and memory
for every row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudseed._parsing import LIMITS, Limits
from cloudseed._reading import Worker
from cloudseed.errors import InputError, StructureError
from cloudseed.proposers.sources.entries import Entry, sites_task, too_many_sites

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
        InputError: If it is missing, no ASE database, or costs more than the limits allow.
    """
    if not path.is_file():
        raise InputError(
            f"There is no file {path}.",
            hint="Check the path; it is relative to the folder you are in.",
            path=str(path),
        )
    question = {"path": str(path.resolve()), "type": SUFFIXES[path.suffix.lower()]}
    worker, read = _Rows(_LIMITS), 0
    try:
        while limit is None or read < limit:
            answer = worker.ask(str(path), question)
            if "end" in answer:
                return
            if "broken" in answer:
                raise _no_database(path, answer["broken"])
            yield _entry(path, answer)
            read += 1
    finally:
        worker.stop()


class _Rows(Worker):
    code = "from cloudseed.proposers.sources._ase_rows import serve; serve()"


_LIMITS = Limits(cpu_seconds=60.0, wall_seconds=120.0)
"""Of one row; the first bears the opening of the database."""


def _no_database(path: Path, why: str) -> InputError:
    return InputError(
        f"{path} cannot be read as an ASE database ({why}).",
        hint="Write it with `ase.db.connect(path).write(atoms)`.",
        path=str(path),
    )


def _entry(path: Path, row: dict[str, Any]) -> Entry:
    name = f"{path.stem}-{row['id']}"
    origin = f"{path}, row {row['id']}"
    if not row["periodic"]:
        error = StructureError(
            f"{origin}: the atoms are not periodic in three directions.",
            hint="Molecules, chains and slabs are no parents; set `pbc` and a cell for crystals.",
            source=origin,
        )
        return Entry(name, origin, error, row["values"])
    if row["sites"] > LIMITS.sites:
        return Entry(name, origin, too_many_sites(origin, row["sites"]), row["values"])
    species = [{symbol: 1.0} for symbol in row["species"]]
    task = sites_task(origin, row["lattice"], species, row["frac_coords"])
    return Entry(name, origin, task, row["values"])
