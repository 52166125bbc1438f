"""Who may search: the campaign's own choice, the posterior mean alone, chance, and the peers."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import InputError, ObjectiveError, UsageError
from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.backtesting.foresight import foretold
from cloudseed.surrogate.backtesting.own import OwnSearcher, load_factory
from cloudseed.surrogate.backtesting.peers import PEERS, PeerSearcher
from cloudseed.surrogate.calibration import ranks_worse_than_random, recalibration
from cloudseed.surrogate.deciding import MIN_VALUES, decide, space_fill
from cloudseed.surrogate.features import Features
from cloudseed.surrogate.judging import bounded, merit
from cloudseed.surrogate.memory import Memory
from cloudseed.surrogate.protocols import Choice, Observations, Problem
from cloudseed.surrogate.ranking import rank
from cloudseed.surrogate.strategy import EXPLORED, Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.backtesting.protocols import (
        Forecast,
        Rows,
        Searcher,
    )
    from cloudseed.surrogate.protocols import Guess, ModelSettings

__all__ = [
    "SEARCHERS",
    "CloudSearcher",
    "Conduct",
    "GreedySearcher",
    "RandomSearcher",
    "load_searcher",
]


_ALARM = "alarm: the model had the order of its last {} predictions wrong; half the batch explores"


@dataclass(frozen=True, eq=False)
class Conduct:
    """How a campaign chooses, beside its models.

    Attributes:
        strategy: By which acquisition.
        exploration: Share of a batch that covers the pool instead.
        alarm: Predictions looked back on, as `decide.alarm` of a campaign; 0 for never.
        recalibrate: Predictions looked back on, as `decide.recalibrate` of a campaign; 0 for never.
        costs: What measuring each row costs, N; None where all cost the same.
    """

    strategy: Strategy = Strategy()  # noqa: RUF009 - it is frozen
    exploration: float = 0.0
    alarm: int = 0
    recalibrate: int = 100
    costs: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class _Modelling:
    """What a searcher with a model holds.

    Attributes:
        features: As in `decide`, N rows.
        problem: What is sought.
        hints: As in `decide`.
        guesses: As in `decide`.
        models: As in `decide`.
    """

    features: Features | npt.NDArray[Any]
    problem: Problem
    hints: npt.NDArray[np.float64] | None = None
    guesses: Mapping[str, Guess] | None = None
    models: ModelSettings | None = None


@dataclass(frozen=True, eq=False)
class CloudSearcher(_Modelling):
    """Chooses as a campaign does, by `decide`, and looks back as a campaign does.

    Attributes:
        conduct: How, beside the models.
    """

    conduct: Conduct = field(default_factory=Conduct)
    _thought: dict[int, float] = field(default_factory=dict, init=False)
    _standing: list[Problem] = field(default_factory=list, init=False)
    _foretold: dict[str, dict[int, tuple[Forecast, float]]] = field(
        default_factory=dict, init=False
    )
    _memory: Memory = field(default_factory=Memory, init=False)

    def next(
        self, available: Rows, pending: Rows, observations: Observations, batch: int, seed: int
    ) -> Choice:
        """Chooses what is worth measuring next."""
        conduct = self.conduct
        alarm = self._misled(observations)
        widths = self._widths(observations)
        choice = decide(
            self.features,
            observations,
            available=available,
            pending=pending,
            problem=self.problem,
            batch=batch,
            seed=seed,
            hints=self.hints,
            exploration=max(conduct.exploration, EXPLORED if alarm else 0.0),
            strategy=conduct.strategy,
            costs=conduct.costs,
            memory=self._memory,
            widths=widths,
            guesses=self.guesses,
            models=self.models,
        )
        self._thought.update(_thoughts(choice, self.problem))
        for forecast in foretold(choice):
            made = self._foretold.setdefault(forecast.property, {})
            made[forecast.row] = (forecast, widths.get(forecast.property, 1.0))
        threshold = choice.model.get("threshold")
        if isinstance(threshold, float):
            self._standing.append(bounded(self.problem, threshold))
        if alarm and choice.scores is not None:
            choice = replace(choice, notes=(*choice.notes, _ALARM.format(conduct.alarm)))
        return choice

    def _widths(self, observations: Observations) -> dict[str, float]:
        """Returns what standard deviations are multiplied by, by property, if not by 1."""
        found, last = {}, self.conduct.recalibrate
        for name, made in self._foretold.items() if last else ():
            values = observations.values[:, observations.properties.index(name)]
            # Models are judged as they are: what an earlier factor did is taken back.
            z = [
                (value - made[row][0].mean) / made[row][0].sd * made[row][1]
                for row, value in zip(observations.rows.tolist(), values.tolist(), strict=True)
                if row in made and made[row][0].sd > 0 and not math.isnan(value)
            ]
            width = recalibration(np.array(z[-last:]))
            if width != 1:
                found[name] = width
        return found

    def _misled(self, observations: Observations) -> bool:
        """Tells whether the last predictions ordered what came worse than chance would."""
        pairs = []
        # Where a share is sought, by the threshold of the last choice, as a campaign does.
        problem = self._standing[-1] if self._standing else self.problem
        names = observations.properties
        for row, line in zip(observations.rows.tolist(), observations.values.tolist(), strict=True):
            known = {n: v for n, v in zip(names, line, strict=True) if not math.isnan(v)}
            came = merit(problem, known)
            if came is not None and row in self._thought:
                pairs.append((self._thought[row], came))
        last = pairs[-self.conduct.alarm :] if self.conduct.alarm else []
        return bool(last) and ranks_worse_than_random(*np.array(last).T)


def _thoughts(choice: Choice, problem: Problem) -> dict[int, float]:
    """Returns how good each pick was thought to be: its predicted merit, or its chance."""
    scores, finds = choice.scores, problem.objective.direction == "find"
    name = problem.objective.property
    if scores is None or not (finds or name in scores.properties):
        return {}
    place = {row: i for i, row in enumerate(scores.rows.tolist())}
    told = scores.feasible
    if not finds:
        told = Goal.of(problem.objective).merit(scores.mean[:, scores.properties.index(name)])
    return {row: float(told[place[row]]) for row in choice.picks}


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
    conduct: Conduct | None = None,
    *,
    guesses: Mapping[str, Guess] | None = None,
    models: ModelSettings | None = None,
    descriptors: npt.NDArray[np.float64] | None = None,
) -> Searcher:
    """Makes a searcher.

    Args:
        name: One of `SEARCHERS` or `PEERS`, or "module:name" of a `SearcherFactory`, which is given
            the first block of the features.
        features: As in `decide`, N rows.
        problem: What is sought.
        hints: As in `decide`, for those that model anything; one of your own is given them, and
            what follows, if its factory takes an argument of that name.
        conduct: How `cloud` chooses, beside its models; None for the defaults without an alarm.
        guesses: As in `decide`.
        models: As in `decide`.
        descriptors: What peers see in place of the features, N x d in [0, 1].

    Raises:
        UsageError: If there is none of that name, it is of your own and fails, or a peer has no
            descriptors.
        MissingDependencyError: If a peer's library is not installed.
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
    if name in PEERS:
        if descriptors is None:
            raise UsageError(
                f"{name} sees descriptors of the candidates, and there are none.",
                hint="Pass `descriptors`, such as `composition_features` of SCOPE strings.",
                method=name,
            )
        return PeerSearcher(name, descriptors, problem)
    own = name not in SEARCHERS
    factory: Any = load_factory(name, ", ".join([*SEARCHERS, *PEERS])) if own else SEARCHERS[name]
    given: dict[str, Any] = {
        "hints": hints,
        "conduct": conduct or Conduct(),
        "guesses": guesses,
        "models": models,
    }
    taken = {key: value for key, value in given.items() if _takes(factory, key)}
    if own:
        return OwnSearcher(name, lambda: factory(blocks.first, problem, **taken))
    made: Searcher = factory(blocks, problem, **taken)
    return made


def _takes(factory: Any, name: str) -> bool:
    """Tells whether a factory has a parameter of this name."""
    try:
        return name in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False
