"""Lists that a ranker brings: a folder of CIFs, or a CSV with structures or SCOPE strings."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed._headings import csv_headings, refuse_doubles
from cloudseed.crystal import Crystal, read_crystals
from cloudseed.errors import CloudseedError, EmptyPoolError, InputError
from cloudseed.surrogate import parse_scope, scope_string, site_descriptors
from cloudseed.units import convert, unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cloudseed.crystal import Source

__all__ = ["NAME_COLUMNS", "Listing", "read_listing", "read_table", "read_values", "sites_of"]

NAME_COLUMNS = ("id", "name", "material_id", "formula")
"""Columns that say what to call a row, the first that is there."""

_VALUES = "values.csv"
_READERS = 2


@dataclass(frozen=True, eq=False)
class Listing:
    """Materials by name.

    Attributes:
        source: Where they come from.
        names: What to call each, n.
        crystals: The refined crystals, n; None for each where the list gives SCOPE strings.
        scopes: SCOPE strings as given, n; None for each where the list gives structures.
        values: Property -> values, n, NaN where missing.
        skipped: What was left out and why.
    """

    source: str
    names: Sequence[str]
    crystals: Sequence[Crystal | None]
    scopes: Sequence[str | None]
    values: dict[str, npt.NDArray[np.float64]]
    skipped: Sequence[str] = ()

    @property
    def has_structures(self) -> bool:
        """Whether SCOPE strings of any dialect can be made."""
        return all(c is not None for c in self.crystals)

    def strings(self, dialect: str) -> list[str]:
        """Returns SCOPE strings, in a dialect where there are structures."""
        return [
            scope_string(crystal, dialect) if crystal is not None else str(given)
            for crystal, given in zip(self.crystals, self.scopes, strict=True)
        ]


def sites_of(*listings: Listing) -> npt.NDArray[np.float32] | None:
    """Returns the site descriptors of lists together, n x roles x p; None without structures."""
    crystals = [crystal for listing in listings for crystal in listing.crystals]
    known = [crystal for crystal in crystals if crystal is not None]
    return site_descriptors(known) if len(known) == len(crystals) else None


def read_listing(
    path: Path,
    properties: Sequence[str] = (),
    *,
    skip_bad: bool = False,
    most: int | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Listing:
    """Reads a list.

    Args:
        path: A folder of CIFs, with a `values.csv` (column `file`) if values are wanted; or a CSV,
            gzipped or not, with a column `cif` or `scope`.
        properties: Columns of values that must be there.
        skip_bad: Whether to leave out materials that cannot be used.
        most: Rows of a CSV that are read at most, drawn at random; None for all.
        seed: Seed of that draw.
        progress: Told the task, how much is done and how much there is.

    Raises:
        InputError: If the path, a column or a value is missing or broken.
        StructureError, ScopeError: If a material cannot be used.
        EmptyPoolError: If there is no material.
    """
    how = _How(skip_bad, progress, most, seed)
    if path.is_dir():
        listing = _read_folder(path, properties, how)
    else:
        listing = _read_csv(path, properties, how)
    if not listing.names:
        raise EmptyPoolError(f"{path} holds no material that can be used.")
    return listing


@dataclass(frozen=True, slots=True)
class _How:
    skip_bad: bool
    progress: Callable[[str, int, int], None]
    most: int | None
    seed: int


def _read_folder(
    path: Path,
    properties: Sequence[str],
    how: _How,
) -> Listing:
    found = sorted(p for p in path.iterdir() if p.suffix.lower() == ".cif")
    if not found:
        raise InputError(
            f"{path} holds no CIF file.",
            hint="Name a folder of .cif files, or a CSV.",
            path=str(path),
        )
    names = [p.name for p in found]
    values: dict[str, Any] = {}
    if properties:
        if not (path / _VALUES).exists():
            columns = ", ".join(["file", *properties])
            raise InputError(
                f"{path} holds CIFs but no {_VALUES}.",
                hint=f"Put one there with the columns {columns}.",
                path=str(path),
            )
        frame = read_table(path / _VALUES)
        _require(frame, "file", path / _VALUES)
        frame = frame.drop_duplicates("file").set_index("file").reindex(names).reset_index()
        values = {name: _numbers(frame, name, path / _VALUES) for name in properties}
    return _with_structures(path, names, found, values, how)


def _read_csv(
    path: Path,
    properties: Sequence[str],
    how: _How,
) -> Listing:
    frame = read_table(path)
    if how.most is not None and len(frame) > how.most:
        frame = frame.sample(how.most, random_state=how.seed).sort_index()
    values = {name: _numbers(frame, name, path) for name in properties}
    names = _names(frame)
    if "cif" in frame.columns:
        texts = [(f"{path}, {n}", str(t)) for n, t in zip(names, frame["cif"], strict=True)]
        return _with_structures(path, names, texts, values, how)
    if "scope" not in frame.columns:
        raise InputError(
            f"{path} has neither a column 'cif' nor 'scope'.",
            hint=f"Its columns are {', '.join(map(str, frame.columns))}.",
            path=str(path),
        )
    good, skipped, scopes = [], [], [str(s) for s in frame["scope"]]
    for row, text in enumerate(scopes):
        try:
            parse_scope(text)
            good.append(row)
        except CloudseedError as error:
            skipped.append(_skip(error, f"{path}, row {row + 1}", how.skip_bad))
    return Listing(
        source=str(path),
        names=[names[i] for i in good],
        crystals=[None] * len(good),
        scopes=[scopes[i] for i in good],
        values={k: v[good] for k, v in values.items()},
        skipped=skipped,
    )


def _with_structures(
    path: Path,
    names: Sequence[str],
    sources: Sequence[Source],
    values: dict[str, Any],
    how: _How,
) -> Listing:
    good: list[int] = []
    crystals: list[Crystal] = []
    skipped: list[str] = []
    results: Iterable[Crystal | InputError] = read_crystals(sources, workers=_READERS)
    for row, result in enumerate(results):
        how.progress(f"reading {path.name}", row + 1, len(names))
        if isinstance(result, Crystal):
            good.append(row)
            crystals.append(result)
        else:
            skipped.append(_skip(result, "", how.skip_bad))
    return Listing(
        source=str(path),
        names=[names[i] for i in good],
        crystals=crystals,
        scopes=[None] * len(good),
        values={k: v[good] for k, v in values.items()},
        skipped=skipped,
    )


def _skip(error: CloudseedError, where: str, skip_bad: bool) -> str:
    """Returns a line about a material that is left out, or raises.

    Args:
        error: What is wrong with it.
        where: Where it stands, unless the error says so itself.
        skip_bad: Whether it may be left out.

    Raises:
        CloudseedError: The error, with the material named, if nothing may be left out.
    """
    message = f"{where}: {error.message}" if where else error.message
    if skip_bad:
        return message
    hint = f"{error.hint} Or leave such materials out with --skip-bad.".lstrip()
    raise type(error)(message, hint=hint, **error.data) from error


def read_table(path: Path) -> Any:
    """Reads a CSV, gzipped or not, or a Parquet table as a pandas frame.

    Raises:
        InputError: If it is missing or no such table, or two of its columns have one name.
    """
    import pandas as pd

    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            import pyarrow.parquet as pq

            refuse_doubles(path, pq.read_schema(path).names)
            return pd.read_parquet(path)
        refuse_doubles(path, csv_headings(path))
        return pd.read_csv(path, dtype={"cif": str, "scope": str, "formula": str, "id": str})
    except FileNotFoundError as error:
        raise InputError(
            f"There is no file {path}.", hint="Name a CSV or a folder of CIFs.", path=str(path)
        ) from error
    except (OSError, ValueError, EOFError) as error:
        # pandas' parser errors are ValueErrors, a broken gzip raises OSError or EOFError.
        raise InputError(
            f"{path} cannot be read as CSV.",
            hint="Give comma-separated text, gzipped or not, or a .parquet file.",
            path=str(path),
        ) from error


def read_values(
    path: Path, properties: Sequence[str]
) -> tuple[list[str], dict[str, npt.NDArray[np.float64]]]:
    """Reads names and values of a table whose materials are described elsewhere.

    Args:
        path: A CSV or Parquet table.
        properties: Columns of values that must be there.

    Returns:
        What to call each row, n; and property -> values, n, NaN where missing.

    Raises:
        InputError: If the file, a column or a value is missing or broken.
    """
    frame = read_table(path)
    return _names(frame), {name: _numbers(frame, name, path) for name in properties}


def _names(frame: Any) -> list[str]:
    column = next((c for c in NAME_COLUMNS if c in frame.columns), None)
    return [str(v) for v in (frame[column] if column else range(1, len(frame) + 1))]


def _require(frame: Any, column: str, path: Path) -> None:
    if column not in frame.columns:
        near = difflib.get_close_matches(column, map(str, frame.columns), n=1)
        columns = ", ".join(map(str, frame.columns))
        raise InputError(
            f"{path} has no column {column!r}.",
            hint=f"Did you mean {near[0]!r}?" if near else f"Its columns are {columns}.",
            column=column,
        )


def _numbers(frame: Any, name: str, path: Path) -> npt.NDArray[np.float64]:
    """Returns the values of a property in its own unit, NaN where a cell is empty.

    The column is headed by the property's name, and may say a unit: "band_gap (meV)".
    """
    import pandas as pd

    column, unit = _headed(frame, name)
    _require(frame, column, path)
    numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers) & frame[column].notna().to_numpy())
    if len(bad):
        cell = frame[column].tolist()[bad[0]]
        raise InputError(
            f"{path}, row {bad[0] + 1}: {cell!r} in the column {column!r} is no finite number.",
            hint="Leave a cell empty where nothing was measured.",
            column=column,
        )
    return np.asarray(_in_own_unit(numbers, name, unit))


def _headed(frame: Any, name: str) -> tuple[str, str]:
    """Returns the heading of a property's column and the unit that it says, "" if none."""
    if name not in frame.columns:
        with_unit = re.compile(rf"{re.escape(name)}\s*[(\[](?P<unit>[^)\]]+)[)\]]")
        for heading in map(str, frame.columns):
            found = with_unit.fullmatch(heading.strip())
            if found:
                return heading, found["unit"].strip()
    return name, ""


def _in_own_unit(values: npt.NDArray[np.float64], name: str, unit: str) -> npt.NDArray[np.float64]:
    """Converts values from the unit that a column says.

    Raises:
        UnitError: If the unit is unknown or measures something else.
    """
    own = unit_of(name)
    if not unit or unit == own:
        return values
    if own is None:
        # A property that the table of units does not know has whatever unit its owner uses.
        return values
    # Units are proportional or, as degrees, shifted; two points tell either.
    zero, one = convert(0.0, unit, own), convert(1.0, unit, own)
    return values * (one - zero) + zero
