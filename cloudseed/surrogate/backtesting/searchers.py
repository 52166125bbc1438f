"""Who may search: the campaign's own choice, the posterior mean alone, and chance."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import InputError, ObjectiveError, UsageError
from cloudseed.surrogate.deciding import MIN_VALUES, decide, space_fill
from cloudseed.surrogate.features import Features
from cloudseed.surrogate.protocols import Choice, Observations, Problem
from cloudseed.surrogate.ranking import rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.backtesting.protocols import Rows, Searcher, SearcherFactory

__all__ = [
    "SEARCHERS",
    "CloudSearcher",
    "GreedySearcher",
    "RandomSearcher",
    "load_searcher",
]


@dataclass(frozen=True, eq=False)
class _Modelling:
    """What a searcher with a model holds.

    Attributes:
        features: As in `decide`, N rows.
        problem: What is sought.
        hints: As in `decide`.
    """

    features: Features | npt.NDArray[Any]
    problem: Problem
    hints: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class CloudSearcher(_Modelling):
    """Chooses as a campaign does, by `decide`."""

    def next(
        self, available: Rows, pending: Rows, observations: Observations, batch: int, seed: int
    ) -> Choice:
        """Chooses what is worth measuring next."""
        return decide(
            self.features,
            observations,
            available=available,
            pending=pending,
            problem=self.problem,
            batch=batch,
            seed=seed,
            hints=self.hints,
        )


@dataclass(frozen=True, eq=False)
class GreedySearcher(_Modelling):
    """Chooses what the same model predicts to be best, whatever it is unsure of."""

    def next(
        self, available: Rows, pending: Rows, observations: Observations, batch: int, seed: int
    ) -> Choice:
        """Chooses the best posterior means; covers the pool while there is too little to model."""
        if len(observations.rows) >= MIN_VALUES:
            try:
                ranking = rank(
                    self.features,
                    observations,
                    available=available,
                    problem=self.problem,
                    seed=seed,
                    order_by="mean",
                    hints=self.hints,
                )
            except ObjectiveError as error:
                # The objective itself was never measured: the other properties do not help.
                note = error.message
            else:
                picks = tuple(ranking.scores.rows[:batch].tolist())
                return Choice(picks, ranking.scores, "mean", ranking.model, ranking.notes)
        else:
            note = "too few values to model"
        filled = space_fill(
            self.features,
            observations,
            available=available,
            pending=pending,
            batch=batch,
            seed=seed,
        )
        return Choice(filled.picks, None, filled.method, filled.model, (note,))


@dataclass(frozen=True, eq=False)
class RandomSearcher:
    """Chooses without looking.

    Attributes:
        features: As in `decide`; they play no part.
        problem: What is sought; it plays no part.
    """

    features: Features | npt.NDArray[Any]
    problem: Problem

    def next(
        self, available: Rows, pending: Rows, observations: Observations, batch: int, seed: int
    ) -> Choice:
        """Draws rows."""
        del pending, observations
        rng = np.random.default_rng(seed)
        picks = rng.choice(available, size=min(batch, len(available)), replace=False)
        return Choice(tuple(picks.tolist()), None, "random")


SEARCHERS: Mapping[str, type[CloudSearcher | GreedySearcher | RandomSearcher]] = MappingProxyType(
    {"cloud": CloudSearcher, "greedy": GreedySearcher, "random": RandomSearcher}
)
"""Methods by name."""


def load_searcher(
    name: str,
    features: Features | npt.NDArray[Any],
    problem: Problem,
    hints: npt.NDArray[np.float64] | None = None,
) -> Searcher:
    """Makes a searcher.

    Args:
        name: One of `SEARCHERS`, or "module:name" of a `SearcherFactory`, which is given the first
            block of the features.
        features: As in `decide`, N rows.
        problem: What is sought.
        hints: As in `decide`, for those of `SEARCHERS` that model anything.

    Raises:
        UsageError: If there is none of that name.
        InputError: If the features hold NaN or infinity.
    """
    blocks = Features.of(features)
    for block in blocks.blocks.values():
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise InputError(
                f"The features of row {row + 1} are not all finite.",
                hint="Leave such materials out.",
                row=row,
            )
    if name in SEARCHERS:
        searcher = SEARCHERS[name](blocks, problem)
        return replace(searcher, hints=hints) if isinstance(searcher, _Modelling) else searcher
    return _factory(name)(blocks.first, problem)


def _factory(name: str) -> SearcherFactory:
    module, _, attribute = name.partition(":")
    known = ", ".join(SEARCHERS)
    try:
        if not attribute:
            raise ImportError(name)
        factory: SearcherFactory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"There is no method {name!r}.",
            hint=f"Known are {known}; one of your own is named module:name.",
            method=name,
        ) from error
    return factory
