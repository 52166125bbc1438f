"""What a user writes to name a source, and what it stands for."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from cloudseed.errors import UsageError
from cloudseed.proposers.sources.ase_db import SUFFIXES as DATABASES
from cloudseed.proposers.sources.ase_db import read_ase_database
from cloudseed.proposers.sources.entries import Entry
from cloudseed.proposers.sources.lists import read_stream, read_table
from cloudseed.proposers.sources.materials_project import read_materials_project
from cloudseed.proposers.sources.optimade import read_optimade

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["PROTOTYPES", "SCHEMES", "find_entries", "is_path"]

SCHEMES = ("mp:", "optimade:")
"""What a source that is no path begins with."""

STREAM = "-"
PROTOTYPES = "prototypes"
"""The source that stands for the bundled prototypes."""

_SUFFIXES = frozenset({".cif", ".mcif", ".vasp", ".poscar", ".xyz", ".extxyz"})
_TABLES = (".csv", ".csv.gz")


def is_path(source: str) -> bool:
    """Tells whether a source is a path or pattern, rather than a question or standard input."""
    return source not in {STREAM, PROTOTYPES} and not source.startswith(SCHEMES)


def find_entries(sources: Iterable[str | Path] | str | Path) -> Iterator[Entry]:
    """Yields the structures that sources offer, in order; a file named twice counts once.

    Args:
        sources: Structure files (CIF, POSCAR, extended XYZ), folders of them, patterns such as
            "parents/*.cif", ASE databases (.db, .json), tables (.csv, .csv.gz) with a column
            `cif`, "-" for CIFs on standard input, "mp:..." for the Materials Project, or
            "optimade:..." for any OPTIMADE database. Of a folder and a pattern the files are taken
            in alphabetical order.

    Raises:
        UsageError: If a source cannot be understood or matches nothing.
        InputError: If a database or table cannot be read.
    """
    seen: set[Path] = set()
    for source in [sources] if isinstance(sources, str | Path) else sources:
        text = str(source)
        if text == STREAM:
            yield from read_stream()
        elif text.startswith("mp:"):
            yield from read_materials_project(text.removeprefix("mp:"))
        elif text.startswith("optimade:"):
            yield from read_optimade(text.removeprefix("optimade:"))
        else:
            for path in _expanded(Path(source)):
                if path not in seen:
                    seen.add(path)
                    yield from _in_file(path)


def _in_file(path: Path) -> Iterator[Entry]:
    name = path.name.lower()
    if path.suffix.lower() in DATABASES:
        yield from read_ase_database(path)
    elif name.endswith(_TABLES):
        yield from read_table(path)
    else:
        stem = path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path
        yield Entry(stem.name, str(path), path)


def _expanded(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.is_file() and _is_structure(p))
        if not found:
            raise UsageError(
                f"The folder {path} holds no structure files.",
                hint="CIF, POSCAR, .vasp and .extxyz files are read; folders inside are not.",
                path=str(path),
            )
        return found
    if not path.exists() and glob.has_magic(str(path)):
        found = sorted(Path(p) for p in glob.glob(str(path), recursive=True))  # noqa: PTH207
        if not found:
            raise UsageError(
                f"No file matches {path}.",
                hint="Check the pattern; it is relative to the folder you are in.",
                path=str(path),
            )
        return found
    return [path]


def _is_structure(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES or path.name.upper().startswith(("POSCAR", "CONTCAR"))
