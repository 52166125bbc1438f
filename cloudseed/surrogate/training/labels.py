"""Labelled strings: what was measured or computed for crystals, for fine-tuning.

A table may hold any of the properties; gaps are gaps. Structures give strings of both dialects and
their volume as one more label. Which part of a table is trained on, validated on and left for tests
is decided by composition (`splits`), the same for every table.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import CloudseedError, InputError
from cloudseed.surrogate.scope import scope_string
from cloudseed.surrogate.splits import TEST, VALIDATION, fold
from cloudseed.surrogate.training.lexicon import Lexicon, pad
from cloudseed.surrogate.training.sources import chunks, columns, refine
from cloudseed.surrogate.training.stream import Batch, batch_of, shuffle_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cloudseed.crystal import Crystal

_log = logging.getLogger(__name__)

__all__ = ["LOGARITHMIC", "Labelled", "LabelledBatches", "read_labelled"]

LOGARITHMIC = frozenset({"bulk_modulus", "shear_modulus", "volume", "thermal_conductivity"})
"""Properties that are learned as logarithms: they are positive and span orders of magnitude."""

VOLUME = "volume"


@dataclass(frozen=True, eq=False)
class Labelled:
    """Strings with labels.

    Attributes:
        strings: SCOPE strings, n; a crystal may stand in both dialects.
        values: Labels as they are learned, n x p, NaN where there is none.
        names: The p properties.
        asked: Those of them that were asked for; the volume of structures comes by itself.
        left_out: Reason -> number of rows left out.
    """

    strings: Sequence[str]
    values: npt.NDArray[np.float32]
    names: tuple[str, ...]
    asked: tuple[str, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def part(self, low: float, high: float) -> Labelled:
        """Returns the strings whose fold lies in [low, high)."""
        index = [i for i, text in enumerate(self.strings) if low <= fold(text) < high]
        return replace(self, strings=[self.strings[i] for i in index], values=self.values[index])

    @property
    def trained(self) -> Labelled:
        """What may be trained on."""
        return self.part(VALIDATION, 1.0)

    @property
    def validated(self) -> Labelled:
        """What tells when to stop."""
        return self.part(TEST, VALIDATION)


def read_labelled(
    tables: Sequence[Path],
    labels: Mapping[str, str],
    cache: Path,
    *,
    limit: int = 64,
    workers: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Labelled:
    """Reads labels and strings.

    Args:
        tables: CSV or Parquet, with a column `cif` or `scope`.
        labels: Property -> column that holds it, in the property's own unit; each column must
            stand in one of the tables at least.
        cache: Where refined structures are kept.
        limit: Most tokens of a string; longer ones are left out and counted, never cut.
        workers: Processes that parse structures.
        progress: Told the task, how much is done, and of how much.

    Raises:
        InputError: If a column is in no table, a label is infinite or not a number, or no row
            has a label.
    """
    found = {name for path in tables for name in columns(path)}
    if missing := [column for column in labels.values() if column not in found]:
        raise InputError(
            f"No table has a column {missing[0]!r}.",
            hint=f"Their columns are {', '.join(sorted(found))}.",
            column=missing[0],
        )
    structures = any("cif" in columns(path) for path in tables)
    names = (*labels, VOLUME) if structures and VOLUME not in labels else tuple(labels)
    strings: list[str] = []
    rows: list[npt.NDArray[np.float32]] = []
    reader = _Reader(limit, cache, workers, progress)
    for path in tables:
        values = _values(path, labels, names)
        for row, texts, volume in reader.strings(path):
            line = values[row].copy()
            if volume is not None and VOLUME not in labels:
                line[names.index(VOLUME)] = np.log(volume)
            if not np.isnan(line).all():
                strings.extend(texts)
                rows.extend([line] * len(texts))
    if not strings:
        raise InputError("No row has a label.", hint=f"Columns read: {', '.join(labels.values())}.")
    return Labelled(
        strings, np.stack(rows), names, tuple(labels), dict(reader.left_out.most_common())
    )


def _values(path: Path, labels: Mapping[str, str], names: Sequence[str]) -> npt.NDArray[np.float32]:
    import pandas as pd

    here = [column for column in dict.fromkeys(labels.values()) if column in columns(path)]
    parts = [pd.DataFrame(chunk) for chunk in chunks(path, here or columns(path)[:1])]
    frame = pd.concat(parts) if parts else pd.DataFrame(columns=here)
    values = np.full((len(frame), len(names)), np.nan, dtype=np.float32)
    for name, column in labels.items():
        if column not in here:
            continue
        numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(numbers) & frame[column].notna().to_numpy())
        if len(bad):
            cell = frame[column].tolist()[bad[0]]
            raise InputError(
                f"{path}, row {bad[0] + 1}: {cell!r} in the column {column!r} is no finite number.",
                hint="Leave a cell empty where there is no label.",
                column=column,
            )
        if name in LOGARITHMIC:
            numbers = np.log(np.where(numbers > 0, numbers, np.nan))
        values[:, names.index(name)] = numbers
    return values


class _Reader:
    """Reads strings, and counts what cannot be used."""

    def __init__(
        self, limit: int, cache: Path, workers: int, progress: Callable[[str, int, int], None]
    ) -> None:
        self._tokenizer = Lexicon(limit).tokenizer
        self._cache = cache
        self._workers = workers
        self._progress = progress
        self.left_out: Counter[str] = Counter()

    def strings(self, path: Path) -> Iterator[tuple[int, list[str], float | None]]:
        """Yields row, strings and volume per atom of what can be used."""
        if "cif" in columns(path):
            crystals = refine(path, self._cache, workers=self._workers, progress=self._progress)
            for row, crystal in enumerate(crystals):
                if crystal is None:
                    self.left_out["The structure cannot be used"] += 1
                elif texts := self._usable(_both(crystal), f"{path.name}, row {row + 1}"):
                    cell = crystal.build()
                    yield row, texts, cell.volume / len(cell.species)
            return
        for chunk in chunks(path, ["scope"]):
            for row, text in zip(chunk.index, chunk["scope"], strict=True):
                if texts := self._usable([str(text)], f"{path.name}, row {row + 1}"):
                    yield int(row), texts, None

    def _usable(self, texts: list[str], where: str) -> list[str]:
        kept = []
        for text in texts:
            try:
                self._tokenizer.encode([text])
                kept.append(text)
            except CloudseedError as error:
                self.left_out[error.message.partition(":")[0]] += 1
                _log.warning("left out: %s: %s", where, error.message)
        return kept


def _both(crystal: Crystal) -> list[str]:
    return [scope_string(crystal, dialect) for dialect in ("canonical", "cloud")]


class LabelledBatches:
    """Seeded batches of labelled strings; the k-th is the same in every run.

    Args:
        labelled: What they are drawn from.
        lexicon: What tokens mean.
        size: Strings in a batch.
        seed: Seed of the order.
    """

    def __init__(self, labelled: Labelled, lexicon: Lexicon, size: int, seed: int) -> None:
        self._labelled = labelled
        self._lexicon = lexicon
        self._size = min(size, len(labelled.strings))
        self._seed = seed
        self._rows = [np.array(r) for r in lexicon.tokenizer.encode(labelled.strings)]
        self._lengths = np.array([len(row) for row in self._rows])
        self._groups = np.array([lexicon.space_group(text) for text in labelled.strings])

    def __call__(self, number: int) -> Batch:
        """Returns the `number`-th batch; the sites of `cloud` strings are named in any order."""
        pieces = len(self._rows) // self._size
        epoch, place = divmod(number, pieces)
        rng = np.random.default_rng((self._seed, 5, epoch))
        # Strings of like length together: padding costs as much as tokens.
        order = np.argsort(self._lengths + rng.random(len(self._rows)), kind="stable")
        left_out = len(order) - pieces * self._size
        order = np.delete(order, rng.permutation(len(order))[:left_out])
        index = order.reshape(pieces, self._size)[rng.permutation(pieces)[place]]
        return self._batch(index, np.random.default_rng((self._seed, 6, number)))

    def all(self, size: int = 256) -> list[Batch]:
        """Returns every string once, as it is, those of like length together."""
        order = np.argsort(self._lengths, kind="stable")
        return [self._batch(order[i : i + size], None) for i in range(0, len(order), size)]

    def _batch(self, index: npt.NDArray[np.int64], rng: np.random.Generator | None) -> Batch:
        tokens = pad([self._rows[i] for i in index])
        if rng is not None:
            loose = np.flatnonzero(~self._lexicon.tied(tokens))
            shuffle_sites(tokens, loose[rng.random(len(loose)) < 0.5], self._lexicon, rng)
        real = np.ones(len(index), dtype=bool)
        labels = self._labelled.values[index]
        return batch_of(tokens, self._groups[index], real, self._lexicon, labels)
