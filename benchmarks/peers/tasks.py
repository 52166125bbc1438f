"""Writes the tasks of the back-tests as plain files that any peer can read.

    python benchmarks/peers/tasks.py

For every task, `build/peers/NAME/`: `task.json` (goal, properties, hits, start rows per seed, batch
and budget), `values.npy` (N x p) and `features-SET.npy` (N x d in [0, 1]) for the descriptor sets
`magpie` and, where the prototype has sites of its own, `sites`. Data: the folder in CLOUDSEED_DATA.

The peers see the set that serves them better: sites, where there are any (camd-gp found 4.6 hits of
200 experiments among the perovskites with them and 1.2 with Magpie's, mean of ten seeds).

| task | sought | hits |
| --- | --- | --- |
| perovskites | heat_all < 0.5 eV/atom and 1.5 <= dir_gap <= 3.0 eV | 17 of 3,787 |
| elpasolites | lowest formation energy | the lowest 1 % |
| moduli | highest bulk modulus of the MP rows that have one | the stiffest 1 % |
| front | high bulk modulus and low formation energy | the Pareto front |
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
from descriptors import by_site, spread

from cloudseed.surrogate.backtesting.peers import magpie, unit

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[3] / "shared" / "data"))
BUILD = Path(__file__).parents[2] / "build" / "peers"
SEEDS = 20
STARTS = 20
BATCH = 5
BUDGET = 200
#: Heats have two decimals: this is heat_all < 0.5 eV/atom.
WINDOW = {"heat_all": [None, 0.499], "dir_gap": [1.5, 3.0]}
#: One unit of violation of a window, as a user would set it.
SCALES = {"heat_all": 1.0, "dir_gap": 1.5}


def main() -> None:
    for make in (perovskites, elpasolites, moduli, front):
        name = make.__name__
        task, values, features = make()
        found = write(BUILD / name, task, values, features)
        shapes = {kind: table.shape for kind, table in features.items()}
        print(f"{name}: {found['size']} rows, {len(found['hits'])} hits, features {shapes}")


def write(folder: Path, task: dict, values: np.ndarray, features: dict[str, np.ndarray]) -> dict:
    """Writes one task; returns what `task.json` holds."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {
        **task,
        "name": folder.name,
        "size": len(values),
        "hits": hits(task, values).tolist(),
        "starts": starts(len(values)),
        "batch": BATCH,
        "budget": BUDGET,
    }
    (folder / "task.json").write_text(json.dumps(whole))
    np.save(folder / "values.npy", values)
    for kind, table in features.items():
        np.save(folder / f"features-{kind}.npy", unit(table))
    return whole


def starts(size: int) -> list[list[int]]:
    """Returns the first rows of every seed, without repeats."""
    draws = [np.random.default_rng(seed).permutation(size)[:STARTS] for seed in range(SEEDS)]
    return [draw.tolist() for draw in draws]


def hits(task: dict, values: np.ndarray) -> np.ndarray:
    """Returns the rows that are sought, in rising order."""
    if task["goal"] == "window":
        inside = np.ones(len(values), dtype=bool)
        for column, name in enumerate(task["properties"]):
            low, high = task["limits"][name]
            inside &= values[:, column] >= (-np.inf if low is None else low)
            inside &= values[:, column] <= (np.inf if high is None else high)
        return np.flatnonzero(inside)
    signed = values * np.array(task["signs"])
    if task["goal"] == "front":
        return pareto(signed)
    count = max(1, round(task["share"] * len(values)))
    return np.sort(np.argsort(-signed[:, 0], kind="stable")[:count])


def pareto(signed: np.ndarray) -> np.ndarray:
    """Returns the rows that no other row equals or beats in all columns (higher is better)."""
    kept = [
        i
        for i, row in enumerate(signed)
        if not ((signed >= row).all(axis=1) & (signed > row).any(axis=1)).any()
    ]
    return np.array(kept)


def perovskites() -> tuple[dict, np.ndarray, dict[str, np.ndarray]]:
    table = pd.read_csv(DATA / "perov5_dev.csv.gz")
    atom = re.compile(r"^ +([A-Z][a-z]?) +\S+ +1 ", re.MULTILINE)
    species = [atom.findall(text) for text in table["cif"]]  # A, B and three of the anion sites
    sites = [[s[:1], s[1:2], s[2:]] for s in species]
    amounts = [{e: s.count(e) for e in dict.fromkeys(s)} for s in species]
    resolved = np.hstack([by_site(sites), spread([s[2:] for s in species])])
    task = {
        "goal": "window",
        "properties": list(WINDOW),
        "limits": WINDOW,
        "scales": SCALES,
        "set": "sites",
    }
    values = table[list(WINDOW)].to_numpy(dtype=float)
    return task, values, {"magpie": magpie(amounts), "sites": resolved}


def elpasolites() -> tuple[dict, np.ndarray, dict[str, np.ndarray]]:
    table = pd.read_csv(DATA / "elpasolite_dev.csv.gz")
    pairs = [re.findall(r"([A-Z][a-z]?)(\d+)", text) for text in table["composition"]]
    sites = [[[element] for element, _ in row] for row in pairs]
    amounts: list[dict[str, float]] = []
    for row in pairs:
        found: dict[str, float] = {}
        for element, count in row:
            found[element] = found.get(element, 0) + int(count)
        amounts.append(found)
    task = {
        "goal": "best",
        "properties": ["formation_energy"],
        "signs": [-1.0],
        "share": 0.01,
        "set": "sites",
    }
    values = table[["formation_energy_per_atom"]].to_numpy(dtype=float)
    return task, values, {"magpie": magpie(amounts), "sites": by_site(sites)}


def moduli() -> tuple[dict, np.ndarray, dict[str, np.ndarray]]:
    values, features = _elastic()
    task = {
        "goal": "best",
        "properties": ["bulk_modulus"],
        "signs": [1.0],
        "share": 0.01,
        "set": "magpie",
    }
    return task, values[:, :1], features


def front() -> tuple[dict, np.ndarray, dict[str, np.ndarray]]:
    values, features = _elastic()
    names = ["bulk_modulus", "formation_energy"]
    task = {"goal": "front", "properties": names, "signs": [1.0, -1.0], "set": "magpie"}
    return task, values, features


def _elastic() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Reads the Materials Project rows with a bulk modulus, in the order of the files."""
    from pymatgen.core import Composition

    paths = sorted(DATA.glob("mp_structures_*.csv.gz"))
    table = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    table = table[table["bulk_modulus_vrh"].notna() & table["formation_energy_per_atom"].notna()]
    amounts = [Composition(text).get_el_amt_dict() for text in table["formula"]]
    symmetry = table[["spacegroup_number", "n_sites"]].to_numpy(dtype=float)
    columns = ["bulk_modulus_vrh", "formation_energy_per_atom"]
    return table[columns].to_numpy(dtype=float), {"magpie": np.hstack([magpie(amounts), symmetry])}


if __name__ == "__main__":
    main()
