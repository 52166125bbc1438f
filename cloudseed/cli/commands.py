"""What the commands do: call the loop, print."""

from __future__ import annotations

import json
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cloudseed.cli.opening import opened
from cloudseed.errors import InputError, LedgerError, SchemaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloudseed.loop import Snapshot, Workspace

__all__ = [
    "db_backup",
    "db_check",
    "db_upgrade",
    "export",
    "init",
    "print_json",
    "report",
    "resume",
    "run",
    "status",
    "stop_signal",
]

_console = Console(highlight=False)


def init(folder: Path) -> None:
    """Writes a starter campaign."""
    from cloudseed.loop.starter import write_starter

    for path in write_starter(folder):
        _console.print(f"wrote {path}", markup=False)
    _console.print(f"\nNext: cloudseed run {folder / 'campaign.yaml'}", markup=False)


def run(spec_path: Path, out: Path | None, *, as_json: bool) -> None:
    """Starts a campaign and runs it to its end."""
    from cloudseed.loop import RUNS, create_campaign, load_spec

    spec = load_spec(spec_path)
    _drive(
        lambda stage: create_campaign(spec, out or RUNS / spec.name, stage),
        f"{spec.name}: {spec.objective}",
        as_json=as_json,
    )


def resume(
    campaign: str | None,
    *,
    encoder: str | None = None,
    engine: bool = True,
    by: str | None = None,
    reason: str = "",
    as_json: bool,
) -> None:
    """Goes on with a campaign; where an engine is there and waits, it is only told."""
    from cloudseed.cli.driving import go_on
    from cloudseed.loop import Workspace

    workspace = Workspace.find(campaign)
    if encoder is not None:
        from cloudseed.cli.driving import may_go_on
        from cloudseed.loop.reencoding import change_encoder

        # What may not go on keeps its encoder.
        if not engine or not _is_finished(workspace):
            may_go_on(workspace)
        change_encoder(workspace, encoder)
    if not engine:
        _show_allowed(workspace, *go_on(workspace, by, reason), as_json=as_json)
    elif not _is_finished(workspace) and all(go_on(workspace, by, reason)):
        _console.print(f"{workspace.campaign}: its engine goes on", markup=False)
    else:
        _drive(lambda _: workspace, workspace.campaign, as_json=as_json)


def _show_allowed(workspace: Workspace, held: bool, driven: bool, *, as_json: bool) -> None:
    if as_json:
        print_json({"run": str(workspace.path), "was_held": held, "engine": driven})
        return
    who = "its engine goes on" if driven else "it may go on; no engine drives it now"
    _console.print(f"{workspace.campaign}: {who}", markup=False)
    if not driven:
        _console.print(f"go on with: cloudseed worker {workspace.path}", markup=False)


def _is_finished(workspace: Workspace) -> bool:
    from cloudseed.loop import campaign_of
    from cloudseed.loop.workspace import reading

    with reading(workspace) as ledger:
        return campaign_of(ledger, workspace)[0].status == "finished"


def _drive(
    prepare: Callable[[Callable[[str], None]], Workspace], title: str, *, as_json: bool
) -> None:
    """Runs a campaign under the live view, then writes and shows its results."""
    from cloudseed.cli.live import LiveView
    from cloudseed.cli.logs import log_file
    from cloudseed.loop import open_campaign
    from cloudseed.loop.tracking import Tracker

    console = Console(stderr=True, highlight=False) if as_json else _console
    with LiveView(console, title) as view, stop_signal(view.note) as stopping:
        workspace = prepare(view.stage)
        with log_file(workspace.path / "engine.log"), open_campaign(workspace, view.stage) as found:
            parts = found.context
            tracker = Tracker(parts.ledger, parts.campaign, parts.spec)
            end = found.run(lambda now: view.update(now, tracker.track(now)), stopping, view.note)
    if end.measured:
        _write_results(workspace, console)
    if as_json:
        print_json({"run": str(workspace.path), **end.to_json()})
    else:
        _show_end(workspace, end)


@contextmanager
def stop_signal(tell: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C or SIGTERM into a polite stop; a second one interrupts."""
    asked = threading.Event()

    def ask(*_: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        tell("stopping after this step; once more to stop at once")

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_results(workspace: Workspace, console: Console) -> None:
    from cloudseed.loop.reporting import write_results

    with console.status("writing the report"):
        write_results(workspace)


def _show_end(workspace: Workspace, end: Snapshot) -> None:
    from cloudseed.cli.tables import ranked_table

    if end.measured:
        _console.print(ranked_table(workspace, top=10))
    verb = "finished" if end.status == "finished" else "stopped"
    _console.print(f"{verb}: {end.stop_reason}; {end.measured} experiments measured", markup=False)
    if end.measured:
        for path in (workspace.path / "report.html", workspace.path / "ranked.csv"):
            _console.print(f"wrote {path}", markup=False)
        _console.print(f"wrote {workspace.winners}/*.cif", markup=False)
    if end.status != "finished":
        _console.print(f"go on with: cloudseed resume {workspace.path}", markup=False)


def status(campaign: str | None, *, as_json: bool) -> None:
    """Shows where a campaign stands."""
    from cloudseed.cli.tables import status_table
    from cloudseed.loop.overview import overview
    from cloudseed.loop.tracking import Tracker

    with opened(campaign) as asked:
        now = overview(asked.ledger, asked.row, asked.spec)
        track = Tracker(asked.ledger, asked.row, asked.spec).track(now)
    where = str(asked.workspace.path)
    if as_json:
        progress = None if track is None else track.to_json()
        print_json({"run": where, **now.to_json(), "progress": progress})
    else:
        _console.print(status_table(now, where, track))


def report(campaign: str | None, out: Path | None) -> None:
    """Writes the report."""
    from cloudseed.loop import Workspace
    from cloudseed.loop.reporting import write_report

    workspace = Workspace.find(campaign)
    with _console.status("writing the report"):
        path = write_report(workspace, out)
    _console.print(f"wrote {path}", markup=False)


def export(campaign: str | None, form: str, out: Path | None) -> None:
    """Exports every experiment."""
    from cloudseed.cli.progress import progress_bar
    from cloudseed.loop import Workspace
    from cloudseed.loop.archiving import FORMATS, archive
    from cloudseed.loop.exporting import export_cifs, export_csv, export_json
    from cloudseed.loop.workspace import fresh

    workspace = Workspace.find(campaign)
    if form in FORMATS and out is None:
        raise UsageError(f"{form} needs a place.", hint="Name a new file or folder with --out.")
    if form == "cif" or form in FORMATS:
        path = out or workspace.path / "structures"
        with progress_bar() as progress:
            if form == "cif":
                count = export_cifs(workspace, path, progress)
            else:
                count = archive(workspace, form, path, progress)
        what = "structures" if form in {"cif", "extxyz"} else "experiments"
        _console.print(f"wrote {count} {what} to {path}", markup=False)
        return
    text = export_csv(workspace) if form == "csv" else export_json(workspace)
    if out is None:
        sys.stdout.write(text)
    else:
        with fresh(out) as partial:
            partial.write_text(text, encoding="utf-8")
        _console.print(f"wrote {out}", markup=False)


def db_upgrade(target: str | None, *, dry_run: bool = False) -> None:
    """Brings a ledger up to date, or tries whether that would work."""
    from cloudseed.db import rehearse, upgrade

    if dry_run:
        lacking = rehearse(_url(target))
        what = f"would run {', '.join(lacking)}; tried and taken back" if lacking else ""
        _console.print(what or "nothing to do: the ledger is current", markup=False)
        return
    before = upgrade(_url(target))
    _console.print(f"the ledger was {before.value} and is current", markup=False)


def db_check(target: str | None, *, as_json: bool) -> None:
    """Checks a ledger."""
    from cloudseed.cli.progress import progress_bar
    from cloudseed.db import SchemaState, check, open_ledger

    url = _url(target)
    state = check(url)
    if state is not SchemaState.CURRENT:
        raise SchemaError(
            f"The ledger is {state.value}.",
            hint="`cloudseed db upgrade` brings an older one up to date.",
        )
    ledger = open_ledger(url, create=False)
    try:
        with progress_bar() as progress:
            found = ledger.verify(progress)
        notices = ledger.notices() if not found else []
    finally:
        ledger.close()
    if as_json:
        print_json({"schema": state.value, "contradictions": found, "notices": notices})
    for line in found if not as_json else ():
        _console.print(f"contradiction: {line}", markup=False)
    if found:
        raise LedgerError(f"The ledger contradicts itself in {len(found)} places.")
    if not as_json:
        for line in notices:
            _console.print(f"note: {line}", markup=False)
        _console.print("the ledger is sound", markup=False)


def db_backup(destination: Path, target: str | None, *, as_json: bool) -> None:
    """Copies a ledger and reads the copy."""
    from cloudseed.db import backup

    with _console.status("copying the ledger"):
        made = backup(_url(target), destination)
    if as_json:
        print_json(
            {
                "path": str(made.path),
                "sha256": made.sha256,
                "bytes": made.size,
                "contradictions": list(made.contradictions),
            }
        )
    else:
        _console.print(f"wrote {made.path}, {made.size:,} bytes", markup=False, soft_wrap=True)
        _console.print(f"sha256 {made.sha256}", markup=False, soft_wrap=True)
    if made.contradictions:
        raise LedgerError(
            f"The copy is faithful, but the ledger contradicts itself in"
            f" {len(made.contradictions)} places.",
            hint="`cloudseed db verify` lists them.",
        )


def _url(target: str | None) -> str:
    from cloudseed.loop import Workspace

    if target is not None and "://" in target:
        return target
    return Workspace.find(target).ledger_url


def print_json(value: Any) -> None:
    """Prints a value for machines."""
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except ValueError as error:
        raise InputError("A value is not a finite number, which JSON cannot hold.") from error
    sys.stdout.write(text + "\n")
