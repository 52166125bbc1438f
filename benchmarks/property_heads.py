"""The shipped heads against composition alone, on the tenth that nothing was trained on.

    python benchmarks/property_heads.py --encoder cloud-small

Formation energy, energy above hull and band gap of Materials Project crystals (18,711; see the
data's README). The tenth is that of `surrogate.splits`: compositions whose SHA-256 falls below 0.1,
of which no polymorph was trained on, neither by the heads nor by a fine-tuned encoder. The baseline
is a random forest on Magpie's statistics (Ward et al., npj Comput. Mater. 2, 16028, 2016): mean,
average deviation, minimum, maximum, range and mode of tabulated element properties, valence shares,
and norms of the fractions, trained on all other nine tenths. It knows no structure, so that
polymorphs look alike to it.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import RandomForestRegressor

from cloudseed.crystal import Crystal, read_crystals
from cloudseed.surrogate import Predictor
from cloudseed.surrogate.element_table import element_table
from cloudseed.surrogate.scope import ELEMENTS, scope_string
from cloudseed.surrogate.splits import TEST, fold

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))
LABELS = {
    "formation_energy": "formation_energy_per_atom",
    "band_gap": "band_gap",
    "energy_above_hull": "energy_above_hull",
}


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(1)
    paths = sorted(options.data.glob("mp_structures_*.csv.gz"))
    table = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    folds = table["formula"].map(fold).to_numpy()
    test = table[folds < TEST]
    results = read_crystals([(n, c) for n, c in zip(test["material_id"], test["cif"], strict=True)])
    crystals = [c if isinstance(c, Crystal) else None for c in results]
    test = test.assign(crystal=crystals)[[c is not None for c in crystals]]
    predictor = Predictor.load(options.encoder)
    features = magpie(list(table["formula"]))
    name = f"{predictor.encoder.name} {predictor.encoder.id[:12]}"
    print(f"{len(table)} crystals, {len(test)} held out, encoder {name}")
    print("property,method,rows,mae,within_1_sd,within_1.96_sd,seconds")
    for label, column in LABELS.items():
        known = test[test[column].notna()]
        truth = known[column].to_numpy()
        began = time.perf_counter()
        strings = [scope_string(c, predictor.encoder.dialect) for c in known["crystal"]]
        found = predictor.predict(label, strings)
        ratio = np.abs(truth - found.values) / np.maximum(found.sd, 1e-9)
        covered = f"{(ratio <= 1).mean():.3f},{(ratio <= 1.96).mean():.3f}"
        report(label, "cloudseed head", truth, found.values, covered, began)
        train = np.flatnonzero((folds >= TEST) & table[column].notna().to_numpy())
        y = table[column].to_numpy()[train]
        began = time.perf_counter()
        forest = RandomForestRegressor(
            options.trees, max_features=1 / 3, n_jobs=1, random_state=options.seed
        ).fit(features[train], y)
        guessed = forest.predict(features[known.index])
        report(label, "Magpie + random forest", truth, guessed, ",", began)
        report(label, "median", truth, np.full(len(truth), np.median(y)), ",", time.perf_counter())


def report(label, method, truth, predicted, covered, began) -> None:
    error = np.abs(truth - predicted).mean()
    seconds = time.perf_counter() - began
    print(f"{label},{method},{len(truth)},{error:.4f},{covered},{seconds:.0f}", flush=True)


def magpie(formulas: list[str]) -> np.ndarray:
    """Returns Magpie's statistics of every formula; what is not tabulated is the table's mean."""
    from pymatgen.core import Composition

    names, properties = element_table()
    properties = np.nan_to_num(properties)
    valence = [names.index(f"{kind} electrons") for kind in "spdf"]
    number = names.index("Mendeleev number")
    # The table is standardised; shares of valence electrons need their counts.
    low, high = properties[:, valence].min(axis=0), properties[:, valence].max(axis=0)
    counts = (properties[:, valence] - low) / (high - low) * [2, 6, 10, 14]
    rows = []
    for formula in formulas:
        amounts = Composition(formula).get_el_amt_dict()
        values = properties[[ELEMENTS.index(element) for element in amounts]]
        weights = np.array(list(amounts.values()))
        weights = weights / weights.sum()
        mean = weights @ values
        deviation = weights @ np.abs(values - mean)
        low, high = values.min(axis=0), values.max(axis=0)
        # The mode is that of the commonest element; of the lower Mendeleev number on a tie.
        common = min(range(len(weights)), key=lambda i: (-weights[i], values[i, number]))
        electrons = weights @ counts[[ELEMENTS.index(element) for element in amounts]]
        norms = [np.sum(weights**p) ** (1 / p) for p in (2, 3, 5, 7, 10)]
        rows.append(
            np.concatenate(
                [
                    mean,
                    deviation,
                    low,
                    high,
                    high - low,
                    values[common],
                    electrons / max(electrons.sum(), 1e-9),
                    [len(weights), *norms],
                ]
            )
        )
    return np.array(rows)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="cloud-small")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
