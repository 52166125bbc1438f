"""Ablations: what searches lose or gain where one thing differs from the defaults.

    python benchmarks/ablations.py --seeds 5 --encoder masked=encoders/masked

Every row is a search by `searching.py` with one thing changed: the features, the encoder, the
kernel, the scale of components, the acquisition or the exploration share. Runs are kept, one line
per seed, in `build/ablations/TASK.jsonl`, so that the script may be stopped and started again, or
another process may take other tasks or `--rows`. The shipped encoder has seen nine tenths of the
moduli: there the encoder of 0.1.0 takes its place, which was trained on no measured property; it is
taken from this repository's history, or from the folder in `--encoder 0.1.0=folder`. Other encoders
are rows too: `--encoder name=folder`, or `name=folder:mean` for the mean over tokens, as suits one
that was trained on masked tokens alone. One that was trained on moduli says nothing there. Data:
the folder in CLOUDSEED_DATA, default ../shared/data.
"""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from searching import TASKS, parser, search

if TYPE_CHECKING:
    from cloudseed.loop.backtesting import Backtest

BUILD = Path(__file__).parents[1] / "build" / "ablations"
SHIPPED = "cloudseed/surrogate/weights/cloud-small"
#: The commit of the release 0.1.0, whose encoder was trained on no measured property.
FIRST_RELEASE = "70b4749"
FILES = (
    "README.md",
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "vocab.txt",
)
DEFAULT_TASKS = ("perovskites", "elpasolites-below", "moduli")
#: Experiments per run: enough for the defaults to find half of the hits.
BUDGETS = {"perovskites": 110, "elpasolites-below": 80, "elpasolites": 150, "moduli": 80}


@dataclass(frozen=True)
class Row:
    """One difference from the defaults.

    Attributes:
        group: What differs.
        name: How it differs; names runs.
        flags: Of `searching.py`.
    """

    group: str
    name: str
    flags: tuple[str, ...] = ()

    def applies(self, task: str) -> bool:
        """Tells whether a task's searches can differ by it."""
        finds = TASKS[task].objective.startswith("find")
        allowed = {
            "none": task.startswith("perovskites"),
            # Its structures are too unlike to have kinds of sites in common.
            "without sites": not task.startswith("moduli"),
            "sites alone": not task.startswith("moduli"),
            "0.1.0": not task.startswith("moduli"),
            "upper confidence bound": not finds,
            "level set": finds,
        }
        return allowed.get(self.name, True)


ROWS = (
    Row("defaults", "defaults"),
    Row("features", "without sites", ("--blocks", "embedding,elements")),
    Row("features", "sites alone", ("--blocks", "sites")),
    Row("features", "embedding alone", ("--blocks", "embedding")),
    Row("features", "elements alone", ("--blocks", "elements")),
    Row("features", "one-hot alone", ("--blocks", "one-hot")),
    Row("features", "one-hot and elements", ("--blocks", "one-hot,elements")),
    Row("encoder", "untrained", ("--encoder", "untrained")),
    Row("kernel", "ARD", ("--ard",)),
    Row("kernel", "RBF", ("--kernel", "rbf")),
    Row("kernel", "RBF ARD", ("--kernel", "rbf", "--ard")),
    Row("kernel", "linear", ("--kernel", "linear")),
    Row("scale", "each component", ("--whiten",)),
    Row("acquisition", "posterior mean", ("--methods", "greedy")),
    Row("acquisition", "upper confidence bound", ("--acquisition", "upper_confidence_bound")),
    Row("acquisition", "level set", ("--acquisition", "level_set")),
    Row("acquisition", "information", ("--acquisition", "information")),
    Row("acquisition", "Thompson", ("--acquisition", "thompson")),
    Row("exploration", "a tenth", ("--exploration", "0.1")),
    Row("exploration", "a fifth", ("--exploration", "0.2")),
    Row("gap hints", "none", ("--no-hints",)),
)


def main() -> None:
    options = arguments().parse_args()
    encoders = dict(text.split("=", 1) for text in options.encoder)
    encoders.setdefault("0.1.0", str(options.out / "encoder-0.1.0"))
    if not Path(encoders["0.1.0"]).exists():
        take_first_release(Path(encoders["0.1.0"]))
    rows = [*ROWS, *(Row("encoder", n, encoder_flags(at)) for n, at in encoders.items())]
    if options.rows:
        rows = [row for row in rows if {row.name, row.group} & set(options.rows)]
    for task in options.tasks:
        kept = []
        for row in rows:
            found = run(task, row, encoders["0.1.0"], options) if row.applies(task) else None
            if found is not None:
                kept.append((row, found))
        if kept:
            report(task, kept, options.out / f"{task}.md")


def arguments() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("--tasks", nargs="+", default=DEFAULT_TASKS, choices=TASKS)
    found.add_argument("--seeds", type=int, default=20)
    found.add_argument("--workers", type=int, default=1)
    found.add_argument("--rows", nargs="+", help="names or groups; all by default")
    found.add_argument("--encoder", nargs="+", default=[], metavar="NAME=FOLDER")
    found.add_argument("--out", type=Path, default=BUILD)
    return found


def encoder_flags(folder: str) -> tuple[str, ...]:
    """Returns the flags for a folder, which may end in ":mean"."""
    plain = folder.removesuffix(":mean")
    return ("--encoder", plain) if plain == folder else ("--encoder", plain, "--pooling", "mean")


def run(task: str, row: Row, label_free: str, options: argparse.Namespace) -> Backtest | None:
    """Runs a row's searches, or takes them from where they are kept."""
    print(f"{task}: {row.group}, {row.name}", flush=True)
    flags = [task, "--methods", "cloud", "--seeds", str(options.seeds), "--out", str(options.out)]
    flags += ["--budget", str(BUDGETS.get(task, 200)), "--workers", str(options.workers)]
    if task.startswith("moduli"):
        flags += ["--encoder", label_free]
    # Later flags take the place of earlier ones.
    found, unknown = parser().parse_known_args([*flags, f"--label=, {row.name}", *row.flags])
    if unknown:
        print(f"  left out: searching.py does not know {unknown[0]}", flush=True)
        return None
    return search(TASKS[task], found)


def take_first_release(folder: Path) -> None:
    """Writes the encoder of 0.1.0 from this repository's history."""
    made = folder.with_suffix(".part")
    made.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        command = ["git", "show", f"{FIRST_RELEASE}:{SHIPPED}/{name}"]
        shown = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, check=False)
        if shown.returncode:
            raise SystemExit(f"{shown.stderr.decode()}Give --encoder 0.1.0=FOLDER.")
        (made / name).write_bytes(shown.stdout)
    made.replace(folder)


def report(task: str, kept: list[tuple[Row, Backtest]], path: Path) -> None:
    """Prints a table of all rows, and writes it as Markdown."""
    budget = kept[0][1].budget
    places = [n for n in (60, 100, 150, 200) if n <= budget]
    heads = ["what differs", "how", "runs", *(f"hits at {n}" for n in places)]
    heads += ["AF to half (95 %)", "in 90 % intervals"]
    lines = []
    for row, result in kept:
        (figures,) = result.figures.values()
        half = figures.accelerations[0]
        band = " to ".join(f"{edge:.1f}" for edge in half.interval)
        found = figures.curves.found
        spread = [f"{found.mean[n - 1]:.1f}" for n in places]
        covered = ", ".join(f"{f.coverage90:.2f}" for f in figures.foresight)
        lines.append(
            [row.group, row.name, str(figures.runs), *spread, f"{half.text} ({band})", covered]
        )
    title = f"{task}: {kept[0][1].hits} hits of {len(kept[0][1].truth.hits)}"
    table = Table(*heads, title=title, title_justify="left")
    for line in lines:
        table.add_row(*line)
    Console(highlight=False, width=140).print(table)
    text = [f"**{title}**", "", " | ".join(heads), " | ".join("---" for _ in heads)]
    text += [" | ".join(line) for line in lines]
    path.write_text("\n".join(f"| {t} |" if " | " in t else t for t in text) + "\n")


if __name__ == "__main__":
    main()
