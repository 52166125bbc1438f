"""Tables of the back-tests: acceleration factors and hits of every method, random beside them.

    python benchmarks/peers/report.py [RESULTS.jsonl ...]

Reads `benchmarks/results/peers/*.jsonl` and the files named, each line {"method", "task", "seed",
"order"}: rows in the order measured, the starts among them. Random's row is exact: for the m-th of
M hits among N it needs m(N + 1)/(M + 1) experiments on average, and after n it has nM/N hits. The
acceleration factor is that expectation over the mean of ours, where a run that did not get there
counts as N experiments; beside it stands that over the median, with "<" where the median run did
not get there, and how many runs did. Hits are means with their standard errors.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BUILD = Path(__file__).parents[2] / "build" / "peers"
RESULTS = Path(__file__).parents[1] / "results" / "peers"
SHARES = {"half": 0.5, "90 %": 0.9, "all": 1.0}
COUNTS = (50, 100, 200)


@dataclass(frozen=True)
class Reached:
    """How soon a share of the hits was reached, over the runs of one method.

    Args:
        mean: Acceleration by the mean, runs that did not get there counted as the whole pool.
        median: Acceleration by the median run; an upper bound if `bounded`.
        bounded: Whether the median run did not get there within its budget.
        runs: Runs that got there.
    """

    mean: float
    median: float
    bounded: bool
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.1f} ({'<' if self.bounded else ''}{self.median:.1f}; {self.runs})"


def main() -> None:
    options = arguments().parse_args()
    runs = read([*sorted(RESULTS.glob("*.jsonl")), *options.results])
    for folder in sorted(path.parent for path in options.tasks.glob("*/task.json")):
        spec = json.loads((folder / "task.json").read_text())
        of_task = {m: orders for (m, task), orders in sorted(runs.items()) if task == spec["name"]}
        signed = None
        if spec["goal"] == "front":
            signed = np.load(folder / "values.npy") * np.array(spec["signs"])
        print(f"\n## {spec['name']}: {len(spec['hits'])} hits in {spec['size']}\n")
        for line in table(of_task, set(spec["hits"]), spec["size"], signed):
            print(line)


def read(paths: list[Path]) -> dict[tuple[str, str], list[list[int]]]:
    """Returns orders by method and task; of two lines for one seed the last counts."""
    found: dict[tuple[str, str], dict[int, list[int]]] = {}
    for path in paths:
        for text in path.read_text().splitlines():
            line = json.loads(text)
            if len(set(line["order"])) < len(line["order"]):
                raise ValueError(f"{path}: a run of {line['method']} measures a row twice")
            found.setdefault((line["method"], line["task"]), {})[line["seed"]] = line["order"]
    return {key: [orders[seed] for seed in sorted(orders)] for key, orders in found.items()}


def table(
    methods: dict[str, list[list[int]]], hits: set[int], size: int, signed: np.ndarray | None = None
) -> list[str]:
    """Returns the lines of one task's table; `signed` adds the hypervolume of a front."""
    heads = ["method", "seeds", *(f"AF {name}" for name in SHARES)]
    heads += [f"hits at {count}" for count in COUNTS]
    heads += [f"volume at {count}" for count in COUNTS] if signed is not None else []
    lines = [_line(heads), _line(["---"] * len(heads))]
    exact = [f"{count * len(hits) / size:.2f}" for count in COUNTS]
    gaps = [""] * (len(heads) - len(exact) - 5)
    lines.append(_line(["random, exact", "", *(["1"] * len(SHARES)), *exact, *gaps]))
    for method, orders in methods.items():
        cells = [method, str(len(orders))]
        cells += [str(reached(orders, hits, size, share)) for share in SHARES.values()]
        for count in COUNTS:
            cells.append(spread([len(hits & set(o[:count])) for o in orders if len(o) >= count]))
        if signed is not None:
            whole, floor = hypervolume(signed, np.median(signed, axis=0)), np.median(signed, axis=0)
            for count in COUNTS:
                shares = [
                    hypervolume(signed[o[:count]], floor) / whole for o in orders if len(o) >= count
                ]
                cells.append(spread(shares))
        lines.append(_line(cells))
    return lines


def reached(orders: list[list[int]], hits: set[int], size: int, share: float) -> Reached:
    """Returns the acceleration of runs that measure `orders` in reaching a share of the hits."""
    wanted = math.ceil(share * len(hits) - 1e-9)
    expected = random_needs(wanted, len(hits), size)
    needed = [needs(order, hits, wanted) for order in orders]
    counted = [size if n is None else n for n in needed]
    middle = float(np.median(counted))
    bounded = middle > min(len(order) for order in orders)
    if bounded:  # the median run needs more than its budget
        middle = float(np.median([len(order) for order in orders]))
    return Reached(
        mean=expected / float(np.mean(counted)),
        median=expected / middle,
        bounded=bounded,
        runs=sum(n is not None for n in needed),
    )


def needs(order: list[int], hits: set[int], wanted: int) -> int | None:
    """Returns after how many experiments `wanted` hits are found, None if never."""
    found = 0
    for count, row in enumerate(order, start=1):
        found += row in hits
        if found == wanted:
            return count
    return None


def random_needs(wanted: int, hits: int, size: int) -> float:
    """Returns the mean number of experiments that random needs for `wanted` of the hits."""
    return wanted * (size + 1) / (hits + 1)


def hypervolume(signed: np.ndarray, floor: np.ndarray) -> float:
    """Returns the area that points, n x 2 (higher is better), dominate above `floor`."""
    points = signed[(signed > floor).all(axis=1)]
    area, top = 0.0, float(floor[1])
    for x, y in points[np.argsort(-points[:, 0], kind="stable")]:
        if y > top:
            area += (x - floor[0]) * (y - top)
            top = float(y)
    return float(area)


def spread(values: list[float]) -> str:
    """Returns mean and standard error as text, a dash without values."""
    if not values:
        return "-"
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):.2f} ± {error:.2f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", nargs="*", type=Path)
    parser.add_argument("--tasks", type=Path, default=BUILD)
    return parser


if __name__ == "__main__":
    main()
