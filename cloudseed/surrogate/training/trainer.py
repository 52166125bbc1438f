"""The training loop: steps, validations, checkpoints, and going on after a kill.

One process or several: `torchrun --nproc_per_node 8 -m cloudseed encoder pretrain ...` starts one
for each GPU of a machine, and so does `accelerate launch`.
What a step does follows from the seed and its number alone, so that a training that was killed and
taken up again ends where an undisturbed one does, but for the rounding of sums.
"""

from __future__ import annotations

import csv
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import nn

from cloudseed.errors import EncoderError, FitError, MissingDependencyError
from cloudseed.surrogate.training.checkpoints import (
    keep_state,
    save_encoder,
    take_up,
    write_facts,
)
from cloudseed.surrogate.training.learner import losses, total
from cloudseed.surrogate.training.lexicon import PAD
from cloudseed.surrogate.training.stream import ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from cloudseed.surrogate.encoder import Pooling
    from cloudseed.surrogate.training.learner import Learner, Scales
    from cloudseed.surrogate.training.recipe import Recipe
    from cloudseed.surrogate.training.stream import Batch

__all__ = ["Outcome", "Run", "Workers", "train", "validate", "workers"]

_LONGEST_PREPARATION = timedelta(hours=24)
_ASK_EVERY = 10
"""Steps after which several processes ask each other whether one was told to stop."""


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

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Returns the mean over the processes, the same for all to the last bit."""
        if self.world == 1:
            return dict(values)
        names = sorted(values)
        mine = torch.tensor([values[name] for name in names], device=self.device)
        shared = self.accelerator.reduce(mine, reduction="mean").tolist()
        return dict(zip(names, shared, strict=True))

    def any(self, asked: bool) -> bool:
        """Returns whether any process was asked; all must call it together."""
        return self.mean({"asked": float(asked)})["asked"] > 0


def workers(precision: str) -> Workers:
    """Joins the other processes, if a launcher started any.

    Raises:
        MissingDependencyError: If accelerate is not installed.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    except ImportError as error:
        raise MissingDependencyError(
            "Training an encoder needs accelerate.", hint="pip install 'cloudseed[train]'"
        ) from error
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_available() else "no"
    # A step without masked strings, or without one of the labels, leaves that head's weights out.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    # The others wait while one prepares the data, which takes hours for millions of structures.
    patient = InitProcessGroupKwargs(timeout=_LONGEST_PREPARATION)
    accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=[unused, patient])
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
    with _alone(folder, team):
        return _train(run, recipe, folder, team, progress, stop)


@contextmanager
def _alone(folder: Path, team: Workers) -> Iterator[None]:
    """Keeps a second training out of a folder."""
    if not team.leads:
        yield
        return
    lock = FileLock(folder / "training.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise EncoderError(
            f"Another training writes to {folder}.", hint="Wait for it, or name another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _train(  # noqa: PLR0917  what `train` was called with
    run: Run,
    recipe: Recipe,
    folder: Path,
    team: Workers,
    progress: Callable[[int, int, float], None],
    stop: Callable[[], bool],
) -> Outcome:
    optimizer = _optimizer(run.learner, recipe)
    binding = _binding(run, recipe, team)
    state = Outcome(**take_up(folder, run.learner, optimizer, binding))
    if state.stopped == "patience" and recipe.patience and state.stale >= recipe.patience:
        return state
    state.stopped = ""
    model, optimizer = team.accelerator.prepare(run.learner, optimizer)
    log = _Log(folder / "training.csv", state.step, team.leads)
    keeper = _Keeper(run, recipe, folder, team, log, binding)
    batches = ahead(run.batches(state.step))
    while not state.stopped and state.step < recipe.steps:
        began = time.monotonic()
        batch = next(batches)
        log.add(_step(_Stepped(run, recipe, team, model, optimizer), batch, state.step))
        state.step += 1
        state.seconds += time.monotonic() - began
        state.tokens += int((batch.tokens != PAD).sum()) * team.world
        if state.step % recipe.validate_every == 0 or state.step == recipe.steps:
            keeper.validated(state, model, optimizer)
        # Several processes stop together, or they would wait for each other for ever.
        elif (team.world == 1 or state.step % _ASK_EVERY == 0) and team.any(stop()):
            state.stopped = "asked"
            keeper.keep(state, optimizer)
        if team.leads:
            progress(state.step, recipe.steps, state.best)
    state.stopped = state.stopped or "steps"
    if team.leads:
        keeper.tell(state)
    return state


def _binding(run: Run, recipe: Recipe, team: Workers) -> dict[str, Any]:
    """Returns what a training that goes on must share with the one that it goes on with."""
    plan = recipe.model_dump(exclude={"steps", "patience", "validate_every"})
    return {**plan, "labels_learned": run.learner.labels, "processes": team.world, **run.facts}


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
    devices = [team.device] if team.device.type == "cuda" else []
    # What is dropped follows from the step's number too, and no global seed is left behind.
    with torch.random.fork_rng(devices=devices), team.accelerator.autocast():
        torch.manual_seed(int(rng.integers(2**31)))
        found = losses(
            model,
            batch,
            run.scales,
            masked=recipe.masked,
            chemistry=recipe.chemistry,
            rng=rng,
            device=team.device,
        )
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
    """Returns the mean of each loss over the validation split, with the same masks each time.

    A label's mean is over the strings that have it; labelled strings are not masked.
    """
    model.eval()
    rng = np.random.default_rng((recipe.seed, 4))
    masked = 0.0 if run.scales.labels is not None else recipe.masked
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    with torch.inference_mode():
        for batch in run.validation:
            found = losses(
                model,
                batch,
                run.scales,
                masked=masked,
                chemistry=recipe.chemistry,
                rng=rng,
                device=team.device,
            )
            known = (~np.isnan(batch.labels)).sum(axis=0)
            many = {
                f"label_{name}": int(n) for name, n in zip(run.learner.labels, known, strict=True)
            }
            for name, value in found.items():
                count = many.get(name, len(batch.groups))
                sums[name] = sums.get(name, 0.0) + float(value) * count
                counts[name] = counts.get(name, 0) + count
    return team.mean({name: sums[name] / counts[name] for name in sums})


@dataclass
class _Keeper:
    """Validates, and keeps what must outlive the process; only the leader writes."""

    run: Run
    recipe: Recipe
    folder: Path
    team: Workers
    log: _Log
    binding: Mapping[str, Any]

    def validated(self, state: Outcome, model: nn.Module, optimizer: Any) -> None:
        """Validates, keeps the best encoder, then the state."""
        found = validate(self.run, model, self.recipe, self.team)
        score = self.run.score(found)
        if not np.isfinite(score):
            raise FitError(
                f"The validation score of step {state.step} is not finite.",
                hint="Lower `rate`, or look at the labels.",
            )
        better = score < state.best
        if better:
            state.best, state.best_step, state.stale = score, state.step, 0
            state.validation = found
        else:
            state.stale += 1
        if self.recipe.patience and state.stale >= self.recipe.patience:
            state.stopped = "patience"
        if better and self.team.leads:
            # Heads, and the towers of labels, read [CLS].
            reads = self.recipe.chemistry or self.run.scales.labels is not None
            pooling: Pooling = "cls" if reads else "mean"
            save_encoder(self.run.learner, self.folder, self._facts(state), pooling)
        self.log.write(state, found, self.recipe.rate_at(state.step))
        self.keep(state, optimizer)

    def keep(self, state: Outcome, optimizer: Any) -> None:
        """Keeps the state of this step."""
        self.team.accelerator.wait_for_everyone()
        if self.team.leads:
            keep_state(
                self.folder,
                self.run.learner,
                optimizer,
                progress=vars(state),
                binding=self.binding,
            )

    def tell(self, state: Outcome) -> None:
        """Writes how it ended beside the encoder, if there is one."""
        if state.best_step:
            write_facts(self.folder, self._facts(state))

    def _facts(self, state: Outcome) -> dict[str, Any]:
        return {**self.run.facts, "recipe": self.recipe.model_dump(), "outcome": vars(state)}


class _Log:
    """`training.csv`: a line per validation. Lines past the step that is taken up are dropped."""

    def __init__(self, path: Path, step: int, leads: bool) -> None:
        self._path = path
        self._leads = leads
        self._since: list[dict[str, Tensor]] = []
        if leads and path.exists():
            with path.open(newline="", encoding="utf-8") as handle:
                rows = [row for row in csv.DictReader(handle) if int(row["step"]) <= step]
            self._path = path.with_suffix(".part")
            self._path.unlink(missing_ok=True)
            for row in rows:
                self._append(row)
            if rows:
                self._path.replace(path)
            else:
                path.unlink()
            self._path = path

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
