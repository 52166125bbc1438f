"""`cloudseed encoder embed`: its options, and what it prints."""

from __future__ import annotations

import json as json_module
import sys
import time
from pathlib import Path  # noqa: TC003  Typer reads it
from typing import Annotated, Literal

import typer

from cloudseed.cli.options import AsJson, EncoderName, MaterialFiles, SkipBad, example
from cloudseed.cli.scope import refuse_bad

__all__ = ["EPILOG", "embed"]

EPILOG = example("cloudseed encoder embed structures/ --out embeddings.parquet")


def embed(  # noqa: PLR0917  Typer passes options by name
    files: MaterialFiles,
    out: Annotated[Path, typer.Option(help="A file that ends in .parquet, .npz or .csv.")],
    encoder: EncoderName = "cloud-small",
    revision: Annotated[
        str | None, typer.Option(help="Commit, tag or branch on the hub.", show_default=False)
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use only what was fetched before.")
    ] = False,
    sha256: Annotated[
        str | None,
        typer.Option(help="What the weights' file must have.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto for a GPU if any.")] = "auto",
    precision: Annotated[
        Literal["float32", "int8", "bfloat16"],
        typer.Option(help="int8 is faster on processors, bfloat16 on GPUs."),
    ] = "float32",
    jobs: Annotated[int, typer.Option(min=0, help="Cores to use; 0 for all.")] = 0,
    skip_bad: SkipBad = False,
    json: AsJson = False,
) -> None:
    """Turn crystals or SCOPE strings into embeddings."""
    from cloudseed.cli.progress import progress_bar
    from cloudseed.loop.embedding import embed_files
    from cloudseed.surrogate.encoder import available_cores

    began = time.perf_counter()
    with progress_bar() as progress:
        made = embed_files(
            files,
            out=out,
            encoder=encoder,
            workers=jobs or available_cores(),
            progress=progress,
            revision=revision,
            offline=offline,
            sha256=sha256,
            device=device,
            precision=precision,
        )
    seconds = time.perf_counter() - began
    told = {"out": str(out), "seconds": round(seconds, 3), **made.to_json()}
    if json:
        sys.stdout.write(json_module.dumps(told, indent=2) + "\n")
    else:
        typer.echo(
            f"wrote {told['rows']} embeddings of {told['dimension']} numbers by {encoder}"
            f" (weights {made.encoder.sha256[:12]}) to {out} in {seconds:.1f} s"
        )
    refuse_bad(made.bad, len(made.names), skip_bad=skip_bad)
