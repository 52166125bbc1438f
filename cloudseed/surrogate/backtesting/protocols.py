"""Replaying a campaign on data that are known already: the whole of this part on one page.

A `Truth` knows what every candidate of a pool would measure. A `Searcher` chooses batches without
seeing it. `replay` lets a searcher spend a budget and answers with a `Run`; many runs under
different seeds make the figures in `curves`, beside what `chance` says of random picks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from cloudseed.errors import UsageError

if TYPE_CHECKING:
    from cloudseed.surrogate.protocols import Choice, Observations

__all__ = [
    "OUTLOOK",
    "Forecast",
    "Peer",
    "PeerFactory",
    "Rows",
    "Rules",
    "Run",
    "Searcher",
    "SearcherFactory",
]

OUTLOOK = 10
"""Experiments that an outlook looks ahead."""

Rows = npt.NDArray[np.int64]
"""Rows of the feature matrix."""


@runtime_checkable
class Searcher(Protocol):
    """Chooses what to measure next; holds the features and the problem, never the truth."""

    def next(
        self,
        available: Rows,
        pending: Rows,
        observations: Observations,
        batch: int,
        seed: int,
    ) -> Choice:
        """Chooses at most `batch` rows.

        Args:
            available: Rows that may be chosen, sorted, none of them measured or pending.
            pending: Rows that are being measured.
            observations: What was measured. Rows whose measurement failed are in neither.
            batch: The most rows to choose.
            seed: Decides all that is random in this choice.
        """
        ...


SearcherFactory = Callable[..., Searcher]
"""Makes a searcher from features, N x d, and the problem.

One that has a parameter `hints` is given what chemistry says of each band gap, N, or None."""


class Peer(Protocol):
    """Another optimiser, told of measurements as they come and asked for batches."""

    def tell(self, rows: Sequence[int], outcomes: npt.NDArray[np.float64]) -> None:
        """Tells what was measured.

        Args:
            rows: Rows that were never told before, n; at least one.
            outcomes: How good they are, n x q, finite.
        """
        ...

    def ask(self, count: int, available: Rows, pending: Rows) -> list[int]:
        """Asks what to measure next, at least one row having been told.

        Args:
            count: How many rows, at most as many as are available.
            available: Rows that may be chosen, sorted.
            pending: Rows that are being measured. What is in neither and was not told failed.
        """
        ...


PeerFactory = Callable[[npt.NDArray[np.float64], Mapping[str, float], int], Peer]
"""Makes a peer from features in [0, 1], N x d, the name of each of q outcomes with 1 if large is
good and -1 if small is, and a seed."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How experiments are spent.

    Attributes:
        budget: Experiments in all, the start included; failed ones count.
        batch: Experiments that run at the same time.
        arriving: Results that come before the next choice, of those that run; `batch` means that
            a choice waits for all of them.
        seed: Decides all that is random.
        ahead: Experiments that an outlook looks ahead, where all that satisfies is sought.
        epsilon: How much better than the best so far another may be for an outlook to call the best
            found, in the objective's unit; None for no outlook on an optimum.
    """

    budget: int
    batch: int
    arriving: int
    seed: int
    ahead: int = OUTLOOK
    epsilon: float | None = None

    def __post_init__(self) -> None:
        if min(self.budget, self.batch, self.arriving) < 1 or self.arriving > self.batch:
            raise UsageError(
                f"A budget of {self.budget} in batches of {self.batch}, {self.arriving} results at"
                " a time, cannot be spent.",
                hint="Each is at least 1, and no more results come at a time than are running.",
            )


@dataclass(frozen=True, slots=True)
class Forecast:
    """What was predicted of one pick before it was measured.

    Attributes:
        row: The pick.
        property: What was predicted.
        mean: Posterior mean, in the property's unit.
        sd: Standard deviation that was predicted of a measured value, noise included.
    """

    row: int
    property: str
    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class Run:
    """One replayed campaign.

    Attributes:
        order: Rows in the order in which their results came, the start first.
        started: How many of them were the start.
        forecasts: What was predicted of picks.
        decisions: Choices that were made.
        cpu_seconds: Processor time that the choices took.
        notes: Decision notes -> how often each was made.
        outlooks: For each choice that a model made, experiments done before it and what was
            expected: hits in the next `Rules.ahead`, or, of an optimum, the probability that
            nothing left is better than the best by more than `Rules.epsilon`.
    """

    order: tuple[int, ...]
    started: int
    forecasts: tuple[Forecast, ...] = ()
    decisions: int = 0
    cpu_seconds: float = 0.0
    notes: Mapping[str, int] = field(default_factory=dict)
    outlooks: tuple[tuple[int, float], ...] = ()
