"""Trains the whole encoder on one property: every weight, end to end.

Frozen embeddings under small heads (`fitting`) cost seconds and are what ships. Where one property
is all that matters, training the network itself is more exact: this is how the published encoder's
figures were made (Xu, Zhu & Viswanathan, 2026). The same network from random weights tells what
pre-training is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cloudseed.errors import FitError, InputError
from cloudseed.surrogate.checkpoint import open_checkpoint
from cloudseed.surrogate.prediction.debye import DebyeHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt
    from transformers import BertModel

    from cloudseed.surrogate.encoder import CloudEncoder
    from cloudseed.surrogate.tokenizer import ScopeTokenizer

__all__ = ["FineTuned", "FineTuning", "HeadKind", "finetune_property", "shuffled"]

HeadKind = Literal["linear", "log", "debye"]
"""What turns [CLS] into a value: a linear map, its exponential, or Debye's model."""

_PREDICT = 256


@dataclass(frozen=True, slots=True)
class FineTuning:
    """How to train.

    Attributes:
        epochs: Passes over the data.
        batch: Strings per step.
        rate: Peak learning rate of the encoder; the new head learns ten times as fast.
        shuffle: How often a `cloud` string has its sites and its elements in another order.
        pretrained: Whether to begin from the encoder's weights or from random ones.
        seed: Seeds weights, order and shuffling.
    """

    epochs: int = 8
    batch: int = 32
    rate: float = 3e-4
    shuffle: float = 0.3
    pretrained: bool = True
    seed: int = 0


class _LinearHead(nn.Module):
    """A linear map in units of the training values, their exponential where they are logarithms."""

    def __init__(self, width: int, values: Tensor, *, log: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        self.shift, self.scale = float(values.median()), float(values.std()) or 1.0
        self.log = log

    def forward(self, features: Tensor, atoms: Tensor) -> Tensor:
        raw = self.shift + self.scale * self.linear(features).squeeze(-1)
        value: Tensor = atoms * (raw.exp() if self.log else raw)
        return value


class _DebyeAt(nn.Module):
    """Debye's model at one temperature."""

    def __init__(self, width: int, temperature: float) -> None:
        super().__init__()
        self.head = DebyeHead(width)
        self.temperature = temperature

    def forward(self, features: Tensor, atoms: Tensor) -> Tensor:
        temperature = features.new_tensor([self.temperature])
        values: Tensor = self.head(features, temperature, atoms)
        return values.squeeze(-1)


class FineTuned:
    """A network trained on one property; made by `finetune_property`."""

    def __init__(
        self, model: BertModel, head: nn.Module, tokenizer: ScopeTokenizer, pooling: str
    ) -> None:
        self.model = model
        self.head = head
        self._tokenizer = tokenizer
        self._pooling = pooling

    def predict(
        self, strings: Sequence[str], atoms: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float64]:
        """Returns values, n.

        Args:
            strings: SCOPE strings.
            atoms: Atoms in each cell, n; given in training, they are needed here.
        """
        counts = _counts(atoms, len(strings))
        rows = self._tokenizer.encode(strings)
        order = np.argsort([len(row) for row in rows], kind="stable")
        values = np.empty(len(rows))
        self.model.eval()
        with torch.inference_mode():
            for start in range(0, len(order), _PREDICT):
                index = order[start : start + _PREDICT]
                values[index] = self._forward([rows[i] for i in index], counts[index]).numpy()
        return values

    def _forward(self, rows: Sequence[Sequence[int]], atoms: Tensor) -> Tensor:
        """Returns the values of one batch, padded to its longest string."""
        length = max(map(len, rows))
        tokens = torch.zeros(len(rows), length, dtype=torch.long)
        mask = torch.zeros(len(rows), length, dtype=torch.long)
        for k, row in enumerate(rows):
            tokens[k, : len(row)] = torch.tensor(row)
            mask[k, : len(row)] = 1
        states = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state
        if self._pooling == "cls":
            features = states[:, 0]
        else:
            weights = mask[:, :, None].to(states)
            features = (states * weights).sum(dim=1) / weights.sum(dim=1)
        values: Tensor = self.head(features, atoms)
        return values


def finetune_property(
    encoder: CloudEncoder,
    strings: Sequence[str],
    values: npt.ArrayLike,
    *,
    head: HeadKind = "linear",
    atoms: npt.ArrayLike | None = None,
    temperature: float = 300.0,
    recipe: FineTuning | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> FineTuned:
    """Trains a copy of the encoder with a new head; the encoder itself stays as it is.

    Args:
        encoder: Gives architecture, tokenizer, pooling and, if wanted, weights.
        strings: SCOPE strings, n.
        values: One finite value each, n.
        head: "linear"; "log" for positive values that span decades, learnt as logarithms; "debye"
            for heat capacities.
        atoms: Atoms in each cell, n, by which the head's value is multiplied.
        temperature: At which heat capacities hold, in K.
        recipe: How to train.
        progress: Told how many steps are done, and of how many.

    Raises:
        InputError: If values are missing, or not positive where logarithms are taken.
        ScopeError: If a string cannot be read.
        FitError: If the loss is not finite.
    """
    how = recipe or FineTuning()
    target, counts = _targets(values, strings, head), _counts(atoms, len(strings))
    torch.manual_seed(how.seed)
    model = _network(encoder, pretrained=how.pretrained)
    top: nn.Module
    if head == "debye":
        top = _DebyeAt(encoder.dimension, temperature)
    else:
        own = target / counts
        top = _LinearHead(encoder.dimension, own.log() if head == "log" else own, log=head == "log")
    tuned = FineTuned(model, top, encoder._tokenizer, encoder.pooling)
    _train(tuned, strings, target, counts, how, log=head == "log", progress=progress)
    return tuned


def _network(encoder: CloudEncoder, *, pretrained: bool) -> BertModel:
    checkpoint = open_checkpoint(encoder.name, revision=encoder.revision, sha256=encoder.sha256)
    return checkpoint.trainable(pretrained=pretrained)


def _targets(values: npt.ArrayLike, strings: Sequence[str], head: HeadKind) -> Tensor:
    table = np.array(values, dtype=np.float64)
    if table.shape != (len(strings),) or len(table) < 2:
        raise InputError(
            f"{len(strings)} strings came with values of shape {table.shape}.",
            hint="Give one value per string, and at least two.",
        )
    bad = np.flatnonzero(~np.isfinite(table) | ((table <= 0) & (head != "linear")))
    if len(bad):
        what = "a finite number" if head == "linear" else "a finite number above zero"
        raise InputError(
            f"Row {bad[0] + 1} has the value {table[bad[0]]}, which is not {what}.",
            hint="Leave out rows without a value.",
            row=int(bad[0]),
        )
    return torch.from_numpy(table).float()


def _counts(atoms: npt.ArrayLike | None, count: int) -> Tensor:
    if atoms is None:
        return torch.ones(count)
    table = np.array(atoms, dtype=np.float64)
    if table.shape != (count,) or not (table >= 1).all():
        raise InputError(
            "The number of atoms in the cell is missing or below 1.",
            hint="Give one number per string, for instance in a column n_atoms.",
        )
    return torch.from_numpy(table).float()


def _train(
    tuned: FineTuned,
    strings: Sequence[str],
    target: Tensor,
    atoms: Tensor,
    how: FineTuning,
    *,
    log: bool,
    progress: Callable[[int, int], None],
) -> None:
    rng = np.random.default_rng(how.seed)
    optimizer = torch.optim.AdamW(
        [
            {"params": tuned.model.parameters(), "lr": how.rate},
            {"params": tuned.head.parameters(), "lr": 10 * how.rate},
        ],
        weight_decay=0.01,
    )
    total = how.epochs * -(-len(strings) // how.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / total))
    # The scale of errors: mean absolute deviation, as of logarithms where those are learnt.
    told = target.log() if log else target
    scale = (told - told.mean()).abs().mean().clamp(min=1e-6)
    tuned.model.train()
    for step, (rows, index) in enumerate(_batches(tuned, strings, how, rng)):
        found = tuned._forward(rows, atoms[index])
        error = (found.log() - told[index] if log else found - told[index]) / scale
        loss = functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1)
        if not torch.isfinite(loss):
            raise FitError(
                "The loss is not finite.", hint="Lower the learning rate.", step=step, rate=how.rate
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*tuned.model.parameters(), *tuned.head.parameters()], 1.0)
        optimizer.step()
        schedule.step()
        progress(step + 1, total)
    tuned.model.eval()


def _batches(
    tuned: FineTuned, strings: Sequence[str], how: FineTuning, rng: np.random.Generator
) -> Iterator[tuple[list[list[int]], npt.NDArray[np.int64]]]:
    """Yields batches of like length, so that little is padded, in random order."""
    for _ in range(how.epochs):
        texts = [shuffled(text, rng) if rng.random() < how.shuffle else text for text in strings]
        rows = tuned._tokenizer.encode(texts)
        order = np.argsort([len(row) + 4 * rng.random() for row in rows])
        for start in rng.permutation(np.arange(0, len(order), how.batch)):
            index = order[start : start + how.batch]
            yield [rows[i] for i in index], index


def _rate(share: float) -> float:
    """Rises over the first tenth, then falls as half a cosine."""
    return min(share / 0.1 + 0.02, 1.0) * 0.5 * (1 + float(np.cos(np.pi * min(share, 1.0))))


def shuffled(text: str, rng: np.random.Generator) -> str:
    """Returns a `cloud` string with sites and elements in another order.

    The published rule takes both from the order of the input's sites, which means nothing. A
    `canonical` string comes back as it is.
    """
    head, sites, amounts = text.split(" | ")
    symbols, tokens = sites.split(" "), amounts.split(" ")
    if any(symbol[0].isalpha() for symbol in symbols):
        return text
    pairs = list(zip(tokens[::2], tokens[1::2], strict=True))
    symbols = [symbols[i] for i in rng.permutation(len(symbols))]
    order = rng.permutation(len(pairs))
    mixed = " ".join(f"{pairs[i][0]} {pairs[i][1]}" for i in order)
    return f"{head} | {' '.join(symbols)} | {mixed}"
