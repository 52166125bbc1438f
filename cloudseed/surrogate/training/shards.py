"""Token shards: what training reads, shuffled once, split once, and never whole in memory.

Every string is tokenized once and falls into the shard that its hash picks, so that a shard is a
random draw from all sources, equal strings meet in one shard and are kept once, and an epoch needs
to hold one shard at a time. A string belongs to the validation split by its composition
(`splits.fold`), whatever its dialect, setting or source, so that nothing validated was trained on.

    manifest.json      what was prepared from what; written last, so that it tells of a whole folder
    train-*.parquet    tokens (uint16 lists), space group, whether the string is an existing crystal
    validation.parquet the same
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import CloudseedError, InputError
from cloudseed.surrogate.scope import scope_string
from cloudseed.surrogate.splits import fold_of, group_of
from cloudseed.surrogate.training.children import Substitution
from cloudseed.surrogate.training.lexicon import Lexicon
from cloudseed.surrogate.training.sources import chunks, columns, count_rows, fingerprint, refine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cloudseed.crystal import Crystal

__all__ = ["VALIDATION_SHARE", "Shard", "TokenShards", "prepare"]

VALIDATION_SHARE = 0.02
"""Share of the compositions that is never trained on; part of the tenth of `splits.is_held_out`."""

ROWS_PER_SHARD = 65_536
_FLUSH = 8_192
_TOLD = 20
"""Reasons for leaving strings out that are told one by one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Shard:
    """Strings as tokens, n.

    Attributes:
        flat: All tokens, one string after the other.
        offsets: Where each string begins, n + 1.
        groups: Space group of each, n.
        real: Whether each belongs to an existing crystal, n.
    """

    flat: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    real: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.groups)

    def rows(self, index: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """Returns the tokens of some strings."""
        return [self.flat[self.offsets[i] : self.offsets[i + 1]] for i in index]


@dataclass(frozen=True, eq=False)
class TokenShards:
    """A prepared folder.

    Attributes:
        folder: Where it is.
        counts: Strings of each training shard.
        validation: Strings of the validation split.
        elements: How many training strings hold each element, 118.
        limit: Most tokens of a string.
        sources: What it was prepared from: name and SHA-256 of each table, number of children.
        left_out: Reason -> number of strings left out.
    """

    folder: Path
    counts: tuple[int, ...]
    validation: int
    elements: tuple[int, ...]
    limit: int
    sources: dict[str, Any]
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of training strings."""
        return sum(self.counts)

    @classmethod
    def open(cls, folder: Path) -> TokenShards:
        """Opens what `prepare` wrote.

        Raises:
            InputError: If the folder was not prepared whole, or for another vocabulary.
        """
        try:
            data = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            known = data.pop("vocabulary")
            data["counts"], data["elements"] = tuple(data["counts"]), tuple(data["elements"])
            shards = cls(folder=folder, **data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder} holds no prepared shards.",
                hint="`cloudseed encoder pretrain` prepares them from tables.",
                path=str(folder),
            ) from error
        if known != Lexicon(shards.limit).tokenizer.fingerprint:
            raise InputError(
                f"{folder} was prepared for another vocabulary.", hint="Delete it and prepare anew."
            )
        return shards

    def read(self, index: int) -> Shard:
        """Reads one training shard."""
        return _read(self.folder / f"train-{index:05d}.parquet")

    def read_validation(self, most: int = 8_192) -> Shard:
        """Reads the first strings of the validation split, which is in order of hashes."""
        return _read(self.folder / "validation.parquet", most)


def _read(path: Path, most: int | None = None) -> Shard:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read.", hint="Delete its folder and prepare anew.", path=str(path)
        ) from error
    table = table.slice(0, most).combine_chunks()
    lists = table["tokens"].combine_chunks()
    offsets = np.asarray(lists.offsets, dtype=np.int64)
    flat = np.asarray(lists.values, dtype=np.int64)
    return Shard(
        flat,
        offsets,
        table["group"].to_numpy().astype(np.int64),
        table["real"].to_numpy(zero_copy_only=False).astype(bool),
    )


def prepare(
    tables: Sequence[Path],
    folder: Path,
    *,
    limit: int = 64,
    children: int = 0,
    seed: int = 0,
    workers: int = 1,
    rows_per_shard: int = ROWS_PER_SHARD,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> TokenShards:
    """Tokenizes, deduplicates, splits and shuffles tables; does nothing where that was done.

    Args:
        tables: CSV or Parquet, with a column `cif` or `scope`; of a structure, strings of both
            dialects are made. A column `real` (0 or 1) tells crystals that exist from proposals.
        folder: Receives the shards.
        limit: Most tokens of a string; longer ones are left out and counted, never cut.
        children: Children with other elements made of each structure.
        seed: Seed of the children.
        workers: Processes that parse structures.
        rows_per_shard: About how many strings are held at once in training.
        progress: Told the task, how much is done, and of how much.

    Raises:
        InputError: If a table cannot be read, holds nothing to train on, or if the folder was
            prepared from something else.
    """
    sources: dict[str, Any] = {path.name: fingerprint(path) for path in tables}
    if len(sources) < len(tables):
        raise InputError("Two tables have the same name.", hint="Rename one, or give it once.")
    sources |= {"children": children, "seed": seed}
    if (folder / "manifest.json").exists():
        shards = TokenShards.open(folder)
        if (shards.sources, shards.limit) != (sources, limit):
            raise InputError(
                f"{folder} was prepared from other tables or options.",
                hint="Delete it, or name another folder.",
                path=str(folder),
            )
        return shards
    writer = _Writer(folder, _shard_count(tables, children, rows_per_shard), limit)
    with writer:
        for path in tables:
            if "cif" in columns(path):
                crystals = refine(path, folder, workers=workers, progress=progress)
                good = [crystal for crystal in crystals if crystal is not None]
                found = _family(good, children, np.random.default_rng(seed))
            else:
                found = _strings(path, progress)
            for texts, real in found:
                writer.add(texts, real)
    return writer.finish(sources, progress)


def _shard_count(tables: Sequence[Path], children: int, rows_per_shard: int) -> int:
    total = sum(
        count_rows(path) * (2 + children if "cif" in columns(path) else 1) for path in tables
    )
    return max(1, round(total / rows_per_shard))


def _strings(
    path: Path, progress: Callable[[str, int, int], None]
) -> Iterator[tuple[list[str], list[bool]]]:
    """Yields the strings of a table and whether each exists."""
    known, done, total = columns(path), 0, count_rows(path)
    wanted = ["scope", "real"] if "real" in known else ["scope"]
    for chunk in chunks(path, wanted):
        real = chunk["real"].astype(bool).tolist() if len(wanted) > 1 else [True] * len(chunk)
        yield [str(text) for text in chunk["scope"]], real
        done += len(chunk)
        progress(f"reading {path.name}", done, total)


def _family(
    crystals: Sequence[Crystal], children: int, rng: np.random.Generator
) -> Iterator[tuple[list[str], list[bool]]]:
    """Yields crystals in both dialects, and their children in `canonical`, which the loop reads."""
    counts = np.zeros(118, dtype=np.int64)
    lexicon = Lexicon(64)
    for crystal in crystals:
        for element in crystal.composition:
            counts[lexicon.element[lexicon.tokenizer.vocabulary[element]]] += 1
    substitution = Substitution(counts)
    for crystal in crystals:
        yield [scope_string(crystal, dialect) for dialect in ("cloud", "canonical")], [True, True]
        made = substitution.recolour(crystal, children, rng)
        yield [scope_string(child, "canonical") for child in made], [False] * len(made)


class _Writer:
    """Deals strings to files by their hash, then deduplicates and shuffles file by file."""

    def __init__(self, folder: Path, count: int, limit: int) -> None:
        self._folder = folder
        self._raw = folder / "raw"
        self._lexicon = Lexicon(limit)
        self._waiting: list[list[tuple[str, bool]]] = [[] for _ in range(count)]
        self._left_out: Counter[str] = Counter()
        self._elements = np.zeros(118, dtype=np.int64)

    def __enter__(self) -> None:
        shutil.rmtree(self._raw, ignore_errors=True)
        self._raw.mkdir(parents=True)

    def __exit__(self, *_: object) -> None:
        for shard in range(len(self._waiting)):
            self._flush(shard)

    def add(self, texts: Iterable[str], real: Iterable[bool]) -> None:
        """Takes strings."""
        for text, exists in zip(texts, real, strict=True):
            digest = hashlib.sha256(text.encode()).digest()
            shard = int.from_bytes(digest[:8], "big") % len(self._waiting)
            self._waiting[shard].append((text, exists))
            if len(self._waiting[shard]) >= _FLUSH:
                self._flush(shard)

    def _flush(self, shard: int) -> None:
        lines = "".join(f"{int(real)}{text}\n" for text, real in self._waiting[shard])
        with (self._raw / str(shard)).open("a", encoding="utf-8") as handle:
            handle.write(lines)
        self._waiting[shard].clear()

    def finish(
        self, sources: dict[str, Any], progress: Callable[[str, int, int], None]
    ) -> TokenShards:
        """Writes the shards, and the manifest last."""
        counts: list[int] = []
        held: list[_Row] = []
        for shard in range(len(self._waiting)):
            train, validation = self._tokenize(self._raw / str(shard))
            if train:
                _write(self._folder / f"train-{len(counts):05d}.parquet", train)
                counts.append(len(train))
            held.extend(validation)
            progress("tokenizing", shard + 1, len(self._waiting))
        if not sum(counts) or not held:
            first = next(iter(self._left_out), "the tables hold too few")
            raise InputError(
                f"{sum(counts)} strings are left to train on and {len(held)} to validate on:"
                f" {first}.",
                hint="Look at the column `scope`; a fiftieth of the compositions validates.",
            )
        _write(self._folder / "validation.parquet", held)
        shards = TokenShards(
            folder=self._folder,
            counts=tuple(counts),
            validation=len(held),
            elements=tuple(self._elements.tolist()),
            limit=self._lexicon.tokenizer.limit,
            sources=sources,
            left_out=dict(self._left_out.most_common()),
        )
        data = asdict(shards) | {"vocabulary": self._lexicon.tokenizer.fingerprint}
        del data["folder"]
        partial = self._folder / "manifest.part"
        partial.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        partial.replace(self._folder / "manifest.json")
        shutil.rmtree(self._raw)
        return shards

    def _tokenize(self, path: Path) -> tuple[list[_Row], list[_Row]]:
        """Returns the training and validation rows of one file, each string once."""
        real: dict[str, bool] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            real[line[1:]] = real.get(line[1:], False) or line[0] == "1"
        train: list[_Row] = []
        validation: list[_Row] = []
        for text in sorted(real, key=lambda text: hashlib.sha256(text.encode()).digest()):
            try:
                (tokens,) = self._lexicon.tokenizer.encode([text])
            except CloudseedError as error:
                self._leave_out(error)
                continue
            # The tokenizer has parsed the string: its parts are where they should be.
            words = text.rpartition(" | ")[2].split(" ")
            composition = dict(zip(words[::2], words[1::2], strict=True))
            row = (tokens, self._lexicon.space_group(text), real[text])
            if fold_of(group_of(composition)) < VALIDATION_SHARE:
                validation.append(row)
            else:
                train.append(row)
                for element in composition:
                    number = self._lexicon.tokenizer.vocabulary[element]
                    self._elements[self._lexicon.element[number]] += 1
        return train, validation

    def _leave_out(self, error: CloudseedError) -> None:
        if sum(self._left_out.values()) < _TOLD:
            _log.warning("left out: %s", error.message)
        self._left_out[error.message.partition(":")[0]] += 1


_Row = tuple[list[int], int, bool]


def _write(path: Path, rows: Sequence[_Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "tokens": pa.array([row[0] for row in rows], type=pa.list_(pa.uint16())),
            "group": pa.array([row[1] for row in rows], type=pa.uint8()),
            "real": pa.array([row[2] for row in rows], type=pa.bool_()),
        }
    )
    pq.write_table(table, path)
