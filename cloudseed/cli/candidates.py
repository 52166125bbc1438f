"""`cloudseed candidates`: what a campaign's ledger knows of its candidates."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cloudseed.cli.commands import print_json

__all__ = ["candidates"]

candidates = typer.Typer(
    no_args_is_help=True, help="Ask a campaign's ledger where its candidates come from."
)


@candidates.command(
    epilog="[dim]Example:[/dim]  cloudseed candidates explain SrTiO3 runs/stiff-perovskites"
)
def explain(
    candidate: Annotated[str, typer.Argument(help="A key, or a formula that only one has.")],
    campaign: Annotated[
        str | None,
        typer.Argument(
            metavar="[CAMPAIGN]",
            help="A run folder, or a campaign's name under ./runs. Default: the newest there.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Print one candidate's papers: parents, operation, probability, what every filter said."""
    from cloudseed.loop import Workspace, campaign_of
    from cloudseed.loop.pool_files import explain as lines_of
    from cloudseed.loop.recorded import recorded_papers
    from cloudseed.loop.workspace import reading

    workspace = Workspace.find(campaign)
    with reading(workspace) as ledger:
        row, _ = campaign_of(ledger, workspace)
        papers = recorded_papers(ledger, row.id, candidate)
    if json:
        print_json(papers)
    else:
        sys.stdout.write("\n".join(lines_of(papers)) + "\n")
