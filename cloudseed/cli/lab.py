"""`cloudseed lab`: find a lab, describe it, hold it to its promises, write one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cloudseed.cli import labs
from cloudseed.cli.options import AsJson, example

__all__ = ["lab"]

lab = typer.Typer(no_args_is_help=True, help="Connect labs, and prove that they keep the contract.")

Adapter = Annotated[
    str, typer.Argument(metavar="ADAPTER", help='An adapter\'s name, or "module:Class".')
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="YAML with the lab's settings under `config:`, and what the check shall know.",
        show_default=False,
    ),
]


@lab.command("list", epilog=example("cloudseed lab list"))
def list_(json: AsJson = False) -> None:
    """List the installed lab adapters."""
    labs.list_labs(as_json=json)


@lab.command(epilog=example("cloudseed lab describe mlip"))
def describe(adapter: Adapter, config: Config = None, json: AsJson = False) -> None:
    """Say what a lab can measure, its limits, and what it promises."""
    labs.describe(adapter, config, as_json=json)


@lab.command(epilog=example("cloudseed lab check our_furnace:FurnaceLab --config furnace.yaml"))
def check(
    adapter: Adapter,
    config: Config = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A check to run alone; repeat it.", show_default=False)
    ] = None,
    badge: Annotated[
        Path | None, typer.Option(help="Write a badge (SVG).", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Hold a lab to the contract: every promise passes, fails, or does not apply.

    It makes about twenty real experiments. The exit code is 1 if a promise is broken.
    """
    labs.check(adapter, config, only or [], badge, as_json=json)


@lab.command(epilog=example("cloudseed lab new furnace"))
def new(
    name: Annotated[str, typer.Argument(help="A name such as furnace.")],
    out: Annotated[
        Path | None, typer.Option(help="The folder.", show_default="cloudseed-NAME")
    ] = None,
) -> None:
    """Write a new adapter that works, with its test, to be changed into yours."""
    labs.new(name, out)


@lab.command(epilog=example('cloudseed lab report JOB "bulk_modulus=171.2±3 GPa"'))
def report(  # noqa: PLR0917  Typer passes options by name
    job: Annotated[
        str | None, typer.Argument(help="The job, as on its sheet; without it, list the open ones.")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Argument(help='Such as "bulk_modulus=171.2±3 GPa".')
    ] = None,
    outcome: Annotated[
        Literal["measured", "infeasible", "failed_retryable", "failed_final"],
        typer.Option(help="How it ended."),
    ] = "measured",
    reason: Annotated[str, typer.Option(help="Why, where there is no value.")] = "",
    campaign: Annotated[
        str | None,
        typer.Option(help="A run folder or a campaign's name.", show_default="the newest"),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="The lab's folder instead.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Report what a person measured, or list the orders that wait for a result."""
    where = labs.lab_folder(campaign) if folder is None else folder
    if job is None:
        labs.list_open(where, as_json=json)
    else:
        labs.report(where, job, values or [], outcome, reason)


@lab.command(epilog=example("cloudseed lab serve mlip --config serve.yaml --folder lab"))
def serve(
    adapter: Adapter,
    config: Annotated[
        Path, typer.Option(help="YAML with the lab's `config:`, `keys:`, `host:`, `port:`, TLS.")
    ],
    folder: Annotated[Path, typer.Option(help="Where the lab and its journal are kept.")] = Path(
        "lab"
    ),
) -> None:
    """Put a lab behind the gateway's signed REST protocol, until Ctrl-C."""
    labs.serve(adapter, config, folder)


@lab.command(epilog=example("cloudseed lab key agent.key"))
def key(file: Annotated[Path, typer.Argument(help="A new file.")]) -> None:
    """Make a secret for the gateway, in a file that only you can read."""
    labs.make_key(file)
