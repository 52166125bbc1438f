"""A run folder that cloudseed 0.1.0 left in mid-run is taken up, shown and explained.

`run-0.1.0.json.gz` holds what SQLite's `.dump` gave of its ledger, without cached embeddings, and
the lab's files: 25 candidates of SrTiO3, nine experiments allowed, some measured, some running.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.loop import campaign as module
from cloudseed.loop import open_campaign
from cloudseed.loop.reporting import write_results
from cloudseed.loop.workspace import Workspace, reading


@pytest.fixture
def old(tmp_path: Path) -> Path:
    kept = Path(__file__).with_name("run-0.1.0.json.gz")
    text = gzip.decompress(kept.read_bytes()).decode().replace("@FOLDER@", str(tmp_path))
    packed = json.loads(text)
    run = tmp_path / "run"
    for name, content in packed["files"].items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(content)
    with closing(sqlite3.connect(run / "ledger.db")) as database:
        database.executescript(packed["sql"])
        keys = [key for (key,) in database.execute("SELECT key FROM candidate")]
        # The folder's name is another, so the spec is, too.
        ((config,),) = database.execute("SELECT config FROM campaign")
        sha = hashlib.sha256(config.encode()).hexdigest()
        database.execute("UPDATE campaign SET config_sha = ?", (sha,))
        database.commit()
    lines = [f'"{key}",{60 + sum(map(ord, key)) % 140}' for key in keys]
    (tmp_path / "values.csv").write_text("\n".join(["key,bulk_modulus", *lines]))
    (run / "campaign.json").write_text(json.dumps({"campaign": "old", "ledger": None}))
    done = CliRunner().invoke(app, ["db", "upgrade", str(run)])
    assert done.exit_code == 0, done.output
    return run


def test_a_campaign_of_the_first_release_goes_on(old, monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    workspace = Workspace.open(old)
    with open_campaign(workspace, lambda _: None) as campaign:
        end = campaign.run()
    assert (end.status, end.measured, end.pool) == ("finished", 9, 25)
    with reading(workspace) as ledger:
        before = [d for d in ledger.decisions(1) if d.encoder_id]
        assert len({d.pool_sha for d in before}) == 1
        assert len(ledger.experiments(1)) == 9
    write_results(workspace)
    assert "bulk modulus" in (old / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "--json"], '"measured": 6'),
        (["candidates", "explain", "SrTiO3"], "log probability"),
        (["db", "check"], ""),
    ],
)
def test_it_can_be_read(old, words, said):
    where = f"sqlite:///{old / 'ledger.db'}" if words[0] == "db" else str(old)
    done = CliRunner().invoke(app, [*words, where])
    assert done.exit_code == 0, done.output
    assert said in done.output
