"""The ten parents and the command whose first hundred children `docs/proposing.md` comments on.

Writes the parents as CIFs, taken from the Materials Project's rows in `mp_structures_*.csv.gz` (the
lowest above the hull of that formula and space group; its id is printed), and proposes from them as
a new user would.

    python benchmarks/first_hundred.py ten/
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import subprocess
import sys
from pathlib import Path

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))
PARENTS = {
    ("NaCl", "225"): "rock salt",
    ("Al2O3", "167"): "corundum",
    ("MgAl2O4", "227"): "spinel",
    ("LiCoO2", "166"): "layered oxide",
    ("BaTiO3", "99"): "tetragonal perovskite",
    ("MoS2", "194"): "molybdenite",
    ("InAgS2", "122"): "chalcopyrite",
    ("ScPO4", "141"): "zircon",
    ("Sm2Zr2O7", "227"): "pyrochlore",
    ("NbCoSn", "216"): "half-Heusler",
}
"""Formula and space group -> what people call it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a new folder for the parents and the pool")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    parents = arguments.folder / "parents"
    parents.mkdir(parents=True, exist_ok=True)
    found = lowest(arguments.data)
    if missing := PARENTS.keys() - found.keys():
        sys.exit(f"not in {arguments.data}: {sorted(missing)}")
    for (formula, group), kind in PARENTS.items():
        row = found[formula, group]
        print(f"{formula:10}{group:>4}  {row['material_id']:12}{kind}")
        (parents / f"{formula}.cif").write_text(row["cif"])
    pool = arguments.folder / "pool.csv"
    command = ["propose", str(parents), "--top", "100", "--out", str(pool)]
    subprocess.run([sys.executable, "-m", "cloudseed", *command], check=True)


def lowest(data: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Returns, for each parent that the tables hold, its row lowest above the hull."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for path in sorted(data.glob("mp_structures_*.csv.gz")):
        with gzip.open(path, "rt", newline="") as stream:
            for row in csv.DictReader(stream):
                at = row["formula"], row["spacegroup_number"]
                if at in PARENTS and (at not in found or _above(row) < _above(found[at])):
                    found[at] = row
    return found


def _above(row: dict[str, str]) -> tuple[float, str]:
    return float(row["energy_above_hull"] or "inf"), row["material_id"]


if __name__ == "__main__":
    main()
