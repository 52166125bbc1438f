"""The live view of a running campaign."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cloudseed._printable import printable
from cloudseed.cli.sparklines import track_rows
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cloudseed.loop import Result, Snapshot
    from cloudseed.loop.tracking import Track

__all__ = ["LiveView", "duration", "values"]


def duration(seconds: float | None) -> str:
    """Returns a duration as people say it.

    >>> duration(3725)
    '1 h 2 min'
    """
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def values(result: Result) -> str:
    """Returns measured values with their units."""
    parts = []
    for name, (value, sigma) in result.measured.items():
        unit = unit_of(name) or ""
        spread = f" ± {sigma:.2g}" if sigma is not None else ""
        parts.append(f"{name.replace('_', ' ')} {value:.4g}{spread} {unit}".rstrip())
    return ", ".join(parts)


class LiveView:
    """Shows a campaign while it runs: a panel on a terminal, a line per change elsewhere.

    Args:
        console: Where to show it.
        title: What the campaign seeks, in one line.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._now: Snapshot | None = None
        self._track: Track | None = None
        self._taken = time.monotonic()
        self._stage = ""
        self._line = ""
        self._note = ""
        self._live = (
            Live(self, console=console, refresh_per_second=4, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def stage(self, text: str) -> None:
        """Shows what is being prepared."""
        self._stage = text
        if self._live is None:
            self._console.print(f"{text} ...", highlight=False)

    def note(self, text: str) -> None:
        """Shows a line under the rest, until the next."""
        self._note = printable(text)
        if self._live is None and text:
            self._console.print(self._note, highlight=False, markup=False)

    def update(self, now: Snapshot, track: Track | None = None) -> None:
        """Shows where the campaign stands, and how far it has come."""
        self._now, self._track, self._taken = now, track, time.monotonic()
        if self._live is None:
            self._print_line(now)

    def _print_line(self, now: Snapshot) -> None:
        line = (
            f"round {now.rounds}: {now.measured}/{now.budget} measured,"
            f" in flight: {', '.join(now.in_flight) or 'none'}; best: {_best(now)};"
            f" time left: {duration(now.remaining)}"
        )
        if line.rpartition(";")[0] != self._line:
            self._console.print(line, highlight=False, soft_wrap=True)
        self._line = line.rpartition(";")[0]

    def __rich__(self) -> RenderableType:
        body: RenderableType = Spinner("dots", f"{self._stage} ...")
        if self._now is not None:
            body = _body(self._now, self._track, time.monotonic() - self._taken)
        return Panel(body, title=self._title, subtitle=escape(self._note) or None)


def _body(now: Snapshot, track: Track | None, since: float) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    left = max(now.budget - now.measured, 0)
    grid.add_row("round", f"{now.rounds}  (pool of {now.pool:,} candidates)")
    grid.add_row("in flight", ", ".join(now.in_flight) or "none")
    grid.add_row("best so far", Text(_best(now), style="green" if now.best else "dim"))
    for name, line in [] if track is None else track_rows(track):
        grid.add_row(name, line)
    grid.add_row("budget left", f"{left} of {now.budget} experiments")
    if now.unsuccessful:
        grid.add_row("without result", f"{now.unsuccessful} infeasible, refused or failed")
    remaining = None if now.remaining is None else max(now.remaining - since, 0.0)
    grid.add_row("time", f"{duration(now.elapsed + since)}, left: {duration(remaining)}")
    grid.add_row("waiting", Text(now.waiting))
    bar = Table.grid(expand=True)
    bar.add_row(ProgressBar(total=now.budget, completed=now.measured))
    return Group(bar, grid)


def _best(now: Snapshot) -> str:
    if now.best is None:
        return "nothing feasible yet" if now.measured else "nothing yet"
    best = f"{now.best.candidate.formula}, {values(now.best)}"
    if now.front is not None:
        return f"{len(now.front)} on the front, one of them {best}"
    return best if now.hits is None else f"{now.hits} found, the first {best}"
