"""`cloudseed backtest`: its options, and what it prints."""

from __future__ import annotations

import json as json_module
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cloudseed.cli.options import AsJson, NoHeads, SkipBad, example

if TYPE_CHECKING:
    from rich.table import Table

    from cloudseed.loop import CampaignSpec
    from cloudseed.loop.backtesting import Backtest, MethodFigures
    from cloudseed.surrogate.backtesting import StopRule

__all__ = ["EPILOG", "backtest"]

EPILOG = example("cloudseed backtest campaign.yaml --data known.csv --seeds 20")


def backtest(  # noqa: PLR0917  Typer passes options by name
    spec: Annotated[
        Path, typer.Argument(help="The campaign file; parents and lab may be missing.")
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="Materials with known values: a CSV or Parquet table with a column `cif` or"
            " `scope`, or a folder of CIFs with a values.csv."
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Campaigns per method.")] = 20,
    budget: Annotated[
        int | None,
        typer.Option(min=2, help="Experiments per campaign.", show_default="the file's"),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Of cloud, greedy, random, the peers baybe, ax, camd-gp, camd-qbc, and module:name"
            " of your own; by commas."
        ),
    ] = "cloud,greedy,random",
    hits: Annotated[
        str | None,
        typer.Option(
            help="The best share of what is feasible that counts as hits, `feasible` for all; of an"
            " optimum or a target.",
            show_default="1%",
        ),
    ] = None,
    start: Annotated[
        Literal["coverage", "random"], typer.Option(help="How the first experiments are chosen.")
    ] = "coverage",
    arriving: Annotated[
        int | None,
        typer.Option(min=1, help="Results that come at a time.", show_default="a whole batch"),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="A .npy matrix, a row for each of the table's, in place of embeddings.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder.", show_default="runs/NAME-backtest")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    skip_bad: SkipBad = False,
    no_heads: NoHeads = False,
    json: AsJson = False,
) -> None:
    """Replay a campaign on known data, against random; Ctrl-C loses nothing, run again to go on."""
    from rich.console import Console

    from cloudseed.cli import INTERRUPTED
    from cloudseed.cli.progress import progress_bar
    from cloudseed.loop import RUNS, load_spec
    from cloudseed.loop.backtesting import BacktestSettings, draw
    from cloudseed.loop.backtesting import backtest as run_backtest
    from cloudseed.loop.workspace import write_text

    campaign = load_spec(spec, parents_optional=True)
    settings = BacktestSettings(
        methods=tuple(dict.fromkeys(m.strip() for m in methods.split(",") if m.strip())),
        seeds=seeds,
        budget=budget,
        share=_share(hits, campaign),
        start=start,
        arriving=arriving,
        features=features,
        skip_bad=skip_bad,
        workers=workers,
        heads=not no_heads,
    )
    folder = out or RUNS / f"{campaign.name}-backtest"
    try:
        with progress_bar() as progress:
            result = run_backtest(campaign, data, folder, settings, progress)
    except KeyboardInterrupt:
        typer.echo("interrupted: finished runs are kept; the same command goes on.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    text = json_module.dumps(result.to_json(), indent=1)
    write_text(folder / "report.json", text)
    pictures = draw(result, folder)
    if json:
        typer.echo(text)
        return
    console = Console(highlight=False)
    console.print(_table(result))
    if result.rule is not None:
        console.print(_stops(result, result.rule))
    for note in result.notes:
        console.print(f"note: {note}", markup=False)
    for path in (folder / "report.json", *pictures):
        console.print(f"wrote {path}", markup=False)


def _share(hits: str | None, campaign: CampaignSpec) -> float | None:
    """Returns the share of hits that was asked for.

    Raises:
        UsageError: If it is none, or nothing ranks what is feasible.
    """
    from cloudseed.errors import UsageError
    from cloudseed.loop.backtesting import BacktestSettings, parse_share

    if hits is None:
        return BacktestSettings().share
    share = parse_share(hits)
    if campaign.problem.further:
        raise UsageError(
            "--hits has no meaning where several objectives are sought.",
            hint="Their Pareto front is the hits: leave --hits out, or seek one objective.",
        )
    if share is not None and campaign.problem.objective.direction == "find":
        raise UsageError(
            "--hits needs an objective that ranks materials.",
            hint="Where all that satisfies is to be found, all of it counts: leave --hits out.",
        )
    return share


def _table(result: Backtest) -> Table:
    """Returns one line per method, and one for random's exact expectation."""
    from rich import box
    from rich.table import Table

    from cloudseed.surrogate import describe

    table = Table(
        title=f"{describe(result.truth.problem)}\n{len(result.truth.hits)} candidates,"
        f" {result.hits} hits, {result.budget} experiments, {result.initial} of them to start with",
        title_justify="left",
        caption="hits: mean over runs, with its 95 % confidence interval; AF: random's experiments"
        " over the method's, until so many hits are found; ≥ (a/b): only a of b runs got there,"
        " the others count with the whole pool.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )
    table.add_column("method")
    for heading in ("hits\nfound", "AF to\nhalf", "AF to\n90 %", "AF to\nall"):
        table.add_column(heading, justify="right")
    ranked = result.truth.goal_name is not None
    if ranked:
        table.add_column("regret", justify="right")
    table.add_column("in\n90 %", justify="right")
    for name, figures in result.figures.items():
        table.add_row(name, *_cells(figures, ranked=ranked))
    expected = f"{result.chance.found[-1]:.1f}"
    table.add_row("random, exact", expected, "1.0", "1.0", "1.0", style="dim")
    return table


def _stops(result: Backtest, rule: StopRule) -> Table:
    """Returns one line per method that looks ahead: when the campaign would have stopped."""
    from rich import box
    from rich.table import Table

    if rule.below is not None:
        told = f"fewer than {rule.below:g} hits in the next {rule.ahead}"
        left, late = f"hits in the\nnext {rule.ahead}", "last hit"
    else:
        told = f"nothing better by more than {rule.epsilon:g}, with {rule.probability:g}"
        left, late = "regret", "best in reach"
    table = Table(
        title=f"to stop: {told}",
        title_justify="left",
        caption="fired: of all runs, and after how many experiments in the median; found: share of"
        " the hits by then, mean; left: what was missed, mean; early: more than the rule allows;"
        " waited: median of the experiments since.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )
    heads = ("fired", "after", "found", f"left:\n{left}", "early", f"waited since\nthe {late}")
    table.add_column("method")
    for heading in heads:
        table.add_column(heading, justify="right")
    for name, figures in result.figures.items():
        found = figures.stopping
        if found is not None:
            table.add_row(
                name,
                f"{found.fired} of {found.runs}",
                "-" if found.after is None else f"{found.after:.0f}",
                f"{100 * found.found:.0f} %",
                "-" if found.left is None else f"{found.left:.2g}",
                f"{found.early} of {found.judged}",
                "-" if found.late is None else f"{found.late:.0f}",
            )
    return table


def _cells(figures: MethodFigures, *, ranked: bool) -> list[str]:
    curves = figures.curves
    low, high = curves.found.interval[:, -1]
    cells = [f"{curves.found.mean[-1]:.1f} ({low:.0f}-{high:.0f})"]
    cells += [a.text for a in figures.accelerations]
    if ranked:
        cells.append(f"{curves.regret.mean[-1]:.3g}" if curves.regret else "")
    covered = [f"{100 * f.coverage90:.0f} %" for f in figures.foresight]
    return [*cells, "\n".join(covered)]
