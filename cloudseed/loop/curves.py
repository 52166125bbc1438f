"""Draws predictions against temperature: each material a line with its band."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudseed.errors import InputError
from cloudseed.loop.figures import label

if TYPE_CHECKING:
    from pathlib import Path

    from cloudseed.loop.predicting import Predictions

__all__ = ["MOST_CURVES", "draw_curves"]

MOST_CURVES = 12
"""Lines in one plot; more cannot be told apart."""

_FORMATS = (".png", ".svg", ".pdf")


def draw_curves(predictions: Predictions, path: Path) -> str:
    """Draws values with one standard deviation against temperature.

    Args:
        predictions: Of a property at several temperatures.
        path: The picture; its ending, .png, .svg or .pdf, tells the format.

    Returns:
        A note on what was left out of the picture; "" if nothing was.

    Raises:
        InputError: If there is no curve to draw, or the ending is another.
    """
    found = predictions.prediction
    if path.suffix.lower() not in _FORMATS:
        raise InputError(
            f"{path.name} is no picture that can be drawn.",
            hint=f"End it in {', '.join(_FORMATS)}.",
        )
    if len(found.temperatures) < 2:
        raise InputError(
            f"{found.property} at one temperature makes no curve.",
            hint="Predict heat-capacity with --temperature 100:1000:50, for instance.",
        )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, values, sd in list(zip(predictions.names, found.values, found.sd, strict=True))[
        :MOST_CURVES
    ]:
        (line,) = axes.plot(found.temperatures, values, label=name)
        axes.fill_between(
            found.temperatures, values - sd, values + sd, alpha=0.2, color=line.get_color()
        )
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel(label(found.property))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    over = len(predictions.names) - MOST_CURVES
    return f"{over} of the materials are not in the plot" if over > 0 else ""
