"""How many known crystals does substitution find again?

A random fifth of the Materials Project's oxides, chalcogenides and halides is hidden. From the
rest, each a parent, the first 10, 100 and 1,000 children are proposed; the share of hidden pairs of
composition and space group among them is compared with that of random charge-neutral
substitution, of all elements at once and of one element at a time. Pairs that the rest holds too,
and radioactive elements, are left out of the hidden ones.

    python benchmarks/rediscovery.py            # all parents; --parents 1000 for a sample
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import os
import re
import sys
import time
from functools import reduce
from pathlib import Path

import numpy as np

from cloudseed._elements import NUMBERS
from cloudseed.crystal import Cell, Crystal, read_crystals
from cloudseed.proposers import (
    ChargeNeutrality,
    Parent,
    ProposalContext,
    Verdict,
    load_proposer,
    permitted_elements,
)

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))
ANIONS = frozenset(["O", "S", "Se", "Te", "F", "Cl", "Br", "I"])
BUDGETS = (10, 100, 1000)
CODES = np.random.default_rng(20261125).integers(1, 2**63, 256, dtype=np.uint64)
"""One random number per element: a composition's code is their sum, weighted by amounts."""


def main() -> None:
    arguments = _arguments()
    rng = np.random.default_rng(arguments.seed)
    rows = [row for row in _rows(arguments.data) if set(_amounts(row["formula"])) & ANIONS]
    if not rows:
        sys.exit(f"there are no mp_structures_*.csv.gz in {arguments.data}")
    hidden_rows, rest = _split(rows, rng)
    known = {_pair(row) for row in rest}
    permitted = permitted_elements()
    hidden = {
        _pair(row): row["formula"]
        for row in hidden_rows
        if _pair(row) not in known and set(_amounts(row["formula"])) <= permitted
    }
    sample = (
        rest
        if arguments.parents is None
        else [rest[i] for i in sorted(rng.choice(len(rest), arguments.parents, replace=False))]
    )
    print(f"{len(rows)} crystals, {len(hidden)} hidden pairs, {len(sample)} parents", flush=True)
    crystals = _crystals(sample, arguments.cache)
    print(f"{len(crystals)} parents read", flush=True)
    wanted = np.array(sorted(hidden), dtype=np.uint64)
    context = ProposalContext((), None)
    proposers = [load_proposer(name) for name in arguments.proposers]
    ways = {p.name: lambda parent, p=p: _proposed(p, parent, context, rng) for p in proposers}
    ways["random, all elements"] = lambda parent: _random(parent, rng, every=True)
    ways["random, one element"] = lambda parent: _random(parent, rng, every=False)
    result = {name: _shares(name, way, crystals, wanted) for name, way in ways.items()}
    _report(result, len(hidden), arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--parents", type=int, help="a random sample of the parents")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--proposers", nargs="+", default=["ionic_substitution"])
    parser.add_argument("--cache", type=Path, help="where refined parents are kept between runs")
    parser.add_argument("--out", type=Path, help="where figures are written as JSON")
    return parser.parse_args()


def _rows(data: Path) -> list[dict[str, str]]:
    csv.field_size_limit(10_000_000)
    found = []
    for path in sorted(data.glob("mp_structures_*.csv.gz")):
        with gzip.open(path, "rt", newline="") as stream:
            found.extend(csv.DictReader(stream))
    return found


def _split(rows, rng):
    order = rng.permutation(len(rows))
    fifth = len(rows) // 5
    return [rows[i] for i in order[:fifth]], [rows[i] for i in sorted(order[fifth:])]


def _amounts(formula: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for element, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula.replace(" ", "")):
        found[element] = found.get(element, 0) + int(count or 1)
    return found


def _pair(row) -> int:
    amounts = _amounts(row["formula"])
    divisor = reduce(math.gcd, amounts.values())
    numbers = np.array([[NUMBERS[e] for e in amounts]], dtype=np.uint8)
    counts = np.array([n // divisor for n in amounts.values()], dtype=np.uint64)
    return int(_codes(numbers, counts, int(row["spacegroup_number"]))[0])


def _codes(numbers, counts, space_group: int):
    """One number for each composition and space group; the order of elements does not matter."""
    with np.errstate(over="ignore"):
        sums = (CODES[numbers] * counts.astype(np.uint64)).sum(axis=1, dtype=np.uint64)
        return sums * np.uint64(2) + CODES[space_group - 1] * np.uint64(7919)


def _crystals(rows, cache: Path | None) -> list[Parent]:
    """Refines the parents; half a minute of work per thousand is kept in the cache."""
    known: dict[str, dict] = {}
    if cache is not None and cache.exists():
        known = json.loads(gzip.decompress(cache.read_bytes()))
    missing = [row for row in rows if row["material_id"] not in known]
    sources = [(row["material_id"], row["cif"]) for row in missing]
    began = time.monotonic()
    for row, crystal in zip(missing, read_crystals(sources, workers=2), strict=True):
        good = isinstance(crystal, Crystal)
        known[row["material_id"]] = crystal.build().to_json() if good else {}
    print(f"parsed {len(missing)} in {time.monotonic() - began:.0f} s", flush=True)
    if cache is not None and missing:
        cache.write_bytes(gzip.compress(json.dumps(known).encode()))
    found = []
    for row in rows:
        cell = known[row["material_id"]]
        if cell:
            found.append(Parent(row["material_id"], Crystal.from_cell(Cell.from_json(cell))))
    return found


def _proposed(proposer, parent: Parent, context, rng):
    """Yields (rank, codes) of a parent's children."""
    for batch in proposer.batches(parent, context, max(BUDGETS), rng):
        sites = np.zeros(batch.numbers.shape[1], dtype=np.int64)
        np.add.at(sites, list(batch.classes), batch.root.sites_per_orbit)
        divisor = int(np.gcd.reduce(sites))
        # Without merging every child has its root's space group; merged ones are looked up.
        yield batch.ranks, _batch_codes(batch, sites // divisor)


def _batch_codes(batch, counts):
    codes = _codes(batch.numbers, counts, batch.root.space_group)
    ordered = np.sort(batch.numbers, axis=1)
    merged = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    for row in merged.tolist():
        crystal = batch.crystal(row)
        composition = crystal.composition
        divisor = math.gcd(*composition.values())
        numbers = np.array([[NUMBERS[e] for e in composition]], dtype=np.uint8)
        amounts = np.array([n // divisor for n in composition.values()], dtype=np.uint64)
        codes[row] = _codes(numbers, amounts, crystal.symmetry.space_group)[0]
    return codes


NEUTRAL = ChargeNeutrality()
PERMITTED = np.array(sorted(NUMBERS[e] for e in permitted_elements()), dtype=np.uint8)


def _random(parent: Parent, rng, *, every: bool):
    """Yields (rank, codes) of random charge-neutral children, each once."""
    composition = parent.crystal.composition
    own = np.array([NUMBERS[e] for e in composition], dtype=np.uint8)
    divisor = math.gcd(*composition.values())
    amounts = [n // divisor for n in composition.values()]
    found: dict[bytes, None] = {}
    for _ in range(10 if every else 1):
        numbers = rng.choice(PERMITTED, (4000, len(own))) if every else _singles(own, rng)
        ordered = np.sort(numbers, axis=1)
        distinct = (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)
        numbers = numbers[distinct & (numbers != own).any(axis=1)]
        judged = NEUTRAL.check_many(numbers, amounts)
        good = np.array([r.verdict is not Verdict.FAIL for r in judged.results])[judged.index]
        found.update((row.tobytes(), None) for row in numbers[good])
        if len(found) >= max(BUDGETS):
            break
    rows = [np.frombuffer(code, dtype=np.uint8) for code in found][: max(BUDGETS)]
    if rows:
        numbers = np.array(rows)
        codes = _codes(numbers, np.array(amounts), parent.crystal.root.space_group)
        yield np.arange(len(rows)), codes


def _singles(own, rng):
    """All children that differ in one element, in random order."""
    numbers = np.tile(own, (len(own) * len(PERMITTED), 1))
    which = np.repeat(np.arange(len(own)), len(PERMITTED))
    numbers[np.arange(len(numbers)), which] = np.tile(PERMITTED, len(own))
    return rng.permutation(numbers)


def _shares(name: str, way, crystals: list[Parent], wanted) -> dict[int, float]:
    """Returns the share of the hidden pairs that each budget contains."""
    best = np.full(len(wanted), np.iinfo(np.int64).max)
    children, began = 0, time.process_time()
    for done, parent in enumerate(crystals, start=1):
        for ranks, codes in way(parent):
            children += len(codes)
            place = np.searchsorted(wanted, codes)
            place[place == len(wanted)] = 0
            hit = wanted[place] == codes
            np.minimum.at(best, place[hit], ranks[hit])
        if done % 2000 == 0:
            print(f"  {name}: {done} parents", flush=True)
    seconds = time.process_time() - began
    print(f"  {name}: {children} children, {seconds:.0f} CPU-seconds", flush=True)
    return {budget: float((best < budget).mean()) for budget in BUDGETS}


def _report(result, hidden: int, arguments) -> None:
    print(f"\nshare of {hidden} hidden pairs found again (seed {arguments.seed})")
    print(f"{'':28}" + "".join(f"{budget:>10}" for budget in BUDGETS) + "  children per parent")
    for name, shares in result.items():
        print(f"{name:28}" + "".join(f"{100 * shares[b]:9.2f}%" for b in BUDGETS))
    for name in arguments.proposers:
        for other in [n for n in result if n.startswith("random")]:
            ratios = [
                result[name][b] / result[other][b] if result[other][b] else math.inf
                for b in BUDGETS
            ]
            print(
                f"{name} / {other}: "
                + ", ".join(f"{r:.1f}x at {b}" for r, b in zip(ratios, BUDGETS, strict=True))
            )
    if arguments.out:
        arguments.out.write_text(json.dumps({"hidden": hidden, "shares": result}, indent=1))


if __name__ == "__main__":
    main()
