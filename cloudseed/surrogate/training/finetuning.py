"""Fine-tuning: an encoder that has read many strings learns what was measured or computed.

Every label has a tower of its own on [CLS], and a gap costs nothing. Half of the batches still come
from pre-training's strings with their physics-informed targets, and labelled strings keep theirs,
so that the encoder does not forget which element sits where for the sake of the labels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from cloudseed.errors import InputError
from cloudseed.surrogate.training.checkpoints import load_weights, shape_of
from cloudseed.surrogate.training.labels import Labelled, LabelledBatches
from cloudseed.surrogate.training.learner import Learner, Scale, Scales
from cloudseed.surrogate.training.lexicon import Lexicon, pad
from cloudseed.surrogate.training.pretraining import rehearsal, target_scale
from cloudseed.surrogate.training.targets import describe
from cloudseed.surrogate.training.trainer import Outcome, Run, Workers, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cloudseed.surrogate.training.recipe import Recipe
    from cloudseed.surrogate.training.shards import TokenShards
    from cloudseed.surrogate.training.stream import Batch

__all__ = ["finetune"]


def finetune(
    checkpoint: Path | None,
    labelled: Labelled,
    folder: Path,
    recipe: Recipe,
    team: Workers,
    *,
    shards: TokenShards | None = None,
    facts: Mapping[str, object] | None = None,
    progress: Callable[[int, int, float], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Trains an encoder on labels; goes on where it was.

    The held-out tenth is not looked at, and the validation tenth only to stop.

    Args:
        checkpoint: Folder of the encoder to begin with; None for random weights of the recipe's
            shape.
        labelled: Strings with labels, all splits.
        folder: Receives the checkpoint; see `train`.
        recipe: Schedule; its shape counts only without a checkpoint.
        team: The processes.
        shards: Strings of pre-training to rehearse; None for none.
        facts: What the checkpoint should tell of its data.
        progress: Told the steps done, the steps in all and the best validation score.
        stop: Asked after every step whether to stop.

    Returns:
        How far it came.

    Raises:
        EncoderError: If the checkpoint cannot be taken up.
    """
    shape = recipe.shape if checkpoint is None else shape_of(checkpoint)
    lexicon = Lexicon(shape.limit)
    torch.manual_seed(recipe.seed)
    trained, validated = labelled.trained, labelled.validated
    _check_parts(trained, validated, labelled.asked)
    batches = LabelledBatches(trained, lexicon, recipe.batch, recipe.seed + team.rank)
    scale = target_scale(shards, lexicon) if shards else _scale(trained, lexicon)
    learner = Learner(
        shape, lexicon.size, len(scale.shift), labels=labelled.names, dropout=recipe.dropout
    )
    if checkpoint is not None:
        load_weights(checkpoint, learner)
    share = recipe.rehearsal if shards else 0.0
    stream = rehearsal(shards, lexicon, recipe, team) if shards else None
    run = Run(
        learner=learner,
        batches=lambda taken: _mixed(batches, stream, share, taken, len(labelled.names)),
        validation=LabelledBatches(validated, lexicon, recipe.batch, recipe.seed).all(),
        scales=Scales(scale, Scale.of(trained.values, floor=1e-6), labelled.names),
        score=lambda found: _score(found, labelled.asked),
        facts={"kind": "fine-tuning", "labels": list(labelled.names), **(facts or {})},
    )
    return train(run, recipe, folder, team, progress=progress, stop=stop)


def _check_parts(trained: Labelled, validated: Labelled, asked: Sequence[str]) -> None:
    for part, task in ((trained, "train on"), (validated, "validate on")):
        columns = [part.names.index(name) for name in asked]
        if not len(part.strings) or np.isnan(part.values[:, columns]).all():
            raise InputError(
                f"No labelled string is left to {task}.",
                hint="Of all compositions a tenth is held out and a tenth validates: give more.",
            )


def _score(found: Mapping[str, float], asked: Sequence[str]) -> float:
    """Returns the mean over the labels that were asked for and that validation strings have."""
    return float(np.mean([found[f"label_{n}"] for n in asked if f"label_{n}" in found]))


def _scale(labelled: Labelled, lexicon: Lexicon) -> Scale:
    return Scale.of_targets(describe(pad(lexicon.tokenizer.encode(labelled.strings)), lexicon))


def _mixed(
    batches: LabelledBatches,
    stream: Callable[[int], Iterator[Batch]] | None,
    share: float,
    taken: int,
    labels: int,
) -> Iterator[Batch]:
    """Yields labelled batches and those to rehearse in turn, without the first `taken` ones."""
    rehearsed = int(taken * share)
    old = stream(rehearsed) if stream is not None and share > 0 else None
    step = taken
    while True:
        if old is not None and int((step + 1) * share) > rehearsed:
            rehearsed += 1
            yield _unlabelled(next(old), labels)
        else:
            yield batches(step - rehearsed)
        step += 1


def _unlabelled(batch: Batch, labels: int) -> Batch:
    gaps = np.full((len(batch.groups), labels), np.nan, dtype=np.float32)
    return replace(batch, labels=gaps)
