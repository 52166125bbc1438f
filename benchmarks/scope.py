"""Whether SCOPE strings are the published ones, what leaves them the same, and how fast they are.

    python benchmarks/scope.py --structures mp_structures_*.csv.gz \
        --strings scope_pretrain.csv.gz --tokenizer cloud_tokenizer

Tables have the columns `cif` and `scope`, or `scope` alone. The tokenizer's folder is the published
one. Prints one line per figure.
"""

from __future__ import annotations

import argparse
import time
import warnings
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


def main() -> None:
    options = arguments().parse_args()
    warnings.filterwarnings("ignore")
    if options.structures:
        table = pd.concat(pd.read_csv(path) for path in options.structures)
        sample = table.sample(min(options.sample, len(table)), random_state=0)["cif"]
        print_rates(sample.iloc[:200])
        print_invariance(sample)
        print_exactness(table)
    if options.strings:
        print_tokens(list(pd.read_csv(options.strings)["scope"]), options.tokenizer)


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


def print_invariance(cifs: pd.Series) -> None:
    rng = np.random.default_rng(0)
    changes: dict[str, Callable[[Structure], Structure]] = {
        "conventional": conventional,
        "primitive": lambda s: s.get_primitive_structure(),
        "Niggli": lambda s: s.get_reduced_structure("niggli"),
        "2x1x1": lambda s: s.make_supercell([2, 1, 1], in_place=False),
        "origin": lambda s: s.translate_sites(range(len(s)), rng.random(3), to_unit_cell=True),
        "site order": lambda s: Structure.from_sites([s[i] for i in rng.permutation(len(s))]),
    }
    same = {name: dict.fromkeys(DIALECTS, 0) for name in changes}
    total = 0
    for structure in read(cifs):
        before = Crystal.from_structure(structure)
        total += 1
        for name, change in changes.items():
            try:
                after = Crystal.from_structure(change(structure.copy()))
            except (CloudseedError, ValueError) as error:
                print(f"{name}: {error}")
                continue
            for dialect in DIALECTS:
                same[name][dialect] += scope_string(before, dialect) == scope_string(after, dialect)
    for name, counts in same.items():
        print(f"same after {name}: {counts} of {total}")


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


def print_tokens(strings: list[str], folder: Path | None) -> None:
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
    if folder:
        from transformers import BertTokenizer

        reference = BertTokenizer.from_pretrained(folder)(kept)["input_ids"]
        ours = load_tokenizer(folder, 512).encode(kept)
        same = sum(a == b for a, b in zip(ours, reference, strict=True))
        print(f"tokenized as published: {same} of {len(kept)}, longest {max(map(len, ours))}")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--structures", type=Path, nargs="+", default=[])
    parser.add_argument("--strings", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--sample", type=int, default=300)
    return parser


if __name__ == "__main__":
    main()
