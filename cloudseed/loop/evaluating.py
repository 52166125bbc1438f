"""Judges an encoder by what can be read from its frozen embeddings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import InputError
from cloudseed.loop.listing import read_listing
from cloudseed.surrogate import CloudEncoder
from cloudseed.surrogate.training.card import facts
from cloudseed.surrogate.training.probing import Probe, probe, probe_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_FEWEST = 50

__all__ = ["Evaluation", "evaluate_encoder"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What can be read from an encoder.

    Attributes:
        encoder: Its name.
        encoder_id: Its id.
        strings: Strings that were looked at.
        left_out: Strings that the encoder cannot read.
        probes: How well each label is read.
        targets: Mean R2 of each block of physics-informed targets.
    """

    encoder: str
    encoder_id: str
    strings: int
    left_out: int
    probes: tuple[Probe, ...]
    targets: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self)


def evaluate_encoder(
    name: str,
    tables: Sequence[Path],
    labels: Mapping[str, str],
    *,
    most: int = 3_000,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Evaluation:
    """Judges an encoder on tables.

    Args:
        name: A shipped name, a folder or a hub id.
        tables: CSV or Parquet with a column `cif` or `scope`, or folders of CIFs.
        labels: Property -> column; it must stand in every table.
        most: Strings looked at, at most; a random draw of each table.
        seed: Seed of that draw.
        progress: Told the task, how much is done, and of how much.

    Raises:
        InputError: If a table or column cannot be used, or too little is left.
        EncoderError: If the encoder cannot be loaded.
    """
    encoder = CloudEncoder.load(name)
    # What the encoder was trained on must not be scored on strings that it has seen.
    seen = facts(name).get("training", {}).get("labels", ())
    strings: list[str] = []
    parts: dict[str, list[np.ndarray[Any, Any]]] = {label: [] for label in labels}
    for path in tables:
        listing = read_listing(
            path, tuple(labels.values()), skip_bad=True, progress=progress, most=most, seed=seed
        )
        strings.extend(listing.strings(encoder.dialect))
        for label, column in labels.items():
            parts[label].append(listing.values[column])
    refused = encoder.refusals(strings)
    usable = np.array([i for i, text in enumerate(strings) if text not in refused], dtype=np.int64)
    if len(usable) < _FEWEST:
        raise InputError(
            f"{len(usable)} strings are too few to judge an encoder.",
            hint=f"Give {_FEWEST} or more.",
        )
    chosen = np.random.default_rng(seed).permutation(usable)[:most]
    values = {label: np.concatenate(found)[chosen] for label, found in parts.items()}
    kept = [strings[i] for i in chosen.tolist()]
    embeddings = encoder.embed(kept, progress=lambda done, all_: progress("embedding", done, all_))
    return Evaluation(
        encoder=encoder.name,
        encoder_id=encoder.id,
        strings=len(kept),
        left_out=len(strings) - len(usable),
        probes=tuple(probe(embeddings, kept, values, seen)),
        targets=probe_targets(embeddings, kept),
    )
