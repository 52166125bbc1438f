"""What the commands of `cloudseed lab` do."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from cloudseed._printable import printable
from cloudseed.cli.commands import print_json
from cloudseed.errors import LabError, UsageError

if TYPE_CHECKING:
    from cloudseed.lab_adapters import Estimate, LabDescription
    from cloudseed.lab_adapters.conformance import CheckResult

__all__ = [
    "check",
    "describe",
    "lab_folder",
    "list_labs",
    "list_open",
    "make_key",
    "new",
    "report",
    "serve",
]

_console = Console(highlight=False)
_STYLES = {"pass": "green", "fail": "red", "not applicable": "dim"}


def list_labs(*, as_json: bool) -> None:
    """Lists the installed adapters."""
    from cloudseed.lab_adapters.registry import listed_labs

    found = listed_labs()
    if as_json:
        print_json(found)
        return
    table = Table("adapter", "from", "class")
    for lab in found:
        table.add_row(lab["name"], lab["package"], lab["class"])
    _console.print(table)


def describe(adapter: str, config: Path | None, *, as_json: bool) -> None:
    """Prints what a lab says of itself."""
    from cloudseed.lab_adapters import load_lab
    from cloudseed.lab_adapters.conformance import read_check_file

    settings = read_check_file(config, adapter)
    with tempfile.TemporaryDirectory(prefix="cloudseed-lab-") as folder:
        lab = load_lab(adapter, settings.config, Path(folder), by_path=True)
        try:
            can = lab.describe()
        finally:
            lab.close()
    if as_json:
        print_json(_plain(can))
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    for name, text in _lines(can):
        table.add_row(name, printable(text))
    _console.print(table, markup=False)


def check(
    adapter: str, config: Path | None, only: list[str], badge_file: Path | None, *, as_json: bool
) -> None:
    """Runs the conformance kit.

    Raises:
        LabError: If a promise is broken.
    """
    from cloudseed.lab_adapters.conformance import CHECKS, badge, read_check_file, run_checks
    from cloudseed.loop.workspace import write_text

    names = [c.__name__ for c in CHECKS]
    if strange := sorted(set(only) - set(names)):
        raise UsageError(
            f"There is no check {strange[0]!r}.", hint=f"There is: {', '.join(names)}."
        )
    settings = read_check_file(config, adapter)
    report = run_checks(adapter, settings, only=frozenset(only), tell=None if as_json else _tell)
    if badge_file is not None:
        write_text(badge_file, badge(report))
    if as_json:
        print_json(report.to_json())
    broken = [r.name for r in report.results if r.verdict == "fail"]
    if broken:
        raise LabError(
            f"The lab {adapter!r} breaks {len(broken)} of {len(report.results)} promises.",
            hint=f"They are: {', '.join(broken)}; docs/labs.md says what each means.",
        )
    if not as_json:
        _console.print(f"\nthe lab {adapter!r} keeps what it promises", markup=False)


def _tell(result: CheckResult) -> None:
    verdict = result.verdict.value
    line = f"{result.name:<12} [{_STYLES[verdict]}]{verdict:<15}[/] {result.promise}"
    _console.print(line, soft_wrap=True)
    if result.reason:
        _console.print(f"{'':<13}{printable(result.reason)}", markup=False, soft_wrap=True)


def new(name: str, out: Path | None) -> None:
    """Writes a new adapter from the template."""
    from cloudseed.lab_adapters.template import write_adapter

    folder = out or Path(f"cloudseed-{name}")
    for path in write_adapter(name, folder):
        _console.print(f"wrote {path}", markup=False)
    module = name.replace("-", "_")
    check_it = f"cloudseed lab check {module} --config check.yaml"
    _console.print(f"\nNext: cd {folder} && pip install -e . && {check_it}", markup=False)


def lab_folder(campaign: str | None) -> Path:
    """Returns where a campaign's lab keeps its jobs."""
    from cloudseed.loop import Workspace

    return Workspace.find(campaign).lab


def list_open(folder: Path, *, as_json: bool) -> None:
    """Lists the orders that wait for a result."""
    from cloudseed.lab_adapters.reporting import open_jobs

    jobs = open_jobs(folder)
    if as_json:
        print_json([{"job": j, "formula": f, "properties": list(p)} for j, f, p in jobs])
        return
    table = Table("job", "formula", "to be measured")
    for job, formula, properties in jobs:
        table.add_row(job, formula, ", ".join(properties))
    _console.print(table if jobs else "nothing waits for a result")


def report(folder: Path, job: str, values: list[str], outcome: str, reason: str) -> None:
    """Stores a result."""
    from cloudseed.lab_adapters import OutcomeKind
    from cloudseed.lab_adapters.reporting import report_result

    report_result(folder, job, values, kind=OutcomeKind(outcome), reason=reason)
    _console.print(f"stored the result of {job}; the campaign takes it in", markup=False)


def serve(adapter: str, config: Path, folder: Path) -> None:
    """Serves a lab until it is interrupted."""
    from cloudseed.lab_adapters.gateway.serving import serve as run

    run(adapter, config, folder, lambda line: _console.print(line, markup=False))


def make_key(file: Path) -> None:
    """Makes a secret."""
    from cloudseed.lab_adapters.gateway import new_secret

    new_secret(file)
    _console.print(f"wrote {file}; copy it to the other side by a safe way", markup=False)


def _plain(can: LabDescription) -> dict[str, Any]:
    data = asdict(can)
    data["elements"] = None if can.elements is None else sorted(can.elements)
    data["features"] = sorted(f.value for f in can.features)
    data["delivery"] = can.delivery.value
    plain: dict[str, Any] = json.loads(json.dumps(data))
    return plain


def _lines(can: LabDescription) -> list[tuple[str, str]]:
    lines = [
        ("name", can.name),
        ("measures", ", ".join(f"{p} [{u}]" if u else p for p, u in can.properties.items())),
        ("at once", str(can.concurrency)),
        ("delivery", f"class {can.delivery.value}"),
        ("values are", "simulated" if can.simulated else "measured"),
        ("elements", "any" if can.elements is None else f"{len(can.elements)} of them"),
    ]
    if can.largest_cell is not None:
        lines.append(("largest cell", f"{can.largest_cell} atoms"))
    if can.temperatures is not None:
        lines.append(("temperatures", "{:g} to {:g} K".format(*can.temperatures)))
    if can.shelf is not None:
        lines.append(("shelf", ", ".join(p.formula for p in can.shelf) or "empty"))
    if can.gases is not None:
        lines.append(("gases", ", ".join(can.gases) or "none"))
    lines += [("takes", _spread(can.duration)), ("costs", _spread(can.cost))]
    for name, duration in sorted(can.durations.items()):
        cost = f"; {_spread(can.costs[name])}" if name in can.costs else ""
        lines.append((f"adds {name}", _spread(duration) + cost))
    lines.append(("can also", ", ".join(sorted(f.value for f in can.features)) or "nothing"))
    return lines


def _spread(estimate: Estimate | None) -> str:
    if estimate is None:
        return "unknown"
    return f"{estimate.p50:g} {estimate.unit}, at most {estimate.p95:g} in 19 of 20"
