"""How well a Gaussian process learns from an encoder's frozen embeddings.

    python benchmarks/encoder.py --encoder cloud-small --perovskites perov5_dev.csv.gz \
        --elpasolites elpasolite_dev.csv.gz

Formation energies of ABX3 perovskites (Castelli et al., 2012) and of elpasolites (Faber et al.,
2016). The model is that of the campaign: Matern 5/2 with one length scale, on 64 principal
components of the whole pool, all on one scale. Prints R2, negative log-likelihood and coverage of
the 95 % interval, each a mean over random splits.
"""

from __future__ import annotations

import argparse
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cloudseed.crystal import Crystal
from cloudseed.surrogate.encoder import CloudEncoder
from cloudseed.surrogate.scope import scope_string


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    tasks = {}
    if options.perovskites:
        tasks["perovskites"] = perovskites(options.perovskites)
    if options.elpasolites:
        tasks["elpasolites"] = elpasolites(options.elpasolites)
    print("task,pooling,dialect,n,r2,sd,nll,coverage")
    for pooling in options.pooling:
        encoder = CloudEncoder.load(options.encoder, pooling=pooling)
        for task, (crystals, y) in tasks.items():
            for dialect in options.dialect:
                embeddings = encoder.embed([scope_string(c, dialect) for c in crystals])
                for size in options.sizes:
                    rows = [score(embeddings, y, size, seed) for seed in range(options.splits)]
                    r2, nll, coverage = np.mean(rows, axis=0)
                    spread = np.std([row[0] for row in rows])
                    print(
                        f"{task},{pooling},{dialect},{size},{r2:.3f},{spread:.3f},{nll:.3f},"
                        f"{coverage:.3f}",
                        flush=True,
                    )


def perovskites(path: Path) -> tuple[list[Crystal], np.ndarray]:
    """Reads the crystals, mixed anions among them; the table's coordinates carry a little noise."""
    from pymatgen.core import Structure

    table = pd.read_csv(path)
    structures = [Structure.from_str(cif, fmt="cif") for cif in table["cif"]]
    crystals = [Crystal.from_structure(structure, symprec=0.1) for structure in structures]
    return crystals, table["heat_all"].to_numpy()


def elpasolites(path: Path, count: int = 3000) -> tuple[list[Crystal], np.ndarray]:
    """Colours the elpasolite A2 B C X6, written as C1 B1 A2 X6 in the table."""
    table = pd.read_csv(path).head(count)
    root = prototype(
        "Fm-3m",
        ["Na", "Al", "K", "F"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.25, 0, 0]],
    )
    colourings = [re.findall(r"[A-Z][a-z]?", formula) for formula in table["composition"]]
    return [root.recoloured(c) for c in colourings], table["formation_energy_per_atom"].to_numpy()


def prototype(group: str, elements: list[str], sites: list[list[float]]) -> Crystal:
    from pymatgen.core import Lattice, Structure

    structure = Structure.from_spacegroup(group, Lattice.cubic(5.0), elements, sites)
    return Crystal.from_structure(structure)


def score(embeddings: np.ndarray, y: np.ndarray, size: int, seed: int) -> tuple[float, ...]:
    """Returns R2, negative log-likelihood and coverage on the rows that were not trained on."""
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Standardize
    from gpytorch.kernels import MaternKernel, ScaleKernel
    from gpytorch.mlls import ExactMarginalLogLikelihood

    centred = embeddings - embeddings.mean(axis=0)
    _, _, axes = np.linalg.svd(centred[:4000], full_matrices=False)
    projected = centred @ axes[:64].T
    x = torch.tensor(projected / np.sqrt((projected**2).sum(axis=1).mean()), dtype=torch.double)
    target = torch.tensor(y, dtype=torch.double)[:, None]
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(y)))
    train, test = order[:size], order[size:]
    model = SingleTaskGP(
        x[train],
        target[train],
        covar_module=ScaleKernel(MaternKernel(nu=2.5)),
        outcome_transform=Standardize(m=1),
    )
    mll = ExactMarginalLogLikelihood(model.likelihood, model)
    fit_gpytorch_mll(mll, optimizer_kwargs={"options": {"maxiter": 200}, "timeout_sec": 60})
    with torch.no_grad():
        posterior = model.posterior(x[test], observation_noise=True)
    mean, variance = posterior.mean[:, 0], posterior.variance[:, 0]
    error = target[test, 0] - mean
    r2 = 1 - (error**2).mean() / target[test].var()
    nll = 0.5 * (torch.log(2 * torch.pi * variance) + error**2 / variance).mean()
    coverage = (error.abs() < 1.96 * variance.sqrt()).double().mean()
    return float(r2), float(nll), float(coverage)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="cloud-small")
    parser.add_argument("--perovskites", type=Path)
    parser.add_argument("--elpasolites", type=Path)
    parser.add_argument("--pooling", nargs="+", default=["cls", "mean"])
    parser.add_argument("--dialect", nargs="+", default=["cloud", "canonical"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[300])
    parser.add_argument("--splits", type=int, default=3)
    return parser


if __name__ == "__main__":
    main()
