"""Back-tests on real tables: how many experiments it takes to find what is sought.

    python benchmarks/searching.py perovskites elpasolites moduli --seeds 20 --budget 200

Each campaign starts from 20 random rows, `default_rng(seed).permutation(N)[:20]`, and goes on in
batches of five. Runs are kept in `build/searching/TASK.jsonl`, one line per method and seed, so
that the script may be stopped and started again. Methods are cloud, greedy, random, and module:name
of another; `--acquisition`, `--exploration`, `--alarm` and `--recalibrate` are those of a
campaign's `decide`, without an alarm unless asked. `--features X.npy` puts a matrix of one's own,
rows as in the table, in place of the embeddings, and `--label` tells its runs from others.
`--blocks` names the blocks of features, of embedding, elements, sites and one-hot; `--kernel`,
`--ard` and `--whiten` say how models read them; `--encoder untrained` has random weights. Data: the
folder in CLOUDSEED_DATA, default ../shared/data.

| task | sought | hits |
| --- | --- | --- |
| perovskites | heat_all < 0.5 eV/atom and 1.5 <= dir_gap <= 3.0 eV | 17 of 3,787 |
| perovskites-strict | heat_all < 0.2 eV/atom with the same window | 3 |
| perovskites-wide | heat_all < 0.5 eV/atom and dir_gap > 0.5 eV | 48 |
| elpasolites | lowest formation energy | the lowest 1 % of 5,851 |
| elpasolites-share | find lowest 1 % formation_energy | the same, wherever that begins |
| elpasolites-below | all of at most -1.136 eV/atom | the same 59 |
| moduli | highest bulk modulus of the Materials Project rows that have one | the stiffest 1 % |
| moduli-share | find highest 1 % bulk_modulus | the stiffest 1 % |
| front | high bulk modulus and low formation energy, as the peers' task | the Pareto front |
| moduli-above | all of at least 295 GPa | 25: one more, as stiff as the 24th |

The shipped encoder has seen nine tenths of these moduli: give another to `--encoder` for `moduli`.
Its heads are the prior mean where they have seen nothing of the table; `--no-heads` leaves them
out.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from encoder import elpasolites, perovskites
from heat_capacity import untrained
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cloudseed.crystal import Crystal
from cloudseed.loop.backtesting import Backtest, Job, draw, replays
from cloudseed.loop.backtesting.records import Records
from cloudseed.surrogate import (
    BLOCKS,
    CloudEncoder,
    Features,
    Guess,
    Kernel,
    ModelSettings,
    Strategy,
    element_descriptors,
    parse_problem,
    parse_scope,
    scope_string,
    shell_penalties,
    site_descriptors,
    wants_hints,
)
from cloudseed.surrogate import guess as guess_by_heads
from cloudseed.surrogate.backtesting import HIT_SHARE, Conduct, Truth
from cloudseed.surrogate.kernels import Family
from cloudseed.surrogate.scope import ELEMENTS
from cloudseed.surrogate.strategy import ACQUISITIONS

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))
BUILD = Path(__file__).parents[1] / "build" / "searching"
STARTS, BATCH = 20, 5


@dataclass(frozen=True)
class Task:
    """What is sought in which table.

    `share` is None where all that meets the bounds is a hit; `heads` names the encoder's heads that
    predict a property and saw none of the table.
    """

    name: str
    table: str
    objective: str
    constraints: tuple[str, ...] = ()
    share: float | None = None
    heads: tuple[tuple[str, str], ...] = ()

    def truth(self, values: dict[str, np.ndarray]) -> Truth:
        problem = parse_problem(self.objective, self.constraints)
        return Truth.of(problem, values, share=self.share)


# Heats have two decimals, so that 0.499 stands for "below 0.5".
ENERGY = (("formation_energy", "formation_energy"),)
WINDOW = "dir_gap in [1.5, 3.0]"
TASKS = {
    task.name: task
    for task in (
        Task("perovskites", "perovskites", "find all", ("heat_all <= 0.499", WINDOW)),
        Task("perovskites-strict", "perovskites", "find all", ("heat_all <= 0.199", WINDOW)),
        Task(
            "perovskites-wide",
            "perovskites",
            "find all",
            ("heat_all <= 0.499", "dir_gap >= 0.501"),
        ),
        Task("elpasolites", "elpasolites", "min formation_energy", share=HIT_SHARE, heads=ENERGY),
        Task("elpasolites-share", "elpasolites", "find lowest 1 % formation_energy", heads=ENERGY),
        Task(
            "elpasolites-below",
            "elpasolites",
            "find all",
            ("formation_energy <= -1.136",),
            heads=ENERGY,
        ),
        Task("moduli", "moduli", "max bulk_modulus", share=HIT_SHARE),
        Task("moduli-share", "moduli", "find highest 1 % bulk_modulus"),
        Task("front", "front", "max bulk_modulus; min formation_energy"),
        Task("moduli-above", "moduli", "find all", ("bulk_modulus >= 295",)),
    )
}


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("tasks", nargs="+", choices=TASKS)
    arguments.add_argument("--methods", default="cloud,greedy,random")
    arguments.add_argument("--seeds", type=int, default=20)
    arguments.add_argument("--budget", type=int, default=200)
    arguments.add_argument("--arriving", type=int, default=BATCH)
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--encoder", default="cloud-small")
    arguments.add_argument(
        "--pooling", choices=("cls", "mean"), help="as the encoder says if left out"
    )
    arguments.add_argument("--features", type=Path, help="a .npy matrix, for one task")
    arguments.add_argument("--blocks", default=",".join(BLOCKS), help="of features, in order")
    arguments.add_argument("--kernel", default="matern", choices=get_args(Family))
    arguments.add_argument("--ard", action="store_true", help="a length scale per component")
    arguments.add_argument("--whiten", action="store_true", help="scale every component alone")
    arguments.add_argument("--no-hints", action="store_true", help="leave chemistry's prior out")
    arguments.add_argument("--acquisition", default="auto", choices=ACQUISITIONS)
    arguments.add_argument("--beta", type=float, default=4.0, help="of upper_confidence_bound")
    arguments.add_argument("--exploration", type=float, default=0.0)
    arguments.add_argument("--alarm", type=int, default=0, help="a campaign's default is 20")
    arguments.add_argument("--recalibrate", type=int, default=100, help="0 for never")
    arguments.add_argument("--no-heads", action="store_true", help="leave the heads' prior out")
    arguments.add_argument("--starts", type=int, default=STARTS, help="random rows to begin with")
    arguments.add_argument("--kind", default="auto", help="of every property's model")
    arguments.add_argument("--label", default="", help="is appended to the methods' names")
    arguments.add_argument("--out", type=Path, default=BUILD)
    return arguments


def main() -> None:
    arguments = parser()
    options = arguments.parse_args()
    if options.features and len(options.tasks) > 1:
        arguments.error("--features belong to one task")
    for name in options.tasks:
        result = search(TASKS[name], options)
        draw(result, options.out / f"{name}{options.label}")
        report(result)


def search(task: Task, options: argparse.Namespace) -> Backtest:
    """Replays what is not yet kept, and returns all."""
    values, features, hints = pool(task.table, options)
    truth = task.truth(values)
    left_out = options.no_hints and wants_hints(truth.problem)
    if left_out or not wants_hints(truth.problem):
        hints = None
    guesses = guesses_of(task, features, options)
    strategy = Strategy(options.acquisition, options.beta)
    strategy.acquisition_for(truth.problem)
    conduct = Conduct(strategy, options.exploration, options.alarm, options.recalibrate)
    job = Job(
        features,
        truth,
        options.starts,
        "random",
        options.budget,
        BATCH,
        options.arriving,
        hints,
        conduct,
        guesses=guesses,
        models=ModelSettings(options.kind),
    )
    parts = (task, options.budget, options.arriving, BATCH, options.starts, options.kind)
    parts += ("no hints",) if left_out else ()
    parts += ("heads",) if guesses else ()
    parts += (conduct, features.kernel, features.whiten)
    kept = options.out / f"{task.name}.jsonl"
    records = Records(kept, digest_of(parts, features), task.name)
    methods = [m.strip() for m in options.methods.split(",")]
    wanted = [(m, s) for s in range(options.seeds) for m in methods]
    todo = [(m, s) for m, s in wanted if (m + options.label, s) not in records.runs]
    with closing(replays(job, todo, options.workers)) as finished:
        for method, seed, run in track(finished, f"replaying {task.name}", len(todo)):
            records.add(method + options.label, seed, run)
    labelled = [m + options.label for m in methods]
    runs = {m: tuple(records.runs[m, s] for s in range(options.seeds)) for m in labelled}
    return Backtest(task.name, task.table, options.budget, BATCH, options.starts, truth, runs)


def guesses_of(task: Task, features: Features, options: argparse.Namespace) -> dict[str, Guess]:
    """Returns what the encoder's heads predict where they saw nothing of the table."""
    without = options.no_heads or options.features or options.encoder == "untrained"
    if not task.heads or without:
        return {}
    encoder, heads = CloudEncoder.load(options.encoder), dict(task.heads)
    return guess_by_heads(options.encoder, encoder.id, features.first, heads, heads)


def digest_of(parts: tuple[object, ...], features: Features) -> str:
    """Returns a hash of what runs have in common."""
    digest = hashlib.sha256(repr(parts).encode())
    for name, block in features.blocks.items():
        digest.update(name.encode() + np.ascontiguousarray(block).tobytes())
    return digest.hexdigest()[:16]


def report(result: Backtest) -> None:
    """Prints hits on the way, acceleration factors, and how predictions came true."""
    total = len(result.truth.hits)
    table = Table(title=f"{result.name}: {result.hits} hits of {total}", title_justify="left")
    places = sorted({min(n, result.budget) for n in (60, 100, 200, result.budget)})
    heads = [f"hits\nat {n}" for n in places] + ["AF half", "AF 90 %", "AF all"]
    for head in ("method", "runs", *heads, "in 90 %\nintervals", "CPU s per\nchoice"):
        table.add_column(head)
    for name, figures in result.figures.items():
        found = figures.curves.found
        cells = [f"{found.mean[n - 1]:.1f}" for n in places]
        cells += [a.text for a in figures.accelerations]
        covered = ", ".join(f"{f.coverage90:.2f}" for f in figures.foresight)
        table.add_row(name, str(figures.runs), *cells, covered, f"{figures.cpu_seconds:.2f}")
    cells = [f"{n * result.hits / total:.2f}" for n in places]
    needed = [f"{a.random:.0f} exp." for a in next(iter(result.figures.values())).accelerations]
    table.add_row("random, exact", "", *cells, *needed, style="dim")
    Console(highlight=False, width=120).print(table)


def pool(
    name: str, options: argparse.Namespace
) -> tuple[dict[str, np.ndarray], Features, np.ndarray | None]:
    """Returns values by property, features and hints; what is slow to make is kept on disk."""
    kernel = Kernel(options.kernel, options.ard)
    if options.features:
        matrix = np.load(options.features, allow_pickle=False)
        return READERS[name]()[1], Features({"own": matrix}, kernel, options.whiten), None
    encoder = load_encoder(options.encoder, options.pooling)
    strings, values = kept_strings(name, encoder.dialect, options.out)
    blocks: dict[str, np.ndarray] = {}
    for block in options.blocks.split(","):
        if block == "embedding":
            blocks[block] = embeddings(name, encoder, strings, options.out)
        elif block == "sites":
            found = kept_sites(name, options.out)
            blocks |= {f"sites {role + 1}": found[:, role] for role in range(found.shape[1])}
        else:
            blocks[block] = MAKERS[block](strings)
    return values, Features(blocks, kernel, options.whiten), -shell_penalties(strings)


def load_encoder(name: str, pooling: str | None = None) -> CloudEncoder:
    """Loads an encoder; `untrained` is the shipped shape with random weights."""
    if name != "untrained":
        return CloudEncoder.load(name, pooling=pooling)
    return replace(untrained(CloudEncoder.load("cloud-small"), 0), id=name)


def kept_strings(name: str, dialect: str, out: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Returns SCOPE strings and values of a table."""
    kept = out / f"{name}-{dialect}.npz"
    if not kept.exists():
        crystals, values = READERS[name]()
        strings = [scope_string(c, dialect) for c in crystals()]
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, strings=np.array(strings), **values)
    with np.load(kept, allow_pickle=False) as file:
        values = {key: file[key] for key in file if key != "strings"}
        return file["strings"].tolist(), values


def embeddings(name: str, encoder: CloudEncoder, strings: list[str], out: Path) -> np.ndarray:
    """Returns the embeddings of a table."""
    kept = out / f"{name}-{encoder.id[:16]}.npy"
    if not kept.exists():
        np.save(kept, encoder.embed(strings))
    return np.load(kept, allow_pickle=False)


def kept_sites(name: str, out: Path) -> np.ndarray:
    """Returns the site descriptors of a table, N x roles x p."""
    kept = out / f"{name}-sites.npy"
    if not kept.exists():
        np.save(kept, site_descriptors(READERS[name]()[0]()))
    return np.load(kept, allow_pickle=False)


def one_hot(strings: list[str]) -> np.ndarray:
    """Returns atomic fractions, N x 118, and after them the space group, N x 230."""
    found = np.zeros((len(strings), len(ELEMENTS) + 230))
    for row, string in zip(found, strings, strict=True):
        scope = parse_scope(string)
        for element, amount in scope.composition:
            row[ELEMENTS.index(element)] = amount
        row[len(ELEMENTS) + scope.space_group - 1] = 1.0
    return found


def read_perovskites():
    path = DATA / "perov5_dev.csv.gz"
    table = pd.read_csv(path)
    values = {key: table[key].to_numpy(dtype=float) for key in ("heat_all", "dir_gap")}
    return lambda: perovskites(path)[0], values


def read_elpasolites():
    path = DATA / "elpasolite_dev.csv.gz"
    energies = pd.read_csv(path)["formation_energy_per_atom"].to_numpy(dtype=float)
    return lambda: elpasolites(path, count=len(energies))[0], {"formation_energy": energies}


def read_moduli():
    from pymatgen.core import Structure

    table = pd.concat([pd.read_csv(DATA / f"mp_structures_{i}.csv.gz") for i in range(4)])
    table = table[table["bulk_modulus_vrh"].notna() & table["formation_energy_per_atom"].notna()]
    values = {
        "bulk_modulus": table["bulk_modulus_vrh"].to_numpy(dtype=float),
        "formation_energy": table["formation_energy_per_atom"].to_numpy(dtype=float),
    }

    def crystals():
        structures = (Structure.from_str(text, fmt="cif") for text in table["cif"])
        return [Crystal.from_structure(s) for s in structures]

    return crystals, values


MAKERS = {"elements": element_descriptors, "one-hot": one_hot}
READERS = {
    "perovskites": read_perovskites,
    "elpasolites": read_elpasolites,
    "moduli": read_moduli,
    "front": read_moduli,
}


if __name__ == "__main__":
    main()
