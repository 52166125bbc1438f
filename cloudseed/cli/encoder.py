"""`cloudseed encoder`: make, judge and describe encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cloudseed.cli import embed, training
from cloudseed.cli.options import AsJson, example

__all__ = ["encoder"]

encoder = typer.Typer(
    no_args_is_help=True, help="Make an encoder, judge it, describe it, embed with it."
)

Tables = Annotated[
    list[Path], typer.Argument(help="CSV or Parquet with a column `scope` or `cif`.")
]
Out = Annotated[Path, typer.Option(help="The folder of the new encoder; a second run goes on.")]
RecipeFile = Annotated[
    Path | None, typer.Option(help="YAML with the numbers of the training.", show_default=False)
]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps in all.", show_default=False)]
Batch = Annotated[int | None, typer.Option(min=2, help="Strings per step.", show_default=False)]
Rate = Annotated[float | None, typer.Option(help="Peak learning rate.", show_default=False)]
Patience = Annotated[
    int | None,
    typer.Option(min=0, help="Validations without progress before it stops.", show_default=False),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed.", show_default=False)]
Threads = Annotated[int, typer.Option(min=0, help="Threads that compute; 0 for all cores.")]


@encoder.command(
    epilog=example("cloudseed encoder pretrain strings.parquet --out encoders/mine --steps 5000")
)
def pretrain(  # noqa: PLR0917  Typer passes options by name
    tables: Tables,
    out: Out,
    recipe: RecipeFile = None,
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Transformer layers.", show_default=False)
    ] = None,
    hidden: Annotated[
        int | None, typer.Option(min=8, help="Length of an embedding.", show_default=False)
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Attention heads.", show_default=False)
    ] = None,
    intermediate: Annotated[
        int | None, typer.Option(min=8, help="Feed-forward width.", show_default=False)
    ] = None,
    patience: Patience = None,
    seed: Seed = None,
    children: Annotated[
        int, typer.Option(min=0, help="Children with other elements made of each structure.")
    ] = 0,
    data: Annotated[
        Path | None,
        typer.Option(help="Where prepared strings are kept.", show_default="OUT/data"),
    ] = None,
    threads: Threads = 0,
    json: AsJson = False,
) -> None:
    """Train an encoder on strings, without labels.

    It goes on where it was after Ctrl-C or a kill. `torchrun --nproc_per_node 8 -m cloudseed
    encoder pretrain ...` trains on eight GPUs.
    """
    shape = {"layers": layers, "hidden": hidden, "heads": heads, "intermediate": intermediate}
    schedule = {"steps": steps, "batch": batch, "rate": rate, "patience": patience, "seed": seed}
    training.pretrain(
        tables,
        out,
        recipe,
        shape | schedule,
        children=children,
        data=data,
        threads=threads,
        as_json=json,
    )


@encoder.command(
    epilog=example(
        "cloudseed encoder finetune cloud-small data.csv --label band_gap=gap --out encoders/gap"
    )
)
def finetune(  # noqa: PLR0917  Typer passes options by name
    start: Annotated[str, typer.Argument(metavar="ENCODER", help="A shipped name or a folder.")],
    out: Out,
    tables: Annotated[
        list[Path] | None,
        typer.Argument(help="CSV or Parquet with a column `scope` or `cif`.", show_default=False),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="PROPERTY or PROPERTY=COLUMN, in the property's unit; repeat it.",
            show_default="all that the campaign measured",
        ),
    ] = None,
    campaign: Annotated[
        str | None,
        typer.Option(
            help="Learn from what a campaign measured: a run folder, or its name under ./runs.",
            show_default=False,
        ),
    ] = None,
    rehearse: Annotated[
        Path | None,
        typer.Option(
            help="Prepared strings of a pre-training (its data folder), so that nothing is"
            " forgotten.",
            show_default=False,
        ),
    ] = None,
    recipe: RecipeFile = None,
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    patience: Patience = None,
    seed: Seed = None,
    threads: Threads = 0,
    json: AsJson = False,
) -> None:
    """Teach an encoder what was measured or computed; gaps in the labels are allowed.

    A tenth of the compositions is never looked at, another tells when to stop.
    """
    schedule = {"steps": steps, "batch": batch, "rate": rate, "patience": patience, "seed": seed}
    training.finetune(
        start,
        tables or [],
        out,
        label or [],
        campaign=campaign,
        recipe=recipe,
        changes=schedule,
        rehearse=rehearse,
        threads=threads,
        as_json=json,
    )


@encoder.command(
    epilog=example("cloudseed encoder evaluate cloud-small data.csv --label formation_energy")
)
def evaluate(  # noqa: PLR0917  Typer passes options by name
    name: Annotated[
        str, typer.Argument(metavar="ENCODER", help="A shipped name, a folder, or a hub id.")
    ],
    tables: Tables,
    label: Annotated[
        list[str] | None, typer.Option(help="PROPERTY or PROPERTY=COLUMN; repeat it.")
    ] = None,
    most: Annotated[int, typer.Option(min=50, help="Strings looked at, at most.")] = 3_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of which.")] = 0,
    json: AsJson = False,
) -> None:
    """Say how well labels and physics can be read from an encoder's frozen embeddings."""
    training.evaluate(name, tables, label or [], most=most, seed=seed, as_json=json)


@encoder.command(epilog=example("cloudseed encoder card cloud-small"))
def card(
    name: Annotated[str, typer.Argument(metavar="ENCODER", help="A shipped name or a folder.")],
    json: AsJson = False,
) -> None:
    """Print the model card: data, splits, figures, limits, and the command that made it."""
    training.card(name, as_json=json)


encoder.command(epilog=embed.EPILOG)(embed.embed)
