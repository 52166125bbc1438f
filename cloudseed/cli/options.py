"""Arguments and options that several commands share, and how their help shows an example."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AsJson",
    "By",
    "EncoderName",
    "Experiment",
    "MaterialFiles",
    "NextBest",
    "NoHeads",
    "Reason",
    "SkipBad",
    "Where",
    "example",
    "user",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
By = Annotated[
    str | None, typer.Option(help="Who says so.", show_default="the user of this computer")
]
EncoderName = Annotated[str, typer.Option(help="A shipped name, a folder, or a hub id.")]
Experiment = Annotated[
    str, typer.Argument(help="Its number; or a key or formula that only one has.")
]
MaterialFiles = Annotated[
    list[Path],
    typer.Argument(
        help="CIF, POSCAR or extended XYZ files, folders of them, or CSVs with a column `cif`"
        " or `scope`.",
        show_default=False,
    ),
]
NextBest = Annotated[int, typer.Option(min=0, help="How many of those not chosen to show.")]
NoHeads = Annotated[
    bool, typer.Option("--no-heads", help="Leave out what the encoder's own heads predict.")
]
Reason = Annotated[str, typer.Option(help="Why; it stays in the ledger.")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out materials that cannot be used.")
]
Where = Annotated[
    str | None,
    typer.Argument(
        metavar="[CAMPAIGN]",
        help="A run folder, or a campaign's name under ./runs. Default: the newest there.",
        show_default=False,
    ),
]


def example(text: str) -> str:
    """Returns the epilog of a command's help that shows one call of it."""
    return f"[dim]Example:[/dim]  {text}"


def user() -> str:
    """Returns the name of who uses this computer; "" if it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
