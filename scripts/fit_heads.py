"""Trains the property heads of an encoder, which go into its folder.

    python scripts/fit_heads.py --encoder build/cloud-small \
        --structures mp_structures_*.csv.gz --heat-capacity cv_300k_train.csv.gz \
        --refractive-index refractive_index_train.csv.gz

Structures are CSV tables with the columns of `data/README.md`: `material_id`, `cif`, `scope` and
labels. They are refined once, which takes minutes, and kept in the folder `--cache`. The other two
tables know `cloud` strings only; where the structures hold the same string, its canonical form is
added. Prints what each head reaches on the tenth that was never trained on.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import Progress

from cloudseed.surrogate.checkpoint import shipped_encoders
from cloudseed.surrogate.encoder import CloudEncoder, available_cores
from cloudseed.surrogate.prediction import Head, PropertyTable, fit_heads
from cloudseed.surrogate.prediction.fitting import STEPS
from cloudseed.surrogate.scope import scope_string
from cloudseed.surrogate.training.sources import refine

log = logging.getLogger("fit_heads")

COLUMNS = {
    "formation_energy": "formation_energy_per_atom",
    "energy_above_hull": "energy_above_hull",
    "band_gap": "band_gap",
    "bulk_modulus": "bulk_modulus_vrh",
    "shear_modulus": "shear_modulus_vrh",
    "volume": "volume",
}
#: Moduli outside these, in GPa, are failed calculations: diamond has 440 and 520.
MODULI = (1.0, 700.0)


def main() -> None:
    options = arguments().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    torch.set_num_threads(options.threads)
    encoder = CloudEncoder.load(options.encoder, threads=options.threads)
    folder = Path(shipped_encoders().get(options.encoder, options.encoder))
    mp = read_structures(options.structures, options.cache)
    tables = structure_tables(mp, options.dialects)
    if options.heat_capacity:
        table = pd.read_csv(options.heat_capacity).drop_duplicates("scope")
        tables["heat_capacity"] = string_table(table, "cv", mp, options.dialects)
    if options.refractive_index:
        table = pd.read_csv(options.refractive_index).drop_duplicates("scope")
        tables["refractive_index"] = string_table(table, "n", mp, options.dialects)
    with Progress(console=Console(file=sys.stderr)) as bar:
        tasks = {}

        def show(name: str, done: int, total: int) -> None:
            tasks.setdefault(name, bar.add_task(name, total=total) if name not in tasks else None)
            bar.update(tasks[name], completed=done)

        heads = fit_heads(
            encoder,
            tables,
            options.out or folder,
            seed=options.seed,
            steps=options.steps,
            progress=show,
        )
    for head in heads.values():
        log.info("%s", line(head))


def read_structures(paths: list[Path], cache: Path) -> pd.DataFrame:
    """Returns the tables with columns `canonical` and `volume`; what cannot be used is left out."""
    parts = []
    with Progress(console=Console(file=sys.stderr)) as bar:
        for path in paths:
            task = bar.add_task(f"refining {path.name}")
            crystals = refine(
                path,
                cache,
                workers=available_cores(),
                progress=lambda _, done, total, task=task: bar.update(
                    task, completed=done, total=total
                ),
            )
            table = pd.read_csv(path)
            table["canonical"] = [c and scope_string(c, "canonical") for c in crystals]
            table["volume"] = [
                c.build().volume / len(c.root.frac_coords) if c else math.nan for c in crystals
            ]
            parts.append(table)
    whole = pd.concat(parts, ignore_index=True)
    good = whole[whole["canonical"].notna()]
    log.info("%d of %d structures can be used", len(good), len(whole))
    return good


def structure_tables(mp: pd.DataFrame, dialects: list[str]) -> dict[str, PropertyTable]:
    """Returns a table for every label; the few labels that are impossible are left out."""
    tables = {}
    for name, column in COLUMNS.items():
        known = mp[mp[column].notna()]
        if name.endswith("modulus"):
            known = known[known[column].between(*MODULI)]
            log.info("%s: %d of %d kept", name, len(known), mp[column].notna().sum())
        columns = [{"canonical": "canonical", "cloud": "scope"}[d] for d in dialects]
        strings = [s for c in columns for s in known[c]]
        values = np.tile(known[column].to_numpy(dtype=float), len(columns))
        tables[name] = PropertyTable(strings, values)
    return tables


def string_table(
    table: pd.DataFrame, column: str, mp: pd.DataFrame, dialects: list[str]
) -> PropertyTable:
    """Returns a table of `cloud` strings, and of canonical ones where the structure is known."""
    same = mp.drop_duplicates("scope").set_index("scope")["canonical"]
    known = table[table["scope"].isin(same.index)] if "canonical" in dialects else table[:0]
    log.info("%s: %d strings, %d of them with a structure", column, len(table), len(known))
    rows = pd.concat([table, known])
    strings = [*table["scope"], *(same[s] for s in known["scope"])]
    atoms = rows["n_atoms"].to_numpy(dtype=float) if "n_atoms" in rows else None
    return PropertyTable(strings, rows[column].to_numpy(dtype=float), atoms)


def line(head: Head) -> str:
    card = head.card
    return (
        f"{head.property}: test {card['rows']['test']} of {sum(card['rows'].values())} rows,"
        f" MAE {card['mae']:.4f} (median: {card['mae_of_median']:.4f}),"
        f" within 1 sd {card['within_1_sd']:.3f}, within 1.96 sd {card['within_1.96_sd']:.3f},"
        f" far {card['far']:.3f}, sd x {head.widening:.2f}"
    )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="cloud-small", help="a shipped name or a folder")
    parser.add_argument("--structures", type=Path, nargs="+", required=True)
    parser.add_argument("--heat-capacity", type=Path)
    parser.add_argument("--refractive-index", type=Path)
    parser.add_argument("--out", type=Path, help="default: the encoder's folder")
    parser.add_argument("--cache", type=Path, default=Path("build/structures"))
    parser.add_argument(
        "--dialects", nargs="+", default=["canonical", "cloud"], choices=["canonical", "cloud"]
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps per head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
