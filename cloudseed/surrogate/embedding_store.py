"""Embeddings on disk, for pools that are too large for the ledger.

    embeddings/3f2a.../7c01....shard     one folder per encoder, any number of shards

A shard is written once and never changed: a line of JSON (encoder, dimension, count), the SHA-256
of each string in ascending order, and the embeddings as little-endian float32. Its name is the
SHA-256 of its bytes, so that a name says what must be inside, two writers of the same shard write
the same file, and damage shows. It is written beside its place, flushed to the disk, and renamed:
whoever is killed in between leaves a temporary file, which counts for nothing.

Reading maps shards into memory and copies only the rows that are asked for. A shard that is damaged
is put aside with a warning; what it held is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["EmbeddingStore"]

_log = logging.getLogger(__name__)

FORMAT = "cloudseed embeddings 1"
SUFFIX = ".shard"
KEY = np.dtype("S32")
ALIGNMENT = 64
"""Bytes; the mapped matrix starts at a multiple of a cache line."""


ABANDONED_SECONDS = 24 * 3600
"""Age at which a temporary file has no writer any more: a shard takes seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shard:
    keys: npt.NDArray[np.bytes_]
    vectors: npt.NDArray[np.float32]


class EmbeddingStore:
    """The embeddings of one encoder in a folder.

    Args:
        folder: Holds a folder for each encoder; made when first written to.
        encoder_id: `Encoder.id`.
        dimension: Length d of an embedding.
    """

    def __init__(self, folder: Path, encoder_id: str, dimension: int) -> None:
        self.folder = folder / encoder_id
        self.encoder_id = encoder_id
        self.dimension = dimension
        self._shards: dict[str, _Shard | None] = {}

    def read(self, strings: Sequence[str]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """Returns which strings are stored, n, and their embeddings, n x d; others are zero."""
        keys = _keys(strings)
        found = np.zeros(len(keys), dtype=bool)
        vectors = np.zeros((len(keys), self.dimension), dtype=np.float32)
        for shard in self._opened():
            rows = np.flatnonzero(~found)
            if not len(rows):
                break
            places = np.minimum(np.searchsorted(shard.keys, keys[rows]), len(shard.keys) - 1)
            hits = shard.keys[places] == keys[rows]
            vectors[rows[hits]] = shard.vectors[places[hits]]
            found[rows[hits]] = True
        return found, vectors

    def write(self, strings: Sequence[str], vectors: npt.NDArray[np.float32]) -> Path | None:
        """Stores embeddings in a new shard and returns its path; None if there is nothing to store.

        Raises:
            EncoderError: If there is not one row of the right length per string.
            OSError: If the folder cannot be written.
        """
        matrix = np.ascontiguousarray(vectors, dtype="<f4")
        if matrix.shape != (len(strings), self.dimension):
            raise EncoderError(
                f"{len(strings)} strings do not go with embeddings of shape {matrix.shape}.",
                hint=f"Give one row of {self.dimension} numbers per string.",
            )
        keys, first = np.unique(_keys(strings), return_index=True)
        if not len(keys):
            return None
        told = {
            "format": FORMAT,
            "encoder": self.encoder_id,
            "dimension": self.dimension,
            "count": len(keys),
        }
        return self._publish([_header(told), keys.tobytes(), matrix[first].data.cast("B")])

    def _publish(self, parts: Sequence[bytes | memoryview]) -> Path:
        """Writes a file under the SHA-256 of its content, wholly or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _sweep(self.folder)
        digest = hashlib.sha256()
        handle, name = tempfile.mkstemp(prefix="writing-", suffix=".tmp", dir=self.folder)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    digest.update(part)
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            path = self.folder / f"{digest.hexdigest()}{SUFFIX}"
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(self.folder)
        return path

    def _opened(self) -> list[_Shard]:
        """Returns all sound shards; each is checked once, when it is first seen."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path.name not in self._shards:
                self._shards[path.name] = self._open(path)
        return [shard for shard in self._shards.values() if shard is not None]

    def _open(self, path: Path) -> _Shard | None:
        try:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != path.stem:
                    raise ValueError("its content is not what its name says")
                file.seek(0)
                told = json.loads(file.readline())
                start = _aligned(file.tell())
            if told["encoder"] != self.encoder_id or told["dimension"] != self.dimension:
                raise ValueError("it belongs to another encoder")
            count = int(told["count"])
            keys = np.fromfile(path, dtype=KEY, count=count, offset=start)
            matrix = np.memmap(
                path,
                dtype="<f4",
                mode="r",
                offset=start + count * KEY.itemsize,
                shape=(count, self.dimension),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            _put_aside(path, error)
            return None
        return _Shard(keys, matrix)


def _keys(strings: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Returns the SHA-256 of each string.

    NumPy drops zero bytes at the end of such a value, on both sides of every comparison, so that
    equal means equal.
    """
    digests = [hashlib.sha256(s.encode("utf-8", "surrogatepass")).digest() for s in strings]
    return np.frombuffer(b"".join(digests), dtype=KEY)


def _header(told: dict[str, object]) -> bytes:
    line = json.dumps(told, sort_keys=True).encode() + b"\n"
    return line.ljust(_aligned(len(line)), b"\0")


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _put_aside(path: Path, error: Exception) -> None:
    """Renames a shard that cannot be used, so that it is looked at once and kept for a person."""
    _log.warning(
        "an embedding shard is damaged and was put aside; its embeddings are computed again",
        extra={"path": str(path), "reason": str(error)},
    )
    try:
        path.replace(path.with_suffix(".damaged"))
    except OSError:
        _log.warning("the damaged shard cannot be renamed", extra={"path": str(path)})


def _sweep(folder: Path) -> None:
    """Removes what writers that were killed long ago left behind."""
    for path in folder.glob("writing-*.tmp"):
        with contextlib.suppress(OSError):  # its writer, or another sweep, was faster
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()


def _sync_folder(folder: Path) -> None:
    """Makes a rename survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
