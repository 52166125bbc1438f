"""Small tables and recipes."""

from pathlib import Path

import numpy as np
import pandas as pd

from cloudseed.crystal import Crystal, GeometryRoot, Orbit
from cloudseed.surrogate.training.recipe import Recipe, read_recipe
from cloudseed.surrogate.training.shards import TokenShards, prepare

HEAD = "1 4 b O O O c O O O d O O O e O O O 0"
CLOUD = f"{HEAD} | 1a 1b 3c | Sr 0.2 Ti 0.2 O 0.6"
SWAPPED = f"{HEAD} | 1a 1b 3c | Ti 0.2 Sr 0.2 O 0.6"
CANONICAL = f"{HEAD} | 1a Sr 1b Ti 3c O | Sr 0.2 Ti 0.2 O 0.6"
A = ("Ca", "Sr", "Ba", "K", "Na", "La", "Y", "Cs", "Rb", "Pb")
B = ("Ti", "Zr", "Hf", "Nb", "Ta", "Al", "Fe", "Mn", "Mg", "Sn")
X = ("O", "F", "S", "N")
STRINGS = [
    f"{HEAD} | 1a {a} 1b {b} 3c {x} | {a} 0.2 {b} 0.2 {x} 0.6" for a in A for b in B for x in X
]


def perovskite() -> Crystal:
    root = GeometryRoot(
        space_group=221,
        lattice=((3.9, 0.0, 0.0), (0.0, 3.9, 0.0), (0.0, 0.0, 3.9)),
        frac_coords=((0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)),
        site_orbits=(0, 1, 2, 2, 2),
        orbits=(Orbit("a", 1), Orbit("b", 1), Orbit("c", 3)),
        partition=(0, 1, 2),
    )
    return Crystal(root, ("Sr", "Ti", "O"))


def table(path: Path, strings: list[str] | None = None, **columns: object) -> Path:
    pd.DataFrame({"scope": STRINGS if strings is None else strings, **columns}).to_csv(
        path, index=False
    )
    return path


def prepared(folder: Path, **options: int) -> TokenShards:
    folder.mkdir(parents=True, exist_ok=True)
    return prepare([table(folder / "strings.csv")], folder / "data", **options)


def small(**changes: object) -> Recipe:
    shape = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 32}
    schedule = {"steps": 24, "batch": 32, "rate": 3e-3, "warmup": 3, "validate_every": 8}
    return read_recipe(None, schedule, **(shape | changes))


def labels() -> np.ndarray:
    """A property of A and B that no string tells."""
    return np.array([A.index(s.split(" ")[-6]) + 2.0 * B.index(s.split(" ")[-4]) for s in STRINGS])
