"""Whether the encoder's heads help a campaign as prior means, where they saw nothing of the table.

    python benchmarks/heads.py perovskites elpasolites --seeds 5 --budget 60
    python benchmarks/heads.py --table measured.jsonl --measure 200 --seeds 10 --budget 60

Campaigns of 8 experiments at first and then batches of four: with heads, which choose half of the
first ones and are the prior mean; with heads that only choose the first ones; without; and without
on one block of features. Perovskites are searched for the lowest `heat_all`,
which the head of the formation energy stands for, elpasolites for the lowest formation energy.
`--table` is a part of the example's pool, drawn at random among its cubic candidates, whose bulk
moduli the example's lab has measured: `--measure N` measures so many more (run `make campaign`
first, which makes the pool). The highest bulk modulus is sought there, with the example's bound
and without.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from searching import embeddings, kept_strings, load_encoder, parser

from cloudseed.surrogate import (
    Features,
    Observations,
    element_descriptors,
    guess,
    parse_problem,
    start,
)
from cloudseed.surrogate.backtesting import Conduct, Rules, Truth, replay
from cloudseed.surrogate.backtesting.searchers import CloudSearcher

ENCODER = "cloud-small"
FIRST, BATCH, ALARM = 8, 4, 20
CUBIC, DRAW = "221 ", 12345
PLACES = (20, 40, 60)
ENERGY = "formation_energy"
TASKS = {
    "perovskites": ("min heat_all", (), {"heat_all": ENERGY}),
    "elpasolites": (f"min {ENERGY}", (), {}),
}
STIFF = (
    ("max bulk_modulus", (), {}),
    ("max bulk_modulus", (f"{ENERGY} <= -2.0 eV/atom",), {}),
)
SETTINGS = {
    "heads": (("embedding", "elements"), True, True),
    "heads at first": (("embedding", "elements"), True, False),
    "no heads": (("embedding", "elements"), False, False),
    "embedding alone": (("embedding",), False, False),
    "elements alone": (("elements",), False, False),
}
"""Name -> blocks of features, whether heads choose what comes first, whether they are a prior."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("tasks", nargs="*", help=", ".join(TASKS))
    arguments.add_argument("--table", type=Path, help="JSON lines, as --measure writes")
    arguments.add_argument("--measure", type=int, default=0, help="measure so many more first")
    arguments.add_argument("--run", type=Path, default=Path("runs/stiff-perovskites"))
    arguments.add_argument("--share", type=float, default=0.01, help="of the feasible, hits")
    arguments.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--budget", type=int, default=60)
    options = arguments.parse_args()
    if unknown := set(options.tasks) - TASKS.keys():
        arguments.error(f"there is no {sorted(unknown)}")
    kept = parser().parse_args(["elpasolites"]).out
    encoder = load_encoder(ENCODER)
    for name in options.tasks:
        strings, values = kept_strings(name, encoder.dialect, kept)
        vectors = embeddings(name, encoder, strings, kept)
        compare(name, TASKS[name], strings, values, vectors, options)
    if options.table is None:
        return
    if options.measure:
        measure(options.run, options.table, options.measure)
    rows = [json.loads(line) for line in options.table.read_text().splitlines()]
    strings = [row["scope"] for row in rows]
    values = {p: np.array([row.get(p, np.nan) for row in rows]) for p in ("bulk_modulus", ENERGY)}
    vectors = encoder.embed(strings)
    for task in STIFF:
        compare(options.table.stem, task, strings, values, vectors, options)


def compare(name, task, strings, values, vectors, options) -> None:
    """Prints a line per setting: the best so far, hits, and experiments to half of them."""
    goal, constraints, heads = task
    problem = parse_problem(goal, constraints)
    truth = Truth.of(problem, values, share=options.share)
    encoder = load_encoder(ENCODER)
    guesses = guess(ENCODER, encoder.id, vectors, problem.properties, heads)
    console = Console(highlight=False, width=110)
    for property_, found in guesses.items():
        known = np.isfinite(values[property_])
        r = np.corrcoef(found.mean[known], values[property_][known])[0, 1]
        console.print(f"{name}: head of {property_}, correlation {r:.2f} over {known.sum()} rows")
    blocks = {"embedding": vectors, "elements": element_descriptors(strings)}
    title = f"{name}: {', '.join([goal, *constraints])}; {truth.hits.sum()} hits of {len(strings)}"
    table = Table(title=title, title_justify="left")
    places = [n for n in PLACES if n <= options.budget]
    for head in ("setting", f"best at {places}", f"hits at {places}", "to half (median)"):
        table.add_column(head)
    top, found_by = np.argsort(-truth.merit)[:2], {}
    for setting in options.settings:
        names, first, prior = SETTINGS[setting]
        features = Features({n: blocks[n] for n in names})
        told = guesses if first else {}, guesses if prior else {}
        runs = [
            campaign(features, truth, *told, options.budget, seed) for seed in range(options.seeds)
        ]
        table.add_row(setting, *figures(truth, runs, places))
        found_by[setting] = [sum(row in order for order in runs) for row in top]
    console.print(table)
    for i, row in enumerate(top):
        told = {p: f"{g.mean[row]:.4g}" for p, g in guesses.items()}
        found = ", ".join(f"{setting} {counts[i]}" for setting, counts in found_by.items())
        best = truth.merit[row] * (-1.0 if problem.objective.direction == "min" else 1.0)
        console.print(f"{best:.4g} ({strings[row]}), heads say {told}; runs that found it: {found}")


def campaign(features, truth, promised, guesses, budget, seed) -> np.ndarray:
    """Returns the rows that one campaign measures, in order."""
    nothing = Observations(np.empty(0, dtype=np.int64), np.empty((0, 0)), ())
    first = start(
        features,
        nothing,
        available=np.arange(len(truth.hits)),
        problem=truth.problem,
        batch=FIRST,
        seed=seed,
        guesses=promised,
    )
    searcher = CloudSearcher(features, truth.problem, guesses=guesses, conduct=Conduct(alarm=ALARM))
    return np.array(replay(searcher, truth, first.picks, Rules(budget, BATCH, BATCH, seed)).order)


def figures(truth, runs, places) -> tuple[str, str, str]:
    sign = -1.0 if truth.problem.objective.direction == "min" else 1.0
    best = np.array([np.maximum.accumulate(truth.merit[order]) for order in runs])
    hits = np.array([np.cumsum(truth.hits[order]) for order in runs])
    half = np.ceil(truth.hits.sum() / 2)
    late = [int(np.argmax(h >= half)) + 1 if h[-1] >= half else len(h) + 1 for h in hits]
    told = [", ".join(f"{sign * b:.4g}" for b in best[:, np.array(places) - 1].mean(axis=0))]
    told.append(", ".join(f"{h:.1f}" for h in hits[:, np.array(places) - 1].mean(axis=0)))
    never = sum(n > hits.shape[1] for n in late)
    return (*told, f"{np.median(late):.0f}" + (f" ({never} never)" if never else ""))


def measure(run: Path, out: Path, count: int) -> None:
    """Measures more of the example's cubic candidates, in an order drawn once."""
    from cloudseed.lab_adapters import ExperimentRequest
    from cloudseed.lab_adapters.potentials import MlipSettings
    from cloudseed.lab_adapters.potentials.task import measure as task
    from cloudseed.lab_adapters.potentials.task import warm_up
    from cloudseed.loop import Workspace, campaign_of
    from cloudseed.loop.pool import CrystalShelf, parents_from_config
    from cloudseed.loop.workspace import reading
    from cloudseed.proposers import predict_volume

    known = set()
    if out.exists():
        known = {json.loads(line)["key"] for line in out.read_text().splitlines()}
    settings = MlipSettings().model_dump()
    warm_up(settings)
    workspace = Workspace.open(run)
    with reading(workspace) as ledger, out.open("a") as stream:
        row, _ = campaign_of(ledger, workspace)
        shelf = CrystalShelf(ledger, parents_from_config(row.config["parents"]))
        pool = ledger.candidates(row.id)
        order = np.random.default_rng(DRAW).permutation(len(pool))
        chosen = [pool[i] for i in order if pool[i].key.startswith(CUBIC)]
        for candidate in [c for c in chosen if c.key not in known][:count]:
            cell = shelf.crystal(candidate).build()
            cell = cell.scaled_to(predict_volume(cell, shelf.parent(candidate)))
            wanted = ("bulk_modulus", ENERGY)
            request = ExperimentRequest("x", candidate.formula, candidate.key, cell, wanted)
            outcome = task(request.to_json(), settings)
            found = {m.property: m.value for m in outcome.measurements}
            line = {"key": candidate.key, "scope": candidate.scope, **found}
            stream.write(json.dumps(line) + "\n")
            stream.flush()


if __name__ == "__main__":
    main()
