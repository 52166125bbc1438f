"""`cloudseed approvals`: what waits for a person before it goes to a real lab."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cloudseed._printable import printable
from cloudseed.cli.commands import print_json
from cloudseed.cli.opening import opened
from cloudseed.cli.options import AsJson, By, Reason, Where, example, user

__all__ = ["approvals"]

approvals = typer.Typer(
    no_args_is_help=True,
    help="See and answer what waits for a person before it goes to a real lab.",
)

_console = Console(highlight=False)

Sha = Annotated[
    str, typer.Argument(metavar="SHA256", help="What `list` shows; eight characters or more.")
]


@approvals.command("list", epilog=example("cloudseed approvals list runs/oxides"))
def list_(campaign: Where = None, json: AsJson = False) -> None:
    """List what waits for approval: the material, the lab, its recipe, and why."""
    from cloudseed.lab_adapters.recipes import printed
    from cloudseed.loop.safety.approvals import open_questions

    with opened(campaign) as asked:
        found = open_questions(asked.ledger, asked.row.id)
    if json:
        print_json([q.to_json() for q in found])
        return
    table = Table("experiment", "material", "lab", "sha256", "why")
    for q in found:
        cells = (str(q.experiment), q.label, q.lab, q.sha[:16], "; ".join(q.reasons))
        table.add_row(*(_plain(cell) for cell in cells))
    _console.print(table)
    for q in found:
        own = "recipe" if q.carried is None else "the lab's own recipe"
        told = {own: q.recipe} if q.carried is None else {own: q.recipe, "asked for": q.carried}
        for head, recipe in told.items():
            known = ["not told"] if recipe is None else printed(recipe).lines
            for line in (f"{q.sha[:16]}, {head} of {q.label}:", *(f"    {each}" for each in known)):
                _console.print(_plain(line), soft_wrap=True)


@approvals.command(
    epilog=example(
        'cloudseed approvals give 3f6a09c2 --reason "recipe checked against the furnace manual"'
    )
)
def give(
    sha: Sha, reason: Reason, campaign: Where = None, by: By = None, json: AsJson = False
) -> None:
    """Approve exactly what has this SHA-256, for one experiment."""
    _answer("given", sha, reason, campaign, by, as_json=json)


@approvals.command(
    epilog=example('cloudseed approvals refuse 3f6a09c2 --reason "no fume hood this week"')
)
def refuse(
    sha: Sha, reason: Reason, campaign: Where = None, by: By = None, json: AsJson = False
) -> None:
    """Refuse what has this SHA-256: its experiment ends as refused."""
    _answer("refused", sha, reason, campaign, by, as_json=json)


@approvals.command(epilog=example('cloudseed approvals attend --reason "saw the two refusals"'))
def attend(reason: Reason, campaign: Where = None, by: By = None, json: AsJson = False) -> None:
    """Say that a person is here and has seen what was refused so far."""
    from cloudseed.loop.safety.approvals import attend as record

    who = by or user()
    with opened(campaign) as asked:
        count = record(asked.ledger, asked.row.id, by=who, reason=reason)
    if json:
        print_json({"by": who, "refused": count})
    else:
        _console.print(f"noted: {who} is here; {count} refused checks attended to", markup=False)
        if asked.row.status == "stopped":
            _console.print("the campaign is stopped; `cloudseed resume` goes on", markup=False)


def _answer(
    word: str, sha: str, reason: str, campaign: str | None, by: str | None, *, as_json: bool
) -> None:
    from cloudseed.loop.safety.approvals import answer

    with opened(campaign) as asked:
        found = answer(asked.ledger, asked.row.id, sha, word=word, by=by or user(), reason=reason)
    if as_json:
        print_json(found.to_json() | {"word": word})
    else:
        _console.print(
            f"{word}: experiment {found.experiment}, {found.label} in {found.lab}, {found.sha}",
            markup=False,
            soft_wrap=True,
        )


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(printable(text))
