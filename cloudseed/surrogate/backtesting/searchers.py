"""Who may search: the campaign's own choice, the posterior mean alone, and chance."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import InputError, ObjectiveError, UsageError
from cloudseed.surrogate.deciding import MIN_VALUES, decide, space_fill
from cloudseed.surrogate.protocols import Choice, Observations, Problem
from cloudseed.surrogate.ranking import rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.backtesting.protocols import Rows, Searcher, SearcherFactory
    from cloudseed.surrogate.protocols import Guess, ModelSettings

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
        features: Embeddings, N x d.
        problem: What is sought.
        hints: As in `decide`.
        guesses: As in `decide`.
        models: As in `decide`.
    """

    features: npt.NDArray[Any]
    problem: Problem
    hints: npt.NDArray[np.float64] | None = None
    guesses: Mapping[str, Guess] | None = None
    models: ModelSettings | None = None


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
            guesses=self.guesses,
            models=self.models,
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
                    guesses=self.guesses,
                    models=self.models,
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
        features: Embeddings, N x d; they play no part.
        problem: What is sought; it plays no part.
    """

    features: npt.NDArray[Any]
    problem: Problem

    def next(
        self, available: Rows, pending: Rows, observations: Observations, batch: int, seed: int
    ) -> Choice:
        """Draws rows."""
        del pending, observations
        rng = np.random.default_rng(seed)
        picks = rng.choice(available, size=min(batch, len(available)), replace=False)
        return Choice(tuple(picks.tolist()), None, "random")


SEARCHERS: Mapping[str, SearcherFactory] = MappingProxyType(
    {"cloud": CloudSearcher, "greedy": GreedySearcher, "random": RandomSearcher}
)
"""Methods by name."""


def load_searcher(
    name: str,
    features: npt.NDArray[Any],
    problem: Problem,
    hints: npt.NDArray[np.float64] | None = None,
    *,
    guesses: Mapping[str, Guess] | None = None,
    models: ModelSettings | None = None,
) -> Searcher:
    """Makes a searcher.

    Args:
        name: One of `SEARCHERS`, or "module:name" of a `SearcherFactory`.
        features: Embeddings, N x d.
        problem: What is sought.
        hints: As in `decide`, for those of `SEARCHERS` that model anything.
        guesses: Likewise.
        models: Likewise.

    Raises:
        UsageError: If there is none of that name.
        InputError: If the features hold NaN or infinity.
    """
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise InputError(
            f"The features of row {row + 1} are not all finite.",
            hint="Leave such materials out.",
            row=row,
        )
    searcher = _factory(name)(features, problem)
    if not isinstance(searcher, _Modelling):
        return searcher
    return replace(searcher, hints=hints, guesses=guesses, models=models)


def _factory(name: str) -> SearcherFactory:
    if name in SEARCHERS:
        return SEARCHERS[name]
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
