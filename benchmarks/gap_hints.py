"""Which rule tells insulators from metals before anything is measured.

    python benchmarks/gap_hints.py

On the 3,787 perovskites of Castelli et al. (2012), 143 of them with a gap: area under the curve of
the shell penalty, which is the prior of a search, and of the shipped encoder's own head for gaps.
Data: the folder in CLOUDSEED_DATA, default ../shared/data.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from encoder import perovskites
from scipy.stats import rankdata

from cloudseed.surrogate import Predictor, scope_string, shell_penalties

if TYPE_CHECKING:
    import numpy as np

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def main() -> None:
    path = DATA / "perov5_dev.csv.gz"
    has_gap = pd.read_csv(path)["dir_gap"].to_numpy() > 0
    strings = [scope_string(crystal, "canonical") for crystal in perovskites(path)[0]]
    print(f"{has_gap.sum()} of {len(has_gap)} have a gap")
    print(f"shell penalty: {area(-shell_penalties(strings), has_gap):.3f}")
    head = Predictor.load().predict("band_gap", strings).values
    print(f"the encoder's head: {area(head, has_gap):.3f}")


def area(score: np.ndarray, labels: np.ndarray) -> float:
    """Returns the chance that a random true row has a larger score than a random false one."""
    true, false = labels.sum(), (~labels).sum()
    return float((rankdata(score)[labels].sum() - true * (true + 1) / 2) / (true * false))


if __name__ == "__main__":
    main()
