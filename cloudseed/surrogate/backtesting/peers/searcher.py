"""A peer as a searcher of back-tests."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import CloudseedError, MissingDependencyError
from cloudseed.surrogate.backtesting.peers.goal import PeerGoal
from cloudseed.surrogate.deciding import MIN_VALUES
from cloudseed.surrogate.protocols import Choice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.backtesting.protocols import Peer, PeerFactory, Rows
    from cloudseed.surrogate.protocols import Observations, Problem

__all__ = ["PEERS", "PeerSearcher"]

_HERE = __name__.rpartition(".")[0]

PEERS: Mapping[str, str] = MappingProxyType(
    {
        "baybe": f"{_HERE}.baybe:BayBE",
        "ax": f"{_HERE}.ax:Ax",
        "camd-gp": f"{_HERE}.camd:Camd",
        "camd-qbc": f"{_HERE}.camd:Committee",
    }
)
"""Peer -> module and class; a module needs the peer's library."""


class PeerSearcher:
    """Lets a peer choose.

    It is told of measurements that gave every value the problem needs; other rows it only learns
    not to ask for.

    Args:
        name: What the peer is called, one of `PEERS` unless a factory is given.
        features: What it sees of the candidates, N x d in [0, 1].
        problem: What is sought.
        factory: Makes the peer; None for the one of that name.

    Raises:
        MissingDependencyError: If the peer's library is not installed.
    """

    def __init__(
        self,
        name: str,
        features: npt.NDArray[np.float64],
        problem: Problem,
        factory: PeerFactory | None = None,
    ):
        self._name = name
        self._features = features
        self._problem = problem
        self._factory = _load(name) if factory is None else factory
        self._peer: Peer | None = None
        self._goal: PeerGoal | None = None
        self._told: set[int] = set()

    def next(
        self, available: Rows, pending: Rows, observations: Observations, batch: int, seed: int
    ) -> Choice:
        """Tells the peer what is new and asks it; draws rows while there is too little to model.

        Raises:
            CloudseedError: If the peer fails.
        """
        count = min(batch, len(available))
        known = np.isfinite(observations.values).all(axis=1)
        if known.sum() < MIN_VALUES:
            picks = np.random.default_rng(seed).choice(available, size=count, replace=False)
            return Choice(tuple(picks.tolist()), None, "random", notes=("too few values to model",))
        rows, values = observations.rows[known], observations.values[known]
        try:
            with _quiet():
                chosen = self._up_to_date(rows, values, seed).ask(count, available, pending)
        except Exception as error:
            raise CloudseedError(
                f"{self._name} failed: {type(error).__name__}: {error}",
                hint=f"Finished runs are kept; leave {self._name} out of --methods to go on.",
                method=self._name,
            ) from error
        return Choice(tuple(chosen), None, self._name)

    def _up_to_date(self, rows: Rows, values: npt.NDArray[np.float64], seed: int) -> Peer:
        """Returns the peer, told of everything that was measured."""
        if self._peer is None or self._goal is None:
            self._goal = PeerGoal.of(self._problem, values)
            self._peer = self._factory(self._features, self._goal.signs, seed)
        new = np.array([row not in self._told for row in rows.tolist()])
        if new.any():
            self._peer.tell(rows[new].tolist(), self._goal.outcomes(values[new]))
            self._told.update(rows[new].tolist())
        return self._peer


def _load(name: str) -> PeerFactory:
    """Returns a peer's class."""
    module, _, attribute = PEERS[name].partition(":")
    try:
        with _quiet():
            factory: PeerFactory = getattr(import_module(module), attribute)
    except ImportError as error:
        raise MissingDependencyError(
            f"The method {name} cannot be loaded: {error}.",
            hint="pip install 'cloudseed[bench]' in an environment of its own, since BayBE and Ax"
            " bring many libraries, and run the same command there.",
            method=name,
        ) from error
    return factory


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps a line per trial and remarks on constant columns off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
