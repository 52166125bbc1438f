"""The outcome of a back-test, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.surrogate import describe
from cloudseed.surrogate.backtesting import (
    Acceleration,
    Chance,
    Curve,
    Curves,
    Foresight,
    Stopping,
    accelerations,
    chance_of,
    curves_of,
    foresight,
    stopping,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudseed.surrogate.backtesting import Run, StopRule, Truth

__all__ = ["Backtest", "MethodFigures"]


@dataclass(frozen=True, eq=False)
class MethodFigures:
    """The figures of one method.

    Attributes:
        curves: What its runs found.
        accelerations: How much sooner than random, at each share of the hits.
        foresight: How its predictions came true; empty if it makes none.
        stopping: How the campaign's rule to stop did; None without a rule or an outlook.
        runs: Number of runs.
        cpu_seconds: Processor time per choice.
        notes: Decision notes -> how often each was made, in all runs.
    """

    curves: Curves
    accelerations: tuple[Acceleration, ...]
    foresight: tuple[Foresight, ...]
    stopping: Stopping | None
    runs: int
    cpu_seconds: float
    notes: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Backtest:
    """A back-test.

    Attributes:
        name: The campaign's.
        table: What it was replayed on.
        budget: Experiments per run.
        batch: Experiments that run at the same time.
        initial: Experiments before a method chooses.
        truth: What would be measured.
        runs: Method -> runs, by seed.
        notes: What went otherwise than planned.
        rule: When the campaign would stop; None for its budget alone.
    """

    name: str
    table: str
    budget: int
    batch: int
    initial: int
    truth: Truth
    runs: Mapping[str, tuple[Run, ...]]
    notes: tuple[str, ...] = ()
    rule: StopRule | None = None

    @property
    def hits(self) -> int:
        """How many hits there are."""
        return int(self.truth.hits.sum())

    @cached_property
    def chance(self) -> Chance:
        """What random picks find, exactly."""
        return chance_of(self.truth, self.budget)

    @cached_property
    def figures(self) -> dict[str, MethodFigures]:
        """Method -> figures."""
        return {name: self._figures(runs) for name, runs in self.runs.items()}

    def _figures(self, runs: tuple[Run, ...]) -> MethodFigures:
        notes: dict[str, int] = {}
        for run in runs:
            for note, count in run.notes.items():
                notes[note] = notes.get(note, 0) + count
        decisions = sum(run.decisions for run in runs)
        return MethodFigures(
            curves=curves_of(runs, self.truth),
            accelerations=accelerations(runs, self.truth),
            foresight=foresight(runs, self.truth),
            stopping=None
            if self.rule is None
            else stopping(runs, self.truth, self.rule, self.batch),
            runs=len(runs),
            cpu_seconds=sum(run.cpu_seconds for run in runs) / max(decisions, 1),
            notes=notes,
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; None where there is no finite number."""
        chance = self.chance
        sign = self.truth.direction
        found: dict[str, Any] = {
            "name": self.name,
            "goal": describe(self.truth.problem),
            "table": self.table,
            "candidates": len(self.truth.hits),
            "hits": self.hits,
            "unmeasurable": int((~self.truth.measurable).sum()),
            "budget": self.budget,
            "batch": self.batch,
            "initial": self.initial,
            "random": {
                "found": chance.found,
                "found_band": chance.found_band,
                "any_hit": chance.any_hit,
                "best": sign * chance.best,
                "best_band": sign * chance.best_band,
            },
            "methods": {name: _method_json(f) for name, f in self.figures.items()},
            "notes": list(self.notes),
        }
        plain: dict[str, Any] = _plain(found)
        return plain


def _method_json(figures: MethodFigures) -> dict[str, Any]:
    curves = figures.curves
    return {
        "runs": figures.runs,
        "cpu_seconds_per_decision": figures.cpu_seconds,
        "accelerations": [asdict(a) for a in figures.accelerations],
        "foresight": [asdict(f) for f in figures.foresight],
        "stopping": figures.stopping and asdict(figures.stopping),
        "found": _curve(curves.found),
        "discovery_yield": _curve(curves.discovery_yield),
        "discovery_probability": curves.discovery_probability,
        "enhancement": curves.enhancement,
        "best": _curve(curves.best),
        "regret": _curve(curves.regret),
        "notes": dict(figures.notes),
    }


def _curve(curve: Curve | None) -> dict[str, Any] | None:
    return None if curve is None else asdict(curve)


def _plain(value: Any) -> Any:
    """Turns arrays into lists and what JSON cannot hold into None."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
