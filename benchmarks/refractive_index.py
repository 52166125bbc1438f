"""Refractive index: heads and whole networks, with the encoder's weights and with random ones.

    python benchmarks/refractive_index.py --encoder cloud-small

Five-fold cross-validation on the MatBench dielectric table (CLOUD's training and validation part),
grouped by composition, so that no polymorph of a tested crystal is trained on. `heads` are small
networks on frozen embeddings, as they ship (a fifth, which is not the tested one, tells them when
to stop); `network` trains all weights end to end for a fixed number of epochs. All learn the
logarithm of the index; nothing is chosen on the tested fold. Prints the mean absolute error beside
those of the mean and of the median of the training folds. A few indices above 10 carry much of
every error.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from heat_capacity import untrained

from cloudseed.surrogate.encoder import CloudEncoder
from cloudseed.surrogate.prediction.finetuning import FineTuning, finetune_property
from cloudseed.surrogate.prediction.fitting import cross_validated
from cloudseed.surrogate.splits import folds

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(1)
    table = pd.read_csv(options.table).drop_duplicates("scope")
    encoder = CloudEncoder.load(options.encoder, threads=1)
    strings, n = list(table["scope"]), table["n"].to_numpy()
    parts = folds(strings, 5, seed=options.seed)
    name = f"{encoder.name} {encoder.id[:12]}"
    print(f"{len(n)} crystals, encoder {name}, {options.steps} steps, {options.epochs} epochs")
    print("trained,weights,mae,sd_over_folds,mae_below_10,seconds")
    for name, statistic in (("mean", np.mean), ("median", np.median)):
        constant = np.array([statistic(n[parts != part]) for part in parts])
        report(f"none,{name}", n, constant, parts, 0)
    if "heads" in options.trained:
        for weights, model in (
            ("pre-trained", encoder),
            ("random", untrained(encoder, options.seed)),
        ):
            began = time.perf_counter()
            features = model.embed(strings)
            predicted = cross_validated(
                "log", features, n, parts, steps=options.steps, seed=options.seed
            )
            report(f"heads,{weights}", n, predicted, parts, time.perf_counter() - began)
    for pretrained in (True, False) if "network" in options.trained else ():
        began = time.perf_counter()
        predicted = np.empty(len(n))
        for part in range(5):
            train, test = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
            recipe = FineTuning(
                epochs=options.epochs,
                rate=options.rate,
                shuffle=options.shuffle,
                pretrained=pretrained,
                seed=options.seed,
            )
            tuned = finetune_property(
                encoder, [strings[i] for i in train], n[train], head="log", recipe=recipe
            )
            predicted[test] = tuned.predict([strings[i] for i in test])
        name = "network,pre-trained" if pretrained else "network,random"
        report(name, n, predicted, parts, time.perf_counter() - began)


def report(name, n, predicted, parts, seconds) -> None:
    errors = np.abs(n - predicted)
    by_fold = [errors[parts == part].mean() for part in range(5)]
    print(
        f"{name},{errors.mean():.4f},{np.std(by_fold):.4f},{errors[n < 10].mean():.4f},"
        f"{seconds:.0f}",
        flush=True,
    )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="cloud-small")
    parser.add_argument("--table", type=Path, default=DATA / "refractive_index_train.csv.gz")
    ways = ("heads", "network")
    parser.add_argument("--trained", nargs="+", default=list(ways), choices=ways)
    parser.add_argument("--steps", type=int, default=1000, help="of the heads")
    parser.add_argument("--epochs", type=int, default=4, help="of the network")
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--shuffle", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
