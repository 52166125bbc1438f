"""Where the best share of a pool begins, as far as that can be told, and who may belong to it.

The share of a pool that is better than a threshold is expected to be the mean, over its members, of
the probability that each is. The threshold is where that mean is the share that is sought. Measured
members count as what they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from cloudseed.surrogate.gp import FittedSurrogate
from cloudseed.surrogate.modelling import known_feasible, replicate_means
from cloudseed.surrogate.normal import log_probability_between
from cloudseed.surrogate.protocols import Scores

if TYPE_CHECKING:
    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion
    from cloudseed.surrogate.protocols import Observations
    from cloudseed.surrogate.space import Space

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["Membership", "membership"]

#: Halvings of the interval in which the threshold is looked for.
_HALVINGS = 50
#: Rows of a large pool that stand for all where the model is not a Gaussian process.
_SAMPLE = 20_000
_CHUNK = 16_384


@dataclass(frozen=True, slots=True)
class Membership:
    """Who may belong to the best share of a pool.

    Attributes:
        threshold: Where the share begins, in the property's unit.
        bolder: A value far beyond it, by the spread of the pool's values.
        scores: The candidates, likeliest members first; `feasible` is the chance to be one.
        bold: The same rows, those first that likeliest lie beyond the bolder value.
    """

    threshold: float
    bolder: float
    scores: Scores
    bold: Rows


def membership(
    space: Space,
    criterion: Criterion,
    observations: Observations,
    rows: Rows,
    others: Rows,
    *,
    log_costs: Array | None = None,
) -> Membership:
    """Estimates who belongs to the share that the criterion's problem seeks.

    Args:
        space: The pool.
        criterion: Models of the problem's properties.
        observations: What was measured.
        rows: Candidates to score.
        others: Further members of the pool, measured or not.
        log_costs: Log of what measuring each row of the pool costs, N; chances are divided by it.
    """
    goal = criterion.problem.objective
    sign = 1.0 if goal.end == "highest" else -1.0
    view = _View.of(space, criterion, rows, sign)
    begins = _threshold(view, observations, others)
    spread = float(np.sqrt(view.mean[:, 0].var() + (view.sd[:, 0] ** 2).mean()))
    log_chance = view.log_feasible + view.log_beyond(begins)
    costs = 0.0 if log_costs is None else log_costs[rows]
    worth = log_chance - costs
    beyond = view.log_feasible + view.log_beyond(begins + spread) - costs
    bold = np.argsort(-beyond, kind="stable")
    order = np.argsort(-worth, kind="stable")
    scores = Scores(
        rows=rows[order],
        mean=view.mean[order],
        sd=view.sd[order],
        acquisition=worth[order],
        feasible=np.exp(log_chance[order]),
        properties=tuple(criterion.surrogates),
    )
    return Membership(sign * begins, sign * (begins + spread), scores, rows[bold])


def _threshold(view: _View, observations: Observations, others: Rows) -> float:
    """Returns the merit at which the share begins."""
    name = view.criterion.problem.objective.property
    share = view.criterion.problem.objective.share
    assert share is not None, "only a share has a threshold"
    measured, values = replicate_means(observations, (name,))
    known = np.isfinite(values[:, 0])
    feasible = known_feasible(view.criterion, observations)[1][known]
    merits = view.sign * values[known, 0]
    # Where a constraint was not measured, what was measured counts in half.
    weights = np.where(np.isnan(feasible), 0.5, feasible)
    unseen = [
        part
        for part in (
            view.without(measured[known]),
            _View.of(
                view.space,
                view.criterion,
                np.setdiff1d(others, np.concatenate([view.rows, measured[known]])),
                view.sign,
            ),
        )
        if len(part.rows)
    ]
    total = weights.sum() + sum(part.count(-np.inf) for part in unseen)
    wanted = max(share * total, min(1.0, total))
    ends = np.concatenate([merits, *(part.range for part in unseen)])
    low, high = float(ends.min()), float(ends.max())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        count = weights[merits >= middle].sum() + sum(part.count(middle) for part in unseen)
        low, high = (middle, high) if count >= wanted else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class _View:
    """What the models say of some rows.

    Attributes:
        space: The pool.
        criterion: The models.
        rows: The rows, k.
        mean: Posterior means, k x m, the sought property first.
        sd: Posterior standard deviations, k x m.
        log_feasible: Log probability that what holds besides the share does, k.
        sign: What a value is times to be a merit.
    """

    space: Space
    criterion: Criterion
    rows: Rows
    mean: Array
    sd: Array
    log_feasible: Array
    sign: float

    @classmethod
    def of(cls, space: Space, criterion: Criterion, rows: Rows, sign: float) -> _View:
        parts = [criterion(space[rows[at : at + _CHUNK]]) for at in range(0, len(rows), _CHUNK)]
        width = len(criterion.surrogates)
        mean, sd = (
            np.concatenate([np.empty((0, width)), *(getattr(p, name) for p in parts)])
            for name in ("mean", "sd")
        )
        log_feasible = np.concatenate([np.empty(0), *(p.log_feasible for p in parts)])
        return cls(space, criterion, rows, mean, sd, log_feasible, sign)

    @property
    def range(self) -> Array:
        """Two merits between which nearly all lie."""
        merit, widest = self.sign * self.mean[:, 0], 8 * float(self._spread().max())
        return np.array([merit.min() - widest, merit.max() + widest])

    def without(self, rows: Rows) -> _View:
        """Returns the view of the rows that are not among these."""
        kept = ~np.isin(self.rows, rows)
        return _View(
            self.space,
            self.criterion,
            self.rows[kept],
            self.mean[kept],
            self.sd[kept],
            self.log_feasible[kept],
            self.sign,
        )

    def count(self, merit: float) -> float:
        """Returns how many rows are expected to be feasible and at least this good."""
        chance = np.exp(self.log_feasible)
        if np.isneginf(merit):
            return float(chance.sum())
        if isinstance(self._model, FittedSurrogate):
            spread = np.maximum(self._spread(), np.finfo(np.float64).tiny)
            return float(chance @ ndtr((self.sign * self.mean[:, 0] - merit) / spread))
        step = max(1, len(self.rows) // _SAMPLE)
        return step * float(chance[::step] @ np.exp(self._evaluated(self.rows[::step], merit)))

    def log_beyond(self, merit: float) -> Array:
        """Returns the log probability of at least this merit, k."""
        if not isinstance(self._model, FittedSurrogate):
            return self._evaluated(self.rows, merit)
        return log_probability_between(self.sign * self.mean[:, 0], self._spread(), merit, np.inf)

    @property
    def _model(self) -> object:
        return self.criterion.objective

    def _spread(self) -> Array:
        """Returns the standard deviation of measured values, k."""
        return np.hypot(self.sd[:, 0], getattr(self._model, "noise_sd", 0.0))

    def _evaluated(self, rows: Rows, merit: float) -> Array:
        ends = (merit, np.inf) if self.sign > 0 else (-np.inf, -merit)
        parts = [
            self.criterion.objective.evaluate(self.space[rows[at : at + _CHUNK]], *ends)[2]
            for at in range(0, len(rows), _CHUNK)
        ]
        return np.concatenate(parts)
