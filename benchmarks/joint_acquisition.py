"""Our joint stage beside BoTorch's qLogNEI, and what the cut to the finalists costs.

`python benchmarks/joint_acquisition.py` compares batches of 8 among perovskites with 200 measured:
CPU time and how many picks two seeds of one decision share, on the same models and finalists; and
the value of the batch from the best 512 (1,024 for a front), 32 and 8 candidates over that of the
batch from all of them, both in the same samples, which no stage has seen. `--cut` leaves BoTorch
out; `--cases front` takes those that have the word in their names. Data: the folder in
CLOUDSEED_DATA.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.objective import GenericMCObjective
from botorch.models import ModelListGP
from botorch.optim import optimize_acqf_discrete
from botorch.sampling.normal import SobolQMCNormalSampler

from cloudseed.crystal import Crystal, read_crystals
from cloudseed.surrogate import CloudEncoder, Observations, gp, parse_problem, scope_string
from cloudseed.surrogate.batch import Baseline, choose_jointly
from cloudseed.surrogate.deciding import FINALISTS, FRONT_FINALISTS
from cloudseed.surrogate.front_batch import choose_for_front
from cloudseed.surrogate.hurdle import Hurdle
from cloudseed.surrogate.judging import bounds
from cloudseed.surrogate.modelling import fit_criterion, known_feasible, score
from cloudseed.surrogate.space import Space

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))
SEEDS = 4
BATCH = 8
MEASURED = 200
FEW = (32, 8)
CASES = (
    ("min heat_all", (), "no constraint"),
    ("min heat_all", ("dir_gap >= 0.5",), "rare feasible, a hurdle"),
    ("min heat_all", ("heat_ref >= 2.0",), "rare feasible"),
    ("min heat_all", ("heat_ref >= 3.0",), "nothing feasible known"),
    ("heat_all = 1.0", (), "a target"),
    ("min heat_all", ("heat_all >= 0.5",), "a bound on the objective itself"),
    ("min heat_all; max dir_gap", (), "front"),
    ("min heat_all; max dir_gap", ("heat_ref >= 2.0",), "front, rare feasible"),
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cut", action="store_true", help="leave BoTorch out")
    arguments.add_argument("--cases", default="", help="those with this in their names")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    table = pd.read_csv(DATA / "perov5_dev.csv.gz").iloc[:2500]
    encoder = CloudEncoder.load("cloud-small")
    texts = [(str(i), text) for i, text in zip(table.index, table["cif"], strict=True)]
    crystals = [c for c in read_crystals(texts, workers=2) if isinstance(c, Crystal)]
    features = encoder.embed([scope_string(c, encoder.dialect) for c in crystals])
    for goal, constraints, note in CASES:
        if options.cases not in note:
            continue
        found = decision(table, features, goal, constraints, note)
        cut(*found, note)
        hurdles = any(isinstance(m, Hurdle) for m in found[0].surrogates.values())
        # BoTorch has no hurdles, and its like for fronts compiles C++ first.
        if not (options.cut or hurdles or found[0].front is not None):
            compare(*found, note)


def decision(table, features, goal, constraints, note):
    """Returns models, what is known, and the points left, best first by their value alone."""
    problem = parse_problem(goal, constraints)
    order = np.random.default_rng(0).permutation(len(table))
    if "nothing" in note:
        order = np.array([i for i in order if table["heat_ref"].iloc[i] < 3.0])
    rows = order[:MEASURED]
    values = table[list(problem.properties)].to_numpy(dtype=float)[rows]
    observations = Observations(rows, values, problem.properties)
    space = Space.of(features)
    criterion = fit_criterion(space, observations, problem, 0, [])
    rest = np.setdiff1d(np.arange(len(table)), rows)
    measured, feasible = known_feasible(criterion, observations)
    known = Baseline(space[measured], feasible)
    return criterion, known, space[score(space, criterion, rest).rows]


def cut(criterion, known, points, note) -> None:
    """Prints what batches from the best few are worth over batches from all."""
    cuts = (FINALISTS if criterion.front is None else FRONT_FINALISTS, *FEW)
    shares = {size: [] for size in cuts}
    for seed in range(SEEDS):
        whole = worth(criterion, known, points, len(points), seed)
        for size in cuts:
            shares[size].append(worth(criterion, known, points, size, seed) / whole)
    texts = [f"best {n}: {np.mean(s):.4f} (least {min(s):.4f})" for n, s in shares.items()]
    print(f"{note}: value of the batch over that from all {len(points)}: {', '.join(texts)}")


def worth(criterion, known, points, size, seed) -> float:
    """Returns what the batch from the best `size` points is expected to gain."""
    choose = choose_jointly if criterion.front is None else choose_for_front
    picks = choose(criterion, known, points[:size], BATCH, seed)[0]
    gains = choose(criterion, known, points[picks], BATCH, 1_000 + seed)[1]
    return float(np.exp(gains).sum())


def compare(criterion, known, points, note) -> None:
    finalists = points[:512]
    times, picks = {"ours": [], "BoTorch": []}, {"ours": [], "BoTorch": []}
    for seed in range(SEEDS):
        began = time.process_time()
        picks["ours"].append(set(choose_jointly(criterion, known, finalists, BATCH, seed)[0]))
        times["ours"].append(time.process_time() - began)
        began = time.process_time()
        picks["BoTorch"].append(botorch_picks(criterion, known.x, finalists, seed))
        times["BoTorch"].append(time.process_time() - began)
    ratio = np.median(times["BoTorch"]) / np.median(times["ours"])
    shared = {
        name: np.mean([len(a & b) for a, b in itertools.combinations(sets, 2)])
        for name, sets in picks.items()
    }
    print(
        f"{note}: BoTorch takes {ratio:.1f} times our CPU time; two seeds share"
        f" {shared['ours']:.1f} of {BATCH} picks (ours), {shared['BoTorch']:.1f} (BoTorch)"
    )


def botorch_picks(criterion, measured, finalists, seed) -> set[int]:
    """Picks a batch with BoTorch alone, on models with our hyperparameters."""
    models = []
    for surrogate in criterion.surrogates.values():
        model = gp.botorch_model(surrogate.features, surrogate.targets, surrogate.hyper.covariance)
        model.likelihood.noise = max(surrogate.hyper.noise, 1e-4)
        model.mean_module.constant.data.fill_(surrogate.hyper.mean)
        models.append(model.eval())
    names, limits = list(criterion.surrogates), []
    for name, (low, high) in bounds(criterion.problem).items():
        model, column = criterion.surrogates[name], names.index(name)
        for side, bound in ((-1.0, low), (1.0, high)):
            if np.isfinite(bound):
                standard = (bound - model.centre) / model.scale
                limits.append(lambda s, c=column, b=standard, f=side: f * (s[..., c] - b))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        acquisition = qLogNoisyExpectedImprovement(
            ModelListGP(*models),
            X_baseline=torch.as_tensor(measured),
            sampler=SobolQMCNormalSampler(torch.Size([256]), seed=seed),
            objective=GenericMCObjective(lambda s, X=None: criterion.goal.sign * s[..., 0]),  # noqa: ARG005, N803
            constraints=limits or None,
            prune_baseline=True,
        )
        choices = torch.as_tensor(finalists)
        found, _ = optimize_acqf_discrete(acquisition, q=BATCH, choices=choices, unique=True)
    return {int((choices - x).abs().sum(-1).argmin()) for x in found}


if __name__ == "__main__":
    main()
