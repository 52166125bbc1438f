"""Which rule tells insulators from metals before anything is measured.

    python benchmarks/gap_hints.py
    python benchmarks/gap_hints.py --pool 1000000

On the 3,787 perovskites of Castelli et al. (2012), 143 of them with a gap: area under the curve of
the shell penalty, which is the prior of a search, and of the shipped encoder's own head for gaps.
With --pool, CPU-seconds of the hints of so many random compositions of four elements instead: at
first, after a restart, and, for a thousand, one after the other.
Data: the folder in CLOUDSEED_DATA, default ../shared/data.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from encoder import perovskites
from scipy.stats import rankdata

from cloudseed.loop.hints import GapHints
from cloudseed.surrogate import Predictor, scope_string, shell_penalties
from cloudseed.surrogate.scope import ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pool", type=int, default=0)
    pool = options.parse_args().pool
    if pool:
        speed(pool)
    else:
        accuracy()


def speed(count: int) -> None:
    rng = np.random.default_rng(0)
    chosen = rng.random((count, 80)).argsort(axis=1)[:, :4].tolist()
    amounts = rng.integers(1, 7, (count, 4)).tolist()
    strings = []
    for places, whole in zip(chosen, amounts, strict=True):
        total = sum(whole)
        pairs = zip(places, whole, strict=True)
        shares = " ".join(f"{ELEMENTS[e]} {round(n / total, 2)}" for e, n in pairs)
        strings.append(f"0 0 0 | 1a | {shares}")
    with tempfile.TemporaryDirectory() as folder:
        for what in ("at first", "after a restart"):
            spent = seconds(lambda: GapHints(Path(folder)).of(strings))
            print(f"{count} hints {what}: {spent:.1f} s")
    few = strings[:1000]
    print(f"{len(few)} one by one: {seconds(lambda: [shell_penalties([s]) for s in few]):.1f} s")


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def accuracy() -> None:
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
