"""Whether SCOPE strings are the published ones, what leaves them the same, and how fast they are.

    python benchmarks/scope.py

Takes the development tables from the folder in CLOUDSEED_DATA, default ../shared/data. `exact`
compares the `cloud` strings of all Materials Project crystals there with the published rule's;
`settings` re-sets a sample of them in six ways and compares `canonical` strings, each that differs
with what the symmetry search says; `swaps` exchanges A and B in all perovskites; `tokens` compares
token numbers with the transformers library's on the published vocabulary; `rates` times strings of
children.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pymatgen.core import Structure

from cloudseed.crystal import Crystal
from cloudseed.errors import CloudseedError
from cloudseed.surrogate.scope import DIALECTS, parse, scope_string
from cloudseed.surrogate.tokenizer import WholeTokenizer, load_tokenizer, whole_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))
PARTS = ("exact", "settings", "swaps", "tokens", "rates")


def main() -> None:
    options = arguments().parse_args()
    warnings.filterwarnings("ignore")
    table = pd.concat(pd.read_csv(path) for path in sorted(DATA.glob("mp_structures_*.csv.gz")))
    sample = table.sample(min(options.sample, len(table)), random_state=0)
    if "rates" in options.parts:
        print_rates(sample["cif"].iloc[:200])
    if "swaps" in options.parts:
        print_swaps(pd.read_csv(DATA / "perov5_dev.csv.gz"))
    if "tokens" in options.parts:
        strings = list(pd.read_csv(DATA / "scope_pretrain.csv.gz")["scope"])
        print_tokens(strings, DATA / "cloud_tokenizer")
    if "settings" in options.parts:
        print_invariance(sample)
    if "exact" in options.parts:
        print_exactness(table)


def read(cifs: pd.Series) -> Iterator[Structure]:
    for cif in cifs:
        yield Structure.from_str(cif, fmt="cif")


def print_exactness(table: pd.DataFrame) -> None:
    same = 0
    for structure, scope in zip(read(table["cif"]), table["scope"], strict=True):
        string = scope_string(Crystal.from_structure(structure))
        same += string == scope
        if string != scope:
            print(f"other: {structure.composition.reduced_formula}: {string} instead of {scope}")
    print(f"exact: {same} of {len(table)}")


def print_invariance(table: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    changes: dict[str, Callable[[Structure], Structure]] = {
        "primitive": lambda s: s.get_primitive_structure(),
        "Niggli": lambda s: s.get_reduced_structure("niggli"),
        "2x1x1": lambda s: s.make_supercell([2, 1, 1], in_place=False),
        "origin": lambda s: s.translate_sites(range(len(s)), rng.random(3), to_unit_cell=True),
        "site order": lambda s: Structure.from_sites([s[i] for i in rng.permutation(len(s))]),
        "conventional": conventional,
    }
    same = {name: dict.fromkeys(("canonical", "canonical, full", "cloud"), 0) for name in changes}
    for name, structure in zip(table["material_id"], read(table["cif"]), strict=True):
        before = Crystal.from_structure(structure)
        for change, apply in changes.items():
            after = Crystal.from_structure(apply(structure.copy()))
            for form in same[change]:
                one, other = (form_of(crystal, form) for crystal in (before, after))
                same[change][form] += one == other
                if form == "canonical" and one != other:
                    print(f"differs after {change}: {name}, {explain(structure, before, after)}")
    for change, counts in same.items():
        print(f"same after {change}: {counts} of {len(table)}", flush=True)
    five = sum(counts["canonical"] for counts in list(same.values())[:5])
    print(f"canonical, first five: {five} of {5 * len(table)}")


def form_of(crystal: Crystal, form: str) -> str:
    dialect, _, full = form.partition(", ")
    return scope_string(crystal, dialect, full=bool(full))


def explain(structure: Structure, before: Crystal, after: Crystal) -> str:
    """Returns what the symmetry search says of the two settings, and of looser and tighter ones."""
    groups = [crystal.symmetry.space_group for crystal in (before, after)]
    found = {
        symprec: Crystal.from_structure(structure, symprec).symmetry.space_group
        for symprec in (0.001, 0.005, 0.02, 0.05, 0.1)
    }
    return (
        f"{before.formula}: group {groups[0]} -> {groups[1]}, keys {before.key} -> {after.key};"
        f" group by tolerance {found}"
    )


def print_swaps(table: pd.DataFrame) -> None:
    """Exchanges the cations of each perovskite; the table's coordinates carry a little noise."""
    collisions = pairs = 0
    seen: dict[str, set[str]] = {}
    for structure in read(table["cif"]):
        crystal = Crystal.from_structure(structure, symprec=0.1)
        alone = [e for e, sites in Counter(crystal.colouring).items() if sites == 1]
        cations = [e for e in alone if crystal.composition[e] == 1]
        string = scope_string(crystal, "canonical")
        seen.setdefault(string, set()).add(crystal.key)
        if len(cations) < 2:
            continue
        a, b = cations[:2]
        swapped = crystal.recoloured([{a: b, b: a}.get(e, e) for e in crystal.colouring])
        if swapped.key == crystal.key:
            continue
        pairs += 1
        collisions += string == scope_string(swapped, "canonical")
        if string == scope_string(swapped, "canonical"):
            print(f"collision: {string}")
    shared = sum(len(keys) > 1 for keys in seen.values())
    print(f"A and B exchanged: {collisions} collisions in {pairs} pairs of different crystals")
    print(f"canonical strings that different crystals of the set share: {shared} of {len(seen)}")


def conventional(structure: Structure) -> Structure:
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    return SpacegroupAnalyzer(structure).get_conventional_standard_structure()


def print_rates(cifs: pd.Series) -> None:
    parents = [Crystal.from_structure(structure) for structure in read(cifs)]
    swaps = [("Sr", "Ti", "O", "Na", "Al", "F"), ("Ba", "Zr", "S", "K", "Ga", "Cl")]
    children = []
    for parent in parents:
        for swap in swaps:
            names = dict(zip(parent.composition, swap, strict=False))
            if len(names) == len(parent.composition):
                children.append(parent.recoloured([names[e] for e in parent.colouring]))
    for dialect in DIALECTS:
        for child in children:
            scope_string(child, dialect)
        start = time.process_time()
        for _ in range(100):
            for child in children:
                scope_string(child, dialect)
        rate = 100 * len(children) / (time.process_time() - start)
        print(f"inherited {dialect} strings per CPU-second: {rate:,.0f}")


def print_tokens(strings: list[str], folder: Path) -> None:
    kept = []
    for string in strings:
        try:
            parse(string)
        except CloudseedError as error:
            print(f"refused: {error}")
        else:
            kept.append(string)
    start = time.process_time()
    longest = max(map(len, WholeTokenizer(whole_vocabulary(), 512).encode(kept)))
    rate = len(kept) / (time.process_time() - start)
    print(f"shipped tokenizer: at most {longest} tokens, {rate:,.0f} strings per CPU-second")
    from transformers import BertTokenizer

    reference = BertTokenizer.from_pretrained(folder)(kept)["input_ids"]
    ours = load_tokenizer(folder, 512).encode(kept)
    same = sum(a == b for a, b in zip(ours, reference, strict=True))
    print(f"tokenized as published: {same} of {len(kept)}, longest {max(map(len, ours))}")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("parts", nargs="*", default=PARTS, help=", ".join(PARTS))
    parser.add_argument("--sample", type=int, default=600)
    return parser


if __name__ == "__main__":
    main()
