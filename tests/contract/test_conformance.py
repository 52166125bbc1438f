"""The conformance kit over every lab of this project, as a lab's integrator would run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.lab_adapters.conformance import CheckSettings, Verdict, run_checks
from tests.lab_adapters import queue_server, sila_instrument
from tests.lab_adapters.brokers import MOSQUITTO
from tests.lab_adapters.gateways import SECRET, VARIABLE, free_port
from tests.lab_adapters.labs import MATERIALS

if TYPE_CHECKING:
    from pathlib import Path

NOT_PROMISED = {
    "alabos": {"events"},
    "bluesky": {"recipes", "events"},
    "filedrop": {"events"},
    "gateway": {"limits", "recipes"},
    "human": {"events"},
    "mailbox": {"events"},
    "mqtt": {"limits", "recipes"},
    "mlip": {"recipes", "events"},
    "sila2": {"recipes", "idempotency", "reconciling", "events", "crash", "cancelling"},
    "table": {"limits", "events", "recipes"},
    "unreliable": {"limits", "events", "recipes"},
}
"""What each lab says honestly that it does not do."""

NIGHTLY = {"alabos", "bluesky", "human", "mailbox", "mlip", "mqtt", "sila2", "unreliable"}


def settings(name: str, folder: Path) -> CheckSettings:
    table = folder / "table.csv"
    rows = [f"{m},{-8.0 - n},{100 + n}" for n, m in enumerate(MATERIALS)]
    table.write_text("\n".join(["formula,energy,bulk_modulus", *rows]) + "\n")
    of_table = {"path": str(table), "delay": 0.1}
    shared = {"properties": {"energy": "eV/atom"}, "elements": ["Ba", "Ca", "O", "Sr", "Ti"]}
    found: dict[str, dict[str, Any]] = {
        "alabos": {
            "config": shared
            | {
                "url": f"http://127.0.0.1:{free_port()}",
                "simulated": True,
                "settle": 1.0,
                "tasks": [
                    {
                        "type": "Scan",
                        "parameters": {"recipe": "{recipe}"},
                        "results": {"energy": "scan.energy"},
                    }
                ],
            },
            "operator": "tests.lab_adapters.alabos_lab:serve",
        },
        "filedrop": {"config": shared, "operator": "tests.lab_adapters.operators:robot"},
        "gateway": {
            "config": {
                "url": f"http://127.0.0.1:{free_port()}",
                "key_id": "agent",
                "secret_env": VARIABLE,
            },
            "operator": "tests.lab_adapters.gateways:table_server",
        },
        "bluesky": {
            "config": queue_server.settings(
                f"http://127.0.0.1:{free_port()}", folder / "queue" / "documents"
            ),
            "operator": "tests.lab_adapters.queue_server:serve",
            "timeout": 60,
        },
        "mqtt": {
            "config": {
                "port": free_port(),
                "lab": "bench",
                "key_id": "agent",
                "secret_env": VARIABLE,
                "timeout": 10.0,
            },
            "operator": "tests.lab_adapters.brokers:table_behind",
        },
        "mailbox": {
            "config": shared | {"recipes": True},
            "operator": "tests.lab_adapters.gateways:mailbox_worker",
        },
        "human": {"config": shared, "operator": "tests.lab_adapters.operators:chemist"},
        "mlip": {
            "config": {"concurrency": 1},
            "properties": ("energy",),
            "kills": 2,
            "timeout": 300,
        },
        "sila2": {
            "config": sila_instrument.settings(free_port()),
            "operator": "tests.lab_adapters.sila_instrument:serve",
        },
        "table": {"config": of_table},
        "unreliable": {"config": _unreliable(of_table)},
    }
    return CheckSettings(stop=True, **{"kills": 3, "timeout": 15, **found[name]})


def _unreliable(of_table: dict[str, Any]) -> dict[str, Any]:
    """All that a lab may do without breaking a promise."""
    faults = {"latency": 0.05, "duplicate": 0.5, "late": 0.3, "late_by": 0.5, "noise": 0.1}
    return {"lab": "table", "config": of_table, "drift": 0.01, **faults}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.nightly) if n in NIGHTLY else n for n in NOT_PROMISED],
)
def test_it_keeps_what_it_promises(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "mqtt" and MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    if name == "bluesky" and not queue_server.INSTALLED:
        pytest.skip(queue_server.WHY)
    if name == "sila2":
        pytest.importorskip("sila2")
    monkeypatch.setenv(queue_server.VARIABLE, queue_server.API_KEY)
    monkeypatch.setenv(VARIABLE, SECRET)
    report = run_checks(name, settings(name, tmp_path), folder=tmp_path)
    assert report.passed, [r for r in report.results if r.verdict is Verdict.FAIL]
    not_promised = {r.name for r in report.results if r.verdict is Verdict.NOT_APPLICABLE}
    assert not_promised == NOT_PROMISED[name]
