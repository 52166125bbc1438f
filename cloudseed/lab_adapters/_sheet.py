"""A work order as a page to print: what to make, how it looks, a code to scan, blanks to fill."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import MissingDependencyError
from cloudseed.lab_adapters.protocols import recipe_hash
from cloudseed.lab_adapters.recipes.printing import printed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.crystal import Cell

__all__ = ["need_segno", "work_order"]

_SIZE = 260.0
"""Pixels of the drawing, either way."""

_COLOURS = ("#3f6fb5", "#c0504d", "#5a9e4b", "#8064a2", "#d18b2c", "#4bacc6", "#7f7f7f")


def need_segno() -> None:
    """Raises a MissingDependencyError if the library that draws the codes is not installed."""
    try:
        import segno  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "Work orders need the library segno, which draws their codes.",
            hint="pip install 'cloudseed[human]'",
        ) from error


def work_order(
    job: str,
    formula: str,
    cell: Cell,
    properties: Mapping[str, str],
    *,
    lab: str,
    instructions: str,
    recipe: Mapping[str, Any] | None = None,
) -> str:
    """Returns a sheet as one HTML page that needs nothing else.

    Args:
        job: What the code says and a result must name.
        formula: What to make.
        cell: The structure as predicted.
        properties: What to measure -> its unit.
        lab: Name of the lab.
        instructions: Text for every sheet.
        recipe: How to make it, as the campaign compiled it; None if it did not.

    Raises:
        MissingDependencyError: If segno is not installed.
    """
    need_segno()
    import jinja2
    import segno

    source = files("cloudseed.lab_adapters").joinpath("templates", "work_order.html.jinja")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    lattice = np.array(cell.lattice)
    lengths = np.linalg.norm(lattice, axis=1)
    units = lattice / lengths[:, None]
    pairs = ((1, 2), (0, 2), (0, 1))
    angles = [float(np.degrees(np.arccos(np.clip(units[i] @ units[j], -1, 1)))) for i, j in pairs]
    counts = Counter(cell.species)
    return environment.from_string(source.read_text(encoding="utf-8")).render(
        job=job,
        formula=formula,
        code=segno.make(job, error="m").svg_inline(scale=3, border=2),
        drawing=_drawing(cell),
        legend=[(s, n, _colour(cell.species, s)) for s, n in counts.items()],
        lengths=[float(x) for x in lengths],
        angles=angles,
        sites=list(zip(cell.species, cell.frac_coords, strict=True))[:40],
        more=max(len(cell.species) - 40, 0),
        properties=properties,
        lab=lab,
        instructions=instructions,
        recipe=None if recipe is None else printed(recipe),
        name="" if recipe is None else recipe_hash(recipe),
    )


def _colour(species: Sequence[str], symbol: str) -> str:
    order = list(dict.fromkeys(species))
    return _COLOURS[order.index(symbol) % len(_COLOURS)]


def _drawing(cell: Cell) -> str:
    """Returns the cell as SVG, seen along an oblique direction, the nearest atoms in front."""
    lattice, inside = np.array(cell.lattice), np.array(cell.frac_coords) % 1.0
    # Atoms on a face are drawn on the face opposite too, so that the cell looks whole.
    atoms = [
        (symbol, (place + shift) @ lattice)
        for symbol, place in zip(cell.species, inside, strict=True)
        for shift in np.ndindex(2, 2, 2)
        if np.all((place + shift) <= 1.0 + 1e-6)
    ]
    corners = np.array(list(np.ndindex(2, 2, 2))) @ lattice
    points = np.array([*(at for _, at in atoms), *corners]) @ _view().T
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (_SIZE - 40.0) / max(float((high - low)[:2].max()), 1e-9)
    flat = (points - (low + high) / 2) * scale
    flat[:, :2] = flat[:, :2] * (1, -1) + _SIZE / 2
    dots, frame = flat[: len(atoms)], flat[len(atoms) :]
    lines = [
        f'<line x1="{frame[i][0]:.1f}" y1="{frame[i][1]:.1f}" x2="{frame[j][0]:.1f}"'
        f' y2="{frame[j][1]:.1f}" stroke="#888"/>'
        for i in range(8)
        for j in range(i + 1, 8)
        if (i ^ j) in {1, 2, 4}
    ]
    circles = [
        f'<circle cx="{dots[n][0]:.1f}" cy="{dots[n][1]:.1f}" r="9" stroke="#333"'
        f' fill="{_colour(cell.species, atoms[n][0])}"/>'
        for n in np.argsort(dots[:, 2])
    ]
    size = f'width="{_SIZE:g}" height="{_SIZE:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join([*lines, *circles])}</svg>'


def _view() -> np.ndarray:
    """Returns the rotation that turns the cell towards the reader."""
    a, b = np.radians((-62.0, -18.0))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    view: np.ndarray = about_x @ about_z
    return view
