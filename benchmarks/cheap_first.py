"""What a cheap lab saves a campaign: on a table, with a cheap lab that is made up.

    python benchmarks/cheap_first.py --seeds 5 --rows 600 --money 40

Elpasolites, drawn at random, are searched for the lowest formation energy. The dear lab looks it up
at a price of 1; the cheap one, at `--price`, says 0.3 eV/atom plus 0.8 of it plus noise that makes
the two correlate by 0.95, 0.7 or not at all. The choice is `decide`'s and `start`'s, as a campaign
asks them, with nothing pending; features are the element descriptors. Printed are the dear
experiments and the money until half of the lowest 2 % were made in the dear lab, and the hits once
`--money` is spent, against campaigns without the cheap lab.
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table
from searching import kept_strings, parser

from cloudseed.surrogate import (
    CheapSource,
    Features,
    Memory,
    Observations,
    decide,
    decision_seed,
    element_descriptors,
    parse_problem,
    start,
)

ENERGY = "formation_energy"
FIRST, BATCH, SHARE = 8, 4, 0.02
CORRELATIONS = (None, 0.95, 0.7, 0.0)
"""Of the cheap lab's values with the dear one's; None for no cheap lab."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--rows", type=int, default=600)
    arguments.add_argument("--money", type=float, default=40.0)
    arguments.add_argument("--price", type=float, default=0.05)
    options = arguments.parse_args()
    kept = parser().parse_args(["elpasolites"]).out
    strings, values = kept_strings("elpasolites", "canonical", kept)
    table = Table(title=f"cheap lab at {options.price} of the dear one's price; medians")
    heads = ("cheap lab", "dear to half", "money to half", "hits at the end", "dear", "cheap")
    for head in heads:
        table.add_column(head)
    for correlation in CORRELATIONS:
        found = [
            searched(strings, values[ENERGY], correlation, seed, options)
            for seed in range(options.seeds)
        ]
        name = "none" if correlation is None else f"correlation {correlation}"
        cells = [f"{v:.3g}" for v in np.median(found, axis=0)]
        table.add_row(name, *cells)
        Console(highlight=False).print(name, np.array(found).round(2).tolist())
    Console(highlight=False, width=100).print(table)


def searched(strings, energies, correlation, seed, options) -> tuple[float, ...]:
    """Runs one campaign; returns a line of the table."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(strings))[: options.rows]
    energy = energies[rows]
    features = Features({"elements": element_descriptors([strings[i] for i in rows])})
    hits = set(np.argsort(energy)[: round(SHARE * options.rows)].tolist())
    rho = correlation or 0.0
    noise = rng.normal(size=options.rows) * energy.std()
    signal = rho * (energy - energy.mean()) + np.sqrt(1 - rho**2) * noise
    hint = 0.3 + 0.8 * (energy.mean() + signal)
    problem, memory = parse_problem(f"min {ENERGY}"), Memory()
    made: list[tuple[int, int]] = []
    money, reached = 0.0, None
    while money < options.money:
        known = _known(made, energy, hint)
        dear = {row for row, source in made if source == 0}
        cheap = None
        if correlation is not None:
            done = np.array(sorted(row for row, source in made if source), dtype=np.int64)
            cheap = CheapSource(done, options.price)
        choose = start if len(made) < FIRST else decide
        choice = choose(
            features,
            known,
            available=[row for row in range(options.rows) if row not in dear],
            problem=problem,
            batch=BATCH,
            seed=decision_seed(seed, len(made)),
            cheap=cheap,
            **({"memory": memory} if choose is decide else {}),
        )
        for row, source in zip(choice.picks, choice.sources or [0] * BATCH, strict=False):
            made.append((row, source))
            money += options.price if source else 1.0
        found = [row for row, source in made if source == 0 and row in hits]
        if reached is None and 2 * len(found) >= len(hits):
            reached = sum(source == 0 for _, source in made), money
    counts = [sum(source == s for _, source in made) for s in (0, 1)]
    return *(reached or (np.inf, np.inf)), len(found), *counts


def _known(made, energy, hint) -> Observations:
    rows = np.array([row for row, _ in made], dtype=np.int64)
    source = np.array([s for _, s in made], dtype=np.int64)
    values = np.where(source == 1, hint[rows], energy[rows])
    return Observations(rows, values[:, None], (ENERGY,), source=source)


if __name__ == "__main__":
    main()
