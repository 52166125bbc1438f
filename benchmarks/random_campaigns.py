"""The example campaign against random campaigns of the same size, on the same pool and lab.

Run `make campaign` first, then `python benchmarks/random_campaigns.py`. Each random campaign draws
candidates of the same pool, without looking, until as many are measured as the campaign measured;
infeasible ones do not count, as they do not in the campaign. `--seeds 5` also repeats the campaign
itself under other seeds. Results are kept in the run folder, so that the script may be stopped and
started again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import yaml
from rich.progress import Progress

from cloudseed.lab_adapters import ExperimentRequest, LabAdapter, Outcome, OutcomeKind, load_lab
from cloudseed.loop import Workspace, best, campaign_of, load_results
from cloudseed.loop.pool import CrystalShelf, parents_from_config
from cloudseed.loop.workspace import reading
from cloudseed.proposers import predict_volume
from cloudseed.surrogate import is_feasible


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("run", nargs="?", type=Path, default=Path("runs/stiff-perovskites"))
    arguments.add_argument("--campaigns", type=int, default=5)
    arguments.add_argument("--seed", type=int, default=2026)
    arguments.add_argument("--seeds", type=int, default=0, help="repeats of our campaign")
    options = arguments.parse_args()
    workspace = Workspace.open(options.run)
    with reading(workspace) as ledger:
        row, spec = campaign_of(ledger, workspace)
        problem, candidates = spec.problem, ledger.candidates(row.id)
        results = load_results(ledger, row.id, problem)
        shelf = CrystalShelf(ledger, parents_from_config(row.config["parents"]))
        size = sum(r.experiment.state.value == "measured" for r in results)
        lab = load_lab(spec.lab.adapter, spec.lab.config, workspace.path / "random-lab")
        name = problem.objective.property
        highs = []
        with Progress() as progress:
            for number in range(options.campaigns):
                rng = np.random.default_rng([options.seed, number])
                order = (candidates[i] for i in rng.permutation(len(candidates)))
                requests = (_request(shelf, c, problem.properties) for c in order)
                task = progress.add_task(f"random campaign {number + 1}", total=size)
                found = _measure(lab, requests, size, lambda: progress.advance(task))  # noqa: B023
                good = [v[name] for v in found if is_feasible(problem, v)]
                highs.append(max(good) if good else float("nan"))
        lab.close(stop_jobs=True)
    ours = best(results, problem)
    value = ours.value(name) if ours else float("nan")
    print(f"{spec.objective}, subject to {', '.join(spec.constraints)}; {size} experiments each")
    print(f"pool of {len(candidates)} candidates")
    print("random campaigns:", ", ".join(f"{v:.1f}" for v in highs))
    print(f"median of random: {np.nanmedian(highs):.1f}; best of random: {np.nanmax(highs):.1f}")
    print(f"this campaign:    {value:.1f} ({ours.candidate.formula if ours else 'none'})")
    repeats = [_repeat(row.config["spec"], seed, options.run) for seed in range(options.seeds)]
    if repeats:
        print("our campaign under other seeds:", ", ".join(f"{v:.1f}" for v in repeats))
        print(f"median of ours:   {np.median([value, *repeats]):.1f}")


def _repeat(spec, seed: int, run: Path) -> float:
    """Runs the campaign with another seed and returns the best value."""
    folder = run / f"seed-{seed}"
    if not (folder / "campaign.json").exists():
        path = run / f"seed-{seed}.yaml"
        path.write_text(yaml.safe_dump({**spec, "name": f"seed-{seed}", "seed": seed}))
        command = ["run", str(path), "--out", str(folder), "--json"]
    else:
        command = ["resume", str(folder), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "cloudseed", *command], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    return float(found["best"]["measured"][found["objective"]])


def _request(shelf, candidate, properties) -> ExperimentRequest:
    cell = shelf.crystal(candidate).build()
    cell = cell.scaled_to(predict_volume(cell, shelf.parent(candidate)))
    text = f"{cell.lattice}{cell.species}{cell.frac_coords}{properties}"
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    return ExperimentRequest(key, candidate.formula, candidate.key, cell, tuple(properties))


def _measure(lab: LabAdapter, requests, size: int, tick) -> list[dict[str, float]]:
    """Submits requests in order, two at a time, until `size` are measured."""
    found: list[dict[str, float]] = []
    running: dict[str, ExperimentRequest] = {}
    while len(found) < size:
        while len(running) < min(lab.describe().concurrency, size - len(found)):
            request = next(requests)
            running[lab.submit(request)] = request
        handles = {request.key: handle for handle, request in running.items()}
        messages = lab.poll(list(running))
        for message in messages:
            running.pop(handles[message.key])
            outcome = Outcome.from_json(message.raw)
            if outcome.kind is OutcomeKind.MEASURED:
                found.append({m.property: m.value for m in outcome.measurements})
                tick()
        if not messages:
            time.sleep(0.2)
    return found


if __name__ == "__main__":
    main()
