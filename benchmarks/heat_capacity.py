"""Heat capacity at 300 K: what Debye's model and pre-training are worth.

    python benchmarks/heat_capacity.py --encoder cloud-small

Five-fold cross-validation on CLOUD's table of heat capacities (training and validation part;
J/mol/K per primitive cell), grouped by composition, so that no polymorph of a tested crystal is
trained on. Nothing is chosen on the tested fold. Prints the mean absolute error over the mean
absolute deviation (MAE/MAD) of every variant:

    debye   [CLS] -> Debye temperature -> Cv per atom x atoms in the cell
    atom    [CLS] -> Cv per atom x atoms in the cell
    cell    [CLS] -> Cv per cell: the published network without its Debye layer

each with the encoder's weights and with random ones, in two ways: `heads`, small networks on frozen
embeddings, as they ship (a fifth, which is not the tested one, tells them when to stop); and
`network`, all weights trained end to end for a fixed number of epochs. Two references know no
structure: the mean, and the median Cv per atom x atoms in the cell.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cloudseed.surrogate.checkpoint import open_checkpoint
from cloudseed.surrogate.encoder import CloudEncoder
from cloudseed.surrogate.forward import BertForward
from cloudseed.surrogate.prediction.finetuning import FineTuning, finetune_property
from cloudseed.surrogate.prediction.fitting import cross_validated
from cloudseed.surrogate.splits import folds

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))
VARIANTS = ("debye", "cell", "atom")


@dataclass(frozen=True)
class Data:
    """The table, and the fold of each row."""

    strings: list[str]
    cv: np.ndarray
    atoms: np.ndarray
    parts: np.ndarray

    def texts(self, chosen: np.ndarray) -> list[str]:
        return [self.strings[i] for i in np.flatnonzero(chosen)]


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(1)
    table = pd.read_csv(options.table).drop_duplicates("scope")
    encoder = CloudEncoder.load(options.encoder, threads=1)
    strings = list(table["scope"])
    parts = folds(strings, 5, seed=options.seed)
    data = Data(strings, table["cv"].to_numpy(), table["n_atoms"].to_numpy(), parts)
    name = f"{encoder.name} {encoder.id[:12]}"
    print(f"{len(table)} crystals, encoder {name}, {options.steps} steps, {options.epochs} epochs")
    print("trained,variant,weights,mae,mae_over_mad,sd_over_folds,seconds")
    references(data)
    if "heads" in options.trained:
        heads("pre-trained", encoder, data, options)
        heads("random", untrained(encoder, options.seed), data, options)
    if "network" in options.trained:
        for variant in options.variants:
            for pretrained in (True, False):
                network(variant, pretrained, encoder, data, options)


def untrained(encoder: CloudEncoder, seed: int) -> CloudEncoder:
    """Returns the encoder with random weights."""
    torch.manual_seed(seed)
    checkpoint = open_checkpoint(encoder.name, revision=encoder.revision, sha256=encoder.sha256)
    weights = checkpoint.trainable(pretrained=False).state_dict()
    tokens = len(encoder._tokenizer.vocabulary)
    return replace(encoder, _forward=BertForward(checkpoint.bert, weights, tokens=tokens))


def references(data: Data) -> None:
    mean, median = np.empty(len(data.cv)), np.empty(len(data.cv))
    for part in range(5):
        train, test = data.parts != part, data.parts == part
        mean[test] = data.cv[train].mean()
        median[test] = np.median(data.cv[train] / data.atoms[train]) * data.atoms[test]
    report("none,mean,none", data, mean, 0)
    report("none,median per atom,none", data, median, 0)


def heads(weights: str, encoder: CloudEncoder, data: Data, options: argparse.Namespace) -> None:
    """Trains small networks on frozen embeddings."""
    features = encoder.embed(data.strings)
    for variant in options.variants:
        began = time.perf_counter()
        factor = np.ones(len(data.cv)) if variant == "cell" else data.atoms
        kind = "debye" if variant == "debye" else "linear"
        predicted = factor * cross_validated(
            kind, features, data.cv / factor, data.parts, steps=options.steps, seed=options.seed
        )
        report(f"heads,{variant},{weights}", data, predicted, time.perf_counter() - began)


def network(
    variant: str,
    pretrained: bool,
    encoder: CloudEncoder,
    data: Data,
    options: argparse.Namespace,
) -> None:
    """Trains all weights, end to end."""
    began = time.perf_counter()
    predicted = np.empty(len(data.cv))
    recipe = FineTuning(
        epochs=options.epochs,
        rate=options.rate,
        shuffle=options.shuffle,
        pretrained=pretrained,
        seed=options.seed,
    )
    for part in range(5):
        train, test = data.parts != part, data.parts == part
        tuned = finetune_property(
            encoder,
            data.texts(train),
            data.cv[train],
            head="debye" if variant == "debye" else "linear",
            atoms=None if variant == "cell" else data.atoms[train],
            recipe=recipe,
        )
        atoms = None if variant == "cell" else data.atoms[test]
        predicted[test] = tuned.predict(data.texts(test), atoms)
    weights = "pre-trained" if pretrained else "random"
    report(f"network,{variant},{weights}", data, predicted, time.perf_counter() - began)


def report(what: str, data: Data, predicted: np.ndarray, seconds: float) -> None:
    errors = np.abs(data.cv - predicted)
    mad = np.abs(data.cv - data.cv.mean()).mean()
    by_fold = [errors[data.parts == part].mean() / mad for part in range(5)]
    print(
        f"{what},{errors.mean():.2f},{errors.mean() / mad:.4f},{np.std(by_fold):.4f},{seconds:.0f}",
        flush=True,
    )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="cloud-small")
    parser.add_argument("--table", type=Path, default=DATA / "cv_300k_train.csv.gz")
    ways = ("heads", "network")
    parser.add_argument("--trained", nargs="+", default=list(ways), choices=ways)
    parser.add_argument("--variants", nargs="+", default=["debye", "cell"], choices=VARIANTS)
    parser.add_argument("--steps", type=int, default=800, help="of the heads")
    parser.add_argument("--epochs", type=int, default=5, help="of the network")
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--shuffle", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
