from __future__ import annotations

import json
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.errors import UsageError
from tests.safety.conftest import campaign_on, generation, ledger  # noqa: F401
from tests.safety.kit import RECIPE, RealLab, guarded, planned, verdicts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudseed.db import SqlLedger


def test_what_waits_is_listed_and_answered(
    campaign_on: Callable,  # noqa: F811
    ledger: SqlLedger,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "campaign.json").write_text('{"campaign": "small", "ledger": null}')

    def say(*words: str):
        return CliRunner().invoke(app, ["approvals", *words])

    with campaign_on(lab := RealLab(), guarded()) as campaign:
        planned(campaign)
        (asked,) = json.loads(say("list", str(tmp_path), "--json").stdout)
        sha, where = asked["sha256"], str(tmp_path)
        told = say("list", where).stdout
        assert f"{sha[:16]}, recipe of {asked['material']}:" in told
        assert "weigh 0.8 g SrCO3, 0.4 g TiO2" in told
        assert "heat, 1373.15 K (1100 degC), ramp 5 K/min, gas air" in told
        assert isinstance(
            say("give", "f" * 64, where, "--reason", "x", "--by", "Eve").exception, UsageError
        )
        done = say("give", sha[:8], where, "--reason", "fine", "--by", "Ada")
        assert sha in done.stdout
        assert json.loads(say("list", where, "--json").stdout) == []
        campaign.step()
    assert lab.submissions == 1
    assert verdicts(ledger) == ["waiting", "allowed"]
    assert "Ada is here" in say("attend", where, "--reason", "x", "--by", "Ada").stdout


def test_refusals_hold_a_campaign_until_a_person_has_attended(
    campaign_on: Callable,  # noqa: F811
    ledger: SqlLedger,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "campaign.json").write_text('{"campaign": "small", "ledger": null}')

    def say(*words: str):
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, str(tmp_path)])

    hot = {**RECIPE, "steps": [{"temperature": 3000}]}
    with campaign_on(RealLab(hot), guarded(refusals=2)) as campaign:
        assert campaign.run().status == "stopped"
    for manner in ([], ["--no-engine"]):
        refused = say("resume", *manner, "--reason", "all is well").exception
        assert isinstance(refused, UsageError)
        assert "2 safety checks were refused" in refused.message
        assert "cloudseed approvals attend" in refused.hint
    assert not any(e.kind == "person_said" for e in ledger.events(1))
    attended = say("approvals", "attend", "--reason", "the table was wrong", "--by", "Ada")
    assert "`cloudseed resume` goes on" in attended.stdout
    assert "it may go on" in say("resume", "--no-engine", "--reason", "mended").stdout
