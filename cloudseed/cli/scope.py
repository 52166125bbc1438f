"""`cloudseed scope`: its options, and what it prints."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cloudseed.cli.options import AsJson, SkipBad, example
from cloudseed.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.loop.scoping import BadEntry

__all__ = ["EPILOG", "Files", "refuse_bad", "scope"]

EPILOG = example("cloudseed scope structures/ SrTiO3.cif --dialect canonical")

Files = Annotated[
    list[Path],
    typer.Argument(
        help="CIF, POSCAR or extended XYZ files, folders of them, or CSVs with a column `cif`.",
        show_default=False,
    ),
]


def scope(  # noqa: PLR0917  Typer passes options by name
    files: Files,
    dialect: Annotated[
        Literal["cloud", "canonical"],
        typer.Option(help="The published rule, or the one that depends on no setting."),
    ] = "cloud",
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Name every site (cloud) or every orbit (canonical), also what repeats."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write a CSV with the columns name and scope.", show_default=False),
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Cores to use; 0 for all.")] = 0,
    skip_bad: SkipBad = False,
    json: AsJson = False,
) -> None:
    """Write crystals as SCOPE strings: symmetry, Wyckoff positions, composition."""
    from cloudseed.cli.progress import progress_bar
    from cloudseed.loop.scoping import make_strings
    from cloudseed.surrogate.encoder import available_cores

    with progress_bar() as progress:
        made = make_strings(
            files, dialect, full=full, workers=jobs or available_cores(), progress=progress
        )
    if out is not None:
        made.write_csv(out)
    if json:
        sys.stdout.write(json_module.dumps(made.to_json(), indent=2) + "\n")
    elif out is not None:
        typer.echo(f"wrote {len(made.strings)} strings to {out}")
    else:
        alone = len(made.names) + len(made.bad) == 1
        for name, string in zip(made.names, made.strings, strict=True):
            sys.stdout.write(f"{string}\n" if alone else f"{name}\t{string}\n")
    refuse_bad(made.bad, len(made.names), skip_bad=skip_bad)


def refuse_bad(bad: Sequence[BadEntry], good: int, *, skip_bad: bool) -> None:
    """Tells what could not be used, after all the rest is done.

    Raises:
        InputError: If there is any, unless it may be left out.
    """
    for entry in bad:
        told = entry.error.message
        line = told if told.startswith(entry.name) else f"{entry.name}: {told}"
        typer.echo(f"bad: {line}", err=True)
    if bad and not skip_bad:
        raise InputError(
            f"{len(bad)} of {len(bad) + good} cannot be used; the others are done.",
            hint=f"{bad[0].error.hint} Or leave such out with --skip-bad.".lstrip(),
        )
