"""`cloudseed experiments`: what people say of experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cloudseed._printable import printable
from cloudseed.cli.commands import print_json
from cloudseed.cli.opening import opened
from cloudseed.cli.options import AsJson, By, Experiment, Reason, Where, example, user
from cloudseed.errors import UsageError
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from cloudseed.loop.amending import Amended

__all__ = ["experiments"]

experiments = typer.Typer(
    no_args_is_help=True,
    help="List and show experiments; settle those in doubt, take back or correct results.",
)

_console = Console(highlight=False)


@experiments.command(
    epilog=example("cloudseed experiments show 17 runs/stiff-perovskites"),
)
def show(experiment: Experiment, campaign: Where = None, json: AsJson = False) -> None:
    """Show one experiment's values and all that its lab told: instrument, recipe, raw data."""
    from cloudseed.loop.explaining import explain_experiment, find_experiment

    with opened(campaign) as asked:
        found = find_experiment(asked.ledger, asked.row.id, experiment)
        told = explain_experiment(asked.ledger, asked.row, found, next_best=0)
    if json:
        data = told.to_json()
        keys = ("experiment", "formula", "key", "state", "reason", "verdicts", "record")
        print_json({key: data[key] for key in keys})
        return
    ran = told.experiment
    reason = f": {ran.reason}" if ran.reason else ""
    lines = [f"experiment {ran.id}: {told.candidate.formula}, {ran.state.value}{reason}"]
    for verdict in told.verdicts:
        if verdict.measured is not None:
            value, sigma = verdict.measured
            spread = "" if sigma is None else f" ± {sigma:.3g}"
            name, unit = verdict.property.replace("_", " "), unit_of(verdict.property) or ""
            lines.append(f"{name} {value:.6g}{spread} {unit}".rstrip())
    for line in (*lines, *told.told.lines):
        _console.print(printable(line), markup=False, soft_wrap=True)


@experiments.command(
    epilog=example(
        "cloudseed experiments retract 17 runs/stiff-perovskites"
        ' --reason "the wrong sample was loaded"'
    )
)
def retract(
    experiment: Experiment,
    reason: Reason,
    campaign: Where = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Take back a result: it stays in the ledger, teaches no model, and marks decisions."""
    from cloudseed.loop.amending import retract as take_back
    from cloudseed.loop.explaining import find_experiment

    with opened(campaign) as asked:
        found = find_experiment(asked.ledger, asked.row.id, experiment)
        done = take_back(asked.ledger, asked.row.id, found, _signed(reason, by))
    _show(done, "retracted", as_json=json)


@experiments.command(
    epilog=example(
        "cloudseed experiments correct 17 runs/stiff-perovskites"
        ' --value "band_gap=1.21 eV" --sigma band_gap=0.05 --reason "recalibrated"'
    )
)
def correct(  # noqa: PLR0917  Typer passes options by name
    experiment: Experiment,
    value: Annotated[
        list[str], typer.Option(help='PROPERTY=VALUE [UNIT], for instance "band_gap=1.21 eV".')
    ],
    reason: Reason,
    campaign: Where = None,
    sigma: Annotated[
        list[str] | None,
        typer.Option(help="PROPERTY=UNCERTAINTY, in the unit of its value; default: not known."),
    ] = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Replace measured values: the old ones stay in the ledger, and decisions are marked."""
    from cloudseed.loop.amending import correct as put_right
    from cloudseed.loop.explaining import find_experiment

    values = _values(value, sigma or [])
    with opened(campaign) as asked:
        found = find_experiment(asked.ledger, asked.row.id, experiment)
        done = put_right(asked.ledger, asked.row.id, found, values, _signed(reason, by))
    _show(done, "corrected", as_json=json)


def _values(
    given: list[str], spreads: list[str]
) -> dict[str, tuple[float, str | None, float | None]]:
    """Reads values with units, and their uncertainties."""
    sigmas = {name: _number(text) for name, text in map(_split, spreads)}
    values = {}
    for name, text in map(_split, given):
        number, _, unit = text.partition(" ")
        values[name] = (_number(number), unit.strip() or None, sigmas.pop(name, None))
    if sigmas:
        raise UsageError(
            f"There is an uncertainty but no value of {', '.join(sigmas)}.",
            hint="Give both: --value NAME=VALUE --sigma NAME=UNCERTAINTY.",
        )
    return values


def _split(text: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not equals or not name.strip() or not rest.strip():
        raise UsageError(f"{text!r} sets nothing.", hint='Write it as "band_gap=1.21 eV".')
    return name.strip(), rest.strip()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no number.", hint='Write it as "band_gap=1.21".') from error


def _signed(reason: str, by: str | None) -> str:
    if not reason.strip():
        return reason
    who = by or user()
    return f"{reason} (by {who})" if who else reason


def _show(done: Amended, verb: str, *, as_json: bool) -> None:
    if as_json:
        print_json(done.to_json())
        return
    words = [f"experiment {done.experiment} is {verb}"]
    if not done.settled:
        words = [f"experiment {done.experiment} will be {verb} at the engine's next step"]
    if done.rounds:
        rounds = ", ".join(map(str, done.rounds[:10]))
        more = f" and {len(done.rounds) - 10} more" if len(done.rounds) > 10 else ""
        words.append(f"decisions made on it, marked: round {rounds}{more}")
    for line in words:
        _console.print(line, markup=False, soft_wrap=True)
