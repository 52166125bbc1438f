from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.errors import UsageError
from cloudseed.loop.safety.approvals import open_questions
from cloudseed.loop.shelves import RecipesSpec
from tests.safety.conftest import campaign_on, generation, ledger  # noqa: F401
from tests.safety.kit import RECIPE, RealLab, checks, guarded, planned, verdicts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudseed.db import SqlLedger


@pytest.fixture
def where(tmp_path: Path) -> str:
    """The run folder of the campaign."""
    (tmp_path / "campaign.json").write_text('{"campaign": "small", "ledger": null}')
    return str(tmp_path)


def test_what_waits_is_listed_and_answered(
    campaign_on: Callable,  # noqa: F811
    ledger: SqlLedger,  # noqa: F811
    where: str,
) -> None:
    def say(*words: str):
        return CliRunner().invoke(app, ["approvals", *words])

    with campaign_on(lab := RealLab(), guarded()) as campaign:
        planned(campaign)
        (asked,) = json.loads(say("list", where, "--json").stdout)
        sha = asked["sha256"]
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
    where: str,
) -> None:
    def say(*words: str):
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, where])

    hot = {**RECIPE, "steps": [{"temperature": 3000}]}
    with campaign_on(RealLab(hot), guarded(refusals=2)) as campaign:
        assert campaign.run().status == "stopped"
    other = ["--encoder", "/nowhere"]
    for manner in ([], ["--no-engine"], other, ["--no-engine", *other]):
        refused = say("resume", *manner, "--reason", "all is well").exception
        assert isinstance(refused, UsageError)
        assert "2 safety checks were refused" in refused.message
        assert "cloudseed approvals attend" in refused.hint
    assert not any(e.kind == "person_said" for e in ledger.events(1))
    attended = say("approvals", "attend", "--reason", "the table was wrong", "--by", "Ada")
    assert "`cloudseed resume` goes on" in attended.stdout
    assert "it may go on" in say("resume", "--no-engine", "--reason", "mended").stdout


HOSTILE = "hot\n\x1b[2K    heat, 300 K (27 degC)"


def test_both_recipes_are_shown_and_neither_can_forge_a_line(
    campaign_on: Callable,  # noqa: F811
    ledger: SqlLedger,  # noqa: F811
    where: str,
) -> None:
    """A lab that returns a recipe of its own beside the one that it is asked for."""
    own = {"steps": [{"do": HOSTILE, "gas": "air", HOSTILE: HOSTILE}], "note": HOSTILE}
    shelf = {"precursors": [{"formula": f"{e}O"} for e in ("Sr", "Ba", "Ca")], "gases": ["air"]}
    shelf["precursors"] += [{"formula": f"{e}O2"} for e in ("Ti", "Zr", "Sn", "Si", "Ge", "Hf")]
    lab = RealLab(recipe=own)
    spec = guarded()
    lab_spec = spec.lab.model_copy(
        update={"recipes": RecipesSpec.model_validate({"shelf": shelf, "mass": 2})}
    )
    with campaign_on(lab, spec.model_copy(update={"lab": lab_spec})) as campaign:
        for _ in range(60):
            campaign.step()
            if open_questions(ledger, 1):
                break
        (question,) = open_questions(ledger, 1)
        data = checks(ledger)[-1].data
    assert data["recipe"] == own
    assert data["carried"] == question.carried
    assert question.carried["steps"][1]["temperature"] == 1373.15
    # What the lab's own recipe leaves out, the carried one says.
    assert data["grams"] == pytest.approx(sum(p["grams"] for p in question.carried["precursors"]))
    assert not any("does not state" in reason for reason in question.reasons)
    told = CliRunner().invoke(app, ["approvals", "list", where]).stdout
    assert f"{question.sha[:16]}, the lab's own recipe of {question.label}:" in told
    assert f"{question.sha[:16]}, asked for of {question.label}:" in told
    assert "heat, 1373.15 K (1100 degC), ramp 5.0 K/min" in told
    assert "\x1b" not in told
    assert "hot\\n\\x1b[2K" in told
    assert not any(line.startswith("    heat, 300 K") for line in told.splitlines())
    as_json = json.loads(CliRunner().invoke(app, ["approvals", "list", where, "--json"]).stdout)
    assert as_json[0]["carried"] == question.carried
