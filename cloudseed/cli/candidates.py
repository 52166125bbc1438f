"""`cloudseed candidates`: what a campaign's ledger knows of its candidates."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cloudseed.cli.commands import print_json
from cloudseed.cli.opening import opened
from cloudseed.cli.options import AsJson, Where, example

__all__ = ["candidates"]

candidates = typer.Typer(
    no_args_is_help=True, help="Ask a campaign's ledger where its candidates come from."
)


@candidates.command(epilog=example("cloudseed candidates explain SrTiO3 runs/stiff-perovskites"))
def explain(
    candidate: Annotated[str, typer.Argument(help="A key, or a formula that only one has.")],
    campaign: Where = None,
    json: AsJson = False,
) -> None:
    """Print one candidate's papers: parents, operation, probability, what every filter said."""
    from cloudseed.loop.pool_files import explain as lines_of
    from cloudseed.loop.recorded import recorded_papers

    with opened(campaign) as asked:
        papers = recorded_papers(asked.ledger, asked.row.id, candidate)
    if json:
        print_json(papers)
    else:
        sys.stdout.write("\n".join(lines_of(papers)) + "\n")
