"""The report's figures of a Pareto front, as plotly figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudseed.loop.figures import empty_figure, label
from cloudseed.loop.results import front_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.loop.results import Result
    from cloudseed.surrogate import Problem

__all__ = ["front_figures"]

_ORANGE = "#d9720d"


def front_figures(results: Sequence[Result], problem: Problem) -> list[Any]:
    """Draws each further objective against the first, with the front marked.

    Args:
        results: Every experiment.
        problem: What is sought; with one objective there is nothing to draw.
    """
    first = problem.objective.property
    on = front_of(results, problem)
    return [_figure(results, on, first, other.property) for other in problem.further]


def _figure(results: Sequence[Result], on: Sequence[Result], x: str, y: str) -> Any:
    import plotly.graph_objects as go

    figure = empty_figure(label(x), label(y))
    both = [r for r in results if x in r.measured and y in r.measured]
    figure.add_trace(
        go.Scatter(
            x=[r.value(x) for r in both],
            y=[r.value(y) for r in both],
            mode="markers",
            marker={
                "size": 8,
                "color": [r.step for r in both],
                "colorscale": "Viridis",
                "symbol": ["x" if r.feasible is False else "circle" for r in both],
            },
            text=[f"{r.candidate.formula}, round {r.step + 1}" for r in both],
            hovertemplate="%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>",
            name="experiments (x: a constraint fails)",
        )
    )
    line = sorted(on, key=lambda r: r.value(x) or 0.0)
    figure.add_trace(
        go.Scatter(
            x=[r.value(x) for r in line],
            y=[r.value(y) for r in line],
            mode="lines+markers",
            line={"color": _ORANGE, "dash": "dot"},
            marker={"size": 11, "color": _ORANGE},
            text=[r.candidate.formula for r in line],
            hovertemplate="%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>",
            name="the front",
        )
    )
    return figure
