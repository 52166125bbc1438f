"""The training loop: steps, validations, checkpoints, and going on after a kill.

One process or several: `torchrun --nproc_per_node 8 -m cloudseed encoder pretrain ...` starts one
for each GPU of a machine, and so does `accelerate launch`.
What a step does follows from the seed and its number alone, so that a training that was killed and
taken up again ends where an undisturbed one does, but for the rounding of sums.
"""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from cloudseed.errors import MissingDependencyError
from cloudseed.surrogate.training.checkpoints import keep_state, save_encoder, take_up
from cloudseed.surrogate.training.learner import losses, total
from cloudseed.surrogate.training.stream import ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from cloudseed.surrogate.training.learner import Learner, Scales
    from cloudseed.surrogate.training.recipe import Recipe
    from cloudseed.surrogate.training.stream import Batch

__all__ = ["Outcome", "Run", "Workers", "train", "validate", "workers"]


@dataclass(frozen=True)
class Workers:
    """The processes that train together.

    Attributes:
        accelerator: Accelerate's own object.
        rank: Which of them this is.
        world: How many there are.
    """

    accelerator: Any
    rank: int
    world: int

    @property
    def leads(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return torch.device(self.accelerator.device)


def workers(precision: str) -> Workers:
    """Joins the other processes, if a launcher started any.

    Raises:
        MissingDependencyError: If accelerate is not installed.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise MissingDependencyError(
            "Training an encoder needs accelerate.", hint="pip install 'cloudseed[train]'"
        ) from error
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_available() else "no"
    # A step without masked strings, or without one of the labels, leaves that head's weights out.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=[unused])
    return Workers(accelerator, accelerator.process_index, accelerator.num_processes)


@dataclass(frozen=True)
class Run:
    """What is trained on what.

    Attributes:
        learner: The encoder with its heads.
        batches: Yields batches, without the first so many.
        validation: Batches that are never trained on.
        scales: Scales of what its heads say.
        score: What of the validation losses is to become small.
        facts: What a checkpoint should tell of its training; JSON values.
    """

    learner: Learner
    batches: Callable[[int], Iterator[Batch]]
    validation: Sequence[Batch]
    scales: Scales
    score: Callable[[Mapping[str, float]], float]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Outcome:
    """How far a training has come.

    Attributes:
        step: Steps done.
        best: Best validation score; infinity before the first.
        best_step: When it was reached.
        stale: Validations since then.
        seconds: Time spent in steps.
        tokens: Tokens seen by all processes.
        validation: Losses of the best validation, by name.
        stopped: Why training ended: "steps", "patience" or "asked"; "" while it goes on.
    """

    step: int = 0
    best: float = float("inf")
    best_step: int = 0
    stale: int = 0
    seconds: float = 0.0
    tokens: int = 0
    validation: dict[str, float] = field(default_factory=dict)
    stopped: str = ""


def train(
    run: Run,
    recipe: Recipe,
    folder: Path,
    team: Workers,
    *,
    progress: Callable[[int, int, float], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Trains to the end, from where the folder's training stands.

    Args:
        run: What is trained on what.
        recipe: Schedule.
        folder: Receives the best checkpoint so far, `training.csv`, `training.json` and
            `training.safetensors`, which holds all that a later process needs to go on.
        team: The processes.
        progress: Told the steps done, the steps in all and the last validation's score.
        stop: Asked after every step whether to stop; what was done is kept.

    Returns:
        How far it came. The folder holds the encoder of the best validation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = _optimizer(run.learner, recipe)
    state = Outcome(**take_up(folder, run.learner, optimizer))
    state.stopped = ""
    model, optimizer = team.accelerator.prepare(run.learner, optimizer)
    log = _Log(folder / "training.csv", state.step, team.leads)
    keeper = _Keeper(run, recipe, folder, team, log)
    batches = ahead(run.batches(state.step))
    while not state.stopped and state.step < recipe.steps:
        began = time.monotonic()
        batch = next(batches)
        log.add(_step(_Stepped(run, recipe, team, model, optimizer), batch, state.step))
        state.step += 1
        state.seconds += time.monotonic() - began
        state.tokens += batch.tokens.size * team.world
        if state.step % recipe.validate_every == 0 or state.step == recipe.steps:
            keeper.validated(state, model, optimizer)
            if recipe.patience and state.stale >= recipe.patience:
                state.stopped = "patience"
        # Several processes stop together or wait for each other for ever.
        elif team.world == 1 and stop():
            state.stopped = "asked"
            keeper.keep(state, optimizer)
        if team.leads:
            progress(state.step, recipe.steps, state.best)
    state.stopped = state.stopped or "steps"
    return state


class _Stepped(NamedTuple):
    run: Run
    recipe: Recipe
    team: Workers
    model: nn.Module
    optimizer: Any


def _step(what: _Stepped, batch: Batch, number: int) -> dict[str, Tensor]:
    """Takes one step; returns its losses."""
    run, recipe, team, model, optimizer = what
    for group in optimizer.param_groups:
        group["lr"] = recipe.rate_at(number)
    rng = np.random.default_rng((recipe.seed, 3, number, team.rank))
    model.train()
    with team.accelerator.autocast():
        found = losses(model, batch, run.scales, masked=recipe.masked, rng=rng, device=team.device)
    optimizer.zero_grad()
    team.accelerator.backward(total(found, recipe.labels))
    team.accelerator.clip_grad_norm_(model.parameters(), recipe.clip)
    optimizer.step()
    return {name: value.detach() for name, value in found.items()}


def _optimizer(learner: Learner, recipe: Recipe) -> torch.optim.Optimizer:
    plain = [p for p in learner.parameters() if p.ndim < 2]
    decayed = [p for p in learner.parameters() if p.ndim >= 2]
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=recipe.rate,
        betas=(0.9, 0.98),
    )


def validate(run: Run, model: nn.Module, recipe: Recipe, team: Workers) -> dict[str, float]:
    """Returns the mean of each loss over the validation split, with the same masks each time."""
    model.eval()
    rng = np.random.default_rng((recipe.seed, 4))
    sums: dict[str, float] = {}
    weights: dict[str, int] = {}
    with torch.inference_mode():
        for batch in run.validation:
            found = losses(
                model, batch, run.scales, masked=recipe.masked, rng=rng, device=team.device
            )
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch.groups)
                weights[name] = weights.get(name, 0) + len(batch.groups)
    return {name: sums[name] / weights[name] for name in sums}


@dataclass
class _Keeper:
    """Validates, and keeps what must outlive the process; only the leader writes."""

    run: Run
    recipe: Recipe
    folder: Path
    team: Workers
    log: _Log

    def validated(self, state: Outcome, model: nn.Module, optimizer: Any) -> None:
        """Validates, keeps the best encoder, then the state."""
        found = validate(self.run, model, self.recipe, self.team)
        score = self.run.score(found)
        better = score < state.best
        if better:
            state.best, state.best_step, state.stale = score, state.step, 0
            state.validation = found
        else:
            state.stale += 1
        if better and self.team.leads:
            facts = {**self.run.facts, "recipe": self.recipe.model_dump(), "outcome": vars(state)}
            save_encoder(self.run.learner, self.folder, facts)
        self.log.write(state, found, self.recipe.rate_at(state.step))
        self.keep(state, optimizer)

    def keep(self, state: Outcome, optimizer: Any) -> None:
        """Keeps the state of this step."""
        self.team.accelerator.wait_for_everyone()
        if self.team.leads:
            keep_state(self.folder, self.run.learner, optimizer, vars(state))


class _Log:
    """`training.csv`: a line per validation. Lines past the step that is taken up are dropped."""

    def __init__(self, path: Path, step: int, leads: bool) -> None:
        self._path = path
        self._leads = leads
        self._since: list[dict[str, Tensor]] = []
        if leads and path.exists():
            with path.open(newline="", encoding="utf-8") as handle:
                rows = [row for row in csv.DictReader(handle) if int(row["step"]) <= step]
            path.unlink()
            for row in rows:
                self._append(row)

    def add(self, found: dict[str, Tensor]) -> None:
        """Takes the losses of one step."""
        self._since.append(found)

    def write(self, state: Outcome, validation: Mapping[str, float], rate: float) -> None:
        """Writes the mean losses since the last line beside those of the validation."""
        row: dict[str, Any] = {
            "step": state.step,
            "seconds": round(state.seconds, 1),
            "tokens": state.tokens,
            "rate": f"{rate:.3g}",
        }
        for name, value in validation.items():
            mine = [found[name] for found in self._since if name in found]
            row[f"train_{name}"] = round(float(torch.stack(mine).mean()), 5) if mine else ""
            row[f"validation_{name}"] = round(value, 5)
        self._since.clear()
        if self._leads:
            self._append(row)

    def _append(self, row: Mapping[str, Any]) -> None:
        new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
