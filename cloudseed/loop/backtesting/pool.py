"""A pool whose values are known, read and embedded once per folder."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed import __version__
from cloudseed.errors import InputError
from cloudseed.loop.listing import read_listing, read_values, sites_of
from cloudseed.loop.pool import embed_all
from cloudseed.loop.workspace import whole
from cloudseed.surrogate import CloudEncoder, element_descriptors, shell_penalties

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["KnownPool", "known_pool"]

_FILE = "pool.npz"


@dataclass(frozen=True, eq=False)
class KnownPool:
    """Materials whose values are known.

    Attributes:
        names: What to call each, N.
        features: N x d.
        values: Property -> values, N, NaN where unknown.
        notes: What was left out, and why.
        hints: What chemistry says of each band gap, N; None where there are no strings.
        strings: SCOPE strings, N; None where features are given instead.
        elements: Element descriptors, N x p; None where there are no strings.
        sites: Site descriptors, N x roles x p; None where there are no structures.
        encoder_id: Which encoder made the features; "" where none did.
    """

    names: tuple[str, ...]
    features: npt.NDArray[Any]
    values: dict[str, npt.NDArray[np.float64]]
    notes: tuple[str, ...]
    hints: npt.NDArray[np.float64] | None = None
    strings: tuple[str, ...] | None = None
    elements: npt.NDArray[np.float32] | None = None
    sites: npt.NDArray[np.float32] | None = None
    encoder_id: str = ""

    @property
    def sha(self) -> str:
        """Hash of features, values, hints, element and site descriptors."""
        digest = hashlib.sha256(np.ascontiguousarray(self.features).tobytes())
        for name, column in sorted(self.values.items()):
            digest.update(name.encode())
            digest.update(column.tobytes())
        if self.hints is not None:
            digest.update(self.hints.tobytes())
        for block in (self.elements, self.sites):
            if block is not None:
                digest.update(block.tobytes())
        return digest.hexdigest()


def known_pool(
    table: Path,
    properties: Sequence[str],
    out: Path,
    *,
    encoder: str = "cloud-small",
    features: Path | None = None,
    skip_bad: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> KnownPool:
    """Reads and embeds a table, or takes it from `out` where that was done before.

    Args:
        table: As for `read_listing`.
        properties: Columns of values that must be there.
        out: A folder that keeps the embedded pool.
        encoder: A shipped name, a folder or a hub id.
        features: A .npy matrix in place of embeddings, rows as in the table.
        skip_bad: Whether to leave out materials that cannot be used.
        progress: Told the task, how much is done and how much there is.

    Raises:
        InputError: If a file, a column or a value cannot be used.
    """
    if features is not None:
        names, values = read_values(table, properties)
        return KnownPool(tuple(names), _matrix(features, len(names)), values, ())
    model = CloudEncoder.load(encoder)
    key = _key(table, [model.id, *properties, str(skip_bad)])
    kept = _read(out / _FILE, key)
    if kept is not None:
        return replace(kept, encoder_id=model.id)
    listing = read_listing(table, properties, skip_bad=skip_bad, progress=progress)
    dialect = model.dialect if listing.has_structures else "cloud"
    progress("embedding", 0, 1)
    strings = listing.strings(dialect)
    vectors = embed_all(model, strings)
    progress("embedding", 1, 1)
    notes = tuple(f"left out {line}" for line in listing.skipped)
    hints = -shell_penalties(strings)
    pool = KnownPool(
        tuple(listing.names),
        vectors,
        dict(listing.values),
        notes,
        hints,
        tuple(strings),
        element_descriptors(strings),
        sites_of(listing),
        model.id,
    )
    _write(out / _FILE, key, pool)
    return pool


def _matrix(path: Path, count: int) -> npt.NDArray[np.float64]:
    """Reads a feature matrix of so many rows.

    Raises:
        InputError: If the file is none, or has another number of rows.
    """
    try:
        matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read as a matrix.", hint="Write it with numpy.save.", path=str(path)
        ) from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or len(matrix) != count:
        raise InputError(
            f"{path} is no matrix of {count} rows, as many as the table has.",
            hint="Give one row of numbers for every row of the table, in the same order.",
            path=str(path),
        )
    return np.asarray(matrix, dtype=np.float64)


def _key(table: Path, parts: Sequence[str]) -> str:
    """Returns a hash of a table's content and of what is done with it."""
    digest = hashlib.sha256(json.dumps([__version__, *parts]).encode())
    files = sorted(table.iterdir()) if table.is_dir() else [table] if table.exists() else []
    for file in files:
        if file.is_file():
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _read(path: Path, key: str) -> KnownPool | None:
    """Returns what was kept under the same key, if anything."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            values = {name: kept["values"][:, i] for i, name in enumerate(kept["properties"])}
            names, notes = (tuple(kept[k].tolist()) for k in ("names", "notes"))
            strings = tuple(kept["strings"].tolist())
            return KnownPool(
                names,
                kept["features"],
                values,
                notes,
                kept["hints"],
                strings,
                kept["elements"],
                kept["sites"] if kept["sites"].size else None,
            )
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None  # nothing is kept, or a kill cut it short


def _write(path: Path, key: str, pool: KnownPool) -> None:
    with whole(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            key=np.array(key),
            names=np.array(pool.names, dtype=str),
            notes=np.array(pool.notes, dtype=str),
            features=pool.features,
            strings=np.array(pool.strings or (), dtype=str),
            hints=np.zeros(0) if pool.hints is None else pool.hints,
            elements=np.zeros((0, 0)) if pool.elements is None else pool.elements,
            sites=np.zeros((0, 0, 0)) if pool.sites is None else pool.sites,
            properties=np.array(list(pool.values), dtype=str),
            values=np.stack(list(pool.values.values()), axis=1),
        )
