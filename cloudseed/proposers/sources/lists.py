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
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["read_stream", "read_table"]

NAMES = ("id", "name", "material_id", "key", "formula")
"""Columns that name a row, the first found counts."""

_LARGEST_STREAM = 1_000_000_000
_LONGEST_LINE = 1_000_000
_BLOCK = re.compile(r"^data_(\S*)", re.IGNORECASE)


def read_table(path: Path) -> Iterator[Entry]:
    """Yields the structures of a CSV, gzipped or not; numbers in other columns are their values.

    Raises:
        InputError: If the file is missing, is no CSV, or has no column `cif`.
    """
    try:
        with _opened(path) as stream:
            reader = csv.DictReader(stream)
            columns = list(reader.fieldnames or ())
            if "cif" not in columns:
                raise InputError(
                    f"{path} has no column 'cif'.",
                    hint=f"Its columns are {', '.join(columns) or 'none'}.",
                    path=str(path),
                )
            label = next((c for c in NAMES if c in columns), None)
            for number, row in enumerate(reader, start=1):
                name = str(row[label]) if label else f"{path.name.split('.')[0]}-{number}"
                origin = f"{path}, row {number}"
                yield Entry(name, origin, (origin, str(row["cif"] or "")), _numbers(row))
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
    csv.field_size_limit(2_000_000)
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

    What stands before the first `data_` line is passed over.

    Args:
        lines: The stream; standard input if None.
        name: What messages call it.

    Raises:
        InputError: If the stream holds no block, is no text, or exceeds a gigabyte.
    """
    block: list[str] = []
    label, number, size = "", 0, 0
    for line in _checked(sys.stdin if lines is None else lines, name):
        size += len(line)
        if size > _LARGEST_STREAM:
            raise InputError(
                f"{name} gives more than {_LARGEST_STREAM / 1e9:g} GB.", hint="Give it in parts."
            )
        begins = _BLOCK.match(line)
        if begins:
            if number:
                yield _block(name, label, number, block)
            label, block, number = begins[1], [], number + 1
        block.append(line)
    if not number:
        raise InputError(
            f"{name} holds no CIF.",
            hint="Pipe CIF text into it; each structure begins with a line `data_NAME`.",
        )
    yield _block(name, label, number, block)


def _checked(lines: Iterable[str], name: str) -> Iterator[str]:
    try:
        for line in lines:
            if len(line) > _LONGEST_LINE:
                raise InputError(f"A line of {name} is too long for a CIF.", hint="Is it text?")
            yield line
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is no text.", hint="Pipe CIF text into it.") from error


def _block(name: str, label: str, number: int, lines: list[str]) -> Entry:
    origin = f"{name}, structure {number}"
    return Entry(label or f"structure-{number}", origin, (origin, "".join(lines)))
