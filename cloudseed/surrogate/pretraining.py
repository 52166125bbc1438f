"""Trains the small encoder: masked tokens, and heads that make [CLS] say what a string is about.

An encoder trained on masked tokens alone has an untrained [CLS] and carries little chemistry to a
Gaussian process. Here linear heads read from [CLS] the targets of `descriptors`, the space group
and the Wyckoff symbols, so that what is alike in those lies close. No property of a crystal,
measured or computed, is used.

Strings are drawn from a `Corpus`: those that exist, and children of them with other elements, whose
targets follow from the string just as well. Strings whose hash falls into the held-out share are
never trained on, wherever they come from.
"""

from __future__ import annotations

import csv
import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cloudseed.surrogate.descriptors import blocks, describe
from cloudseed.surrogate.scope import ELEMENTS, parse, scope_string
from cloudseed.surrogate.tokenizer import SPECIAL, WHOLE, WholeTokenizer, whole_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cloudseed.crystal import Crystal

__all__ = ["Corpus", "Recipe", "held_out", "masked_accuracy", "pretrain", "recovered"]

HELD_OUT_SHARE = 5 / 256

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
    minutes: float = 50.0
    chunk: int = 16_384
    seed: int = 0


@dataclass(frozen=True)
class Corpus:
    """What strings are drawn from.

    Attributes:
        strings: Existing `cloud` strings.
        crystals: Crystals, from which strings of both dialects are made.
    """

    strings: Sequence[str]
    crystals: Sequence[Crystal] = ()
    _near: npt.NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_near", _swap_odds(self.strings))

    def draw(self, count: int, rng: np.random.Generator) -> tuple[list[str], npt.NDArray[np.bool_]]:
        """Draws training strings; none is held out.

        Returns:
            The strings, at most `count`, and whether each belongs to an existing crystal.
        """
        odds = (0.35, 0.15, 0.2, 0.3) if self.crystals else (0.6, 0.0, 0.4, 0.0)
        kinds = rng.choice(4, size=count, p=odds)
        texts = [self._one(int(kind), rng) for kind in kinds]
        kept = [i for i, text in enumerate(texts) if not held_out(text)]
        return [texts[i] for i in kept], np.isin(kinds[kept], (0, 1))

    def _one(self, kind: int, rng: np.random.Generator) -> str:
        dialect = "canonical" if rng.random() < 0.75 else "cloud"
        if kind == 0:
            return self.strings[int(rng.integers(len(self.strings)))]
        if kind == 2:
            return self._child(self.strings[int(rng.integers(len(self.strings)))], rng)
        crystal = self.crystals[int(rng.integers(len(self.crystals)))]
        if kind == 3:
            swap = self._swap(tuple(crystal.composition), rng)
            crystal = crystal.recoloured([swap[element] for element in crystal.colouring])
        return scope_string(crystal, dialect)

    def _child(self, text: str, rng: np.random.Generator) -> str:
        """Returns a `cloud` string with other elements, its sites sometimes in another order."""
        head, sites, amounts = text.split(" | ")
        tokens = amounts.split(" ")
        swap = self._swap(tuple(tokens[::2]), rng)
        pairs = [f"{swap[e]} {x}" for e, x in zip(tokens[::2], tokens[1::2], strict=True)]
        symbols = sites.split(" ")
        if rng.random() < 0.5:
            pairs = [pairs[i] for i in rng.permutation(len(pairs))]
            symbols = [symbols[i] for i in rng.permutation(len(symbols))]
        return f"{head} | {' '.join(symbols)} | {' '.join(pairs)}"

    def _swap(self, elements: tuple[str, ...], rng: np.random.Generator) -> dict[str, str]:
        """Returns another element for each, no two the same."""
        swap: dict[str, str] = {}
        for element in elements:
            odds = self._near[ELEMENTS.index(element)]
            while (other := ELEMENTS[int(np.searchsorted(odds, rng.random()))]) in swap.values():
                pass
            swap[element] = other
        return swap


def held_out(text: str) -> bool:
    """Returns whether a string belongs to the validation split, which its SHA-256 decides."""
    return hashlib.sha256(text.encode()).digest()[0] < HELD_OUT_SHARE * 256


def _swap_odds(strings: Sequence[str]) -> npt.NDArray[np.float64]:
    """Returns cumulative odds of replacing row by column: half by a neighbour, half by any."""
    counts = np.full(len(ELEMENTS), 3.0)
    order = {element: i for i, element in enumerate(ELEMENTS)}
    for text in strings:
        for element in text.rsplit(" | ", 1)[1].split(" ")[::2]:
            counts[order[element]] += 1
    common = np.sqrt(counts)
    column = np.array([_column(number) for number in range(1, len(ELEMENTS) + 1)])
    near = np.exp(-np.abs(column[:, None] - column[None, :])) * common
    near /= near.sum(axis=1, keepdims=True)
    odds = np.cumsum(0.5 * near + 0.5 * common / common.sum(), axis=1)
    odds[:, -1] = 1.0
    return odds


def _column(number: int) -> float:
    from cloudseed.surrogate.scope import _rank

    return _rank(number)[0]


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
        shift, scale = np.nanmean(targets, axis=0), np.nanstd(targets, axis=0) + 1e-3
        fractions = blocks()["fractions"]
        shift[fractions], scale[fractions] = 0.0, 0.15
        return cls(torch.from_numpy(shift), torch.from_numpy(scale))


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

    An interrupted training goes on from `folder/training.pt`, which this function wrote.

    Args:
        corpus: What to train on.
        folder: Receives the checkpoint, `training.csv` and `training.pt`.
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
    step, elapsed = _resume(folder / "training.pt", learner, optimizer)
    rng = np.random.default_rng((recipe.seed, step))
    share = 0.0
    while share < 1.0:
        texts, real = corpus.draw(recipe.chunk, rng)
        totals: dict[str, list[float]] = {}
        for batch in _batches(texts, real, tokenizer, recipe.batch, rng):
            start = time.monotonic()
            share = max(step / recipe.steps, elapsed / (60 * recipe.minutes))
            if share >= 1.0:
                break
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * min(1.0, (step + 1) / recipe.warmup) * _decay(share)
            losses = _losses(learner, batch, scale, rng)
            loss = torch.stack([_WEIGHTS[name] * value for name, value in losses.items()]).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            optimizer.step()
            for name, value in losses.items():
                totals.setdefault(name, []).append(float(value.detach()))
            step += 1
            elapsed += time.monotonic() - start
            progress(share)
        _log(folder / "training.csv", step, elapsed, totals)
        save(learner, tokenizer, folder, dialect)
        torch.save(
            {
                "learner": learner.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "elapsed": elapsed,
            },
            folder / "training.pt",
        )
    return learner


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
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    learner.load_state_dict(state["learner"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["elapsed"])


def _log(path: Path, step: int, elapsed: float, totals: dict[str, list[float]]) -> None:
    row: dict[str, Any] = {"step": step, "seconds": round(elapsed, 1)}
    row |= {name: round(float(np.mean(values)), 5) for name, values in sorted(totals.items())}
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
        states = [
            learner.describe(learner.states(_padded(rows))[:, 0]).numpy()
            for rows in ([row] for row in tokenizer.encode(texts))
        ]
    guessed = np.concatenate(states)
    scores = {}
    for name, part in blocks().items():
        r2 = []
        for y, f in zip(targets[:, part].T, guessed[:, part].T, strict=True):
            known = ~np.isnan(y)
            if known.sum() > 50 and np.std(y[known]) > 1e-6:
                r2.append(np.corrcoef(y[known], f[known])[0, 1] ** 2)
        scores[name] = float(np.mean(r2))
    return scores
