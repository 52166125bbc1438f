"""Pre-training: from prepared strings to an encoder that says what a string is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from cloudseed.surrogate.training.learner import WEIGHTS, Learner, Scale, Scales
from cloudseed.surrogate.training.lexicon import Lexicon, pad
from cloudseed.surrogate.training.stream import Batch, Stream, batch_of
from cloudseed.surrogate.training.targets import describe
from cloudseed.surrogate.training.trainer import Outcome, Run, Workers, train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cloudseed.surrogate.training.recipe import Recipe
    from cloudseed.surrogate.training.shards import Shard, TokenShards

__all__ = ["pretrain", "rehearsal", "target_scale", "validation_batches"]

_SCALE_ROWS = 8_192
_VALIDATION_BATCH = 256


def pretrain(
    shards: TokenShards,
    folder: Path,
    recipe: Recipe,
    team: Workers,
    *,
    progress: Callable[[int, int, float], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Trains an encoder by masked tokens and physics-informed targets; goes on where it was.

    Args:
        shards: What to train on.
        folder: Receives the checkpoint; see `train`.
        recipe: Shape and schedule.
        team: The processes.
        progress: Told the steps done, the steps in all and the best validation score.
        stop: Asked after every step whether to stop.

    Returns:
        How far it came.
    """
    lexicon = Lexicon(shards.limit)
    torch.manual_seed(recipe.seed)
    scale = target_scale(shards, lexicon)
    learner = Learner(recipe.shape, lexicon.size, len(scale.shift), dropout=recipe.dropout)
    run = Run(
        learner=learner,
        batches=rehearsal(shards, lexicon, recipe, team),
        validation=validation_batches(shards.read_validation(), lexicon),
        scales=Scales(scale),
        score=_score,
        facts={"kind": "pretraining", "data": shards.sources, "strings": shards.total},
    )
    return train(run, recipe, folder, team, progress=progress, stop=stop)


def _score(found: Mapping[str, float]) -> float:
    return sum(WEIGHTS[name] * value for name, value in found.items())


def rehearsal(shards: TokenShards, lexicon: Lexicon, recipe: Recipe, team: Workers) -> Stream:
    """Returns the stream of this process."""
    return Stream(shards, lexicon, recipe.batch, recipe.seed, team.rank, team.world)


def target_scale(shards: TokenShards, lexicon: Lexicon) -> Scale:
    """Returns the scale of the targets, from the first strings of the first shard."""
    shard = shards.read(0)
    index = np.arange(min(len(shard), _SCALE_ROWS))
    return Scale.of_targets(describe(pad(shard.rows(index)), lexicon))


def validation_batches(shard: Shard, lexicon: Lexicon) -> list[Batch]:
    """Returns all strings of a shard, those of like length together."""
    order = np.argsort(np.diff(shard.offsets), kind="stable")
    pieces = [order[i : i + _VALIDATION_BATCH] for i in range(0, len(order), _VALIDATION_BATCH)]
    return [
        batch_of(pad(shard.rows(piece)), shard.groups[piece], shard.real[piece], lexicon)
        for piece in pieces
    ]
