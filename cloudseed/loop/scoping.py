"""SCOPE strings of whatever files a user names, on all cores, with nothing lost to a bad one."""

from __future__ import annotations

import csv
import io
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from cloudseed._reading import read_cells
from cloudseed.crystal import Cell, Crystal
from cloudseed.errors import CloudseedError, EmptyPoolError, InputError, ScopeError
from cloudseed.loop.listing import NAME_COLUMNS, read_table
from cloudseed.loop.workspace import write_text
from cloudseed.surrogate import full_string, parse_scope, scope_string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from cloudseed._parsing import PlainCell
    from cloudseed.crystal import Source

    Progress = Callable[[str, int, int], None]

__all__ = ["BadEntry", "Strings", "make_strings"]

CHUNK = 32
"""Structures that a process gets at a time."""

WORTH_PROCESSES = 300
"""Structures from which on processes of their own repay the second that they take to start."""

_SUFFIXES = {".cif", ".mcif", ".vasp", ".poscar", ".xyz", ".extxyz"}
_STEMS = ("POSCAR", "CONTCAR")


@dataclass(frozen=True, slots=True)
class BadEntry:
    """A structure or string that cannot be used, and why."""

    name: str
    error: CloudseedError

    def to_json(self) -> dict[str, str]:
        """Returns plain values."""
        return {"name": self.name, "error": self.error.message, "hint": self.error.hint}


@dataclass(frozen=True, slots=True)
class Strings:
    """SCOPE strings by name.

    Attributes:
        dialect: Of the strings that were made; strings that were given keep their own.
        full: Whether they were made in the full form.
        names: What to call each, n.
        strings: SCOPE strings, n.
        bad: What could not be used.
    """

    dialect: str
    full: bool
    names: tuple[str, ...]
    strings: tuple[str, ...]
    bad: tuple[BadEntry, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        pairs = zip(self.names, self.strings, strict=True)
        return {
            "dialect": self.dialect,
            "full": self.full,
            "strings": [{"name": name, "scope": string} for name, string in pairs],
            "bad": [entry.to_json() for entry in self.bad],
        }

    def write_csv(self, path: Path) -> None:
        """Writes a CSV with the columns `name` and `scope`."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["name", "scope"])
        writer.writerows(zip(self.names, self.strings, strict=True))
        write_text(path, out.getvalue())


@dataclass(frozen=True, slots=True)
class _Entry:
    """A structure to read, or a string that is given."""

    name: str
    source: Source | None
    string: str = ""


def make_strings(
    paths: Sequence[Path],
    dialect: str,
    *,
    full: bool = False,
    given: bool = False,
    workers: int = 1,
    progress: Progress = lambda *_: None,
) -> Strings:
    """Reads structures and returns their SCOPE strings.

    Args:
        paths: CIF, POSCAR or extended XYZ files, folders of them, or CSVs with a column `cif`.
        dialect: "cloud" or "canonical".
        full: Whether to name every site (`cloud`) or every orbit (`canonical`).
        given: Whether to take strings from CSVs that have a column `scope` and no `cif`.
        workers: Cores to use.
        progress: Told the task, how much is done and how much there is.

    Raises:
        InputError: If a folder or table holds nothing to read.
    """
    entries = [entry for path in paths for entry in _entries(path, given)]
    if not entries:
        raise EmptyPoolError("There is no structure to read.")
    sources = [entry.source for entry in entries if entry.source is not None]
    made = iter(_strings(sources, dialect, full, workers))
    names, strings, bad = [], [], []
    for count, entry in enumerate(entries, 1):
        found = next(made) if entry.source is not None else _checked(entry.string)
        if isinstance(found, str):
            names.append(entry.name)
            strings.append(found)
        else:
            bad.append(BadEntry(entry.name, found))
        progress("reading", count, len(entries))
    return Strings(dialect, full, tuple(names), tuple(strings), tuple(bad))


def _entries(path: Path, given: bool) -> Iterable[_Entry]:
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if _is_structure(p))
        if not found:
            raise InputError(
                f"{path} holds no structure file.",
                hint="Files that end in .cif, .vasp or .extxyz and POSCARs are read.",
                path=str(path),
            )
        return [_Entry(str(p), p) for p in found]
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return _rows(path, given)
    return [_Entry(str(path), path)]


def _is_structure(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES or path.name.upper().startswith(_STEMS)


def _rows(path: Path, given: bool) -> list[_Entry]:
    frame = read_table(path)
    column = next((c for c in NAME_COLUMNS if c in frame.columns), None)
    names = [str(v) for v in (frame[column] if column else range(1, len(frame) + 1))]
    if "cif" in frame.columns:
        texts = map(str, frame["cif"])
        return [_Entry(n, (f"{path}, {n}", t)) for n, t in zip(names, texts, strict=True)]
    if given and "scope" in frame.columns:
        strings = map(str, frame["scope"])
        return [_Entry(n, None, s) for n, s in zip(names, strings, strict=True)]
    columns = ", ".join(map(str, frame.columns))
    raise InputError(
        f"{path} has no column 'cif'{' or ' + repr('scope') if given else ''}.",
        hint=f"Its columns are {columns}.",
        path=str(path),
    )


def _checked(string: str) -> str | ScopeError:
    try:
        parse_scope(string)
    except ScopeError as error:
        return error
    return string


def _strings(
    sources: Sequence[Source], dialect: str, full: bool, workers: int
) -> Iterator[str | CloudseedError]:
    """Yields the string of each source, or the error that it gave, in order."""
    cells = read_cells(sources, workers=workers)
    if workers == 1 or len(sources) < WORTH_PROCESSES:
        for cell in cells:
            yield from _convert([cell], dialect, full)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        pending: deque[Any] = deque()
        try:
            while chunk := list(islice(cells, CHUNK)):
                pending.append(executor.submit(_convert, chunk, dialect, full))
                if len(pending) > 2 * workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        except BrokenProcessPool as error:
            raise InputError(
                "A process that searches symmetries died.",
                hint="Is memory short? Otherwise give the files in smaller parts to find the one.",
            ) from error
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _convert(
    cells: Iterable[PlainCell | InputError], dialect: str, full: bool
) -> list[str | CloudseedError]:
    found: list[str | CloudseedError] = []
    for plain in cells:
        if isinstance(plain, InputError):
            found.append(plain)
            continue
        try:
            cell = Cell(*plain)
            if full and dialect == "cloud":
                found.append(full_string(cell))
            else:
                found.append(scope_string(Crystal.from_cell(cell), dialect, full=full))
        except CloudseedError as error:
            found.append(error)
    return found
