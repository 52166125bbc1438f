"""Trains the small encoder: masked tokens, and heads that make [CLS] say what a string is about.

An encoder trained on masked tokens alone has an untrained [CLS] and carries little chemistry to a
Gaussian process. Here linear heads read from [CLS] the targets of `descriptors`, the space group
and the Wyckoff symbols, so that what is alike in those lies close. No property of a crystal,
measured or computed, is used.
"""

from __future__ import annotations

import csv
import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cloudseed.surrogate.descriptors import blocks, describe
from cloudseed.surrogate.scope import parse
from cloudseed.surrogate.tokenizer import SPECIAL, WHOLE, WholeTokenizer, whole_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cloudseed.surrogate.corpus import Corpus

__all__ = ["Learner", "Recipe", "masked_accuracy", "pretrain", "recovered", "save"]

_WEIGHTS = {
    "fractions": 8.0,
    "statistics": 1.0,
    "sites": 2.0,
    "site_fractions": 0.3,
    "contrasts": 0.5,
    "space_group": 0.05,
    "symbols": 0.5,
    "masked": 0.4,
}
"""Weights of the losses: composition and sites matter most to a search among substitutions."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Shape of the encoder and of its training.

    Attributes:
        layers: Transformer layers.
        hidden: Length of an embedding.
        heads: Attention heads.
        intermediate: Width of the feed-forward part.
        limit: Most tokens of a string.
        batch: Strings per step.
        rate: Peak learning rate.
        warmup: Steps over which the learning rate rises.
        steps: Steps in all.
        minutes: Wall-clock budget; the learning rate falls with the larger of the two shares.
        chunk: Strings drawn at a time.
        seed: Seeds weights and draws.
    """

    layers: int = 4
    hidden: int = 256
    heads: int = 8
    intermediate: int = 512
    limit: int = 64
    batch: int = 128
    rate: float = 8e-4
    warmup: int = 300
    steps: int = 20_000
    minutes: float = math.inf
    chunk: int = 16_384
    seed: int = 0

    def share(self, step: int, elapsed: float) -> float:
        """Returns which share of the training is done after some steps and seconds."""
        return max(step / self.steps, elapsed / (60 * self.minutes))


class Learner(nn.Module):
    """An encoder with its heads.

    Args:
        recipe: Shape of the encoder.
        vocabulary: Number of tokens.
        targets: Number of descriptor targets.
    """

    def __init__(self, recipe: Recipe, vocabulary: int, targets: int) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        self.config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=recipe.hidden,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            intermediate_size=recipe.intermediate,
            max_position_embeddings=recipe.limit,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            type_vocab_size=1,
            pad_token_id=SPECIAL.index("[PAD]"),
        )
        self.bert = BertModel(self.config, add_pooling_layer=False)
        self.describe = nn.Linear(recipe.hidden, targets)
        self.space_group = nn.Linear(recipe.hidden, 230)
        self.symbols = nn.Linear(recipe.hidden, vocabulary)
        self.transform = nn.Sequential(
            nn.Linear(recipe.hidden, recipe.hidden), nn.GELU(), nn.LayerNorm(recipe.hidden)
        )
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def states(self, tokens: Tensor) -> Tensor:
        """Returns the last layer's states, n x length x d."""
        mask = (tokens != SPECIAL.index("[PAD]")).long()
        states: Tensor = self.bert(input_ids=tokens, attention_mask=mask).last_hidden_state
        return states

    def guess(self, states: Tensor) -> Tensor:
        """Returns the logits of masked tokens."""
        return functional.linear(
            self.transform(states), self.bert.embeddings.word_embeddings.weight, self.bias
        )


@dataclass(frozen=True)
class Scale:
    """Shift and scale of each target."""

    shift: Tensor
    scale: Tensor

    @classmethod
    def of(cls, targets: npt.NDArray[np.float32]) -> Scale:
        """Standardises columns; fractions keep their zero and share one scale."""
        count = np.maximum((~np.isnan(targets)).sum(axis=0), 1)
        shift = np.nansum(targets, axis=0) / count
        spread = np.sqrt(np.nansum((targets - shift) ** 2, axis=0) / count)
        scale = np.maximum(spread, 0.1)
        fractions = blocks()["fractions"]
        shift[fractions], scale[fractions] = 0.0, 0.15
        return cls(torch.from_numpy(shift).float(), torch.from_numpy(scale).float())


@dataclass(frozen=True)
class Batch:
    """Strings of like length, as tensors: tokens, targets, labels, and which rows are masked."""

    tokens: Tensor
    targets: Tensor
    groups: Tensor
    symbols: Tensor
    real: Tensor


def _batches(
    texts: Sequence[str],
    real: npt.NDArray[np.bool_],
    tokenizer: WholeTokenizer,
    size: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    rows = tokenizer.encode(texts)
    targets = torch.from_numpy(describe(texts))
    scopes = [parse(text) for text in texts]
    order = np.argsort([len(row) + rng.random() for row in rows], kind="stable")
    starts = np.arange(0, len(order), size)
    for start in rng.permutation(starts):
        index = order[start : start + size]
        tokens = _padded([rows[i] for i in index])
        symbols = torch.zeros(len(index), len(tokenizer.vocabulary))
        for k, i in enumerate(index):
            symbols[k, [tokenizer.vocabulary[s] for s in scopes[i].symbols]] = 1.0
        groups = torch.tensor([scopes[i].space_group - 1 for i in index])
        yield Batch(tokens, targets[index], groups, symbols, torch.from_numpy(real[index]))


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    tokens = torch.full((len(rows), max(map(len, rows))), SPECIAL.index("[PAD]"))
    for k, row in enumerate(rows):
        tokens[k, : len(row)] = torch.tensor(row)
    return tokens


def _mask(
    tokens: Tensor, rows: Tensor, size: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Hides 15 % of the tokens of some rows: 8 in 10 masked, 1 random, 1 left as it is."""
    ordinary = (tokens >= len(SPECIAL)) & rows[:, None]
    dice = torch.from_numpy(rng.random(tokens.shape))
    hidden = ordinary & (dice < 0.15)
    noise = torch.from_numpy(rng.integers(len(SPECIAL), size, tokens.shape))
    changed = torch.where(hidden & (dice < 0.12), SPECIAL.index("[MASK]"), tokens)
    return torch.where(hidden & (dice >= 0.12) & (dice < 0.135), noise, changed), hidden


def _losses(
    learner: Learner, batch: Batch, scale: Scale, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Existing strings are masked half of the time; the heads see whole strings only."""
    rows = batch.real & torch.from_numpy(rng.random(len(batch.real)) < 0.5)
    tokens, hidden = _mask(batch.tokens, rows, len(learner.bias), rng)
    states = learner.states(tokens).float()
    whole = states[~rows, 0]
    targets = (batch.targets[~rows] - scale.shift) / scale.scale
    known = ~torch.isnan(targets)
    error = torch.where(known, learner.describe(whole) - targets, 0.0) ** 2
    losses = {
        name: error[:, part].sum() / known[:, part].sum().clamp(min=1)
        for name, part in blocks().items()
    }
    losses["space_group"] = functional.cross_entropy(
        learner.space_group(whole), batch.groups[~rows]
    )
    losses["symbols"] = functional.binary_cross_entropy_with_logits(
        learner.symbols(whole), batch.symbols[~rows]
    )
    if hidden.any():
        losses["masked"] = functional.cross_entropy(
            learner.guess(states[hidden]), batch.tokens[hidden]
        )
    return losses


def pretrain(
    corpus: Corpus,
    folder: Path,
    recipe: Recipe,
    *,
    dialect: str = "canonical",
    progress: Callable[[float], None] = lambda _: None,
) -> Learner:
    """Trains an encoder and writes it as a checkpoint after every chunk.

    An interrupted training goes on from `folder/training.safetensors`, which this function wrote.

    Args:
        corpus: What to train on.
        folder: Receives the checkpoint, `training.csv` and `training.safetensors`.
        recipe: Shape and schedule.
        dialect: The dialect that the checkpoint declares.
        progress: Told the share of the training that is done.

    Returns:
        The encoder with its heads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    tokenizer = WholeTokenizer(whole_vocabulary(), recipe.limit)
    scale = Scale.of(describe(corpus.draw(min(recipe.chunk, 8_192), rng)[0]))
    learner = Learner(recipe, len(tokenizer.vocabulary), len(scale.shift))
    optimizer = _optimizer(learner, recipe.rate)
    path = folder / "training.safetensors"
    step, elapsed = _resume(path, learner, optimizer)
    rng = np.random.default_rng((recipe.seed, step))
    while (share := recipe.share(step, elapsed)) < 1.0:
        texts, real = corpus.draw(recipe.chunk, rng)
        history = []
        for batch in _batches(texts, real, tokenizer, recipe.batch, rng):
            start = time.monotonic()
            share = recipe.share(step, elapsed)
            if share >= 1.0:
                break
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * min(1.0, (step + 1) / recipe.warmup) * _decay(share)
            history.append(_step(learner, optimizer, _losses(learner, batch, scale, rng)))
            step += 1
            elapsed += time.monotonic() - start
            progress(share)
        _log(folder / "training.csv", step, elapsed, history)
        save(learner, tokenizer, folder, dialect)
        _keep(path, learner, optimizer, step, elapsed)
    return learner


def _step(
    learner: Learner, optimizer: torch.optim.Optimizer, losses: dict[str, Tensor]
) -> dict[str, float]:
    loss = torch.stack([_WEIGHTS[name] * value for name, value in losses.items()]).sum()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    optimizer.step()
    return {name: float(value.detach()) for name, value in losses.items()}


def _decay(share: float) -> float:
    """Half a cosine from 1 to 0.02."""
    return 0.02 + 0.49 * (1 + float(np.cos(np.pi * min(share, 1.0))))


def _optimizer(learner: Learner, rate: float) -> torch.optim.Optimizer:
    plain = [p for p in learner.parameters() if p.ndim < 2]
    decayed = [p for p in learner.parameters() if p.ndim >= 2]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
        lr=rate,
        betas=(0.9, 0.98),
    )


def _resume(path: Path, learner: Learner, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Takes up what `_keep` wrote; returns the steps done and the seconds they took."""
    from safetensors import safe_open

    if not path.exists():
        return 0, 0.0
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        done = file.metadata()
    weights = {
        n.removeprefix("learner."): t for n, t in tensors.items() if n.startswith("learner.")
    }
    learner.load_state_dict(weights)
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part == "optimizer":
            index, _, slot = rest.partition(".")
            slots.setdefault(int(index), {})[slot] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
    return int(done["step"]), float(done["elapsed"])


def _keep(
    path: Path, learner: Learner, optimizer: torch.optim.Optimizer, step: int, elapsed: float
) -> None:
    """Writes all that a later process needs to go on, whole or not at all."""
    from safetensors.torch import save_file

    tensors = {f"learner.{name}": t.clone() for name, t in learner.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": t.clone() for slot, t in slots.items()}
    partial = path.with_suffix(".part")
    save_file(tensors, partial, metadata={"step": str(step), "elapsed": repr(elapsed)})
    partial.replace(path)


def _log(path: Path, step: int, elapsed: float, history: Sequence[dict[str, float]]) -> None:
    """Appends the mean losses since the last line."""
    row: dict[str, float] = {"step": step, "seconds": round(elapsed, 1)}
    for name in _WEIGHTS:
        values = [losses[name] for losses in history if name in losses]
        row[name] = round(float(np.mean(values)), 5) if values else float("nan")
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def save(learner: Learner, tokenizer: WholeTokenizer, folder: Path, dialect: str) -> None:
    """Writes the encoder without its heads, in half precision, in the Hugging Face layout."""
    from safetensors.torch import save_file

    weights = {
        name: value.detach().to(torch.float16).contiguous()
        for name, value in learner.bert.state_dict().items()
        if not name.endswith("position_ids")
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = learner.config.to_dict() | {"cloudseed": {"dialect": dialect, "pooling": "cls"}}
    _write(folder / "config.json", {"architectures": ["BertModel"]} | config)
    names = {f"{token[1:-1].lower()}_token": token for token in SPECIAL}
    _write(folder / "special_tokens_map.json", names)
    _write(
        folder / "tokenizer_config.json",
        names | {"tokenizer_class": WHOLE, "model_max_length": tokenizer.limit},
    )
    (folder / "vocab.txt").write_text("\n".join(tokenizer.vocabulary) + "\n", encoding="utf-8")


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def masked_accuracy(learner: Learner, texts: Sequence[str], rng: np.random.Generator) -> float:
    """Returns the share of masked tokens that the encoder guesses right."""
    tokenizer = WholeTokenizer(whole_vocabulary(), learner.config.max_position_embeddings)
    right = total = 0
    with torch.inference_mode():
        for batch in _batches(texts, np.ones(len(texts), dtype=bool), tokenizer, 256, rng):
            tokens, hidden = _mask(batch.tokens, batch.real, len(learner.bias), rng)
            guessed = learner.guess(learner.states(tokens)[hidden]).argmax(-1)
            right += int((guessed == batch.tokens[hidden]).sum())
            total += int(hidden.sum())
    return right / total


def recovered(learner: Learner, texts: Sequence[str]) -> dict[str, float]:
    """Returns R2 of each block of descriptors, read from [CLS] by the heads.

    The heads give standardised targets, so that the scores are those after the best shift and scale
    per column.
    """
    tokenizer = WholeTokenizer(whole_vocabulary(), learner.config.max_position_embeddings)
    targets = describe(texts)
    with torch.inference_mode():
        guessed = torch.cat(
            [
                learner.describe(learner.states(_padded([row]))[:, 0])
                for row in tokenizer.encode(texts)
            ]
        ).numpy()
    scores = {}
    for name, part in blocks().items():
        r2 = []
        for y, f in zip(targets[:, part].T, guessed[:, part].T, strict=True):
            known = ~np.isnan(y)
            if known.sum() > 50 and np.std(y[known]) > 1e-6:
                r2.append(np.corrcoef(y[known], f[known])[0, 1] ** 2)
        scores[name] = float(np.mean(r2))
    return scores
