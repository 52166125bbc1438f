"""Whether the SCOPE strings that children inherit are those that spglib gives on the built child.

    python benchmarks/inheritance.py --parents 500 --children 10000

Parents are Materials Project crystals, drawn at random. A child gets random elements, in one of
four ways: all species stay distinct; two merge into one; some sites of an element split off; some
sites or a whole element are left empty. Its string comes from the parent's symmetry, or from one
search per root and partition. Against it stand, on the structure that the child builds, the
published rule (`cloud`) and the canonical string of a new refinement (`canonical`).
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from cloudseed.crystal import SYMPREC, VACANCY, Crystal, multiplicities
from cloudseed.proposers import permitted_elements
from cloudseed.proposers.subsets import Colours, coloured, element_sites
from cloudseed.surrogate.scope import generators, scope_string

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))
KINDS = ("distinct", "merged", "split", "vacant")


def main() -> None:
    options = arguments().parse_args()
    warnings.filterwarnings("ignore")
    paths = sorted(options.data.glob("mp_structures_*.csv.gz"))
    if not paths:
        raise SystemExit(f"{options.data} holds no mp_structures_*.csv.gz; give --data")
    table = pd.concat(pd.read_csv(path, usecols=["material_id", "cif"]) for path in paths)
    rows = table.sample(options.parents, random_state=options.seed)
    parents = [Crystal.from_structure(Structure.from_str(cif, fmt="cif")) for cif in rows["cif"]]
    counts, seconds = compare(parents, options.children, options.seed)
    for kind in (*KINDS, "all"):
        of = counts[kind, "children"]
        for dialect in ("cloud", "canonical"):
            same = counts[kind, dialect]
            print(f"{kind} {dialect}: {same} of {of} the same, {100 * same / max(of, 1):.3f} %")
    print(f"paths: {counts['path', 'inherited']} inherited, {counts['path', 'searched']} searched")
    published, inherited = (seconds[k] / counts["all", "children"] for k in ("rule", "inherited"))
    print(f"published rule: {1 / published:,.0f} strings per CPU-second")
    print(f"from the parent, first time included: {1 / inherited:,.0f} strings per CPU-second")


def compare(
    parents: list[Crystal], children: int, seed: int
) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """Returns (kind, dialect) -> how many strings are the same, and CPU-seconds spent."""
    rng = np.random.default_rng(seed)
    counts: Counter[tuple[str, str]] = Counter()
    seconds: Counter[str] = Counter()
    while counts["all", "children"] < children:
        parent = parents[counts["all", "children"] % len(parents)]
        kind, child = random_child(parent, rng)
        start = time.process_time()
        ours = {dialect: scope_string(child, dialect) for dialect in ("cloud", "canonical")}
        seconds["inherited"] += time.process_time() - start
        structure = child.build().to_structure()
        start = time.process_time()
        published = published_rule(structure)
        seconds["rule"] += time.process_time() - start
        theirs = {
            "cloud": published,
            "canonical": scope_string(Crystal.from_structure(structure), "canonical"),
        }
        for name in (kind, "all"):
            counts[name, "children"] += 1
            for dialect, string in ours.items():
                counts[name, dialect] += string == theirs[dialect]
        counts["path", "inherited" if child.symmetry.inherited else "searched"] += 1
        if counts["all", "children"] % 1000 == 0:
            same = [f"{counts['all', dialect]} {dialect}" for dialect in ours]
            print(f"{counts['all', 'children']} children, the same: {', '.join(same)}", flush=True)
        for dialect, string in ours.items():
            if string != theirs[dialect]:
                print(f"other: {kind} {dialect} {child.key}: {string} / {theirs[dialect]}")
    return counts, seconds


def published_rule(structure: Structure) -> str:
    """Makes the string as the published code does, one symmetry search per structure."""
    dataset = SpacegroupAnalyzer(structure, symprec=SYMPREC).get_symmetry_dataset()
    table = multiplicities(int(dataset.number))
    symbols = dict.fromkeys(f"{table[letter]}{letter}" for letter in dataset.wyckoffs)
    amounts = Counter(site.specie.symbol for site in structure)
    fractions = [f"{e} {float(np.round(n / len(structure), 2))}" for e, n in amounts.items()]
    head = " ".join(generators()[int(dataset.number)])
    return f"{head} | {' '.join(symbols)} | {' '.join(fractions)}"


def random_child(parent: Crystal, rng: np.random.Generator) -> tuple[str, Crystal]:
    """Returns a child, and how its species became others."""
    present = list(parent.composition)
    while True:
        kind = str(rng.choice(KINDS))
        new = [str(e) for e in rng.permutation(sorted(permitted_elements()))[: len(present) + 1]]
        if kind == "distinct":
            return kind, painted(coloured(parent, ()), new)
        if kind == "merged" and len(present) > 1:
            first, second = rng.choice(len(present), 2, replace=False)
            new[first] = new[second]
            return kind, painted(coloured(parent, ()), new)
        element = str(rng.choice(present))
        sites = element_sites(parent, element)
        if kind == "split" and len(sites) > 1:
            return kind, painted(some_of(parent, sites, rng), new)
        if kind == "vacant" and len(parent.root.site_orbits) > 1:
            colours = some_of(parent, sites, rng)
            new[-1] = VACANCY
            if set(colours.classes) != {len(present)}:
                return kind, painted(colours, new)


def some_of(parent: Crystal, sites: tuple[int, ...], rng: np.random.Generator) -> Colours:
    """Tells a random part of the sites from the others; half of the time all."""
    size = len(sites) if rng.random() < 0.5 else int(rng.integers(1, len(sites) + 1))
    return coloured(parent, [rng.choice(sites, size, replace=False).tolist()])


def painted(colours: Colours, new: list[str]) -> Crystal:
    return Crystal(colours.root, tuple(new[column] for column in colours.classes))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--parents", type=int, default=500)
    parser.add_argument("--children", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
