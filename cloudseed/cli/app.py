"""The commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cloudseed import __version__
from cloudseed.cli import backtest as backtesting
from cloudseed.cli import commands, driving, ranking
from cloudseed.cli import predict as predicting
from cloudseed.cli import scope as scoping
from cloudseed.cli.approvals import approvals
from cloudseed.cli.candidates import candidates
from cloudseed.cli.decisions import EXPLAIN_EPILOG, decision, explain
from cloudseed.cli.encoder import encoder
from cloudseed.cli.experiments import experiments
from cloudseed.cli.lab import lab
from cloudseed.cli.options import AsJson, By, Reason, Where, example
from cloudseed.cli.propose import propose
from cloudseed.cli.recipe import EPILOG as RECIPE_EPILOG
from cloudseed.cli.recipe import recipe

__all__ = ["app"]

app = typer.Typer(
    name="cloudseed",
    help="Materials-discovery campaigns that run by themselves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]cloudseed init demo[/bold], then"
    " [bold]cloudseed run demo/campaign.yaml[/bold].",
)
database = typer.Typer(
    no_args_is_help=True, help="Look after the ledger: bring it up to date, check it."
)
app.add_typer(database, name="db")
app.add_typer(encoder, name="encoder")
app.add_typer(candidates, name="candidates")
app.add_typer(decision, name="decision")
app.add_typer(experiments, name="experiments")
experiments.command("list", epilog=driving.EPILOGS["list"])(driving.list_experiments)
experiments.command(epilog=driving.EPILOGS["resolve"])(driving.resolve)
app.add_typer(lab, name="lab")
app.add_typer(approvals, name="approvals")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cloudseed {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    del version


@app.command(epilog=example("cloudseed init my-campaign"))
def init(
    folder: Annotated[Path, typer.Argument(help="A new folder.")] = Path("my-campaign"),
) -> None:
    """Write a campaign file and two parent crystals to start from."""
    commands.init(folder)


@app.command(epilog=example("cloudseed run my-campaign/campaign.yaml --out runs/first"))
def run(
    spec: Annotated[Path, typer.Argument(help="The campaign file (YAML).")],
    out: Annotated[
        Path | None, typer.Option(help="The run folder.", show_default="runs/NAME")
    ] = None,
    json: AsJson = False,
) -> None:
    """Run a campaign to its end; Ctrl-C stops it, and `resume` goes on."""
    commands.run(spec, out, as_json=json)


@app.command(epilog=example("cloudseed resume runs/stiff-perovskites"))
def resume(  # noqa: PLR0917  Typer passes options by name
    campaign: Where = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Go on with another encoder, as one fine-tuned on what was measured: a folder.",
            show_default=False,
        ),
    ] = None,
    no_engine: Annotated[
        bool,
        typer.Option(
            "--no-engine", help="Only allow it to go on; a worker, now or later, drives it."
        ),
    ] = False,
    reason: Reason = "",
    by: By = None,
    json: AsJson = False,
) -> None:
    """Go on with a campaign that was stopped, paused or killed."""
    commands.resume(
        campaign, encoder=encoder, engine=not no_engine, by=by, reason=reason, as_json=json
    )


app.command(epilog=RECIPE_EPILOG)(recipe)
app.command(epilog=driving.EPILOGS["worker"])(driving.worker)
app.command(epilog=driving.EPILOGS["pause"])(driving.pause)
app.command(epilog=driving.EPILOGS["stop"])(driving.stop)


@app.command(epilog=example("cloudseed status runs/stiff-perovskites --json"))
def status(campaign: Where = None, json: AsJson = False) -> None:
    """Say where a campaign stands and what it waits for; also while it runs."""
    commands.status(campaign, as_json=json)


app.command(epilog=ranking.EPILOG)(ranking.rank)
app.command(epilog=backtesting.EPILOG)(backtesting.backtest)
app.command(epilog=predicting.EPILOG)(predicting.predict)
app.command(epilog=example("cloudseed propose parents/ --top 1000 --out pool.parquet"))(propose)


@app.command(epilog=example("cloudseed report runs/stiff-perovskites"))
def report(
    campaign: Where = None,
    out: Annotated[
        Path | None, typer.Option(help="The HTML file.", show_default="report.html in the folder")
    ] = None,
) -> None:
    """Write the report: best so far, predicted against measured, the winners' structures."""
    commands.report(campaign, out)


@app.command(epilog=example("cloudseed export runs/stiff-perovskites --format csv --out all.csv"))
def export(
    campaign: Where = None,
    format: Annotated[  # noqa: A002  the option's name
        Literal["csv", "json", "jsonl", "parquet", "cif", "extxyz", "ro-crate"],
        typer.Option(help="Table, structures, or everything with its provenance (ro-crate)."),
    ] = "csv",
    out: Annotated[
        Path | None,
        typer.Option(
            help="A new file, or folder for cif, ro-crate; default: standard output for csv, json."
        ),
    ] = None,
) -> None:
    """Export every experiment as a table, its structures, or an RO-Crate; overwrites nothing."""
    commands.export(campaign, format, out)


app.command(epilog=scoping.EPILOG)(scoping.scope)
app.command(epilog=EXPLAIN_EPILOG)(explain)


@database.command(epilog=example("cloudseed db upgrade runs/stiff-perovskites"))
def upgrade(
    target: Annotated[
        str | None, typer.Argument(help="A run folder or a database URL.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try it, take it back, and say what it would do.")
    ] = False,
) -> None:
    """Bring a ledger to this program's schema version."""
    commands.db_upgrade(target, dry_run=dry_run)


@database.command("check", hidden=True, epilog=example("cloudseed db check runs/my-campaign"))
@database.command(epilog=example("cloudseed db verify runs/stiff-perovskites"))
def verify(
    target: Annotated[
        str | None, typer.Argument(help="A run folder or a database URL.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Check a ledger: integrity, references, orphans, states and values against the event log."""
    commands.db_check(target, as_json=json)


@database.command(epilog=example("cloudseed db backup backups/ runs/stiff-perovskites"))
def backup(
    destination: Annotated[
        Path, typer.Argument(help="A new file, or a folder, where it is named by the time.")
    ],
    target: Annotated[
        str | None, typer.Argument(help="A run folder or a database URL.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Copy a ledger while it is in use, read the copy again, and write its SHA-256 beside it."""
    commands.db_backup(destination, target, as_json=json)
