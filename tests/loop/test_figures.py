"""The report's figures."""

from __future__ import annotations

from cloudseed.loop.figures import trade_off_figure
from cloudseed.surrogate import parse_problem


def test_both_ends_of_a_window_are_drawn() -> None:
    constraints = ["energy <= -1", "band_gap in [1.5, 3.0]"]
    figure = trade_off_figure([], parse_problem("max score", constraints[::-1]))
    assert [shape.x0 for shape in figure.layout.shapes] == [1.5, 3.0]
    figure = trade_off_figure([], parse_problem("max score", constraints))
    assert [shape.x0 for shape in figure.layout.shapes] == [-1.0]
