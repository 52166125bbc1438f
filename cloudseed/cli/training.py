"""What the commands of `cloudseed encoder` do."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from cloudseed.cli.commands import print_json, stop_signal
from cloudseed.cli.progress import progress_bar
from cloudseed.errors import UsageError
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cloudseed.surrogate.training.trainer import Outcome

__all__ = ["card", "evaluate", "finetune", "pretrain"]

_console = Console(highlight=False)


def pretrain(
    tables: Sequence[Path],
    out: Path,
    recipe: Path | None,
    changes: Mapping[str, Any],
    *,
    children: int,
    data: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Trains an encoder on strings."""
    from cloudseed.surrogate.encoder import available_cores
    from cloudseed.surrogate.training import pretraining, shards
    from cloudseed.surrogate.training.recipe import read_recipe
    from cloudseed.surrogate.training.trainer import workers

    plan = read_recipe(recipe, **changes)
    team = workers(plan.precision)
    _use_threads(threads)
    with progress_bar() as show:
        with team.accelerator.main_process_first():
            prepared = shards.prepare(
                tables,
                data or out / "data",
                limit=plan.shape.limit,
                children=children,
                seed=plan.seed,
                workers=available_cores(),
                progress=show,
            )
        with stop_signal(_tell) as stopping:
            outcome = pretraining.pretrain(
                prepared,
                out,
                plan,
                team,
                progress=lambda step, steps, _: show("training", step, steps),
                stop=stopping,
            )
    if team.leads:
        _close(out, outcome, as_json=as_json, strings=prepared.total, left_out=prepared.left_out)


def finetune(
    start: str,
    tables: Sequence[Path],
    out: Path,
    labels: Sequence[str],
    *,
    campaign: str | None,
    recipe: Path | None,
    changes: Mapping[str, Any],
    rehearse: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Trains an encoder on labels."""
    from cloudseed.surrogate.checkpoint import open_checkpoint
    from cloudseed.surrogate.encoder import available_cores
    from cloudseed.surrogate.training import finetuning, shards
    from cloudseed.surrogate.training.checkpoints import shape_of
    from cloudseed.surrogate.training.labels import read_labelled
    from cloudseed.surrogate.training.recipe import FINETUNING, read_recipe
    from cloudseed.surrogate.training.sources import fingerprint
    from cloudseed.surrogate.training.trainer import workers

    plan = read_recipe(recipe, FINETUNING, **changes)
    tables, columns = _tables(tables, _labels(labels), campaign, out)
    checkpoint = open_checkpoint(start).folder
    prepared = shards.TokenShards.open(rehearse) if rehearse else None
    team = workers(plan.precision)
    _use_threads(threads)
    with progress_bar() as show:
        with team.accelerator.main_process_first():
            labelled = read_labelled(
                tables,
                columns,
                out / "data",
                limit=shape_of(checkpoint).limit,
                workers=available_cores(),
                progress=show,
            )
        facts = {
            "start": start,
            "data": {path.name: fingerprint(path) for path in tables},
            "rehearsed": prepared.sources if prepared else None,
            "before": _training(checkpoint),
        }
        with stop_signal(_tell) as stopping:
            outcome = finetuning.finetune(
                checkpoint,
                labelled,
                out,
                plan,
                team,
                shards=prepared,
                facts=facts,
                progress=lambda step, steps, _: show("training", step, steps),
                stop=stopping,
            )
    if team.leads:
        _close(
            out,
            outcome,
            as_json=as_json,
            strings=len(labelled.strings),
            left_out=labelled.left_out,
        )


def _tables(
    tables: Sequence[Path], columns: dict[str, str], campaign: str | None, out: Path
) -> tuple[Sequence[Path], dict[str, str]]:
    """Adds what a campaign measured to the tables and, where none is asked for, to the labels.

    Raises:
        UsageError: If there is no table or no label.
    """
    if campaign is not None:
        from cloudseed.loop import Workspace
        from cloudseed.loop.reencoding import write_labels

        path = out / "data" / "campaign.csv"
        measured = write_labels(Workspace.find(campaign), path, columns)
        tables, columns = [*tables, path], columns or {name: name for name in measured}
    if not tables or not columns:
        raise UsageError(
            "There is nothing to learn from.",
            hint="Give tables with --label PROPERTY, or --campaign RUN.",
        )
    return tables, columns


def _training(checkpoint: Path) -> Any:
    path = checkpoint / "training.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _labels(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, _, column = text.partition("=")
        if not name or name in found:
            raise UsageError(
                f"--label {text!r} names no property of its own.",
                hint="Write --label formation_energy=COLUMN, each property once.",
            )
        found[name] = column or name
    return found


def _use_threads(threads: int) -> None:
    import torch

    from cloudseed.surrogate.encoder import available_cores

    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(threads or max(1, available_cores() // processes))


def _tell(text: str) -> None:
    Console(stderr=True, highlight=False).print(text)


def _close(
    out: Path, outcome: Outcome, *, as_json: bool, strings: int, left_out: Mapping[str, int]
) -> None:
    """Tells how a training ended, and writes the card of what it made."""
    from cloudseed.surrogate.training.card import write_card

    made = (out / "model.safetensors").exists()
    if made:
        write_card(out, shlex.join(["cloudseed", *sys.argv[1:]]))
    rate = outcome.tokens / outcome.seconds if outcome.seconds else 0.0
    if as_json:
        print_json(
            {
                "encoder": str(out) if made else None,
                "strings": strings,
                "left_out": dict(left_out),
                "tokens_per_second": rate,
                **{k: v for k, v in vars(outcome).items() if k != "best" or made},
            }
        )
        return
    for reason, count in left_out.items():
        _console.print(f"left out {count:,} strings: {reason}", markup=False)
    _console.print(
        f"{outcome.step:,} steps, {outcome.tokens:,} tokens, {rate:,.0f} tokens per second;"
        f" stopped: {outcome.stopped}",
        markup=False,
    )
    if made:
        _console.print(
            f"best validation {outcome.best:.4f} at step {outcome.best_step:,}\nwrote {out}",
            markup=False,
        )
    if outcome.stopped == "asked":
        _console.print("the same command goes on", markup=False)


def evaluate(
    name: str,
    tables: Sequence[Path],
    labels: Sequence[str],
    *,
    most: int,
    seed: int,
    as_json: bool,
) -> None:
    """Judges an encoder by what can be read from it."""
    from cloudseed.loop.evaluating import evaluate_encoder

    with progress_bar() as show:
        found = evaluate_encoder(name, tables, _labels(labels), most=most, seed=seed, progress=show)
    if as_json:
        print_json(found.to_json())
        return
    table = Table(
        title=f"{name}: read from frozen embeddings of {found.strings:,} strings by ridge"
        " regression, folds by composition",
        title_justify="left",
    )
    for heading in ("quantity", "strings", "R2", "R2 from composition", "MAE", "MAE of the mean"):
        table.add_column(heading, justify="left" if heading == "quantity" else "right")
    for probe in found.probes:
        unit = unit_of(probe.name) or ""
        table.add_row(
            probe.name.replace("_", " ") + (" *" if probe.seen else ""),
            f"{probe.count:,}",
            f"{probe.r2:.3f}",
            f"{probe.composition_r2:.3f}",
            f"{probe.mae:.4g} {unit}".rstrip(),
            f"{probe.spread:.4g}",
        )
    for block, r2 in found.targets.items():
        table.add_row(f"{block.replace('_', ' ')} (from the string)", "", f"{r2:.3f}", "", "", "")
    _console.print(table)
    if any(probe.seen for probe in found.probes):
        _console.print("* trained on: scored on the tenth that all training leaves out")
    if found.left_out:
        _console.print(f"{found.left_out:,} strings cannot be read by this encoder")


def card(name: str, *, as_json: bool) -> None:
    """Prints a model card."""
    from cloudseed.surrogate.checkpoint import open_checkpoint
    from cloudseed.surrogate.training.card import facts

    known = facts(name)
    if as_json:
        print_json(known)
        return
    path = open_checkpoint(name).folder / "README.md"
    if path.exists():
        from rich.markdown import Markdown

        _console.print(Markdown(path.read_text(encoding="utf-8")))
    table = Table(show_header=False)
    for key, value in known.items():
        if key != "training":
            table.add_row(key, str(value))
    _console.print(table)
