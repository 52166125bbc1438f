"""Lists of structures: CSV tables with a column `cif`, and CIFs on standard input."""

from __future__ import annotations

import csv
import gzip
import math
import re
import sys
from typing import TYPE_CHECKING

from cloudseed.errors import InputError
from cloudseed.proposers.sources.entries import Entry

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["read_stream", "read_table"]

NAMES = ("id", "name", "material_id", "key", "formula")
"""Columns that name a row, the first found counts."""

LARGEST = 4_000_000_000
"""Characters of a table or stream, after unpacking."""

LONGEST_LINE = 1_500_000
"""Characters of one line; a CIF of 1 MB on one line of a table fits."""

LARGEST_CIF = 2_000_000
"""Characters that are held of one CIF; whoever parses it takes less."""

_BLOCK = re.compile(r"^data_(\S*)", re.IGNORECASE)


def read_table(path: Path) -> Iterator[Entry]:
    """Yields the structures of a CSV, gzipped or not; numbers in other columns are their values.

    Raises:
        InputError: If the file is missing, is no CSV, has no column `cif`, or unpacks to more than
            `LARGEST` characters or a line of more than `LONGEST_LINE`.
    """
    try:
        with _opened(path) as stream:
            reader = csv.DictReader(_bounded(stream, str(path)))
            columns = list(reader.fieldnames or ())
            if "cif" not in columns:
                raise InputError(
                    f"{path} has no column 'cif'.",
                    hint=f"Its columns are {', '.join(columns) or 'none'}.",
                    path=str(path),
                )
            label = next((c for c in NAMES if c in columns), None)
            for number, row in enumerate(reader, start=1):
                name = (label and row[label]) or f"{path.name.split('.')[0]}-{number}"
                origin = f"{path}, row {number}"
                yield Entry(name, origin, (origin, row["cif"] or ""), _numbers(row))
    except FileNotFoundError as error:
        raise InputError(
            f"There is no file {path}.",
            hint="Check the path; it is relative to the folder you are in.",
            path=str(path),
        ) from error
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as CSV.", hint="Is it comma-separated text?", path=str(path)
        ) from error


def _opened(path: Path) -> io.TextIOBase:
    csv.field_size_limit(LARGEST_CIF)
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _numbers(row: dict[str, str | None]) -> dict[str, float]:
    found = {}
    for column, text in row.items():
        try:
            number = float(text or "nan")
        except (TypeError, ValueError):
            continue
        if column != "cif" and math.isfinite(number):
            found[column] = number
    return found


def read_stream(
    lines: Iterable[str] | None = None, name: str = "standard input"
) -> Iterator[Entry]:
    """Yields the CIF blocks of a stream one by one, as any generator prints them.

    What stands before the first `data_` line is passed over. Of a block no more is held than shows
    that it is too large.

    Args:
        lines: The stream; standard input if None.
        name: What messages call it.

    Raises:
        InputError: If the stream holds no block or is no text, or if it or one of its lines is too
            long.
    """
    block: list[str] = []
    label, number, size = "", 0, 0
    for line in _checked(sys.stdin if lines is None else lines, name):
        begins = _BLOCK.match(line)
        if begins:
            if number:
                yield _block(name, label, number, block)
            label, block, number, size = begins[1], [], number + 1, 0
        size += len(line)
        if size <= LARGEST_CIF:
            block.append(line)
    if not number:
        raise InputError(
            f"{name} holds no CIF.",
            hint="Pipe CIF text into it; each structure begins with a line `data_NAME`.",
        )
    yield _block(name, label, number, block)


def _checked(lines: Iterable[str], name: str) -> Iterator[str]:
    try:
        yield from _bounded(lines, name)
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is no text.", hint="Pipe CIF text into it.") from error


def _bounded(lines: Iterable[str], name: str) -> Iterator[str]:
    """Yields lines, none too long and not too many; of a longer one no more is read than that."""
    size = 0
    for line in _lines(lines):
        size += len(line)
        if len(line) > LONGEST_LINE:
            raise InputError(
                f"A line of {name} is too long for a CIF or a table.", hint="Is it text?"
            )
        if size > LARGEST:
            raise InputError(
                f"{name} gives more than {LARGEST / 1e9:g} GB.", hint="Give it in parts."
            )
        yield line


def _lines(lines: Iterable[str]) -> Iterator[str]:
    readline: Callable[[int], str] | None = getattr(lines, "readline", None)
    return iter(lines) if readline is None else iter(lambda: readline(LONGEST_LINE + 1), "")


def _block(name: str, label: str, number: int, lines: list[str]) -> Entry:
    origin = f"{name}, structure {number}"
    return Entry(label or f"structure-{number}", origin, (origin, "".join(lines)))
