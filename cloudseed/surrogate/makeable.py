"""The chance that a candidate can be made at all, learned from those that could not.

A laboratory that answers "infeasible" or "refused" tells something of the candidate and of all that
are like it. A classifier over the projected embeddings learns it from what was measured, which
could be made, and what was not. Its probability multiplies the value of measuring a candidate, as
an unknown constraint does in J. R. Gardner et al., Bayesian Optimization with Inequality
Constraints, ICML 2014.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.errors import FitError
from cloudseed.surrogate.classifier import HintPrior, fit_classifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from cloudseed.surrogate.classifier import Classifier

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["MAX_ROWS", "Makeable", "fit_makeable", "newest"]

#: Candidates that the classifier learns from at most: its fit is cubic in them.
MAX_ROWS = 1_000
#: Without hints: the offset is learned, the weight has nothing to weigh.
_PRIOR = HintPrior(offset=0.0, weight=0.0, spread=1.0)


@dataclass(frozen=True, slots=True)
class Makeable:
    """A fitted model of whether a candidate can be made.

    Attributes:
        classifier: Tells those that can be made from the others.
        dimension: Length p of the features that it reads; further coordinates are passed over.
        made: How many it learned from that were measured.
        infeasible: How many it learned from that could not be.
    """

    classifier: Classifier
    dimension: int
    made: int
    infeasible: int

    @property
    def summary(self) -> Mapping[str, object]:
        """What tells this model from another; JSON values."""
        return {
            "kernel": "Laplace GP classifier, Matern 5/2, isotropic",
            "lengthscale": self.classifier.lengthscale,
            "outputscale": self.classifier.outputscale,
            "log_evidence": self.classifier.log_evidence,
            "made": self.made,
            "infeasible": self.infeasible,
        }

    def log_probability(self, x: Array) -> Array:
        """Returns the log probability that each point of the space, k x p, can be made: k."""
        return self.classifier.log_probability(x[:, : self.dimension], np.zeros(len(x)))


def fit_makeable(made: Array, infeasible: Array, notes: list[str]) -> Makeable | None:
    """Fits the model; nothing measured yet is enough.

    Args:
        made: Projected features of what was measured, n x p; n may be 0.
        infeasible: Projected features of what could not be, at least one, m x p.
        notes: Gets a line for what cannot be modelled.

    Returns:
        The model, or None where the fit fails.
    """
    points = np.concatenate([made, infeasible])
    labels = np.arange(len(points)) < len(made)
    try:
        classifier = fit_classifier(points, labels, np.zeros(len(points)), _PRIOR)
    except FitError as error:
        notes.append(
            f"{error.message.rstrip('.')}: the chance that a candidate can be made is left out"
        )
        return None
    return Makeable(classifier, points.shape[1], len(made), len(infeasible))


def newest(measured: Rows, infeasible: Rows, most: int = MAX_ROWS) -> tuple[Rows, Rows]:
    """Chooses the candidates to learn from: each once, the newest of both kinds.

    Both kinds keep their share, so that the chance of success is not bent. What was measured can be
    made, whatever was said of it before.

    Args:
        measured: Rows that were measured, oldest first.
        infeasible: Rows that could not be, oldest first.
        most: How many to keep in all, at least 2.

    Returns:
        Measured rows and infeasible ones, newest first.
    """
    made = _newest_first(measured)
    failed = _newest_first(infeasible)
    failed = failed[~np.isin(failed, made)]
    total = len(made) + len(failed)
    if total <= most:
        return made, failed
    kept = min(math.ceil(most * len(failed) / total), most - min(len(made), 1))
    return made[: most - kept], failed[:kept]


def _newest_first(rows: Rows) -> Rows:
    """Returns each row once, at its latest place."""
    reverse = np.asarray(rows, dtype=np.int64)[::-1]
    return reverse[np.sort(np.unique(reverse, return_index=True)[1])]
