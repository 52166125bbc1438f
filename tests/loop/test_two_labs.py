"""One campaign on two labs at once, to its end."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from cloudseed.db import ExperimentState, open_ledger
from cloudseed.lab_adapters import load_lab
from cloudseed.loop import campaign as module
from cloudseed.loop import create_campaign, open_campaign
from tests.lab_adapters.gateways import SECRET, VARIABLE, client, free_port, serving
from tests.loop.small import PARENTS, spec_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.01)
    monkeypatch.setenv(VARIABLE, SECRET)


@pytest.fixture
def table(tmp_path, generation):
    """A table of every candidate, by its key."""
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["key", "bulk_modulus", "formation_energy"])
        for number, proposal in enumerate(generation.proposals):
            rows.writerow([proposal.kept.candidate.key, 100 + number % 37, -3.0])
    return {"path": str(path), "column": "key", "match": "candidate", "concurrency": 2}


def ran(ledger):
    """Returns how many experiments each lab measured, once all promises were looked at."""
    done = ledger.experiments(1, [ExperimentState.MEASURED])
    assert len({e.candidate_id for e in done}) == len(done)
    assert {e.attempt for e in done} == {1}
    assert len(ledger.measurements(1)) == len(done) * len(done[0].request["properties"])
    assert ledger.verify() == []
    return Counter(e.lab for e in done)


def test_a_table_here_and_one_behind_a_gateway(campaign_on, ledger, table, tmp_path):
    labs = [
        {"adapter": "table", "name": "near", "config": table},
        {"adapter": "gateway", "name": "far", "config": {"url": "http://localhost"}},
    ]
    spec = spec_of(labs=labs, in_flight=4, batch=4, budget={"experiments": 16})
    near = load_lab("table", table | {"delay": 0.2}, tmp_path / "near")
    far = load_lab("table", table, tmp_path / "behind")
    with (
        serving(far, tmp_path / "behind") as url,
        campaign_on(near, spec) as campaign,
    ):
        campaign.context = replace(campaign.context, label="near", others={"far": client(url)})
        end = campaign.run()
    assert (end.status, end.measured) == ("finished", 16)
    counts = ran(ledger)
    assert counts.total() == 16
    assert counts.keys() == {"near", "far"}


@contextmanager
def served(folder, table):
    """`cloudseed lab serve table`, a process of its own."""
    url = f"http://127.0.0.1:{free_port()}"
    folder.mkdir()
    settings = {
        "port": int(url.rpartition(":")[2]),
        "interval": 0.2,
        "keys": [{"id": "agent", "secret_env": VARIABLE}],
        "config": table,
    }
    (folder / "serve.yaml").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "cloudseed", "lab", "serve", "table"]
    command += ["--config", str(folder / "serve.yaml"), "--folder", str(folder / "lab")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if _answers(url):
                break
            time.sleep(0.1)
        try:
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def _answers(url):
    try:
        urlopen(url, timeout=5).close()
    except HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.mark.nightly
def test_a_potential_here_and_a_served_lab(table, tmp_path):
    far = {"key_id": "agent", "secret_env": VARIABLE}
    with served(tmp_path / "served", table) as url:
        labs = [
            {"adapter": "mlip", "name": "potential"},
            {"adapter": "gateway", "name": "far", "config": {"url": url, **far}},
        ]
        spec = spec_of(
            parents=[str(PARENTS)], labs=labs, in_flight=3, batch=4, budget={"experiments": 12}
        )
        workspace = create_campaign(spec, tmp_path / "run")
        with open_campaign(workspace) as campaign:
            end = campaign.run()
    assert end.status == "finished"
    with open_ledger(workspace.ledger_url) as ledger:
        counts = ran(ledger)
    assert counts.keys() == {"potential", "far"}
    assert counts.total() + end.wasted == 12
