"""What chemistry says of each candidate's band gap, worked out once and kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate import EmbeddingStore, shell_penalties

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["GapHints"]

log = logging.getLogger(__name__)

LARGE_POOL = 100_000
"""With more strings than this, hints are kept on disk; fewer take two seconds to work out."""

VERSION = "shell-penalties-1"
"""Folder beside the encoders' own; a change of the rule changes it."""


class GapHints:
    """Hints of a pool that may grow.

    Args:
        folder: Where the embeddings of a large pool are kept; its hints lie beside them.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known = np.zeros(0)

    def of(self, strings: Sequence[str]) -> Array:
        """Returns the hints of a pool, n, larger where a gap is likelier.

        See `cloudseed.surrogate.shell_penalties`.

        Args:
            strings: SCOPE strings, n; those that were asked for before come first, unchanged.
        """
        new = strings[len(self._known) :]
        if new:
            large = self._folder is not None and len(strings) > LARGE_POOL
            penalties = self._through_store(new) if large else shell_penalties(new)
            self._known = np.concatenate([self._known, -penalties])
        return self._known

    def _through_store(self, strings: Sequence[str]) -> Array:
        assert self._folder is not None
        # A number of eight bytes is kept as two of four, bit by bit.
        store = EmbeddingStore(self._folder, VERSION, 2)
        found, halves = store.read(strings)
        missing = np.flatnonzero(~found)
        if len(missing):
            wanted = [strings[row] for row in missing.tolist()]
            halves[missing] = shell_penalties(wanted).view(np.float32).reshape(-1, 2)
            try:
                store.write(wanted, halves[missing])
            except OSError as error:
                log.warning("hints on gaps were not kept", extra={"reason": str(error)})
        return halves.view(np.float64).reshape(-1)
