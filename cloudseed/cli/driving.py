"""`cloudseed worker`, `pause`, `stop`, and what people say of experiments in doubt."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cloudseed._printable import printable
from cloudseed.cli.commands import print_json, stop_signal
from cloudseed.cli.opening import opened
from cloudseed.cli.options import AsJson, Reason, Where, example, user
from cloudseed.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudseed.db import ExperimentState, Ledger, Wish
    from cloudseed.loop import Snapshot, Workspace

__all__ = ["EPILOGS", "go_on", "list_experiments", "pause", "resolve", "stop", "worker"]

EPILOGS = {
    "worker": example("cloudseed worker runs/stiff-perovskites --on-stop finish"),
    "pause": example('cloudseed pause runs/stiff-perovskites --reason "inspection"'),
    "stop": example("cloudseed stop runs/stiff-perovskites --finish"),
    "list": example("cloudseed experiments list --state in_doubt"),
    "resolve": example(
        'cloudseed experiments resolve 17 --arrived job-4711 --reason "seen in the queue"'
    ),
}

HUNG = 75
"""Exit code of a worker whose step hangs: a service manager starts it anew."""

_TOLD_TO_END = "the service was told to end"

_console = Console(highlight=False)


def worker(
    campaign: Where = None,
    on_stop: Annotated[
        Literal["leave", "finish"],
        typer.Option(
            help="What becomes of experiments in the labs when the worker is told to end."
        ),
    ] = "leave",
) -> None:
    """Drive a campaign as a service: no live view, no giving up on labs that do not answer."""
    from cloudseed.cli.logs import log_file
    from cloudseed.loop import Workspace, open_campaign

    workspace = Workspace.find(campaign)
    with (
        stop_signal(_say) as asked,
        log_file(workspace.path / "engine.log"),
        open_campaign(workspace, _say) as found,
    ):
        _forget_old_end(found.context.ledger, found.context.campaign.id)
        stopping = asked
        if on_stop == "finish":
            stopping = _finishing(found.context.ledger, found.context.campaign.id, asked)
        end = found.run(_report, stopping, _say, tries=None, on_overdue=_give_up)
    _say(f"{end.status}: {end.stop_reason}")


def pause(campaign: Where = None, reason: Reason = "") -> None:
    """Have a campaign plan and send nothing until `cloudseed resume`; results are taken in."""
    from cloudseed.db import Wish

    _wish(campaign, Wish.PAUSE, reason)


def stop(
    campaign: Where = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Wait until the labs are done with what they have.")
    ] = False,
    reason: Reason = "",
) -> None:
    """Have a campaign's engine end after its step; what is in the labs goes on there."""
    from cloudseed.db import Wish

    _wish(campaign, Wish.DRAIN if finish else Wish.STOP, reason)


def go_on(workspace: Workspace, by: str | None, reason: str) -> tuple[bool, bool]:
    """Allows a campaign to go on; returns whether it was held, and whether an engine is there."""
    from cloudseed.loop import campaign_of
    from cloudseed.loop.allowing import allow
    from cloudseed.loop.workspace import reading

    with reading(workspace) as ledger:
        row, spec = campaign_of(ledger, workspace)
        held = allow(ledger, row, spec, by=by or user(), reason=reason)
        return held, ledger.lease(row.id).held


def may_go_on(workspace: Workspace) -> None:
    """Refuses what `go_on` would refuse, and changes nothing."""
    from cloudseed.loop import campaign_of
    from cloudseed.loop.allowing import check_allowed
    from cloudseed.loop.workspace import reading

    with reading(workspace) as ledger:
        check_allowed(ledger, *campaign_of(ledger, workspace))


def list_experiments(
    campaign: Where = None,
    state: Annotated[
        str | None, typer.Option(help="Only those in this state.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """List a campaign's experiments: state, lab, handle, and why they ended."""
    from cloudseed.loop.told import told_by

    wanted = None if state is None else [_state(state)]
    with opened(campaign) as asked:
        ledger, row = asked.ledger, asked.row
        formulas = {c.id: c.formula for c in ledger.candidates(row.id, tried_only=True)}
        methods: dict[int, dict[str, str]] = {}
        for m in ledger.measurements(row.id) if json else ():
            methods.setdefault(m.experiment_id, {})[m.property] = m.method
        found = ledger.experiments(row.id, wanted)
        asked_of = [(e, methods.get(e.id, {})) for e in found] if json else []
        told = {
            e.id: t.to_json()
            for (e, _), t in zip(asked_of, told_by(ledger, row, asked_of), strict=True)
        }
        rows = [
            {
                "id": e.id,
                "formula": formulas[e.candidate_id],
                "state": e.state.value,
                "attempt": e.attempt,
                "lab": e.lab,
                "handle": e.handle,
                "reason": e.reason,
            }
            | ({"record": told[e.id]} if json else {})
            for e in found
        ]
    if json:
        print_json(rows)
        return
    table = Table()
    for name in ("id", "formula", "state", "attempt", "lab", "handle", "reason"):
        table.add_column(name)
    for line in rows:
        table.add_row(*(Text("" if value is None else printable(value)) for value in line.values()))
    _console.print(table)


def resolve(  # noqa: PLR0917  Typer passes options by name
    experiment: Annotated[int, typer.Argument(help="Its number.")],
    reason: Annotated[str, typer.Option(help="How you know; it stays in the ledger.")],
    campaign: Where = None,
    arrived: Annotated[
        str | None,
        typer.Option(
            metavar="HANDLE", help="The lab has it, under this handle.", show_default=False
        ),
    ] = None,
    absent: Annotated[
        bool, typer.Option("--absent", help="The lab surely has it not: it is sent again.")
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Give it up: it is not sent again.")
    ] = False,
) -> None:
    """Say what became of an experiment in doubt, after looking in the lab."""
    from cloudseed.db import ExperimentState

    if (arrived is not None) + absent + abandon != 1:
        raise UsageError(
            "Say one of three things of an experiment in doubt.",
            hint="Give --arrived HANDLE, --absent or --abandon.",
        )
    state = ExperimentState.RUNNING if arrived is not None else ExperimentState.PLANNED
    if abandon:
        state = ExperimentState.CANCELLED
    with opened(campaign) as asked:
        asked.ledger.resolve(asked.row.id, experiment, state, handle=arrived, reason=reason)
    _console.print(f"experiment {experiment} is {state.value}", markup=False)


def _wish(campaign: str | None, wish: Wish, reason: str) -> None:
    with opened(campaign) as asked:
        asked.ledger.wish(asked.row.id, wish, reason)
        held = asked.ledger.lease(asked.row.id).held
    verb = {"pause": "pauses", "drain": "ends once the labs are done", "stop": "ends"}[wish.value]
    who = "its engine" if held else "no engine drives it now; the next one"
    _console.print(f"{asked.row.name}: {who} {verb}", markup=False)


def _finishing(ledger: Ledger, campaign_id: int, asked: Callable[[], bool]) -> Callable[[], bool]:
    """Turns a signal into the wish to end once the labs are done."""
    from cloudseed.db import Wish

    told = False

    def stopping() -> bool:
        nonlocal told
        if asked() and not told:
            told = True
            ledger.wish(campaign_id, Wish.DRAIN, _TOLD_TO_END)
        return False

    return stopping


def _forget_old_end(ledger: Ledger, campaign_id: int) -> None:
    """Takes back what a worker wished that was killed before it had ended; people's wishes stay."""
    from cloudseed.db import Wish

    if ledger.wished(campaign_id) == (Wish.DRAIN, _TOLD_TO_END):
        ledger.wish(campaign_id, Wish.RUN, "the service is back")


def _state(text: str) -> ExperimentState:
    from cloudseed.db import ExperimentState

    try:
        return ExperimentState(text)
    except ValueError as error:
        raise UsageError(
            f"No experiment is ever {text!r}.",
            hint=f"States: {', '.join(s.value for s in ExperimentState)}.",
        ) from error


def _report(now: Snapshot) -> None:
    _say(f"round {now.rounds}: {now.measured}/{now.budget} measured; waiting {now.waiting}")


def _say(text: str) -> None:
    """Writes a line for the service manager's journal."""
    if text:
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()


def _give_up(why: str) -> None:
    """Ends a process whose step hangs; nothing in it can be waited for."""
    _say(f"ending: {why}")
    os._exit(HUNG)
