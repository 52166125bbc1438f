"""Heat capacity at 300 K: what Debye's model and pre-training are worth.

    python benchmarks/heat_capacity.py --encoder cloud-small

Five-fold cross-validation on CLOUD's table of heat capacities (training and validation part;
J/mol/K per primitive cell), grouped by composition, so that no polymorph of a tested crystal is
trained on.
Every network is trained end to end for the same number of epochs; nothing is chosen on the tested
fold. Prints the mean absolute error over the mean absolute deviation (MAE/MAD) of every variant:

    debye   [CLS] -> Debye temperature -> Cv per atom x atoms in the cell
    atom    [CLS] -> Cv per atom x atoms in the cell
    cell    [CLS] -> Cv per cell: the published network without its Debye layer

each from the encoder's weights and from random ones, and of two references that know no structure:
the mean, and the median Cv per atom x atoms in the cell.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cloudseed.surrogate.encoder import CloudEncoder
from cloudseed.surrogate.prediction.finetuning import FineTuning, finetune_property
from cloudseed.surrogate.splits import folds

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))
VARIANTS = ("debye", "cell", "atom")


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(1)
    table = pd.read_csv(options.table).drop_duplicates("scope")
    encoder = CloudEncoder.load(options.encoder)
    strings, cv = list(table["scope"]), table["cv"].to_numpy()
    atoms = table["n_atoms"].to_numpy()
    parts = folds(strings, 5, seed=options.seed)
    print(
        f"{len(table)} crystals, encoder {encoder.name} {encoder.id[:12]}, {options.epochs} epochs"
    )
    print("variant,weights,mae,mae_over_mad,sd_over_folds,seconds")
    references(cv, atoms, parts)
    for variant in options.variants:
        for pretrained in (True, False):
            began = time.perf_counter()
            predicted = np.empty(len(cv))
            for part in range(5):
                train, test = parts != part, parts == part
                recipe = FineTuning(
                    epochs=options.epochs,
                    rate=options.rate,
                    shuffle=options.shuffle,
                    pretrained=pretrained,
                    seed=options.seed,
                )
                tuned = finetune_property(
                    encoder,
                    [s for s, keep in zip(strings, train, strict=True) if keep],
                    cv[train],
                    head="debye" if variant == "debye" else "linear",
                    atoms=None if variant == "cell" else atoms[train],
                    recipe=recipe,
                )
                predicted[test] = tuned.predict(
                    [s for s, keep in zip(strings, test, strict=True) if keep],
                    None if variant == "cell" else atoms[test],
                )
            weights = "pre-trained" if pretrained else "random"
            report(variant, weights, cv, predicted, parts, time.perf_counter() - began)


def references(cv: np.ndarray, atoms: np.ndarray, parts: np.ndarray) -> None:
    mean, median = np.empty(len(cv)), np.empty(len(cv))
    for part in range(5):
        train, test = parts != part, parts == part
        mean[test] = cv[train].mean()
        median[test] = np.median(cv[train] / atoms[train]) * atoms[test]
    report("mean", "none", cv, mean, parts, 0)
    report("median per atom", "none", cv, median, parts, 0)


def report(variant, weights, cv, predicted, parts, seconds) -> None:
    errors = np.abs(cv - predicted)
    mad = np.abs(cv - cv.mean()).mean()
    by_fold = [errors[parts == k].mean() / mad for k in range(5)]
    print(
        f"{variant},{weights},{errors.mean():.2f},{errors.mean() / mad:.4f},"
        f"{np.std(by_fold):.4f},{seconds:.0f}",
        flush=True,
    )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="cloud-small")
    parser.add_argument("--table", type=Path, default=DATA / "cv_300k_train.csv.gz")
    parser.add_argument("--variants", nargs="+", default=["debye", "cell"], choices=VARIANTS)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--shuffle", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
