"""Thompson sampling over a whole pool: each pick is the best candidate of one draw of the models.

Draws are functions by Matheron's rule (J. T. Wilson et al., J. Mach. Learn. Res. 22, 105 (2021)),
made by BoTorch, so that a million candidates cost no covariance between them. Constraints are drawn
too; a draw in which nothing is feasible gives the candidate that violates least, as D. Eriksson and
M. Poloczek, Scalable Constrained Bayesian Optimization, AISTATS 2021, do. Classes, such as whether
a gap is above zero, are drawn for all candidates with one uniform number: those hold that are
likelier than it, so that a large pool does not hold lucky ones in every draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate import judging
from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.gp import FittedSurrogate, draw_functions
from cloudseed.surrogate.values import softplus

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion
    from cloudseed.surrogate.space import Space

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["choose_by_draws"]

#: Candidates that are drawn at once.
_CHUNK = 8_192
#: Below this no value of a feasible candidate lies: what is infeasible comes after all that is not.
_INFEASIBLE = -1e9


def choose_by_draws(
    space: Space,
    criterion: Criterion,
    rows: Rows,
    *,
    batch: int,
    seed: int,
    log_costs: Array | None = None,
) -> list[int]:
    """Chooses rows, each the best of a draw of its own that no earlier draw has taken.

    Args:
        space: The pool.
        criterion: The models.
        rows: What may be chosen, k.
        batch: Number of picks.
        seed: Decides the draws.
        log_costs: Log of what measuring each row costs, k.

    Returns:
        min(batch, k) rows, in order of draw, each once.
    """
    batch = min(batch, len(rows))
    draw = _Draw.of(criterion, batch, seed)
    best: Array = np.empty((batch, 0))
    where: Rows = np.empty((batch, 0), dtype=np.int64)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        value = draw(space[part])
        if log_costs is not None:
            value = value - log_costs[start : start + _CHUNK]
        best = np.concatenate([best, value], axis=1)
        where = np.concatenate([where, np.broadcast_to(part, value.shape)], axis=1)
        # Earlier draws take at most batch - 1 of a draw's best.
        order = np.argsort(-best, axis=1, kind="stable")[:, :batch]
        best = np.take_along_axis(best, order, axis=1)
        where = np.take_along_axis(where, order, axis=1)
    picks: list[int] = []
    for line in where.tolist():
        picks.append(next(row for row in line if row not in picks))
    return picks


@dataclass(frozen=True, slots=True)
class _Draw:
    """Draws of all models of a criterion.

    Attributes:
        criterion: The models.
        functions: A drawn function per property, count x k values of points k x p.
        levels: A uniform number per draw and class, by the property's name; "" for being makeable.
    """

    criterion: Criterion
    functions: dict[str, Callable[[Array], Array]]
    levels: dict[str, Array]

    @classmethod
    def of(cls, criterion: Criterion, count: int, seed: int) -> _Draw:
        rng = np.random.default_rng(seed)
        functions, levels = {}, {"": rng.random(count)}
        for name, model in criterion.surrogates.items():
            height = model if isinstance(model, FittedSurrogate) else model.height
            if height is not None:
                functions[name] = draw_functions(height, count, int(rng.integers(2**31)))
            levels[name] = rng.random(count)
        return cls(criterion, functions, levels)

    def __call__(self, x: Array) -> Array:
        """Returns the log of what each candidate is worth in each draw, count x k."""
        problem = self.criterion.problem
        limits = judging.bounds(problem)
        with np.errstate(divide="ignore"):
            passed = np.log(self.levels[""])[:, None] < self.criterion.log_makeable(x)
        violation = np.where(passed, 0.0, 1.0)
        depth = np.full(violation.shape, np.inf)
        merit = None
        for name, model in self.criterion.surrogates.items():
            values = self._values(name, x)
            if name == problem.objective.property and problem.objective.direction != "find":
                merit = Goal.of(problem.objective).merit(values)
            if name in limits:
                inside = np.minimum(values - limits[name][0], limits[name][1] - values)
                depth = np.minimum(depth, inside / model.scale)
                violation += np.maximum(-inside / model.scale, 0.0)
        if merit is None:
            value = softplus(depth, 0.1)
        else:
            scale = self.criterion.objective.scale
            value = softplus(merit - self.criterion.best + 3 * scale, scale / 10)
        return np.where(violation > 0, _INFEASIBLE - violation, value)

    def _values(self, name: str, x: Array) -> Array:
        """Returns a property's drawn values, count x k."""
        model = self.criterion.surrogates[name]
        if isinstance(model, FittedSurrogate):
            return self.functions[name](x)
        with np.errstate(divide="ignore"):
            above = np.log(self.levels[name])[:, None] < model.log_above(x)
        heights = np.full(above.shape, model.usual[0])
        if name in self.functions:
            heights = self.functions[name](x)
        return np.where(above, heights, model.floor)
