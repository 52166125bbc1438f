"""Small networks on frozen embeddings, several trained at once as one batch of matrices."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudseed.surrogate.prediction.links import Link

__all__ = ["Ensemble", "train_ensemble"]

HIDDEN = (64, 32)
MEMBERS = 5
_DROPOUT = 0.1
_BATCH = 256
_RATE = 2e-3
_DECAY = 0.02
_CHECK = 100
"""Steps between two looks at the validation loss."""


class Ensemble(nn.Module):
    """Networks with two hidden layers, all of one shape.

    Args:
        width: Length d of an embedding.
        outputs: Numbers per string.
        members: How many networks k.
        hidden: Widths of the hidden layers.
    """

    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        width: int,
        outputs: int,
        members: int = MEMBERS,
        hidden: tuple[int, int] = HIDDEN,
    ) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        sizes = (width, *hidden, outputs)
        self.weights = nn.ParameterList(
            torch.randn(members, a, b) / a**0.5 for a, b in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for b in sizes[1:])

    def forward(self, features: Tensor) -> Tensor:
        """Returns what each member says, k x n x outputs, of embeddings, n x d."""
        members = len(self.weights[0])
        x = ((features - self.centre) / self.scale).expand(members, -1, -1)
        x = nn.functional.dropout(x, _DROPOUT, training=self.training)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = x if layer == last else nn.functional.silu(x)
        return x


def train_ensemble(
    features: Tensor,
    values: Tensor,
    link: Link,
    train: Tensor,
    validation: Tensor,
    *,
    steps: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Ensemble:
    """Trains the members, each on its own resampling, and keeps the best state of all.

    Args:
        features: Embeddings, n x d.
        values: What to predict, n.
        link: The distribution of the values.
        train: Rows to train on.
        validation: Rows that tell when to stop; none of them is trained on.
        steps: Steps at most.
        seed: Seeds weights, resampling and order.
        progress: Told how many steps are done, and of how many.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ensemble = Ensemble(features.shape[1], link.outputs)
        ensemble.centre.copy_(features[train].mean(dim=0))
        ensemble.scale.copy_(features[train].std(dim=0).clamp(min=1e-3))
        optimizer = torch.optim.AdamW(ensemble.parameters(), lr=_RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, steps, pct_start=0.1)
        # Poisson counts are the bootstrap for rows that come one by one.
        counts = torch.poisson(torch.ones(len(ensemble.weights[0]), len(train)), generator)
        best, state = float("inf"), copy.deepcopy(ensemble.state_dict())
        for step in range(steps):
            index = torch.randint(len(train), (min(_BATCH, len(train)),), generator=generator)
            rows = train[index]
            losses = link.loss(ensemble(features[rows]), values[rows]) * counts[:, index]
            optimizer.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(ensemble.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            if (step + 1) % _CHECK == 0 or step + 1 == steps:
                progress(step + 1, steps)
                loss = _validate(ensemble, features[validation], values[validation], link)
                if loss < best:
                    best, state = loss, copy.deepcopy(ensemble.state_dict())
    ensemble.load_state_dict(state)
    return ensemble.eval().requires_grad_(requires_grad=False)


def _validate(ensemble: Ensemble, features: Tensor, values: Tensor, link: Link) -> float:
    ensemble.eval()
    with torch.no_grad():
        loss = float(link.loss(ensemble(features), values).mean())
    ensemble.train()
    return loss
