"""Tables that encoders are trained on: CSV or Parquet, with strings, structures or labels.

A table is read in chunks, never whole. Structures are foreign: they are parsed under limits and
refined once, and what was refined is kept beside the training, so that a second run begins at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from cloudseed._headings import csv_headings, refuse_doubles
from cloudseed.crystal import Crystal, GeometryRoot, read_crystals
from cloudseed.errors import CloudseedError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pandas import DataFrame

__all__ = ["chunks", "columns", "count_rows", "fingerprint", "refine"]

CHUNK = 65_536
"""Rows that are held at once."""


def columns(path: Path) -> list[str]:
    """Returns the names of a table's columns.

    Raises:
        InputError: If the table is missing, of another kind, or cannot be read, or two columns have
            one name.
    """
    if _is_parquet(path):
        import pyarrow.parquet as pq

        names = [str(name) for name in _guarded(path, lambda: pq.read_schema(path).names)]
        refuse_doubles(path, names)
        return names
    import pandas as pd

    refuse_doubles(path, _guarded(path, lambda: csv_headings(path)))
    return [str(name) for name in _guarded(path, lambda: pd.read_csv(path, nrows=0).columns)]


def count_rows(path: Path) -> int:
    """Returns the number of rows, without holding them."""
    if _is_parquet(path):
        import pyarrow.parquet as pq

        return int(_guarded(path, lambda: pq.ParquetFile(path).metadata.num_rows))
    return sum(len(chunk) for chunk in chunks(path, columns(path)[:1]))


def chunks(path: Path, wanted: Sequence[str], rows: int = CHUNK) -> Iterator[DataFrame]:
    """Yields a table in chunks of at most `rows` rows, with the wanted columns only.

    Raises:
        InputError: If a column is missing, or the table breaks off.
    """
    missing = [name for name in wanted if name not in columns(path)]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}.",
            hint=f"Its columns are {', '.join(columns(path))}.",
            column=missing[0],
        )
    parts = _parquet(path, wanted, rows) if _is_parquet(path) else _csv(path, wanted, rows)
    while True:
        part = _guarded(path, lambda: next(parts, None))
        if part is None:
            return
        yield part


def _parquet(path: Path, wanted: Sequence[str], rows: int) -> Iterator[DataFrame]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(batch_size=rows, columns=list(wanted)):
        yield batch.to_pandas()


def _csv(path: Path, wanted: Sequence[str], rows: int) -> Iterator[DataFrame]:
    import pandas as pd

    text = {name: str for name in ("cif", "scope", "formula") if name in wanted}
    with pd.read_csv(path, usecols=list(wanted), dtype=text, chunksize=rows) as reader:
        yield from reader


def _is_parquet(path: Path) -> bool:
    if not path.is_file():
        raise InputError(f"There is no table {path}.", hint="Give CSV or Parquet.", path=str(path))
    return path.suffix.lower() in {".parquet", ".pq"}


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except CloudseedError:
        raise
    except (OSError, ValueError, EOFError) as error:
        # pandas' and pyarrow's own errors are ValueErrors; a broken gzip raises the others.
        raise InputError(
            f"{path} cannot be read as a table: {error}.",
            hint="Give CSV, gzipped or not, or Parquet.",
            path=str(path),
        ) from error


def fingerprint(path: Path) -> str:
    """Returns the SHA-256 of a table.

    Raises:
        InputError: If it is missing.
    """
    _is_parquet(path)
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def refine(
    path: Path,
    cache: Path,
    *,
    workers: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> list[Crystal | None]:
    """Returns the refined crystal of each row's `cif`, None for those that cannot be used.

    Args:
        path: A table with a column `cif`.
        cache: A folder; what was refined stays there, under the table's SHA-256.
        workers: Processes that parse.
        progress: Told the task, how many rows are done, and of how many.
    """
    kept = cache / f"crystals-{fingerprint(path)[:16]}.jsonl"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}.part")
        total = count_rows(path)
        with partial.open("w", encoding="utf-8") as handle:
            for row, crystal in enumerate(_crystals(path, workers)):
                handle.write(_line(crystal) + "\n")
                progress(f"refining {path.name}", row + 1, total)
        partial.replace(kept)
    with kept.open(encoding="utf-8") as handle:
        return [_crystal(json.loads(line)) for line in handle]


def _crystals(path: Path, workers: int) -> Iterator[Crystal | InputError]:
    texts = (
        (f"{path.name}, row {row + 1}", str(text))
        for chunk in chunks(path, ["cif"], rows=1_024)
        for row, text in zip(chunk.index, chunk["cif"], strict=True)
    )
    return read_crystals(texts, workers=workers)


def _line(crystal: Crystal | InputError) -> str:
    if isinstance(crystal, Crystal):
        return json.dumps({"root": crystal.root.to_json(), "colouring": crystal.colouring})
    return json.dumps({"error": crystal.message})


def _crystal(data: dict[str, Any]) -> Crystal | None:
    if "error" in data:
        return None
    return Crystal(GeometryRoot.from_json(data["root"]), tuple(data["colouring"]))
