"""`cloudseed decision` and `cloudseed explain`: what was decided, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cloudseed._printable import printable
from cloudseed.cli.commands import print_json
from cloudseed.cli.opening import opened
from cloudseed.cli.options import AsJson, Experiment, NextBest, Where, example
from cloudseed.errors import LedgerError, UsageError
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudseed.loop.decided import Decided, Pick
    from cloudseed.loop.explaining import Explanation
    from cloudseed.loop.replaying import Replay

__all__ = ["EXPLAIN_EPILOG", "decision", "explain"]

decision = typer.Typer(
    no_args_is_help=True, help="Ask a campaign's ledger what was decided, and make it again."
)

EXPLAIN_EPILOG = example("cloudseed explain 17 runs/stiff-perovskites")

_console = Console(highlight=False)


@decision.command("list", epilog=example("cloudseed decision list runs/stiff-perovskites"))
def list_(campaign: Where = None, json: AsJson = False) -> None:
    """List the decisions: when, by which method, on how much, and what was chosen."""
    from cloudseed.loop.decided import list_decisions

    with opened(campaign) as asked:
        found = list_decisions(asked.ledger, asked.row.id)
    if json:
        print_json(found)
        return
    table = Table("round", "at (UTC)", "method", "known", "pending", "chosen")
    for line in found:
        doubted = f"  [{len(line['doubts'])} doubts]" if line["doubts"] else ""
        table.add_row(
            str(line["round"]),
            line["at"][:16].replace("T", " "),
            line["method"],
            str(line["known"]),
            str(line["pending"]),
            _plain(_shortened(line["chosen"]) + doubted),
        )
    _console.print(table)


@decision.command(epilog=example("cloudseed decision show 3 runs/stiff-perovskites"))
def show(
    number: Annotated[int, typer.Argument(metavar="N", help="Its round, from 1.")],
    campaign: Where = None,
    next_best: NextBest = 5,
    json: AsJson = False,
) -> None:
    """Show one decision: chosen and nearly chosen with their scores, what it was made on."""
    from cloudseed.loop.decided import show_decision
    from cloudseed.loop.replaying import find_decision

    with opened(campaign) as asked:
        found = find_decision(asked.ledger, asked.row.id, number)
        decided = show_decision(asked.ledger, asked.row.id, found, next_best=next_best)
    if json:
        print_json(decided.to_json())
    else:
        _print_decided(decided)


@decision.command(epilog=example("cloudseed decision replay 3 runs/stiff-perovskites"))
def replay(
    number: Annotated[str, typer.Argument(metavar="N", help='Its round, from 1, or "all".')],
    campaign: Where = None,
    json: AsJson = False,
) -> None:
    """Make a decision again from the ledger; say whether it is the same, or what differs."""
    from cloudseed.loop.replaying import Replayer, find_decision

    if number != "all" and not number.isdecimal():
        raise UsageError(f"{number!r} is no round.", hint="Give a number from 1, or all.")
    with opened(campaign) as asked:
        wanted = (
            asked.ledger.decisions(asked.row.id)
            if number == "all"
            else [find_decision(asked.ledger, asked.row.id, int(number))]
        )
        replayer = Replayer(asked.ledger, asked.row, asked.spec, asked.workspace.embeddings)
        found = []
        for one in wanted:
            found.append(replayer.replay(one))
            if not json:
                _print_replay(found[-1])
    if json:
        lines = [one.to_json() for one in found]
        print_json(lines if number == "all" else lines[0])
    other = [one.round for one in found if not one.same]
    if other:
        raise LedgerError(
            f"{len(other)} of {len(found)} decisions come out otherwise.",
            hint="The lines above say what differs.",
            rounds=other,
        )


def explain(
    experiment: Experiment,
    campaign: Where = None,
    next_best: NextBest = 5,
    json: AsJson = False,
) -> None:
    """Explain one experiment: why this one, what nearly was, what was predicted, what came."""
    from cloudseed.loop.explaining import explain_experiment, find_experiment

    with opened(campaign) as asked:
        found = find_experiment(asked.ledger, asked.row.id, experiment)
        told = explain_experiment(asked.ledger, asked.row, found, next_best=next_best)
    if json:
        print_json(told.to_json())
    else:
        _print_explanation(told)


def _print_decided(decided: Decided) -> None:
    made = decided.decision
    _say(
        f"round {made.step + 1}, {made.created_at:%Y-%m-%d %H:%M} UTC: {made.method}, made on"
        f" {len(made.observed)} measurements with {len(made.pending)} experiments pending"
    )
    for note in made.notes:
        _say(f"note: {note}")
    for doubt in decided.doubts:
        _say(f"doubt: {doubt}")
    _say("\nchosen")
    _console.print(_picks(decided.chosen))
    if decided.runners_up:
        _say("\nnearly chosen")
        _console.print(_picks(decided.runners_up))


def _picks(picks: Iterable[Pick]) -> Table:
    rows = list(picks)
    names = list(dict.fromkeys(n for p in rows if p.proposal for n in p.proposal.prediction))
    table = Table("rank", "material", "space group", "acquisition", "P(feasible)")
    for name in names:
        unit = unit_of(name)
        table.add_column(_plain(name.replace("_", " ") + (f"\n{unit}" if unit else "")))
    table.add_column("experiment")
    for pick in rows:
        scored = pick.proposal
        cells = [
            _spread(scored.prediction[name]) if scored and name in scored.prediction else "-"
            for name in names
        ]
        ran = pick.experiment
        table.add_row(
            "-" if scored is None else str(scored.rank + 1),
            _plain(pick.candidate.formula),
            _plain(pick.candidate.key.split(" ", 1)[0]),
            _number(scored.acquisition if scored else None),
            _number(scored.feasible if scored else None),
            *cells,
            "" if ran is None else f"{ran.id} {ran.state.value}, {ran.lab}",
        )
    return table


def _print_replay(found: Replay) -> None:
    verdict = "the same" if found.same else "DIFFERENT"
    scores = ""
    if found.scores_compared:
        exact = {True: ", to the last bit", False: "", None: ""}[found.bit_equal]
        scores = f", {found.scores_compared} recorded scores compared{exact}"
    _say(f"round {found.round} ({found.method}): {verdict}{scores}")
    for line in (*found.differences, *found.assumed):
        _say(f"    {line}")
    for line in found.doubts:
        _say(f"    doubt: {line}")


def _print_explanation(told: Explanation) -> None:
    ran = told.experiment
    _say(f"experiment {ran.id}: {told.candidate.formula}, {ran.state.value}, by {ran.lab}")
    if ran.reason:
        _say(f"reason: {printable(ran.reason)}")
    _say(f"\n{told.why}")
    for line in told.lineage:
        _say(f"    {line}")
    if told.decided.runners_up:
        _say("\nnearly chosen instead")
        _console.print(_picks(told.decided.runners_up))
    if told.verdicts:
        _console.print(_verdicts(told))
    _say("\nits record")
    for line in told.told.lines:
        _say(f"    {line}")
    for row in told.amendments:
        verb = "retracted" if row.replaced_by is None else "corrected"
        _say(f"{verb} on {row.at:%Y-%m-%d %H:%M} UTC: {printable(row.reason)}")
    if told.later:
        rounds = _shortened([str(step) for step in told.later])
        _say(f"decisions made on its result: round {rounds}")
    _say("\nits life (UTC)")
    for event in told.events:
        facts = ", ".join(f"{k} {v}" for k, v in event.data.items() if v not in (None, ""))
        _say(
            f"    {event.at:%Y-%m-%d %H:%M:%S}  {event.kind.replace('_', ' ')}: {printable(facts)}"
        )


def _verdicts(told: Explanation) -> Table:
    table = Table("property", "predicted", "measured", "z", title_justify="left")
    for verdict in told.verdicts:
        unit = unit_of(verdict.property)
        table.add_row(
            _plain(verdict.property.replace("_", " ") + (f" ({unit})" if unit else "")),
            "-" if verdict.predicted is None else _spread(verdict.predicted),
            "-" if verdict.measured is None else _spread(verdict.measured),
            "-" if verdict.z is None else f"{verdict.z:+.2f}",
        )
    return table


def _spread(pair: tuple[float, float | None]) -> str:
    value, sigma = pair
    return f"{value:.4g}" if sigma is None else f"{value:.4g} ± {sigma:.2g}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _shortened(words: list[str], most: int = 8) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)


def _say(text: str) -> None:
    _console.print(text, markup=False, soft_wrap=True)
