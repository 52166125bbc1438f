"""`cloudseed rank`: its options, and what it prints."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cloudseed.cli.options import AsJson, EncoderName, NoHeads, SkipBad, example
from cloudseed.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EPILOG", "rank"]

EPILOG = example(
    'cloudseed rank --pool new.csv --measured done.csv --objective "max pugh"'
    ' --derived "pugh=shear_modulus / bulk_modulus"'
    ' --constraint "formation_energy <= -2.0 eV/atom"'
)


def rank(  # noqa: PLR0917  Typer passes options by name
    pool: Annotated[
        Path, typer.Option(help="What to rank: a folder of CIFs, or a CSV with `cif` or `scope`.")
    ],
    measured: Annotated[
        Path,
        typer.Option(
            help="What was measured: the same, with a column per property; beside a folder of CIFs"
            " its values.csv."
        ),
    ],
    objective: Annotated[
        str,
        typer.Option(help='For instance "max bulk_modulus"; several with semicolons between them.'),
    ],
    constraint: Annotated[
        list[str] | None, typer.Option(help='For instance "formation_energy <= -2.0 eV/atom".')
    ] = None,
    derived: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FORMULA",
            help='A property that is computed from others, "pugh=shear_modulus / bulk_modulus".',
        ),
    ] = None,
    order_by: Annotated[
        Literal["acquisition", "mean"],
        typer.Option(help="What to make next, or what is predicted best."),
    ] = "acquisition",
    top: Annotated[int, typer.Option(min=0, help="Rows to print; 0 for all.")] = 20,
    out: Annotated[
        Path | None, typer.Option(help="Write the whole table to this CSV.", show_default=False)
    ] = None,
    encoder: EncoderName = "cloud-small",
    features: Annotated[
        str, typer.Option(help="What the models see; the first tells what is near.")
    ] = "embedding,elements,sites",
    no_heads: NoHeads = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = 0,
    skip_bad: SkipBad = False,
    json: AsJson = False,
) -> None:
    """Rank candidates by what was measured on others, with uncertainty; needs no campaign."""
    from rich.console import Console

    from cloudseed.cli.commands import print_json
    from cloudseed.cli.progress import progress_bar
    from cloudseed.cli.tables import ranking_table
    from cloudseed.loop.ranking import rank_files

    formulas = _formulas(derived or ())
    with progress_bar() as progress:
        found = rank_files(
            pool,
            measured,
            objective,
            constraint or [],
            derived=formulas,
            order_by=order_by,
            encoder=encoder,
            features=tuple(name.strip() for name in features.split(",")),
            heads=not no_heads,
            seed=seed,
            skip_bad=skip_bad,
            progress=progress,
        )
    if out is not None:
        found.write_csv(out)
    if json:
        print_json(found.to_json(top))
        return
    console = Console(highlight=False)
    console.print(ranking_table(found, top))
    for note in found.notes:
        console.print(f"note: {note}", markup=False)
    if out is not None:
        console.print(f"wrote {out}", markup=False)


def _formulas(given: Sequence[str]) -> dict[str, str]:
    """Reads NAME=FORMULA, each name once.

    Raises:
        UsageError: If there is no name or no formula, or a name comes twice.
    """
    found: dict[str, str] = {}
    for text in given:
        name, _, formula = (part.strip() for part in text.partition("="))
        if not name or not formula or name in found:
            raise UsageError(
                f"--derived {text!r} computes no property of its own.",
                hint='Write --derived "pugh=shear_modulus / bulk_modulus", each name once.',
            )
        found[name] = formula
    return found
