"""What an encoder's own heads say of a pool before anything is measured."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import EncoderError, InputError
from cloudseed.surrogate.checkpoint import open_checkpoint
from cloudseed.surrogate.prediction.heads import read_heads
from cloudseed.surrogate.prediction.predictor import NEEDS_ATOMS
from cloudseed.surrogate.protocols import Guess

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["check_heads", "guess"]

_CHUNK = 65_536


def check_heads(
    source: str | Path, encoder_id: str, width: int, renamed: Mapping[str, str]
) -> None:
    """Checks that an encoder has the heads that are asked for by name.

    Args:
        source: A shipped name, a folder, or a hub id.
        encoder_id: Its id.
        width: Length of its embeddings.
        renamed: Property -> head.

    Raises:
        EncoderError: If heads are asked for and it has none that can be read.
        InputError: If a property is given a head that does not exist.
    """
    if renamed:
        folder = open_checkpoint(source, offline=True).folder
        _require(renamed, _usable(read_heads(folder, encoder_id, width)))


def guess(
    source: str | Path,
    encoder_id: str,
    features: npt.NDArray[Any],
    properties: Iterable[str],
    renamed: Mapping[str, str] | None = None,
) -> dict[str, Guess]:
    """Predicts properties of a pool from its embeddings.

    Args:
        source: A shipped name, a folder, or a hub id: the encoder that made the embeddings.
        encoder_id: Its id.
        features: Embeddings, N x d.
        properties: Which properties; those without a head, and those that depend on how many atoms
            a cell holds, are left out.
        renamed: Property -> head, where the two have other names.

    Returns:
        Property -> what is predicted; nothing where the encoder has no heads, or where the
        embeddings are another encoder's.

    Raises:
        InputError: If a property is given a head that does not exist.
    """
    renamed = renamed or {}
    wanted = {name: renamed.get(name, name) for name in properties}
    try:
        folder = open_checkpoint(source, offline=True).folder
        heads = read_heads(folder, encoder_id, features.shape[1])
    except EncoderError:
        return {}
    known = _usable(heads)
    _require(renamed, known)
    found = {}
    for name, head in wanted.items():
        if head not in known:
            continue
        parts = [
            heads[head].summarise(np.asarray(features[start : start + _CHUNK], dtype=np.float32))
            for start in range(0, len(features), _CHUNK)
        ]
        mean, sd = (np.concatenate(column) for column in zip(*parts, strict=True))
        if np.isfinite(mean).all() and np.isfinite(sd).all():
            found[name] = Guess(mean, sd)
    return found


def _usable(heads: Iterable[str]) -> list[str]:
    return sorted(set(heads) - set(NEEDS_ATOMS))


def _require(renamed: Mapping[str, str], known: list[str]) -> None:
    for name, head in renamed.items():
        if head not in known:
            near = difflib.get_close_matches(head, known, n=1)
            raise InputError(
                f"The encoder has no head {head!r} to predict {name} by.",
                hint=f"Did you mean {near[0]!r}?"
                if near
                else f"Its heads are: {', '.join(known)}.",
                property=name,
            )
