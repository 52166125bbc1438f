"""Ranks a list by what was measured on another; needs no campaign."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import EmptyPoolError, InputError
from cloudseed.loop.listing import read_listing, sites_of
from cloudseed.loop.pool import embed_all, feature_blocks
from cloudseed.loop.workspace import write_text
from cloudseed.surrogate import (
    BLOCKS,
    CloudEncoder,
    Observations,
    describe,
    element_descriptors,
    guess,
    parse_problem,
    shell_penalties,
    wants_hints,
    with_derived,
)
from cloudseed.surrogate import rank as rank_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cloudseed.surrogate import OrderBy, Ranking

__all__ = ["RankedList", "RankedRow", "rank_files"]


@dataclass(frozen=True, slots=True)
class RankedRow:
    """One candidate of a ranked list.

    Attributes:
        rank: Its place, from 1.
        name: What the list calls it.
        mean: Posterior mean per property.
        sd: Posterior standard deviation per property.
        acquisition: Log expected improvement of measuring it.
        feasible: Probability that all constraints hold.
        nearest: Name of the nearest measured material.
        distance: Distance to it in the projected embedding.
    """

    rank: int
    name: str
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    acquisition: float
    feasible: float
    nearest: str
    distance: float


@dataclass(frozen=True, slots=True)
class RankedList:
    """A ranked list.

    Attributes:
        goal: What was sought, in words.
        properties: The properties that were modelled.
        constrained: Whether there are constraints.
        order_by: "acquisition" or "mean".
        measured: Number of measured materials.
        rows: The candidates, best first.
        notes: What went otherwise than planned.
    """

    goal: str
    properties: tuple[str, ...]
    constrained: bool
    order_by: str
    measured: int
    rows: tuple[RankedRow, ...]
    notes: tuple[str, ...]

    def to_json(self, top: int = 0) -> dict[str, Any]:
        """Returns plain values, of the best `top` rows or of all if `top` is 0."""
        rows = self.rows if top == 0 else self.rows[:top]
        return {
            "goal": self.goal,
            "order_by": self.order_by,
            "candidates": len(self.rows),
            "measured": self.measured,
            "notes": list(self.notes),
            "rows": [
                {
                    "rank": row.rank,
                    "name": row.name,
                    "mean": dict(zip(self.properties, row.mean, strict=True)),
                    "sd": dict(zip(self.properties, row.sd, strict=True)),
                    "acquisition": row.acquisition if np.isfinite(row.acquisition) else None,
                    "feasible": row.feasible,
                    "nearest": row.nearest,
                    "distance": row.distance,
                }
                for row in rows
            ],
        }

    def write_csv(self, path: Path) -> None:
        """Writes the whole list as CSV."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        heads = [f"{kind}_{name}" for name in self.properties for kind in ("mean", "sd")]
        tail = ["acquisition", "feasible", "nearest", "distance"]
        writer.writerow(["rank", "name", *heads, *tail])
        for row in self.rows:
            pairs = [v for pair in zip(row.mean, row.sd, strict=True) for v in pair]
            rest = [row.acquisition, row.feasible, row.nearest, row.distance]
            writer.writerow([row.rank, row.name, *pairs, *rest])
        write_text(path, out.getvalue())


def rank_files(
    pool: Path,
    measured: Path,
    objective: str,
    constraints: Sequence[str],
    *,
    derived: Mapping[str, str] | None = None,
    order_by: OrderBy = "acquisition",
    encoder: str = "cloud-small",
    features: Sequence[str] = BLOCKS,
    heads: bool = True,
    seed: int = 0,
    skip_bad: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> RankedList:
    """Ranks the materials of `pool` by the values in `measured`.

    Args:
        pool: A folder of CIFs, or a CSV with a column `cif` or `scope`.
        measured: The same with values of every property that is named.
        objective: For instance "max bulk_modulus".
        constraints: For instance "formation_energy <= -2.0 eV/atom".
        derived: Name -> formula of properties that are computed from the measured ones.
        order_by: "acquisition" or "mean".
        encoder: A shipped name, a folder or a hub id.
        features: What the models see: some of `BLOCKS`, the first for distances.
        heads: Whether what the encoder's own heads predict is the prior mean.
        seed: Seed of all randomness.
        skip_bad: Whether to leave out materials that cannot be used.
        progress: Told the task, how much is done and how much there is.

    Raises:
        ObjectiveError: If objective or constraints cannot be parsed.
        InputError: If a file, column or value cannot be used, or a block of features is unknown.
    """
    problem = parse_problem(objective, constraints, derived=derived)
    check_blocks(features)
    known = read_listing(measured, problem.measured, skip_bad=skip_bad, progress=progress)
    wanted = read_listing(pool, skip_bad=skip_bad, progress=progress)
    columns = with_derived(problem.derived, known.values)
    values = np.stack([columns[p] for p in problem.properties], axis=1)
    has_value = np.isfinite(values).any(axis=1)
    if not has_value.any():
        raise EmptyPoolError(
            f"{measured} holds no value of {problem.objective.property!r}.",
            hint="At least one material must have been measured.",
        )
    model = CloudEncoder.load(encoder)
    dialect = model.dialect if known.has_structures and wanted.has_structures else "cloud"
    names = [*wanted.names, *known.names]
    strings = [*wanted.strings(dialect), *known.strings(dialect)]
    progress("embedding", 0, 1)
    vectors = embed_all(model, strings)
    progress("embedding", 1, 1)
    elements = element_descriptors(strings) if "elements" in features else None
    sites = sites_of(wanted, known) if "sites" in features else None
    rows = np.flatnonzero(has_value) + len(wanted.names)
    ranking = rank_rows(
        feature_blocks(features, vectors, elements, sites),
        Observations(rows, values[has_value], problem.properties),
        available=np.arange(len(wanted.names)),
        problem=problem,
        seed=seed,
        order_by=order_by,
        hints=-shell_penalties(strings) if wants_hints(problem) else None,
        guesses=guess(encoder, model.id, vectors, problem.properties) if heads else None,
    )
    skipped = [f"left out {line}" for line in (*known.skipped, *wanted.skipped)]
    return RankedList(
        goal=describe(problem),
        properties=tuple(ranking.scores.properties),
        constrained=bool(problem.constraints),
        order_by=order_by,
        measured=int(has_value.sum()),
        rows=_rows(ranking, names),
        notes=(*ranking.notes, *skipped),
    )


def check_blocks(names: Sequence[str]) -> None:
    """Checks the names of blocks of features.

    Raises:
        InputError: If there is none, one is named twice, or one is unknown.
    """
    if names and len(set(names)) == len(names) and set(names) <= set(BLOCKS):
        return
    unknown = [name for name in names if name not in BLOCKS]
    raise InputError(
        f"There is no block of features {unknown[0]!r}." if unknown else "Name each block once.",
        hint=f"Blocks are: {', '.join(BLOCKS)}.",
    )


def _rows(ranking: Ranking, names: Sequence[str]) -> tuple[RankedRow, ...]:
    scores = ranking.scores
    return tuple(
        RankedRow(
            rank=place + 1,
            name=names[row],
            mean=tuple(scores.mean[place].tolist()),
            sd=tuple(scores.sd[place].tolist()),
            acquisition=float(scores.acquisition[place]),
            feasible=float(scores.feasible[place]),
            nearest=names[int(ranking.neighbours[place])],
            distance=float(ranking.distances[place]),
        )
        for place, row in enumerate(scores.rows.tolist())
    )
