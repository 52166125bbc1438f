"""A batch whose members are worth measuring together, given what is measured and what is pending.

BoTorch's `qLogNoisyExpectedImprovement` picks one candidate after another, each valued jointly
with those before it. Two things are done differently from its usual use.

Pending experiments are part of the baseline. The constructor's `X_pending` is replaced at the
second pick of a batch, so that later picks would land beside running experiments.

The model is a table: the joint posterior over the baseline and a few hundred candidates is
computed once, and BoTorch looks up its blocks. This is exact on a discrete set, and no candidate
costs another solve.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.objective import GenericMCObjective
from botorch.exceptions.warnings import BotorchWarning
from botorch.models.gpytorch import GPyTorchModel
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.sampling.normal import SobolQMCNormalSampler
from botorch.utils.sampling import manual_seed
from gpytorch.distributions import MultitaskMultivariateNormal, MultivariateNormal
from linear_operator import to_linear_operator
from linear_operator.utils.errors import NanError, NotPSDError
from linear_operator.utils.warnings import NumericalWarning

from cloudseed.errors import FitError
from cloudseed.surrogate import objectives

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from cloudseed.surrogate.acquisition import Criterion

    Array = npt.NDArray[np.float64]

__all__ = ["choose_jointly"]

#: Monte Carlo samples of the joint posterior.
SAMPLES = 256
#: Entries of the covariance blocks that are held at once: 64 MiB.
_CHUNK_ENTRIES = 2**23
#: Added to the standardised variances: less than any difference worth an experiment.
_NUGGET = 1e-8


def choose_jointly(
    criterion: Criterion, baseline: Array, choices: Array, batch: int, seed: int
) -> tuple[list[int], list[float]]:
    """Chooses a batch by sequential greedy log noisy expected improvement.

    Args:
        criterion: The models and the problem.
        baseline: Projected features of measured and pending candidates, r x p, r >= 1.
        choices: Projected features to choose from, k x p.
        batch: Number of picks.
        seed: Decides the Monte Carlo samples.

    Returns:
        min(batch, k) positions in `choices`, in order of choice, each once, and the log of the
        improvement that each adds to those before it, in standardised units.

    Raises:
        FitError: If the joint posterior cannot be sampled.
    """
    table = _Table(criterion, np.concatenate([baseline, choices]))
    known = torch.arange(len(baseline), dtype=torch.float64).unsqueeze(-1)
    options = torch.arange(len(choices), dtype=torch.float64).unsqueeze(-1) + len(baseline)
    try:
        with warnings.catch_warnings(), manual_seed(seed), torch.no_grad():
            # Jitter and "nothing feasible yet" are expected here; `decide` notes the latter.
            warnings.simplefilter("ignore", NumericalWarning)
            warnings.simplefilter("ignore", BotorchWarning)
            value = qLogNoisyExpectedImprovement(
                table,
                X_baseline=known,
                sampler=SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=seed),
                objective=_objective(criterion),
                constraints=_constraints(criterion) or None,
            )
            return _greedy(value, options, batch)
    except (NanError, NotPSDError) as error:
        raise FitError(f"The joint posterior cannot be sampled: {error}") from error


def _greedy(value: Any, options: torch.Tensor, batch: int) -> tuple[list[int], list[float]]:
    """Picks by index, so that candidates with equal features stay apart."""
    picks: list[int] = []
    gains: list[float] = []
    left = list(range(len(options)))
    while left and len(picks) < batch:
        if picks:
            value.set_X_pending(options[picks])
        size = max(1, _CHUNK_ENTRIES // (len(value.X_baseline) + 1) ** 2)
        worth = torch.cat([value(part.unsqueeze(-2)) for part in torch.split(options[left], size)])
        best = int(worth.argmax())
        gains.append(float(worth[best]))
        picks.append(left.pop(best))
    return picks, gains


def _objective(criterion: Criterion) -> GenericMCObjective:
    sign = criterion.sign
    return GenericMCObjective(lambda samples, X=None: sign * samples[..., 0])  # noqa: ARG005, N803


def _constraints(criterion: Criterion) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """Returns a function per bound that is negative where standardised samples meet it."""
    names = list(criterion.surrogates)
    found: list[Callable[[torch.Tensor], torch.Tensor]] = []
    for name, limits in objectives.bounds(criterion.problem).items():
        if name not in names:
            continue
        column, model = names.index(name), criterion.surrogates[name]
        for limit, side in zip(limits, (-1.0, 1.0), strict=True):
            if np.isfinite(limit):
                bound = (limit - model.centre) / model.scale
                found.append(_bound(column, bound, side))
    return found


def _bound(column: int, bound: float, side: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda samples: side * (samples[..., column] - bound)


class _Table(GPyTorchModel):  # type: ignore[misc]
    """A model over finitely many points, which are addressed by their number.

    Args:
        criterion: The models, one output each, standardised.
        x: Projected features of the points, N x p.
    """

    def __init__(self, criterion: Criterion, x: Array) -> None:
        super().__init__()
        joints = [s.standardised_joint(x) for s in criterion.surrogates.values()]
        self.means = [torch.as_tensor(mean) for mean, _ in joints]
        self.covariances = [torch.as_tensor(cov + _NUGGET * np.eye(len(x))) for _, cov in joints]

    @property
    def num_outputs(self) -> int:
        return len(self.means)

    @property
    def batch_shape(self) -> torch.Size:
        return torch.Size()

    def posterior(self, X: torch.Tensor, **_: Any) -> GPyTorchPosterior:  # noqa: N803
        """Looks up the posterior at point numbers, batch x q x 1.

        BoTorch bounds the objective from below by asking at random numbers in their range, which
        are taken to the nearest point.
        """
        index = X[..., 0].round().long().clamp(0, len(self.means[0]) - 1)
        rows, columns = index.unsqueeze(-1), index.unsqueeze(-2)
        parts = [
            MultivariateNormal(mean[index], to_linear_operator(covariance[rows, columns]))
            for mean, covariance in zip(self.means, self.covariances, strict=True)
        ]
        if len(parts) == 1:
            return GPyTorchPosterior(parts[0])
        return GPyTorchPosterior(MultitaskMultivariateNormal.from_independent_mvns(parts))
