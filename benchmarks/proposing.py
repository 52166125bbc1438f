"""How many candidates are proposed and kept a second, and what a million of them cost.

    python benchmarks/proposing.py

Parents are the prototypes that ship with pymatgen. The figures: raw and kept candidates per
CPU-second by ionic substitution in one process; wall time and peak memory of a pool of `--pool`
unique candidates with their keys and SCOPE strings, with `--workers` processes; and SCOPE strings
per CPU-second, of crystals that nothing was asked of before and of the same again, against the
published rule, which builds each structure's symmetry anew; and the same pool by the command
`cloudseed propose`, with strings and papers, as a table.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from inheritance import published_rule

from cloudseed.proposers import (
    AllowedElements,
    ChargeNeutrality,
    Generation,
    IonicSubstitution,
    Parent,
    PartialSubstitution,
    ProposalContext,
    SimilaritySubstitution,
    generate,
    prototype_parents,
)
from cloudseed.surrogate.scope import scope_string

if TYPE_CHECKING:
    from cloudseed.crystal import Crystal


def main() -> None:
    options = arguments().parse_args()
    warnings.filterwarnings("ignore")
    started = time.process_time()
    parents = prototype_parents()
    print(f"parents: {len(parents)} prototypes, {time.process_time() - started:.1f} CPU-seconds")
    rate(parents, options.budget)
    crystals = pool(parents, options)
    if options.sample:
        strings(crystals, options.sample)
    command(options)


def rate(parents: tuple[Parent, ...], budget: int) -> Generation:
    started = time.process_time()
    made = generated(parents, budget, IonicSubstitution(threshold=1e-9))
    seconds = time.process_time() - started
    print(
        f"raw: {made.raw:,} in {seconds:.1f} CPU-seconds, {made.raw / seconds:,.0f} a second\n"
        f"kept: {len(made.kept):,}, {len(made.kept) / seconds:,.0f} a CPU-second"
    )
    return made


def pool(parents: tuple[Parent, ...], options: argparse.Namespace) -> list[Crystal]:
    """Makes the pool, and returns some of its crystals."""
    before, started = cpu_seconds(), time.perf_counter()
    made = generated(
        parents,
        options.pool_budget,
        IonicSubstitution(threshold=1e-12),
        SimilaritySubstitution(threshold=1e-9),
        PartialSubstitution(),
        top=options.pool,
        workers=options.workers,
    )
    keys = list(made.kept.keys())
    found = [scope_string(crystal, options.dialect) for crystal in made.kept.crystals()]
    wall = time.perf_counter() - started
    print(
        f"pool: {len(keys):,} unique candidates, {len(found):,} {options.dialect} strings\n"
        f"pool time: {wall:.1f} s on the clock, {cpu_seconds() - before:.1f} CPU-seconds,"
        f" {options.workers} workers\n"
        f"pool memory: at most {peak_gigabytes(options.workers):.2f} GiB, all processes together"
    )
    step = max(1, len(made.kept) // 20_000)
    places = range(0, len(made.kept), step)
    return [made.kept[place].candidate.crystal for place in places]


def command(options: argparse.Namespace) -> None:
    """Runs `cloudseed propose` for the same pool, and prints what it cost."""
    with tempfile.TemporaryDirectory() as folder:
        table = f"{folder}/pool.parquet"
        words = ["propose", "prototypes", "--top", str(options.pool), "--out", table]
        words += ["--per-parent", str(options.pool_budget), "--workers", str(options.workers)]
        words += ["--no-structures", "--no-chemistry", "--json"]
        for proposer in (
            "ionic_substitution:threshold=1e-12",
            "similarity_substitution",
            "partial_substitution",
        ):
            words += ["--proposer", proposer]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "cloudseed", *words], capture_output=True, check=True, text=True
        )
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        size = Path(table).stat().st_size / 1e6
    print(
        f"cloudseed propose: {json.loads(done.stdout)['kept']:,} candidates with papers in"
        f" {wall:.0f} s on the clock, {used:.0f} CPU-seconds; the largest of its processes took"
        f" {after.ru_maxrss / 2**20:.2f} GiB, the table {size:.0f} MB"
    )


def strings(crystals: list[Crystal], sample: int) -> None:
    """Prints how much faster strings are than by the published rule, on the same children."""
    few = crystals[:: max(1, len(crystals) // sample)]
    structures = [crystal.build().to_structure() for crystal in few]
    started = time.process_time()
    for structure in structures:
        published_rule(structure)
    published = len(few) / (time.process_time() - started)
    print(f"published rule: {published:,.0f} strings a CPU-second")
    for dialect in ("cloud", "canonical"):
        fresh = [crystal.recoloured(crystal.colouring) for crystal in crystals]
        for kind in ("fresh crystals", "again"):
            started = time.process_time()
            for crystal in fresh:
                scope_string(crystal, dialect)
            ours = len(fresh) / (time.process_time() - started)
            print(
                f"{dialect}, {kind}: {ours:,.0f} strings a CPU-second,"
                f" {ours / published:,.0f} times the rule"
            )


def generated(parents: tuple[Parent, ...], budget: int, *proposers, **more) -> Generation:
    return generate(
        proposers,
        ProposalContext(parents),
        [AllowedElements(), ChargeNeutrality()],
        budget=budget,
        rng=np.random.default_rng(0),
        **more,
    )


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def peak_gigabytes(workers: int) -> float:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (
        workers if workers > 1 else 0
    )
    return (own + others) / 2**20


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--budget", type=int, default=2000)
    parser.add_argument("--pool", type=int, default=1_000_000)
    parser.add_argument("--pool-budget", type=int, default=12_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--dialect", default="canonical")
    parser.add_argument("--sample", type=int, default=300)
    return parser


if __name__ == "__main__":
    main()
