"""`cloudseed recipe`: how a material could be made from what is on the shelf."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.console import Console
from rich.table import Table

from cloudseed.cli.commands import print_json
from cloudseed.cli.options import AsJson, example
from cloudseed.errors import InputError, UnitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.lab_adapters.recipes import Peak, Rank

__all__ = ["EPILOG", "recipe"]

EPILOG = example('cloudseed recipe SrTiO3 --shelf shelf.yaml --mass "5 g"')

_console = Console(highlight=False)


def recipe(  # noqa: PLR0917  Typer passes options by name
    formula: Annotated[str, typer.Argument(help="What is to be made.")],
    shelf: Annotated[Path, typer.Option(help="YAML with `precursors` and `gases`.")],
    mass: Annotated[str, typer.Option(help="How much of it.")] = "1 g",
    top: Annotated[int, typer.Option(min=1, help="How many routes at most.")] = 10,
    structure: Annotated[
        Path | None,
        typer.Option(help="A structure file, for the expected XRD pattern.", show_default=False),
    ] = None,
    rank: Annotated[
        str, typer.Option(help="The best first by `cost`, or by `supply`: the most driven.")
    ] = "cost",
    json: AsJson = False,
) -> None:
    """Print solid-state routes: masses, firing, gas, and the hash that an approval is bound to."""
    from cloudseed.lab_adapters.recipes import read_shelf, routes

    found = routes(formula, read_shelf(shelf), _grams(mass), top=top, rank=_rank(rank))
    most = max((r.supply for r in found if r.supply is not None), default=0.0)
    peaks = () if structure is None else _pattern(structure, formula)
    if json:
        pattern = [{"two_theta": p.angle, "height": p.height, "hkl": p.indices} for p in peaks]
        print_json({"routes": [r.to_json() for r in found], "pattern": pattern})
        return
    if not found:
        _console.print("no route: the shelf lacks an element, a gas, or the grams", markup=False)
    for number, route in enumerate(found, 1):
        heat = route.heating
        cost = "" if route.cost is None else f"; costs {route.cost:g}"
        lines = [
            f"{number}. {route.reaction}{cost}",
            "   weigh " + ", ".join(f"{p.grams:.4f} g {p.formula}" for p in route.precursors),
            f"   heat to {heat.temperature:g} K under {heat.gas} for {heat.hours:g} h",
            f"   because: {heat.basis}; {heat.gas_basis}",
            *(f"   note: {note}" for note in route.notes),
            *_driven(route.supply, most),
            f"   sha256 {route.sha256}",
        ]
        for line in lines:
            _console.print(line, markup=False, soft_wrap=True)
    if peaks:
        _console.print(_table(peaks))


def _rank(text: str) -> Rank:
    from cloudseed.lab_adapters.recipes import Rank

    if text not in get_args(Rank):
        raise UsageError(f"Routes have no {text!r}.", hint=f"Say {' or '.join(get_args(Rank))}.")
    return cast("Rank", text)


def _driven(supply: float | None, most: float) -> list[str]:
    """Returns how a route stands to the one that is driven most."""
    if supply is None:
        return []
    behind = most - supply
    words = "" if behind < 0.5 else f"{behind:.0f} kJ/mol less driven than "
    return [f"   {words}the most driven of these, at 1100 degC and 1 bar of gases"]


def _grams(text: str) -> float:
    from cloudseed.loop.amounts import parse_amount

    try:
        amount = parse_amount(text)
        return amount.to("g") if amount.unit else amount.value
    except (ValueError, UnitError) as error:
        raise InputError(f"{text!r} is no mass.", hint='Write it as in "5 g".') from error


def _pattern(path: Path, formula: str) -> tuple[Peak, ...]:
    from cloudseed.lab_adapters.recipes import expected_pattern
    from cloudseed.lab_adapters.recipes.shelf import composition
    from cloudseed.proposers import load_parents

    cell = load_parents([path])[0].crystal.build()
    if composition(cell.formula) != composition(formula).reduced_composition:
        raise InputError(
            f"{path} is {cell.formula}, not {formula}.", hint="Give its own structure."
        )
    return expected_pattern(cell)


def _table(peaks: Sequence[Peak]) -> Table:
    table = Table("2 theta (Cu K-alpha)", "height", "hkl")
    for p in peaks:
        table.add_row(f"{p.angle:.2f}", f"{p.height:.0f}", " ".join(map(str, p.indices)))
    return table
