"""Embeddings of whatever files a user names, written to one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import EmptyPoolError, UsageError
from cloudseed.loop.scoping import BadEntry, make_strings
from cloudseed.loop.workspace import whole
from cloudseed.surrogate import CloudEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["Embedded", "embed_files"]


@dataclass(frozen=True, eq=False)
class Embedded:
    """What was embedded.

    Attributes:
        names: What to call each, n.
        strings: Their SCOPE strings, n.
        vectors: Their embeddings, n x d.
        encoder: What made them.
        bad: What could not be used.
    """

    names: tuple[str, ...]
    strings: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    encoder: CloudEncoder
    bad: tuple[BadEntry, ...]

    @property
    def about(self) -> dict[str, str]:
        """What the embeddings come from."""
        made = self.encoder
        return {
            "encoder": made.name,
            "encoder_id": made.id,
            "weights_sha256": made.sha256,
            "revision": made.revision or "",
            "dialect": made.dialect,
            "pooling": made.pooling,
            "precision": made.precision,
        }

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, without the embeddings."""
        return {
            **self.about,
            "rows": len(self.names),
            "distinct": len(set(self.strings)),
            "dimension": self.encoder.dimension,
            "bad": [entry.to_json() for entry in self.bad],
        }

    def write(self, path: Path) -> None:
        """Writes a file, whole or not at all, in the format that its name ends in.

        `.parquet` has the columns `name`, `scope` and `embedding`, and in its metadata what made
        it; `.npz` the arrays `names`, `scopes`, `embeddings` and one for each of `about`; `.csv`
        the columns `name`, `scope` and `e0`, `e1`, ...

        Raises:
            UsageError: If the name ends in something else.
            StorageError: If the folder cannot be written.
        """
        write = _writer(path)
        with whole(path) as partial:
            write(self, partial)


def embed_files(
    paths: Sequence[Path],
    *,
    out: Path | None = None,
    encoder: str = "cloud-small",
    workers: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    **how: Any,
) -> Embedded:
    """Embeds everything that some files hold.

    Args:
        paths: Structure files, folders of them, or CSVs with a column `cif` or `scope`.
        out: Where the embeddings go, ending in .parquet, .npz or .csv; nowhere if None.
        encoder: A shipped name, a folder or a hub id.
        workers: Cores to use.
        progress: Told the task, how much is done and how much there is.
        how: Further options of `CloudEncoder.load`.

    Raises:
        EmptyPoolError: If there is nothing that can be embedded.
        UsageError: If the format of `out` is unknown.
    """
    if out is not None:
        _writer(out)
    model = CloudEncoder.load(encoder, threads=workers, **how)
    made = make_strings(paths, model.dialect, given=True, workers=workers, progress=progress)
    refused = model.refusals(made.strings)
    pairs = list(zip(made.names, made.strings, strict=True))
    bad = (*made.bad, *(BadEntry(n, refused[s]) for n, s in pairs if s in refused))
    kept = [(n, s) for n, s in pairs if s not in refused]
    if not kept:
        first = bad[0]
        raise EmptyPoolError(
            f"Nothing can be embedded; {first.name}: {first.error.message}",
            hint=first.error.hint,
        )
    names, strings = zip(*kept, strict=True)
    vectors = model.embed(strings, progress=lambda done, total: progress("embedding", done, total))
    embedded = Embedded(names, strings, vectors, model, bad)
    if out is not None:
        embedded.write(out)
    return embedded


def _writer(path: Path) -> Callable[[Embedded, Path], None]:
    known = {".parquet": _write_parquet, ".npz": _write_npz, ".csv": _write_csv}
    if path.suffix.lower() not in known:
        raise UsageError(
            f"Embeddings cannot be written to {path.name}.",
            hint=f"Let the name end in {', '.join(known)}.",
            path=str(path),
        )
    return known[path.suffix.lower()]


def _write_parquet(made: Embedded, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    flat = pa.array(made.vectors.reshape(-1))
    columns = {
        "name": pa.array(made.names),
        "scope": pa.array(made.strings),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, made.vectors.shape[1]),
    }
    table = pa.table(columns).replace_schema_metadata(made.about)
    parquet.write_table(table, path)


def _write_npz(made: Embedded, path: Path) -> None:
    arrays: dict[str, Any] = {key: np.array(value) for key, value in made.about.items()}
    arrays |= {"names": np.array(made.names), "scopes": np.array(made.strings)}
    with path.open("wb") as file:
        np.savez(file, embeddings=made.vectors, **arrays)


def _write_csv(made: Embedded, path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(made.vectors, columns=[f"e{i}" for i in range(made.vectors.shape[1])])
    frame.insert(0, "name", made.names)
    frame.insert(1, "scope", made.strings)
    # Nine digits give a float32 back exactly.
    frame.to_csv(path, index=False, float_format="%.9g")
