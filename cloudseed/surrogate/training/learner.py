"""The encoder with the heads that teach it, and what each head costs.

An encoder trained on masked tokens alone has an untrained [CLS] and carries little chemistry to a
Gaussian process. Linear heads therefore read from [CLS] the targets of `targets`, the space group
and the Wyckoff symbols, so that what is alike in those lies close; small towers read the labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cloudseed.surrogate.tokenizer import SPECIAL
from cloudseed.surrogate.training.lexicon import PAD
from cloudseed.surrogate.training.targets import blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.training.recipe import Shape
    from cloudseed.surrogate.training.stream import Batch

__all__ = ["WEIGHTS", "Learner", "Scale", "Scales", "losses", "total"]

WEIGHTS: Mapping[str, float] = {
    "fractions": 8.0,
    "statistics": 1.0,
    "sites": 2.0,
    "site_fractions": 0.3,
    "contrasts": 0.5,
    "charges": 0.5,
    "ionic": 0.5,
    "space_group": 0.05,
    "symbols": 0.5,
    "masked": 0.4,
}
"""Weights of the losses: composition and sites matter most to a search among substitutions."""

_TOWER = 64
_MASK = SPECIAL.index("[MASK]")
_HUBER = 1.0
"""Standardised error from which a label's loss grows linearly: computed labels have outliers."""


class Learner(nn.Module):
    """An encoder with its heads.

    Args:
        shape: Shape of the encoder.
        vocabulary: Number of tokens.
        targets: Number of physics-informed targets.
        labels: Names of the properties that towers read.
        dropout: Share of activations dropped in training.
    """

    def __init__(
        self,
        shape: Shape,
        vocabulary: int,
        targets: int,
        labels: Sequence[str] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        hidden = shape.hidden
        self.config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=shape.intermediate,
            max_position_embeddings=shape.limit,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=0.0,
            type_vocab_size=1,
            pad_token_id=PAD,
        )
        self.labels = tuple(labels)
        self.bert = BertModel(self.config, add_pooling_layer=False)
        self.describe = nn.Linear(hidden, targets)
        self.space_group = nn.Linear(hidden, 230)
        self.symbols = nn.Linear(hidden, vocabulary)
        self.transform = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, _TOWER), nn.GELU(), nn.Linear(_TOWER, 1))
            for _ in self.labels
        )

    def forward(self, tokens: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        """Returns what the heads say.

        Args:
            tokens: Token numbers, n x length, some of them masked.
            hidden: Which tokens are to be guessed, n x length.
        """
        states = self.states(tokens)
        cls = states[:, 0]
        said = {
            "targets": self.describe(cls),
            "space_group": self.space_group(cls),
            "symbols": self.symbols(cls),
            "masked": functional.linear(
                self.transform(states[hidden]),
                self.bert.embeddings.word_embeddings.weight,
                self.bias,
            ),
        }
        if self.labels:
            said["labels"] = torch.cat([tower(cls) for tower in self.towers], dim=1)
        return {name: value.float() for name, value in said.items()}

    def states(self, tokens: Tensor) -> Tensor:
        """Returns the last layer's states, n x length x d."""
        mask = (tokens != PAD).long()
        states: Tensor = self.bert(input_ids=tokens, attention_mask=mask).last_hidden_state
        return states


@dataclass(frozen=True)
class Scale:
    """Shift and scale of each column of a table of targets or labels.

    Attributes:
        shift: Subtracted, t.
        scale: Divided by, t.
    """

    shift: Tensor
    scale: Tensor

    @classmethod
    def of(cls, values: npt.NDArray[np.float32], floor: float = 0.1) -> Scale:
        """Standardises columns, n x t with NaN; none is spread beyond its `floor`."""
        count = np.maximum((~np.isnan(values)).sum(axis=0), 1)
        shift = np.nansum(values, axis=0) / count
        spread = np.sqrt(np.nansum((values - shift) ** 2, axis=0) / count)
        scale = np.maximum(spread, floor)
        return cls(torch.from_numpy(shift).float(), torch.from_numpy(scale).float())

    @classmethod
    def of_targets(cls, targets: npt.NDArray[np.float32]) -> Scale:
        """Standardises physics-informed targets; fractions keep their zero and share one scale."""
        scale, fractions = cls.of(targets), blocks()["fractions"]
        scale.shift[fractions], scale.scale[fractions] = 0.0, 0.15
        return scale

    def __call__(self, values: Tensor) -> Tensor:
        """Returns standardised values."""
        return (values - self.shift.to(values.device)) / self.scale.to(values.device)


@dataclass(frozen=True)
class Scales:
    """Scales of what the heads say.

    Attributes:
        targets: Of the physics-informed targets.
        labels: Of the labels, or None.
        names: Names of the labels.
    """

    targets: Scale
    labels: Scale | None = None
    names: tuple[str, ...] = ()


def losses(
    learner: nn.Module,
    batch: Batch,
    scales: Scales,
    *,
    masked: float,
    chemistry: bool = True,
    rng: np.random.Generator,
    device: torch.device,
) -> dict[str, Tensor]:
    """Returns the loss of each head, by name.

    Existing strings are masked half of the time; the other heads see whole strings only. Where no
    other head learns, every string is masked.

    Args:
        learner: The encoder with its heads, perhaps wrapped.
        batch: What it learns from.
        scales: Scales of what the heads say.
        masked: Share of the tokens hidden in the strings that are masked.
        chemistry: Whether the heads learn what follows from whole strings.
        rng: Draws what is masked.
        device: Where to compute.
    """
    labelled = scales.labels is not None and not bool(np.isnan(batch.labels).all())
    rows = batch.real & (rng.random(len(batch.real)) < 0.5) & (masked > 0)
    alone = not (chemistry or labelled)
    if alone:
        rows[:] = True
    elif rows.all():
        rows[0] = False
    tokens, hidden = _mask(batch.tokens, rows, masked, batch.symbols.shape[1], rng)
    if alone and not hidden.any():
        hidden[0, 1] = True  # Of a few strings: something has to be guessed.
    said = learner(torch.from_numpy(tokens).to(device), torch.from_numpy(hidden).to(device))
    whole = torch.from_numpy(~rows).to(device)
    found = _chemistry_losses(said, batch, scales, whole) if chemistry else {}
    if hidden.any():
        true = torch.from_numpy(batch.tokens[hidden]).to(device)
        found["masked"] = functional.cross_entropy(said["masked"], true)
    if scales.labels is not None and labelled:
        values = torch.from_numpy(batch.labels).to(device)[whole]
        found |= _label_losses(said["labels"][whole], values, scales.labels, scales.names)
    return found


def _chemistry_losses(
    said: Mapping[str, Tensor], batch: Batch, scales: Scales, whole: Tensor
) -> dict[str, Tensor]:
    """Returns the losses of what follows from whole strings; `whole`, n, tells which are."""
    wanted = torch.from_numpy(batch.targets).to(whole.device)[whole]
    known = ~torch.isnan(wanted)
    error = torch.where(known, said["targets"][whole] - scales.targets(wanted), 0.0) ** 2
    found = {
        name: error[:, part].sum() / known[:, part].sum().clamp(min=1)
        for name, part in blocks().items()
    }
    groups = torch.from_numpy(batch.groups).to(whole.device)[whole]
    symbols = torch.from_numpy(batch.symbols).to(whole.device)[whole]
    found["space_group"] = functional.cross_entropy(said["space_group"][whole], groups)
    found["symbols"] = functional.binary_cross_entropy_with_logits(said["symbols"][whole], symbols)
    return found


def _label_losses(
    said: Tensor, values: Tensor, scale: Scale, names: Sequence[str]
) -> dict[str, Tensor]:
    known = ~torch.isnan(values)
    wanted = torch.where(known, scale(values), said.detach())
    error = functional.huber_loss(said, wanted, reduction="none", delta=_HUBER)
    mean = (error * known).sum(dim=0) / known.sum(dim=0).clamp(min=1)
    return {f"label_{name}": mean[i] for i, name in enumerate(names) if bool(known[:, i].any())}


def _mask(
    tokens: npt.NDArray[np.int64],
    rows: npt.NDArray[np.bool_],
    share: float,
    size: int,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Hides a share of the tokens of some rows: 8 in 10 masked, 1 random, 1 left as it is."""
    if not share:
        return tokens, np.zeros(tokens.shape, dtype=bool)
    ordinary = (tokens >= len(SPECIAL)) & rows[:, None]
    dice = rng.random(tokens.shape) / share
    hidden = ordinary & (dice < 1)
    noise = rng.integers(len(SPECIAL), size, tokens.shape)
    changed = np.where(hidden & (dice < 0.8), _MASK, tokens)
    return np.where(hidden & (dice >= 0.8) & (dice < 0.9), noise, changed), hidden


def total(found: Mapping[str, Tensor], labels: float) -> Tensor:
    """Returns the weighted sum that training makes small."""
    weighted = [WEIGHTS.get(name, labels) * value for name, value in found.items()]
    return torch.stack(weighted).sum()
