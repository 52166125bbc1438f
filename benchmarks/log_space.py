"""Whether a positive property of wide range is better modelled by its logarithm: bulk moduli.

    python benchmarks/log_space.py --seeds 5 --budget 60 --encoder FOLDER

Searches of `searching.py moduli`, 20 random starts and batches of five, whose models see the
values, their logarithms, or whichever of the two predicts each value from all others with the
larger mean log density in GPa, asked anew at each decision. The shipped encoder has seen nine
tenths of these moduli: give the one of 0.1.0, as `ablations.py` takes it from history.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from searching import BATCH, STARTS, TASKS, parser, pool

from cloudseed.surrogate import ModelSettings
from cloudseed.surrogate.backtesting import Rules, replay, start_rows
from cloudseed.surrogate.backtesting.searchers import CloudSearcher

if TYPE_CHECKING:
    from cloudseed.surrogate import Choice, Observations

TASK = TASKS["moduli"]
#: A robust model would take the smallest logarithms for outliers, at twenty times the cost.
MODELS = ModelSettings("gp")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--budget", type=int, default=60)
    arguments.add_argument("--encoder", default="cloud-small")
    given = arguments.parse_args()
    options = parser().parse_args([TASK.name])
    vars(options).update(vars(given))
    values, features, _ = pool(TASK.table, options)
    truth = TASK.truth(values)
    places = [(options.budget + STARTS) // 2, options.budget]
    table = Table(title=f"{truth.hits.sum()} hits of {len(truth.hits)}, {options.seeds} seeds")
    for head in ("models of", *(f"hits at {n}" for n in places), "best (GPa)", "logarithm chosen"):
        table.add_column(head)
    for kind in ("values", "logarithms", "either"):
        hits, best, chosen = [], [], []
        for seed in range(options.seeds):
            plain = CloudSearcher(features, truth.problem, models=MODELS)
            searcher = Scaled(kind, plain, replace(plain))
            start = start_rows(features, STARTS, seed, "random")
            rules = Rules(options.budget, BATCH, BATCH, seed)
            order = list(replay(searcher, truth, start, rules).order)
            hits.append(np.cumsum(truth.hits[order])[np.array(places) - 1])
            best.append(truth.merit[order].max())
            chosen += searcher.chosen
        cells = [f"{h:.1f}" for h in np.mean(hits, axis=0)]
        share = f"{np.sum(chosen)} of {len(chosen)} decisions" if kind == "either" else ""
        table.add_row(kind, *cells, f"{np.mean(best):.0f}", share)
    Console(highlight=False).print(table)


@dataclass(frozen=True)
class Scaled:
    """Chooses by models of the values, of their logarithms, or of either."""

    kind: str
    plain: CloudSearcher
    logs: CloudSearcher
    chosen: list[bool] = field(default_factory=list)

    def next(
        self,
        available: np.ndarray,
        pending: np.ndarray,
        observations: Observations,
        batch: int,
        seed: int,
    ) -> Choice:
        logs = replace(observations, values=np.log(observations.values))
        choices = [
            searcher.next(available, pending, seen, batch, seed)
            for searcher, seen, kind in (
                (self.plain, observations, "values"),
                (self.logs, logs, "logarithms"),
            )
            if self.kind in {kind, "either"}
        ]
        if self.kind == "either":
            # A density of y is that of log y over y.
            surprise = [left_out(c) for c in choices]
            self.chosen.append(surprise[1] + float(logs.values.mean()) < surprise[0])
            return choices[int(self.chosen[-1])]
        return choices[0]


def left_out(choice: Choice) -> float:
    """Returns the mean negative log density of values, each predicted from all others."""
    return choice.model["surrogates"][TASK.objective.split()[1]]["left_out"]["nlpd"]


if __name__ == "__main__":
    main()
