"""`cloudseed predict`: its options, and what it prints."""

from __future__ import annotations

import json as json_module
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from cloudseed.cli.options import AsJson, EncoderName, MaterialFiles, SkipBad, example

if TYPE_CHECKING:
    from rich.table import Table

    from cloudseed.loop.predicting import Predictions

__all__ = ["EPILOG", "predict"]

EPILOG = example(
    "cloudseed predict heat-capacity SrTiO3.cif --temperature 100:1000:50 --plot cv.png"
)


def predict(  # noqa: PLR0917  Typer passes options by name
    property: Annotated[  # noqa: A002  the argument's name
        str, typer.Argument(help="For instance band-gap, or heat-capacity@500K.")
    ],
    files: MaterialFiles,
    temperature: Annotated[
        str | None,
        typer.Option(
            help="In K: 300, or 100,300,500, or 100:1000:50.", show_default="300 where it matters"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write a CSV.", show_default=False)] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw values against temperature (PNG, SVG).", show_default=False),
    ] = None,
    encoder: EncoderName = "cloud-small",
    skip_bad: SkipBad = False,
    json: AsJson = False,
) -> None:
    """Predict a property of crystals, with uncertainty and a flag on what is unlike known ones."""
    from rich.console import Console

    from cloudseed.cli.progress import progress_bar
    from cloudseed.loop.curves import draw_curves
    from cloudseed.loop.predicting import parse_temperatures, predict_files

    kelvin = None if temperature is None else parse_temperatures(temperature)
    with progress_bar() as progress:
        found = predict_files(
            property,
            files,
            temperature=kelvin,
            encoder=encoder,
            skip_bad=skip_bad,
            progress=progress,
        )
    left_out = draw_curves(found, plot) if plot is not None else ""
    if out is not None:
        found.write_csv(out)
    if json:
        typer.echo(json_module.dumps(found.to_json(), indent=1))
        return
    console = Console(highlight=False)
    console.print(_table(found))
    for note in filter(None, (found.prediction.note, *found.notes, left_out)):
        console.print(f"note: {note}", markup=False)
    for path in filter(None, (out, plot)):
        console.print(f"wrote {path}", markup=False)


def _table(found: Predictions) -> Table:
    from rich.table import Table

    prediction = found.prediction
    name = prediction.property.replace("_", " ")
    heading = f"{name}\n{prediction.unit}" if prediction.unit else name
    table = Table(title=f"{name}, predicted by {found.encoder}", title_justify="left")
    table.add_column("material")
    if prediction.temperatures:
        table.add_column("atoms", justify="right")
        table.add_column("T\nK", justify="right")
    table.add_column(heading, justify="right")
    table.add_column("unlike the training data")
    before = ""
    for row in found.rows():
        same = prediction.temperatures and row["name"] == before
        cells = ["" if same else str(row["name"])]
        if prediction.temperatures:
            cells += ["" if same else f"{row['atoms']:g}", f"{row['temperature']:g}"]
        cells.append(f"{row[prediction.property]:.4g} ± {row['sd']:.2g}")
        table.add_row(*cells, "" if same else str(row["flag"]))
        before = row["name"]
    return table
