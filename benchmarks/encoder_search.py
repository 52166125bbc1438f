"""Chooses the shipped encoder: what searches find that stand on each one's embeddings.

    python benchmarks/encoder_search.py --encoders cloud-small build/other untrained composition

Two searches by the campaign's own Gaussian process, 20 random starts, then batches of 5, without
looking ahead: perovskites (Castelli et al., 2012) with a formation energy below 0.5 eV/atom and a
direct gap of 1.5 to 3 eV, 17 of 3,787, by the probability that both hold; and the 1 % of lowest
formation energy among elpasolites (Faber et al., 2016), by the mean less one standard deviation.
Prints the hits after so many experiments, means over seeds, and R2 of the formation energy at
n = 300. `untrained` is the shipped shape with random weights, `composition` atomic fractions.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from encoder import elpasolites, perovskites
from heat_capacity import untrained
from scipy.special import log_ndtr, ndtr

from cloudseed.surrogate.encoder import CloudEncoder
from cloudseed.surrogate.features import fit_projection
from cloudseed.surrogate.gp import FittedSurrogate, fit
from cloudseed.surrogate.scope import scope_string
from cloudseed.surrogate.training.probing import composition_features

START, BATCH = 20, 5


@dataclass
class Task:
    """Strings, their values, which are hits, and when to count."""

    name: str
    strings: list[str]
    values: np.ndarray
    hits: np.ndarray
    looks: tuple[int, ...]


def main() -> None:
    options = arguments().parse_args()
    tasks = [perovskite_task(options.data), elpasolite_task(options.data)]
    print("encoder,task,r2_300,r2_sd,looks,hits,sd,random", flush=True)
    for name in options.encoders:
        for task in tasks:
            features = embed(name, task.strings)
            x = fit_projection(features)(features)
            r2 = [score(x, task.values[:, 0], seed) for seed in range(options.seeds)]
            found = np.array([search(x, task, seed) for seed in range(options.seeds)])
            for look, column in zip(task.looks, found.T, strict=True):
                chance = task.hits.sum() * look / len(task.strings)
                print(
                    f"{name},{task.name},{np.mean(r2):.3f},{np.std(r2):.3f},{look},"
                    f"{column.mean():.2f} of {task.hits.sum()},{column.std():.2f},{chance:.2f}",
                    flush=True,
                )


def perovskite_task(data: Path) -> Task:
    path = data / "perov5_dev.csv.gz"
    table = pd.read_csv(path)
    crystals, _ = perovskites(path)
    values = table[["heat_all", "dir_gap"]].to_numpy()
    hits = (values[:, 0] < 0.5) & (values[:, 1] >= 1.5) & (values[:, 1] <= 3.0)
    strings = [scope_string(crystal, "canonical") for crystal in crystals]
    return Task("perovskites", strings, values, hits, (100, 200))


def elpasolite_task(data: Path) -> Task:
    crystals, values = elpasolites(data / "elpasolite_dev.csv.gz", count=10_000)
    hits = values <= np.quantile(values, 0.01)
    strings = [scope_string(crystal, "canonical") for crystal in crystals]
    return Task("elpasolites", strings, values[:, None], hits, (60, 100))


def embed(name: str, strings: list[str]) -> np.ndarray:
    if name == "composition":
        return composition_features(strings)
    if name != "untrained":
        return CloudEncoder.load(name).embed(strings)
    return untrained(CloudEncoder.load("cloud-small"), 0).embed(strings)


def score(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    order = np.random.default_rng(seed).permutation(len(y))
    train, test = order[:300], order[300:]
    mean, _ = fit(x[train], y[train], seed=seed).posterior_moments(x[test])
    return float(1 - ((y[test] - mean) ** 2).mean() / y[test].var())


def search(x: np.ndarray, task: Task, seed: int) -> list[int]:
    """Returns the hits after each look."""
    rng = np.random.default_rng(seed)
    known = list(rng.permutation(len(x))[:START])
    left = np.ones(len(x), dtype=bool)
    left[known] = False
    counts = []
    while len(known) < max(task.looks):
        values = acquisition(x, task, known, left, seed)
        pool = np.flatnonzero(left)
        picks = pool[np.argsort(values + 1e-9 * rng.random(len(pool)))[::-1][:BATCH]]
        known.extend(picks.tolist())
        left[picks] = False
        if len(known) in task.looks:
            counts.append(int(task.hits[known].sum()))
    return counts


def acquisition(
    x: np.ndarray, task: Task, known: list[int], left: np.ndarray, seed: int
) -> np.ndarray:
    pool = x[left]
    models: list[FittedSurrogate] = [
        fit(x[known], column, seed=seed) for column in task.values[known].T
    ]
    heat, spread = models[0].posterior_moments(pool)
    if len(models) == 1:
        return spread - heat
    gap, width = models[1].posterior_moments(pool)
    width = np.hypot(width, models[1].noise_sd)
    inside = np.maximum(ndtr((3.0 - gap) / width) - ndtr((1.5 - gap) / width), 1e-300)
    return log_ndtr((0.5 - heat) / np.hypot(spread, models[0].noise_sd)) + np.log(inside)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoders", nargs="+", default=["cloud-small", "untrained"])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("CLOUDSEED_DATA", "../shared/data"))
    )
    return parser


if __name__ == "__main__":
    main()
