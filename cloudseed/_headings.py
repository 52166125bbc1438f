"""The headings of tables, as they were written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudseed.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["csv_headings", "refuse_doubles"]


def csv_headings(path: Path) -> list[str]:
    """Returns the headings of a CSV, gzipped or not; pandas would rename those that come twice.

    Raises:
        OSError, ValueError, EOFError: If pandas cannot read it.
    """
    import pandas as pd

    first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
    return [str(heading) for heading in first.iloc[0]]


def refuse_doubles(path: Path, headings: Sequence[str]) -> None:
    """Checks that no two columns have one name; several may have none.

    Raises:
        InputError: If two do.
    """
    doubled = [name for name in headings if name.strip() and headings.count(name) > 1]
    if doubled:
        raise InputError(
            f"The table {path} has two columns {doubled[0]!r}.",
            hint="Rename or remove one.",
            column=doubled[0],
        )
