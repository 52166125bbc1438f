"""Pictures of a back-test: hits and best so far, each beside random's exact expectation."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.loop.figures import label
from cloudseed.loop.workspace import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from cloudseed.loop.backtesting.report import Backtest
    from cloudseed.surrogate.backtesting import Curve

__all__ = ["draw"]

_COLOURS = ("#1f6fb4", "#d9720d", "#2f8f4e", "#8e4fa8", "#b3323c", "#6b5b3e")
_GREY = "#8a8f98"
_FORMATS = ("png", "svg")
_NEAR = 0.7
"""Share of the hits from which on the line of all hits is worth its space."""


def draw(result: Backtest, folder: Path) -> list[Path]:
    """Draws the curves of a back-test, as PNG and SVG.

    Args:
        result: The back-test.
        folder: Where `hits.*` and, where an objective ranks candidates, `best.*` are written.

    Returns:
        The files.

    Raises:
        StorageError: If the folder cannot be written.
    """
    pictures = {"hits": _hits(result)}
    if result.truth.goal_name is not None:
        pictures["best"] = _best(result, result.truth.goal_name)
    return [
        _save(figure, folder / f"{name}.{kind}")
        for name, figure in pictures.items()
        for kind in _FORMATS
    ]


def _hits(result: Backtest) -> Any:
    figure, axes = _axes(f"hits found, of {result.hits}")
    chance = result.chance
    _line(axes, chance.found, chance.found_band, _GREY, "random, exact")
    for name, figures, colour in _methods(result):
        _curve(axes, figures.curves.found, colour, name)
    axes.set_ylim(bottom=0)
    if axes.get_ylim()[1] > _NEAR * result.hits:
        axes.axhline(result.hits, color=_GREY, linewidth=0.8, linestyle=":")
    return _finished(figure, axes, result)


def _best(result: Backtest, goal: str) -> Any:
    distance = result.truth.problem.objective.direction == "target"
    what = f"{label(goal)}, distance to the target" if distance else f"best {label(goal)}"
    if result.truth.merits is not None:
        what = "hypervolume, share of the pool's,"
    figure, axes = _axes(f"{what} so far")
    chance, sign = result.chance, result.truth.direction
    band = sign * np.where(np.isfinite(chance.best_band), chance.best_band, np.nan)
    _line(axes, sign * chance.best, band, _GREY, "random, exact")
    for name, figures, colour in _methods(result):
        if figures.curves.best is not None:
            _curve(axes, figures.curves.best, colour, name)
    known = result.truth.merit[np.isfinite(result.truth.merit)]
    most = 1.0 if result.truth.merits is not None else sign * known.max()
    axes.axhline(most, color=_GREY, linewidth=0.8, linestyle=":")
    return _finished(figure, axes, result)


def _methods(result: Backtest) -> list[tuple[str, Any, str]]:
    """Returns name, figures and colour of each method; measured random stands in for itself."""
    named = [(n, f) for n, f in result.figures.items() if n != "random" or len(result.runs) == 1]
    return [(n, f, _COLOURS[i % len(_COLOURS)]) for i, (n, f) in enumerate(named)]


def _axes(ylabel: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel("experiments")
    axes.set_ylabel(ylabel)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _curve(axes: Any, curve: Curve, colour: str, name: str) -> None:
    _line(axes, curve.mean, curve.band, colour, name)


def _line(
    axes: Any,
    mean: npt.NDArray[np.float64],
    band: npt.NDArray[np.float64],
    colour: str,
    name: str,
) -> None:
    steps = np.arange(1, len(mean) + 1)
    axes.fill_between(steps, band[0], band[1], color=colour, alpha=0.15, linewidth=0)
    style = "--" if colour == _GREY else "-"
    axes.plot(
        steps,
        mean,
        color=colour,
        linestyle=style,
        linewidth=1.8,
        label=name,
    )


def _finished(figure: Any, axes: Any, result: Backtest) -> Any:
    runs = max(f.runs for f in result.figures.values())
    axes.axvline(result.initial, color=_GREY, linewidth=0.8, alpha=0.6)
    axes.set_xlim(1, result.budget)
    axes.set_title(
        f"{len(result.truth.hits):,} candidates, {runs} runs; mean and 5 to 95 % of the runs",
        fontsize=9,
        loc="left",
    )
    axes.legend(frameon=False, fontsize=9)
    return figure


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import rc_context

    out = io.BytesIO()
    # Without a date and random names the same back-test gives the same file.
    bare = {"Date": None} if path.suffix == ".svg" else None
    with rc_context({"svg.hashsalt": "cloudseed"}):
        figure.savefig(out, format=path.suffix[1:], dpi=150, metadata=bare)
    write_bytes(path, out.getvalue())
    return path
