"""Attempts to get a forbidden or unapproved material to a lab: all refused, all logged."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests

from cloudseed.db import ExperimentState, events
from cloudseed.errors import UsageError
from cloudseed.lab_adapters import Health, Validation
from cloudseed.lab_adapters.base import BaseLab
from cloudseed.lab_adapters.gateway import Signer
from cloudseed.lab_adapters.gateway.signing import HEADERS
from cloudseed.loop.safety.approvals import answer, open_questions
from cloudseed.loop.safety.checks import breaches
from tests.lab_adapters.gateways import SECRET, VARIABLE, client, serving
from tests.lab_adapters.kit import request
from tests.lab_adapters.labs import open_lab
from tests.loop.labs import modulus
from tests.safety.kit import RECIPE, RealLab, experiments, guarded, planned, state, verdicts, why

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudseed.db import SqlLedger
    from cloudseed.lab_adapters import ExperimentRequest
    from cloudseed.loop import Campaign


def approve(ledger: SqlLedger) -> str:
    """Gives the approval that is asked for; returns its name."""
    (asked,) = open_questions(ledger, 1)
    answer(ledger, 1, asked.sha, word="given", by="Ada", reason="looked at it")
    return asked.sha


def tamper(tmp_path: Path, experiment: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes a request behind the program's back."""
    with sqlite3.connect(tmp_path / "ledger.db", timeout=10) as database:
        query = "SELECT request FROM experiment WHERE id = ?"
        (raw,) = database.execute(query, (experiment,)).fetchone()
        told = json.loads(raw)
        change(told)
        database.execute(
            "UPDATE experiment SET request = ? WHERE id = ?", (json.dumps(told), experiment)
        )
    database.close()


def test_a_forbidden_element_is_refused(campaign_on: Callable, ledger: SqlLedger) -> None:
    every = [
        "Ca",
        "Sr",
        "Ba",
        "Ti",
        "Zr",
        "Hf",
        "O",
        "S",
        "F",
        "Cl",
        "Mg",
        "Na",
        "K",
        "La",
        "Y",
        "Al",
    ]
    with campaign_on(lab := RealLab(), guarded(forbidden=every)) as campaign:
        planned(campaign)
        assert state(campaign) is ExperimentState.REFUSED
        assert "may not be used" in experiments(campaign)[0].reason
    assert lab.submissions == 0
    assert verdicts(ledger) == ["refused"]


@pytest.mark.parametrize("whole", [False, True])
def test_a_substitution_in_the_ledger_is_refused(
    whole: bool, campaign_on: Callable, ledger: SqlLedger, tmp_path: Path
) -> None:
    """Lead for the first element, in the cell alone or under its own name."""

    def swap(told: dict[str, Any]) -> None:
        species = told["cell"]["species"]
        told["cell"]["species"] = ["Pb" if s == species[0] else s for s in species]
        if whole:
            told["label"] = "PbTiO3"

    with campaign_on(lab := RealLab(), guarded()) as campaign:
        first = planned(campaign)
        approve(ledger)
        tamper(tmp_path, first.id, swap)
        campaign.step()
        assert state(campaign) is ExperimentState.REFUSED
    assert lab.submissions == 0
    assert verdicts(ledger) == ["waiting", "refused"]


def test_what_nobody_approved_is_not_sent(campaign_on: Callable, ledger: SqlLedger) -> None:
    with campaign_on(lab := RealLab(), guarded()) as campaign:
        for _ in range(5):
            campaign.step()
    assert lab.submissions == 0
    assert verdicts(ledger) == ["waiting"]


def test_a_recipe_edited_after_its_approval_waits_again(
    campaign_on: Callable, ledger: SqlLedger
) -> None:
    with campaign_on(lab := RealLab(), guarded()) as campaign:
        planned(campaign)
        approve(ledger)
        lab.recipe["steps"][0]["temperature"] = 1400.0
        campaign.step()
        assert lab.submissions == 0
        assert "it has changed since it was approved" in why(ledger)
        approve(ledger)
        campaign.step()
    assert lab.submissions == 1


def test_a_recipe_edited_between_check_and_sending_is_held_back(
    campaign_on: Callable, ledger: SqlLedger
) -> None:
    class Turncoat(RealLab):
        asked = 0

        def validate(self, request: ExperimentRequest) -> Validation:
            self.asked += 1
            if self.asked > 2:
                self.recipe["steps"][0]["temperature"] = 1400.0
            return super().validate(request)

    with campaign_on(lab := Turncoat(), guarded()) as campaign:
        planned(campaign)
        approve(ledger)
        campaign.step()
        assert state(campaign) is ExperimentState.PLANNED
        campaign.step()
    assert lab.submissions == 0
    assert verdicts(ledger) == ["waiting", "allowed", "refused", "waiting"]


def test_a_replayed_approval_is_worth_nothing(campaign_on: Callable, ledger: SqlLedger) -> None:
    with campaign_on(lab := RealLab(), guarded(approval="each")) as campaign:
        planned(campaign)
        sha = approve(ledger)
        campaign.step()
        campaign.step()
        second = planned(campaign)
        assert lab.submissions == 1
        with pytest.raises(UsageError, match="Nothing that waits"):
            answer(ledger, 1, sha, word="given", by="Eve", reason="again")
        ledger.record_word(1, second.id, {"word": "given", "sha": sha, "by": "Eve", "reason": "x"})
        campaign.step()
        campaign.step()
    assert lab.submissions == 1
    assert [e.data["word"] for e in ledger.safety_log(1) if e.kind == "person_said"] == [
        "given",
        "void",
        "given",
    ]


@pytest.mark.parametrize(("shift", "flaw"), [(3600, "dated ahead"), (-9 * 86400, "older than")])
def test_an_approval_of_another_time_is_refused(
    shift: float,
    flaw: str,
    campaign_on: Callable,
    ledger: SqlLedger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with campaign_on(lab := RealLab(), guarded()) as campaign:
        planned(campaign)
        with monkeypatch.context() as patch:
            when = datetime.now(UTC) + timedelta(seconds=shift)
            patch.setattr(events, "now", lambda: when)
            approve(ledger)
        campaign.step()
    assert lab.submissions == 0
    assert flaw in why(ledger)


def test_a_lab_that_now_calls_itself_simulated_stays_guarded(
    campaign_on: Callable, ledger: SqlLedger
) -> None:
    with campaign_on(RealLab(), guarded()) as campaign:
        planned(campaign)
    lab = RealLab()
    lab.simulated = True
    with campaign_on(lab, guarded()) as campaign:
        campaign.step()
        campaign.step()
    assert lab.submissions == 0
    assert verdicts(ledger) == ["waiting"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"precursors": [{"formula": "PbO", "grams": 1}]}, "the recipe uses Pb"),
        ({"precursors": [{"formula": "NaN3", "grams": 1}]}, "NaN3, which is hazardous"),
        ({"steps": [{"gas": "H2"}, {"deeper": {"gas": "air"}}]}, "brings H2 and O2 together"),
        ({"steps": [{"temperature": 1900.0}]}, "above the limit of 1473.15 K"),
        ({"steps": [{"temperature": "1900"}]}, "cannot be checked"),
        ({"steps": [{"ramp": 50}]}, "above the limit of 10 K/min"),
        ({"precursors": [{"formula": "TiO2", "grams": 500}]}, "above the limit of 10 g"),
        ({"target": "KCN"}, "the recipe makes KCN"),
        ({"temperature": float("inf")}, "cannot be checked"),
    ],
)
def test_a_recipe_beyond_the_limits_breaks_them(change: dict[str, Any], reason: str) -> None:
    limits = guarded(forbidden=["Pb"]).safety
    assert breaches(limits, RealLab().describe(), request(), RECIPE)[0] == []
    broken, _ = breaches(limits, RealLab().describe(), request(), RECIPE | change)
    assert reason in "; ".join(broken)


def test_a_broken_limit_is_refused_whatever_a_person_says(
    campaign_on: Callable, ledger: SqlLedger
) -> None:
    with campaign_on(lab := RealLab(), guarded()) as campaign:
        planned(campaign)
        lab.recipe["steps"][0]["temperature"] = 1900.0
        approve(ledger)
        campaign.step()
        assert state(campaign) is ExperimentState.REFUSED
    assert lab.submissions == 0
    assert verdicts(ledger) == ["waiting", "refused"]


def test_a_lab_whose_clock_is_off_gets_nothing(campaign_on: Callable, ledger: SqlLedger) -> None:
    class Late(RealLab, BaseLab):
        def health(self) -> Health:
            return Health(True, clock=datetime.now(UTC) - timedelta(hours=1))

    with campaign_on(lab := Late(), guarded()) as campaign:
        planned(campaign)
        approve(ledger)
        campaign.step()
    assert lab.submissions == 0
    assert "clock is off by 3600 s" in why(ledger)


def test_a_forged_result_of_what_was_never_sent_is_not_believed(
    campaign_on: Callable, ledger: SqlLedger
) -> None:
    with campaign_on(lab := RealLab(), guarded()) as campaign:
        first = planned(campaign)
        raw = modulus(_request_of(campaign)).to_json()
        for key in (f"{first.idem_key}-0", f"{first.idem_key}-1", "somebody-else-1"):
            ledger.receive(campaign.context.claim, "instant", f"forged-{key}", key, raw)
        campaign.step()
        assert state(campaign) is ExperimentState.PLANNED
        assert ledger.measurements(1) == []
    assert lab.submissions == 0
    read = [e.data["reason"] for e in ledger.events(1) if e.kind == "message_read"]
    assert sum("never sent" in reason for reason in read) == 2
    assert sum("unknown experiment" in reason for reason in read) == 1


def _request_of(campaign: Campaign) -> ExperimentRequest:
    from cloudseed.lab_adapters import ExperimentRequest

    ledger = campaign.context.ledger
    (first, *_) = ledger.experiments(campaign.context.campaign.id, list(ExperimentState))
    return ExperimentRequest.from_json(first.request)


@pytest.mark.parametrize("attempt", ["wrong signature", "replay", "skewed clock", "swapped body"])
def test_at_the_gateway(
    attempt: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    signer = Signer("agent", SECRET.encode())
    body = json.dumps(request().to_json()).encode()
    with serving(open_lab("table", tmp_path), tmp_path) as url:
        headers = signer.headers("POST", "/v1/submit", body)
        if attempt == "wrong signature":
            headers[HEADERS[3]] = "0" * 64
        elif attempt == "replay":
            requests.post(f"{url}/v1/submit", data=body, headers=headers, timeout=10)
        elif attempt == "swapped body":
            body = body.replace(b"Sr", b"Pb")
        else:
            sent = f"{time.time() - 4000:.3f}"
            headers[HEADERS[1]] = sent
            headers[HEADERS[3]] = signer.of_request(
                "POST", "/v1/submit", sent, headers[HEADERS[2]], body
            )
        with caplog.at_level(logging.WARNING):
            answered = requests.post(f"{url}/v1/submit", data=body, headers=headers, timeout=10)
        assert answered.status_code == 401
        assert "refused /v1/submit" in caplog.text
        if attempt != "replay":
            assert client(url).lookup("k-1") is None
