"""A property that several sources measured, cheap ones and dear ones: all teach of the dearest.

Values of all sources share a kernel over the features, times a covariance between sources that is
fitted (E. V. Bonilla, K. M. A. Chai and C. K. I. Williams, Multi-task Gaussian Process Prediction,
NIPS 2007), as in BoTorch's `MultiTaskGP`. Each source has its own centre and scale. Conditioned on
everything, the process answers for one source, as the default surrogate does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

from cloudseed.errors import FitError, InputError
from cloudseed.surrogate import gp
from cloudseed.surrogate.kernels import Covariance, Term, prior_modes
from cloudseed.surrogate.left_out import LeftOut

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Sources = npt.NDArray[np.int64]

__all__ = ["MAX_ROWS", "FidelitySurrogate", "fit_fidelities"]

#: Measurements of all sources together that are modelled at most, the newest of the others' first
#: left out: the fit is cubic in them.
MAX_ROWS = 1_500
#: With fewer values of a source than this, what it has to do with another cannot be told.
LEAST = 3
#: Shares of all variances together below this are rounding.
_NOTHING = 1e-12


@dataclass(frozen=True, slots=True)
class FidelitySurrogate(gp.FittedSurrogate):
    """A process conditioned on values of several sources, that answers for one of them.

    Attributes:
        other: What another source holds of the independent functions that `mixing` tells of, q.
    """

    other: Array | None = None

    def explained(self, x: Array) -> Array:
        """Returns how much of the variance left at points a value of the other source takes away.

        Args:
            x: Projected features, k x p or more.

        Returns:
            Shares of the variance of the noise-free property, k, 0 to 1.
        """
        assert self.other is not None, "made with it"
        assert self.mixing is not None, "made with it"
        points = x[:, : self.features.shape[1]]
        cross = self.hyper.kernel(self.features, points)
        own, other = (
            solve_triangular(self._factor, part[:, None] * cross, lower=True, check_finite=False)
            for part in (self.mixing[:, 0], self.mixing @ self.other)
        )
        prior = self.hyper.covariance.diagonal(points)
        left = prior - (own * own).sum(axis=0)
        told = self.other @ self.other * prior - (other * other).sum(axis=0) + self.hyper.noise
        both = self.other[0] * prior - (own * other).sum(axis=0)
        tiny = np.finfo(np.float64).tiny
        share = both**2 / np.maximum(left * told, tiny)
        return np.where(left > tiny, np.clip(share, 0.0, 1.0), 0.0)


def fit_fidelities(
    x: Array,
    y: Array,
    source: Sources,
    *,
    target: int = 0,
    seed: int,
    name: str,
    spread: float | None = None,
    wanted: tuple[float, float] = gp.NOTHING,
) -> gp.FittedSurrogate:
    """Fits one property by values from several sources.

    Args:
        x: Projected features of the measurements, n x p.
        y: Measured values, n, finite, of all sources in the same unit.
        source: Number of the source of each, n.
        target: The source whose values are asked for.
        seed: Decides all that is random.
        name: The property, for notes and errors.
        spread: As in `gp.fit`.
        wanted: As in `gp.fit`.

    Returns:
        A model of what the target source would measure. Where it, or all others, measured fewer
        than three values, the other way is taken: a model of the target's own values if there are
        any, of the others' if not, with a note.

    Raises:
        InputError: If there is no value, one is NaN or infinite, or lengths differ.
        FitError: If the measurements cannot be modelled.
    """
    if len(source) != len(y):
        raise InputError(
            f"{len(source)} sources for {len(y)} values of {name}.", hint="Give one per value."
        )
    known = [int(s) for s in np.unique(source) if (source == s).sum() >= LEAST]
    if target not in known or len(known) == 1:
        chosen = source == target
        if not chosen.any():
            chosen = np.ones(len(y), dtype=bool)
        model = gp.fit(x[chosen], y[chosen], seed=seed, name=name, spread=spread, wanted=wanted)
        own = int((source == target).sum())
        told = f"{own} values of {name} from the source asked for and {len(y) - own} from others"
        told += " are too few to tell how they go together"
        return replace(model, notes=(*model.notes, told))
    rows = _kept(source, known, target)
    notes = [] if len(rows) == len(y) else [f"{len(y) - len(rows)} values of {name} are left out"]
    x, y, source = x[rows], y[rows], np.searchsorted(known, source[rows])
    place = known.index(target)
    parts = [
        gp.standardise(
            x[source == s], y[source == s], name=name, spread=spread, notes=notes, wanted=wanted
        )
        for s in range(len(known))
    ]
    targets = np.empty(len(y))
    for s, part in enumerate(parts):
        targets[source == s] = part.targets
    hyper, between = _optimise(x, targets, source, place, seed=seed, name=name, notes=notes)
    own = source == place
    factor, weights = _solve(hyper, x, targets - hyper.mean, source, between, name=name)
    precision = np.diag(cho_solve((factor, True), np.eye(len(x))))
    left = targets - weights / precision
    sizes = np.sqrt(np.diag(between))
    data = parts[place]
    mixing = _mixing(between, place)
    return FidelitySurrogate(
        hyper,
        x,
        targets,
        data.centre,
        data.scale,
        tuple(notes),
        factor,
        weights,
        mixing=mixing[source],
        about={
            "kind": "fidelities",
            "values": [int((source == s).sum()) for s in range(len(known))],
            "correlations": (between[place] / (sizes * sizes[place])).tolist(),
            **({"lessened": data.lessened} if data.lessened else {}),
        },
        _left_out=LeftOut(targets[own], left[own], np.sqrt(1 / precision)[own]),
        other=mixing[1 if place == 0 else 0],
    )


def _kept(source: Sources, known: list[int], target: int) -> Sources:
    """Returns the rows that are modelled: those of the target first, then the others' oldest."""
    rows = np.flatnonzero(np.isin(source, known))
    order = np.concatenate([rows[source[rows] == target], rows[source[rows] != target]])
    return np.sort(order[:MAX_ROWS])


def _optimise(
    x: Array,
    targets: Array,
    source: Sources,
    place: int,
    *,
    seed: int,
    name: str,
    notes: list[str],
) -> tuple[gp.Hyperparameters, Array]:
    """Returns hyperparameters of the asked source, and covariances of all sources over its own.

    The targets are shifted in place, so that all sources have the mean of the asked one.
    """
    import torch
    from botorch.models import MultiTaskGP

    plain = gp.botorch_model(x, targets, prior_modes((x.shape[1],)))
    coded = np.column_stack([x, source.astype(np.float64)])
    # How sources go together begins at random.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = MultiTaskGP(
            torch.as_tensor(coded, dtype=torch.float64),
            torch.as_tensor(targets, dtype=torch.float64).unsqueeze(-1),
            task_feature=-1,
            covar_module=plain.covar_module.base_kernel,
            likelihood=plain.likelihood,
            outcome_transform=None,
        )
    gp.maximise(model, seed, name=name, notes=notes)
    kernels = model.covar_module.kernels
    with torch.no_grad():
        features = next(k for k in kernels if hasattr(k, "nu"))
        tasks = next(k for k in kernels if not hasattr(k, "nu"))
        means = [float(part.constant) for part in model.mean_module.base_means]
        between = tasks.covar_matrix.to_dense().double().numpy()
        found = gp.Hyperparameters(
            covariance=Covariance(
                (Term(x.shape[1], (float(features.lengthscale),), float(between[place, place])),)
            ),
            noise=float(model.likelihood.noise.mean()),
            mean=means[place],
        )
    numbers = (found.lengthscale, found.outputscale, found.noise, found.mean, *between.ravel())
    if not all(math.isfinite(v) for v in numbers) or found.outputscale <= 0:
        raise FitError("The optimum is not finite.", hint="Look for extreme values.")
    targets += means[place] - np.array(means)[source]
    return found, between / found.outputscale


def _mixing(between: Array, place: int) -> Array:
    """Returns what each source holds of independent functions, s x q, the asked source the first.

    Args:
        between: Covariances of the sources over that of the asked one with itself, s x s.
        place: The asked source, which holds the first function alone.
    """
    own = between[place]
    variances, directions = np.linalg.eigh(between - np.outer(own, own))
    kept = variances > _NOTHING * np.trace(between)
    return np.column_stack([own, directions[:, kept] * np.sqrt(variances[kept])])


def _solve(
    hyper: gp.Hyperparameters, x: Array, rest: Array, source: Sources, between: Array, *, name: str
) -> tuple[Array, Array]:
    """Returns the factor of the measurements' covariance, and the solution for what is to explain.

    Raises:
        FitError: If the covariance cannot be factored.
    """
    covariance = hyper.kernel(x, x) * between[np.ix_(source, source)]
    covariance[np.diag_indices(len(x))] += max(hyper.noise, gp.MIN_NOISE)
    try:
        factor = cholesky(covariance, lower=True)
    except LinAlgError as error:
        raise FitError(
            f"The covariance of the {len(x)} measurements of {name} cannot be factored.",
            hint="Look for features or values of extreme size.",
            property=name,
        ) from error
    return factor, cho_solve((factor, True), rest)
