"""Held-out ranking: 500 perovskites by formation energy, all others measured.

`python benchmarks/rank_perovskites.py` takes the development table of perovskites (Castelli et al.,
2012; see `docs/benchmarks.md`) from the folder in CLOUDSEED_DATA, default ../shared/data, calls
`cloudseed rank` as a user would, and prints Spearman's rho between predicted and true energies.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--held-out", type=int, default=500)
    arguments.add_argument("--seeds", type=int, default=1)
    options = arguments.parse_args()
    table = pd.read_csv(DATA / "perov5_dev.csv.gz")
    for seed in range(options.seeds):
        order = np.random.default_rng(seed).permutation(len(table))
        held, rest = table.iloc[order[: options.held_out]], table.iloc[order[options.held_out :]]
        with tempfile.TemporaryDirectory() as folder:
            pool, measured = Path(folder) / "pool.csv", Path(folder) / "measured.csv"
            held[["material_id", "cif"]].to_csv(pool, index=False)
            rest[["material_id", "cif", "heat_all"]].to_csv(measured, index=False)
            began = time.perf_counter()
            ranked = _rank(pool, measured)
            seconds = time.perf_counter() - began
        truth = held.set_index(held["material_id"].astype(str))["heat_all"]
        predicted = pd.Series({row["name"]: row["mean"]["heat_all"] for row in ranked["rows"]})
        sd = pd.Series({row["name"]: row["sd"]["heat_all"] for row in ranked["rows"]})
        truth = truth.loc[predicted.index]
        rho = spearmanr(predicted, truth).statistic
        inside = np.mean(np.abs(predicted - truth) < 2 * sd)
        print(
            f"seed {seed}: {len(held)} held out, {len(rest)} measured: Spearman rho {rho:.3f},"
            f" MAE {np.abs(predicted - truth).mean():.3f} eV/atom,"
            f" within 2 sd {inside:.2f}, {seconds:.0f} s"
        )


def _rank(pool: Path, measured: Path) -> dict:
    command = [sys.executable, "-m", "cloudseed", "rank", "--pool", pool, "--measured", measured]
    command += ["--objective", "min heat_all", "--order-by", "mean", "--top", "0", "--json"]
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
