"""Curves of one line, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.loop.tracking import Track

__all__ = ["sparkline", "track_rows"]

WIDTH = 40
"""Characters of a curve at most."""

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(
    values: Sequence[float | None], low: float, high: float, *, larger: bool = True
) -> str:
    """Returns a curve of one character per value, of at most `WIDTH`; higher bars are better.

    Args:
        values: The curve; a space stands for None.
        low: Smallest value that is shown.
        high: Largest.
        larger: Whether larger values are better.

    >>> sparkline([None, 0.0, 5.0, 10.0], 0.0, 10.0)
    ' ▁▅█'
    """
    count = len(values)
    if count > WIDTH:
        values = [values[(i + 1) * count // WIDTH - 1] for i in range(WIDTH)]
    span = (high - low) or 1.0
    return "".join(" " if v is None else _bar((v - low) / span, larger=larger) for v in values)


def _bar(share: float, *, larger: bool) -> str:
    place = round((share if larger else 1 - share) * (len(_BARS) - 1))
    return _BARS[min(max(place, 0), len(_BARS) - 1)]


def track_rows(track: Track) -> list[tuple[str, str]]:
    """Returns what a status shows of a campaign's track: a name and a line each."""
    told = track.to_json()
    count = track.experiments
    random = told.get("random", [])[:count]
    known = [v for v in (*track.reached, *random) if v is not None]
    if not known:
        return []
    low, high = min(known), max(known)
    curve = sparkline(track.reached, low, high, larger=track.larger)
    last = track.reached[-1]
    rows = [(track.what, f"{curve}  {'none' if last is None else f'{last:.4g}'}")]
    if random and random[-1] is not None:
        line = sparkline(random, low, high, larger=track.larger)
        lower, upper = (told[f"random_{end}"][len(random) - 1] for end in ("lower", "upper"))
        rows.append(("at random", f"{line}  {random[-1]:.4g} ({lower:.4g} to {upper:.4g})"))
    if told["discovery_yield"] is not None:
        share = f"{told['discovery_yield']:.0%} of about {track.hits:.3g} in the pool"
        rows.append(("discovery yield", share))
    if track.enhancement is not None:
        rows.append(("enhancement", f"{track.enhancement:.3g} times what random choice finds"))
    if track.acceleration is not None:
        times, is_bound = track.acceleration
        least = "at least " if is_bound else ""
        rows.append(("acceleration", f"random choice needs {least}{times:.3g} times as many"))
    return rows
