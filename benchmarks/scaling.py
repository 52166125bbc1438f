"""How the loss of masked tokens falls with data and with parameters.

    python benchmarks/scaling.py

Pre-trains small encoders on parts of the strings in `scope_pretrain.csv.gz` and on encoders of
several widths, each for the same number of steps, and looks at the same validation compositions.
Fits loss = c n^-a to each series, and loss = l + c n^-a where five points allow it. Published
exponents: .45 for data, .55 for parameters (Xu, Zhu & Viswanathan, 2026), at a thousand times the
compute: these here say whether the trainer behaves, not what a large encoder would reach.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.optimize import curve_fit

from cloudseed.surrogate.training.lexicon import Lexicon
from cloudseed.surrogate.training.pretraining import pretrain
from cloudseed.surrogate.training.recipe import Recipe, read_recipe
from cloudseed.surrogate.training.shards import TokenShards, prepare
from cloudseed.surrogate.training.trainer import workers

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(1)
    table = pd.read_csv(options.data / "scope_pretrain.csv.gz").drop_duplicates("scope")
    order = np.random.default_rng(0).permutation(len(table))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = shards_of(table, folder / "whole")
        size = Lexicon(64).size
        print("series,strings,parameters,steps,masked_loss,best_step", flush=True)
        rows: dict[str, list[tuple[float, float]]] = {"data": [], "parameters": []}
        for count in options.counts:
            part = shards_of(table.iloc[order[:count]], folder / str(count))
            plan = recipe(options, max(options.widths))
            loss = run("data", part, whole, plan, folder / f"d{count}")
            rows["data"].append((part.total, loss))
        for width in options.widths:
            plan = recipe(options, width)
            loss = run("parameters", whole, whole, plan, folder / f"p{width}")
            rows["parameters"].append((plan.shape.parameters(size), loss))
            if width == max(options.widths):
                rows["data"].append((whole.total, loss))
    for series, points in rows.items():
        report(series, np.array(points))


def recipe(options: argparse.Namespace, width: int) -> Recipe:
    return read_recipe(
        None,
        steps=options.steps,
        batch=64,
        rate=2e-3,
        warmup=100,
        validate_every=options.steps // 6,
        layers=2,
        hidden=width,
        heads=max(1, width // 16),
        intermediate=2 * width,
    )


def shards_of(table: pd.DataFrame, folder: Path) -> TokenShards:
    folder.mkdir(parents=True, exist_ok=True)
    table[["scope"]].to_parquet(folder / "strings.parquet")
    return prepare([folder / "strings.parquet"], folder / "data")


def run(series: str, shards: TokenShards, whole: TokenShards, plan: Recipe, out: Path) -> float:
    """Trains on some shards and validates on the whole's validation split."""
    target = shards.folder / "validation.parquet"
    target.write_bytes((whole.folder / "validation.parquet").read_bytes())
    ended = pretrain(shards, out, plan, workers("no"))
    frame = pd.read_csv(out / "training.csv")
    best = frame.loc[frame["validation_masked"].idxmin()]
    loss = float(best["validation_masked"])
    parameters = plan.shape.parameters(Lexicon(64).size)
    print(
        f"{series},{shards.total},{parameters},{ended.step},{loss:.4f},{int(best['step'])}",
        flush=True,
    )
    return loss


def report(series: str, points: np.ndarray) -> None:
    n, loss = points[np.argsort(points[:, 0])].T
    slope, _ = np.polyfit(np.log(n), np.log(loss), 1)
    line = f"{series}: loss = c n^-{-slope:.3f}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            law = curve_fit(
                lambda x, floor, c, a: floor + c * (x / n[0]) ** -a,
                n,
                loss,
                p0=(0.5 * loss.min(), loss[0] - 0.5 * loss.min(), 0.5),
                bounds=([0, 0, 0.01], [loss.min(), 10, 3]),
            )[0]
            line += f"; loss = {law[0]:.3f} + {law[1]:.3f} (n / {n[0]:.0f})^-{law[2]:.2f}"
        except RuntimeError:
            line += "; no fit with a floor"
    print(line, flush=True)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--counts", type=int, nargs="+", default=[60, 200, 600, 2_000])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 48, 64, 96])
    parser.add_argument("--steps", type=int, default=900)
    return parser


if __name__ == "__main__":
    main()
