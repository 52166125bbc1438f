"""Trains the encoder that cloudseed ships.

    python scripts/pretrain_encoder.py --strings scope_pretrain.csv.gz \
        --structures mp_structures_*.csv.gz --out build/cloud-small

The tables are CSV, gzipped or not: strings have a column `scope`, structures a column `cif`. The
checkpoint in `--out` is complete after every chunk; an interrupted training goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import Progress, track

from cloudseed.crystal import Crystal, GeometryRoot
from cloudseed.errors import CloudseedError
from cloudseed.surrogate.corpus import Corpus, held_out
from cloudseed.surrogate.pretraining import Recipe, masked_accuracy, pretrain, recovered
from cloudseed.surrogate.scope import parse

log = logging.getLogger("pretrain_encoder")


def main() -> None:
    options = arguments().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    strings = read_strings(options.strings)
    crystals = read_crystals(options.structures, options.out.with_suffix(".crystals.jsonl"))
    log.info("%d strings, %d crystals", len(strings), len(crystals))
    recipe = Recipe(
        layers=options.layers,
        hidden=options.hidden,
        heads=options.hidden // 32,
        intermediate=2 * options.hidden,
        steps=options.steps,
        minutes=options.minutes,
        seed=options.seed,
    )
    with Progress(console=Console(file=sys.stderr)) as bar:
        task = bar.add_task("training", total=1.0)
        learner = pretrain(
            Corpus(strings, crystals),
            options.out,
            recipe,
            dialect=options.dialect,
            progress=lambda share: bar.update(task, completed=share),
        )
    learner.eval()
    kept_back = [text for text in strings if held_out(text)]
    rng = np.random.default_rng(options.seed)
    scores = {"masked_accuracy": masked_accuracy(learner, kept_back, rng)}
    scores |= {f"r2_{name}": r2 for name, r2 in recovered(learner, kept_back).items()}
    (options.out / "validation.json").write_text(json.dumps(scores, indent=2) + "\n")
    log.info("%s", scores)


def read_strings(path: Path) -> list[str]:
    kept = []
    for text in pd.read_csv(path)["scope"].drop_duplicates():
        try:
            parse(text)
        except CloudseedError as error:
            log.info("left out: %s", error)
        else:
            kept.append(text)
    return kept


def read_crystals(paths: list[Path], cache: Path) -> list[Crystal]:
    """Refines every structure once and keeps the roots in a file of JSON lines."""
    if not cache.exists():
        from pymatgen.core import Structure

        cache.parent.mkdir(parents=True, exist_ok=True)
        cifs = [cif for path in paths for cif in pd.read_csv(path)["cif"]]
        with cache.with_suffix(".part").open("w", encoding="utf-8") as handle:
            for cif in track(cifs, "refining", console=Console(file=sys.stderr)):
                try:
                    crystal = Crystal.from_structure(Structure.from_str(cif, fmt="cif"))
                except CloudseedError as error:
                    log.info("left out: %s", error)
                    continue
                row = {"root": crystal.root.to_json(), "colouring": crystal.colouring}
                handle.write(json.dumps(row) + "\n")
        cache.with_suffix(".part").rename(cache)
    with cache.open(encoding="utf-8") as handle:
        rows = map(json.loads, handle)
        return [Crystal(GeometryRoot.from_json(r["root"]), tuple(r["colouring"])) for r in rows]


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--strings", type=Path, required=True)
    parser.add_argument("--structures", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dialect", default="canonical", choices=["canonical", "cloud"])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
