"""What one decision leaves for the next: the pool's space, the models, and what they say of it.

While nothing new was measured the models are the same, whatever else has begun or ended since, and
so is what they say of every candidate. The space is the same as long as the pool is. A decision
comes out alike with a memory or without.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.surrogate.features import Features
from cloudseed.surrogate.space import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion, Evaluation
    from cloudseed.surrogate.protocols import Guess, Observations, Problem

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["Memory", "digest"]


def digest(observations: Observations, problem: Problem, asked_for: object = None) -> str:
    """Returns a hash of all that models of a pool are made from.

    Args:
        observations: What was measured.
        problem: What is sought.
        asked_for: How they are made; told apart by its `repr`.
    """
    found = hashlib.sha256(repr((problem, observations.properties, asked_for)).encode())
    known = (observations.rows, observations.values, observations.infeasible)
    others = [a for a in (observations.sigma, observations.source) if a is not None]
    for array in (*known, *others):
        found.update(repr(array.shape).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _are(kept: Mapping[str, Guess], given: Mapping[str, Guess]) -> bool:
    """Tells whether guesses are the very same."""
    return [*kept] == [*given] and all(kept[name] is guess for name, guess in given.items())


@dataclass(slots=True)
class Memory:
    """Remembers the last decision's parts; for one pool and one caller.

    Features, hints and guesses are told from others by being the same arrays, so they must not be
    changed in place.

    Attributes:
        fits: How often models were made.
        evaluations: How often rows were evaluated.
    """

    fits: int = 0
    evaluations: int = 0
    _space: Space | None = None
    _models: tuple[str, Criterion, tuple[str, ...]] | None = None
    _told: tuple[str, Rows, Evaluation] | None = field(default=None, repr=False)

    def space(
        self,
        features: Features | npt.NDArray[Any],
        hints: Array | None,
        guesses: Mapping[str, Guess] | None = None,
    ) -> Space:
        """Returns the space of a pool."""
        kept = self._space
        given = Features.of(features)
        same = kept is not None and kept.features.same(given) and kept.hints is hints
        if kept is None or not (same and _are(kept.guesses, guesses or {})):
            kept = Space.of(features, hints, guesses)
            self._space, self._models, self._told = kept, None, None
        return kept

    def models(
        self, key: str, make: Callable[[list[str]], Criterion]
    ) -> tuple[Criterion, tuple[str, ...]]:
        """Returns models and the notes on them.

        Args:
            key: Hash of what they are made from, beside the space.
            make: Makes them, and appends its notes to a list.
        """
        if self._models is None or self._models[0] != key:
            notes: list[str] = []
            self._models = (key, make(notes), tuple(notes))
            self.fits += 1
        return self._models[1:]

    def evaluation(self, key: str, rows: Rows, make: Callable[[Rows], Evaluation]) -> Evaluation:
        """Returns what models say of rows, of all or of some that they were asked of before.

        Args:
            key: Hash of models and of what is asked of them.
            rows: Rows of the pool, sorted, each once.
            make: Evaluates rows.
        """
        if self._told is None or self._told[0] != key or not np.isin(rows, self._told[1]).all():
            self._told = (key, rows, make(rows))
            self.evaluations += 1
        _, known, found = self._told
        return found if len(known) == len(rows) else found.at(np.searchsorted(known, rows))
