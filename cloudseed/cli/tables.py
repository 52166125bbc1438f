"""Tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cloudseed.cli.live import duration, values
from cloudseed.cli.sparklines import track_rows
from cloudseed.loop import campaign_of, load_results, ranked
from cloudseed.loop.results import that_count
from cloudseed.loop.workspace import reading
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from cloudseed.loop import Snapshot, Workspace
    from cloudseed.loop.ranking import RankedList
    from cloudseed.loop.tracking import Track

__all__ = ["ranked_table", "ranking_table", "status_table"]


def _heading(name: str) -> str:
    unit = unit_of(name)
    return f"{name.replace('_', ' ')}\n{unit}" if unit else name.replace("_", " ")


def ranked_table(workspace: Workspace, top: int) -> Table:
    """Returns the best measured materials of a campaign."""
    with reading(workspace) as ledger:
        row, spec = campaign_of(ledger, workspace)
        problem = spec.problem
        found = load_results(ledger, row.id, problem)
    results = ranked(that_count(found, spec.sources), problem)
    table = Table(title=f"{spec.name}: {spec.objective}", title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("material")
    table.add_column("space\ngroup", justify="right")
    for name in problem.columns:
        table.add_column(_heading(name), justify="right")
    table.add_column("constraints")
    table.add_column("round", justify="right")
    for place, result in enumerate(results[:top], 1):
        cells = []
        for name in problem.columns:
            value, sigma = result.measured.get(name, (float("nan"), None))
            cells.append(f"{value:.4g}" + (f" ± {sigma:.2g}" if sigma is not None else ""))
        table.add_row(
            str(place),
            result.candidate.formula,
            str(result.space_group),
            *cells,
            {True: "hold", False: "fail", None: "unknown"}[result.feasible],
            str(result.step + 1),
            style=None if result.feasible else "dim",
        )
    return table


def status_table(now: Snapshot, where: str, track: Track | None = None) -> Panel:
    """Returns where a campaign stands."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    state = now.status
    if state == "running" and not now.alive:
        state = "no sign of life from its engine; `cloudseed resume` goes on"
    grid.add_row("status", state)
    grid.add_row("waiting", Text(now.waiting))
    grid.add_row("round", f"{now.rounds}  (pool of {now.pool:,} candidates)")
    grid.add_row("measured", f"{now.measured} of {now.budget}")
    grid.add_row("in flight", ", ".join(now.in_flight) or "none")
    states = ", ".join(f"{count} {name}" for name, count in sorted(now.states.items()))
    grid.add_row("experiments", states or "none")
    best = f"{now.best.candidate.formula}, {values(now.best)}" if now.best else "nothing feasible"
    if now.hits is not None:
        grid.add_row("found", str(now.hits))
    if now.front is not None:
        for place, result in enumerate(now.front):
            member = f"{result.candidate.formula}, {values(result)}"
            grid.add_row("" if place else "front", member)
        grid.add_row("hypervolume", f"{now.hypervolume or 0.0:.4g}")
    else:
        grid.add_row("best so far", best)
    grid.add_row("rounds since", str(now.rounds_since_best))
    for name, line in [] if track is None else track_rows(track):
        grid.add_row(name, line)
    left = "" if now.remaining is None else f", left: {duration(now.remaining)}"
    grid.add_row("time", f"{duration(now.elapsed)}{left}")
    return Panel(grid, title=f"{now.name} ({where})", title_align="left")


def ranking_table(ranking: RankedList, top: int) -> Table:
    """Returns a ranked list."""
    shown = ranking.rows if top == 0 else ranking.rows[:top]
    table = Table(
        title=f"{ranking.goal}: {len(ranking.rows)} candidates,"
        f" {ranking.measured} measured, ordered by {ranking.order_by}",
        title_justify="left",
    )
    table.add_column("rank", justify="right")
    table.add_column("candidate")
    for name in ranking.properties:
        table.add_column(_heading(name), justify="right")
    table.add_column("acquisition\n(log EI)", justify="right")
    if ranking.constrained:
        table.add_column("P(feasible)", justify="right")
    table.add_column("nearest measured")
    for row in shown:
        cells = [f"{m:.4g} ± {s:.2g}" for m, s in zip(row.mean, row.sd, strict=True)]
        chance = [f"{row.feasible:.3f}"] if ranking.constrained else []
        nearest = f"{row.nearest} ({row.distance:.2f})"
        table.add_row(str(row.rank), row.name, *cells, f"{row.acquisition:.3g}", *chance, nearest)
    return table
