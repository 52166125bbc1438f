"""The computed lab with CHGNet against DFT: heat capacities at 300 K and shear moduli.

`python benchmarks/mlip_against_dft.py FOLDER`, where the folder holds `cv_300k_train.csv.gz`
(scope, cv in J/mol/K per cell, n_atoms) and `mp_structures_*.csv.gz` (Materials Project: cif,
shear_modulus_vrh in GPa). Draws cells of at most four atoms by seed: those whose heat capacity is
known, and compounds near the hull with a known shear modulus. A row is printed for each.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from pymatgen.core import Structure
from rich.console import Console

from cloudseed.crystal import Cell
from cloudseed.lab_adapters import ExperimentRequest, Outcome
from cloudseed.lab_adapters.potentials import MlipSettings, task
from cloudseed.lab_adapters.potentials.vibrations import units_in

CAPACITY = "heat_capacity@300K"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--capacities", type=int, default=28)
    arguments.add_argument("--moduli", type=int, default=24)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    console = Console()
    table = pd.concat(
        [pd.read_csv(path) for path in sorted(options.folder.glob("mp_structures_*.csv.gz"))]
    )
    table = table[table.n_sites <= 4].sort_values("material_id")
    known = table.merge(pd.read_csv(options.folder / "cv_300k_train.csv.gz"), on="scope")
    known = known[known.n_sites == known.n_atoms]
    stiff = table[(table.shear_modulus_vrh > 2) & (table.energy_above_hull < 0.02)]
    stiff = stiff[stiff.formula.str.count("[A-Z]") > 1]
    capacities = known.sample(min(options.capacities, len(known)), random_state=1)
    moduli = stiff.sample(min(options.moduli, len(stiff)), random_state=2)
    for rows, name, column in (
        (capacities, CAPACITY, "cv"),
        (moduli, "shear_modulus", "shear_modulus_vrh"),
    ):
        ratios, ended = [], 0
        for row in rows.itertuples():
            cell = Cell.from_structure(Structure.from_str(row.cif, fmt="cif"))
            outcome = measured(cell, name)
            true = float(getattr(row, column))
            if name == CAPACITY:
                true /= units_in(cell)
            ended += not outcome.measurements
            ratios += [m.value / true for m in outcome.measurements]
            found = [[m.value, m.sigma] for m in outcome.measurements]
            console.print_json(
                json.dumps([row.formula, name, true, found, outcome.reason]), indent=None
            )
        spread = np.quantile(ratios, [0, 0.25, 0.5, 0.75, 1]).round(3).tolist()
        error = float(np.sqrt(np.mean((np.array(ratios) - 1) ** 2)))
        console.print(f"{name}: {len(ratios)} values, {ended} without; ratio to DFT {spread}")
        console.print(f"{name}: relative error {error:.3f}")


def measured(cell: Cell, name: str) -> Outcome:
    """Returns what the lab says of a cell."""
    options = MlipSettings(temperatures=(300.0,)).model_dump(mode="json")
    wanted = ExperimentRequest("k", name, name, cell, (name,))
    return task.measure(wanted.to_json(), options)


if __name__ == "__main__":
    main()
