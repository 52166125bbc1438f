"""The report's figures, as self-contained plotly fragments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.loop.results import Result
    from cloudseed.surrogate import Problem, RandomCurve

__all__ = [
    "best_so_far_figure",
    "empty_figure",
    "fragment",
    "label",
    "parity_figure",
    "trade_off_figure",
]

_BLUE, _GREY, _ORANGE = "#1f6fb4", "#8a8f98", "#d9720d"


def label(name: str) -> str:
    """Returns a property with its unit, for an axis or a column."""
    unit = unit_of(name)
    return f"{name.replace('_', ' ')} ({unit})" if unit else name.replace("_", " ")


def fragment(figure: Any, identifier: str) -> str:
    """Returns a figure as HTML that expects plotly.js on the page."""
    return str(
        figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=identifier,
            config={"displaylogo": False, "responsive": True},
        )
    )


def best_so_far_figure(
    curve: Sequence[float | None],
    arrived: Sequence[Result],
    random: RandomCurve | None,
    problem: Problem,
) -> Any:
    """Draws what was reached against the number of experiments, beside random's."""
    import plotly.graph_objects as go

    goal = problem.objective
    name = goal.property
    figure = empty_figure("experiments measured", _reached(problem))
    if random is not None:
        steps = list(range(1, len(random.expected) + 1))
        figure.add_trace(
            go.Scatter(
                x=steps + steps[::-1],
                y=[*random.upper, *list(random.lower)[::-1]],
                fill="toself",
                fillcolor="rgba(138,143,152,0.18)",
                line={"width": 0},
                hoverinfo="skip",
                name="random, 90 % band",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=steps,
                y=list(random.expected),
                mode="lines",
                line={"color": _GREY, "dash": "dash"},
                name="random, expected",
            )
        )
    if goal.direction in {"max", "min"} and not problem.further:
        figure.add_trace(_every_experiment(arrived, name))
    figure.add_trace(
        go.Scatter(
            x=list(range(1, len(curve) + 1)),
            y=list(curve),
            mode="lines",
            line={"color": _BLUE, "shape": "hv", "width": 3},
            name="this campaign" + ("" if goal.direction == "find" else ", best so far"),
        )
    )
    return figure


def _reached(problem: Problem) -> str:
    """Names what a campaign's curve shows."""
    goal = problem.objective
    if problem.further:
        return "hypervolume of the front"
    if goal.direction == "find":
        return "materials found"
    if goal.target is not None:
        return f"distance from {goal.target:g} of {label(goal.property)}"
    return label(goal.property)


def _every_experiment(arrived: Sequence[Result], name: str) -> Any:
    import plotly.graph_objects as go

    return go.Scatter(
        x=list(range(1, len(arrived) + 1)),
        y=[r.value(name) for r in arrived],
        mode="markers",
        marker={
            "size": 8,
            "color": [_GREY if r.feasible is False else _BLUE for r in arrived],
            "symbol": ["x" if r.feasible is False else "circle" for r in arrived],
        },
        text=[f"{r.candidate.formula}, space group {r.space_group}" for r in arrived],
        hovertemplate="%{text}<br>%{y:.4g}<extra></extra>",
        name="experiments (x: a constraint fails)",
    )


def parity_figure(results: Sequence[Result], name: str) -> Any:
    """Draws what was predicted at each decision against what was then measured."""
    import plotly.graph_objects as go

    pairs = [
        (r, r.predicted[name], r.measured[name])
        for r in results
        if name in r.predicted and name in r.measured
    ]
    figure = empty_figure(f"predicted {label(name)}", f"measured {label(name)}")
    figure.add_trace(
        go.Scatter(
            x=[p[0] for _, p, _ in pairs],
            y=[m[0] for _, _, m in pairs],
            error_x={"array": [p[1] for _, p, _ in pairs], "color": _GREY, "thickness": 1},
            error_y={"array": [m[1] or 0.0 for _, _, m in pairs], "color": _GREY, "thickness": 1},
            mode="markers",
            marker={"size": 8, "color": _BLUE},
            text=[r.candidate.formula for r, _, _ in pairs],
            hovertemplate="%{text}<br>predicted %{x:.4g}<br>measured %{y:.4g}<extra></extra>",
            name="at the decision, ± 1 standard deviation",
        )
    )
    if pairs:
        ends = [v for _, p, m in pairs for v in (p[0], m[0])]
        low, high = min(ends), max(ends)
        figure.add_trace(
            go.Scatter(
                x=[low, high],
                y=[low, high],
                mode="lines",
                line={"color": _GREY, "dash": "dot"},
                hoverinfo="skip",
                name="equal",
            )
        )
    return figure


def trade_off_figure(results: Sequence[Result], problem: Problem) -> Any:
    """Draws the objective's property against the first constraint on another."""
    import plotly.graph_objects as go

    goal = problem.objective.property
    constraint = next(c for c in problem.constraints if c.property != goal)
    points = [r for r in results if constraint.property in r.measured and goal in r.measured]
    figure = empty_figure(label(constraint.property), label(goal))
    figure.add_trace(
        go.Scatter(
            x=[r.value(constraint.property) for r in points],
            y=[r.value(goal) for r in points],
            mode="markers",
            marker={
                "size": 9,
                "color": [r.step for r in points],
                "colorscale": "Viridis",
                "colorbar": {"title": "round"},
            },
            text=[r.candidate.formula for r in points],
            hovertemplate="%{text}<br>%{x:.4g}<br>%{y:.4g}<extra></extra>",
            name="experiments",
            showlegend=False,
        )
    )
    for bound in (c.bound for c in problem.constraints if c.property == constraint.property):
        figure.add_vline(x=bound, line={"color": _ORANGE, "dash": "dash"})
    return figure


def empty_figure(x: str, y: str) -> Any:
    """Returns a figure with nothing but its axes."""
    import plotly.graph_objects as go

    return go.Figure(
        layout={
            "template": "plotly_white",
            "height": 430,
            "margin": {"l": 70, "r": 20, "t": 20, "b": 60},
            "xaxis": {"title": {"text": x}},
            "yaxis": {"title": {"text": y}},
            "legend": {"orientation": "h", "y": 1.12},
            "modebar": {"orientation": "v"},
            "font": {"family": "system-ui, sans-serif", "size": 13},
        }
    )
