from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from cloudseed.db import ExperimentState, Wish
from cloudseed.errors import SpecError, UsageError
from cloudseed.loop.safety.approvals import answer, attend, open_questions
from cloudseed.loop.safety.facts import read_facts, substance
from cloudseed.loop.safety.limits import HAZARDOUS, PAIRS
from cloudseed.loop.spec import validate_spec
from cloudseed.loop.waiting import why_waiting
from tests.loop.labs import InstantLab
from tests.loop.small import PARENTS, spec_of
from tests.safety.kit import (
    RECIPE,
    RealLab,
    checks,
    experiments,
    guarded,
    planned,
    state,
    verdicts,
    why,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudseed.db import SqlLedger


@pytest.mark.parametrize(
    "formula", sorted({*HAZARDOUS, *(each for pair in PAIRS for each in pair)})
)
def test_what_is_dangerous_by_default_is_a_formula(formula: str) -> None:
    """The defaults are not read when a campaign is, so that `status` need not load pymatgen."""
    assert substance(formula)[1]


def test_a_simulated_lab_needs_no_person(campaign_on: Callable, ledger: SqlLedger) -> None:
    with campaign_on(lab := InstantLab(), spec_of(batch=1, in_flight=1)) as campaign:
        planned(campaign)
    assert lab.submissions == 1
    assert checks(ledger) == []


def test_the_first_of_a_kind_waits_for_a_person_and_then_goes(
    campaign_on: Callable, ledger: SqlLedger
) -> None:
    with campaign_on(lab := RealLab(), guarded()) as campaign:
        first = planned(campaign)
        for _ in range(3):
            campaign.step()
        assert lab.submissions == 0
        assert verdicts(ledger) == ["waiting"]
        row, spec = campaign.context.campaign, campaign.spec
        states = {ExperimentState.PLANNED: 1}
        waiting = why_waiting(ledger, row, spec, states)
        assert waiting == (
            "for a person: 1 experiment needs approval; `cloudseed approvals list` shows them"
        )
        (asked,) = open_questions(ledger, 1)
        assert asked.experiment == first.id
        assert asked.recipe == RECIPE
        assert "first of" in asked.reasons[0]
        answer(ledger, 1, asked.sha[:12], word="given", by="Ada", reason="looked at it")
        campaign.step()
        assert lab.submissions == 1
        assert verdicts(ledger) == ["waiting", "allowed"]
        campaign.step()
        assert experiments(campaign)[0].state is ExperimentState.MEASURED


@pytest.mark.parametrize(
    ("safety", "recipe", "reason"),
    [
        ({"approval": "each"}, RECIPE, "every experiment"),
        ({}, None, "does not state temperature, ramp, mass, precursors"),
        ({}, {"steps": RECIPE["steps"]}, "does not state mass"),
    ],
)
def test_who_is_asked_why(
    safety: dict, recipe: dict | None, reason: str, campaign_on: Callable, ledger: SqlLedger
) -> None:
    with campaign_on(lab := RealLab(recipe), guarded(**safety)) as campaign:
        planned(campaign)
    assert reason in why(ledger)
    assert lab.submissions == 0


def test_a_lab_may_want_approval_of_its_own(campaign_on: Callable, ledger: SqlLedger) -> None:
    lab = RealLab()
    lab.wants_approval = True
    with campaign_on(lab, guarded()) as campaign:
        planned(campaign)
    assert "the lab wants a person to agree" in why(ledger)


def test_the_daily_budget_holds_what_comes_after(campaign_on: Callable, ledger: SqlLedger) -> None:
    with campaign_on(lab := RealLab(), guarded(daily=1)) as campaign:
        for _ in range(8):
            campaign.step()
            for asked in open_questions(ledger, 1):
                answer(ledger, 1, asked.sha, word="given", by="Ada", reason="fine")
    assert lab.submissions == 1
    assert "within a day" in why(ledger)
    assert verdicts(ledger)[-1] == "waiting"


def test_grams_of_a_day_are_counted(campaign_on: Callable, ledger: SqlLedger) -> None:
    with campaign_on(lab := RealLab(), guarded(daily_mass=1.0)) as campaign:
        planned(campaign)
        (asked,) = open_questions(ledger, 1)
        answer(ledger, 1, asked.sha, word="given", by="Ada", reason="fine")
        campaign.step()
    assert lab.submissions == 0
    assert "more than 1 g" in why(ledger)


def test_without_a_sign_of_a_person_it_pauses(campaign_on: Callable, ledger: SqlLedger) -> None:
    with campaign_on(lab := RealLab(), guarded(attended=0.05)) as campaign:
        time.sleep(0.1)
        campaign.step()
        assert ledger.wished(1)[0] is Wish.PAUSE
        assert verdicts(ledger) == ["paused"]
        assert experiments(campaign) == []
    assert lab.submissions == 0


def test_refusals_stop_the_campaign_until_somebody_has_looked(
    campaign_on: Callable, ledger: SqlLedger
) -> None:
    hot = {**RECIPE, "steps": [{"temperature": 3000}]}
    with campaign_on(RealLab(hot), guarded(refusals=2)) as campaign:
        end = campaign.run()
    assert end.status == "stopped"
    assert "2 safety checks were refused" in end.stop_reason
    assert verdicts(ledger) == ["refused", "refused"]
    assert attend(ledger, 1, by="Ada", reason="the furnace table was wrong") == 2
    with campaign_on(RealLab(hot), guarded(refusals=2)) as campaign:
        campaign.step()
        campaign.step()
    assert verdicts(ledger).count("refused") > 2


def test_a_person_who_refuses_ends_it(campaign_on: Callable, ledger: SqlLedger) -> None:
    with campaign_on(lab := RealLab(), guarded()) as campaign:
        planned(campaign)
        (asked,) = open_questions(ledger, 1)
        answer(ledger, 1, asked.sha, word="refused", by="Ada", reason="no hood")
        campaign.step()
        assert state(campaign) is ExperimentState.REFUSED
        assert "Ada refused it: no hood" in experiments(campaign)[0].reason
    assert lab.submissions == 0
    assert "declined" in verdicts(ledger)


@pytest.mark.parametrize(
    ("sha", "by", "reason", "match"),
    [("", "Ada", "x", "too short"), ("0" * 64, "Ada", "x", "Nothing"), ("0" * 64, "", "x", "who")],
)
def test_an_answer_names_what_it_answers(
    sha: str, by: str, reason: str, match: str, campaign_on: Callable, ledger: SqlLedger
) -> None:
    with campaign_on(RealLab(), guarded()) as campaign:
        planned(campaign)
    with pytest.raises(UsageError, match=match) as caught:
        answer(ledger, 1, sha, word="given", by=by, reason=reason)
    assert caught.value.hint


def test_facts_are_read_at_every_depth() -> None:
    facts = read_facts(
        {
            "target": "SrTiO3",
            "a": [{"b": {"temperature": 900, "ramp": -7}}, {"temperature": 1200.5}],
            "precursors": [
                {"formula": "Ba(OH)2·8H2O", "grams": 1},
                {"formula": "TiO2", "grams": 2},
            ],
            "gases": ["air", {"formula": "Ar"}],
        }
    )
    assert (facts.target, facts.temperature, facts.ramp, facts.grams) == ("SrTiO3", 1200.5, 7, 3)
    assert facts.substances == {"Ba(HO)2", "TiO2", "O2", "N2", "Ar"}
    assert facts.missing == []


@pytest.mark.parametrize(
    "recipe",
    [
        {"temperature": "hot"},
        {"ramp": float("nan")},
        {"temperature": True},
        {"precursors": [{"formula": "Sr(", "grams": 1}]},
        {"precursors": [{"formula": "TiO2", "grams": -1}]},
        {"gas": "laughing gas"},
        {"steps": [{"target": "SrTiO3"}, {"target": "BaTiO3"}]},
    ],
)
def test_what_cannot_be_read_is_an_error(recipe: dict) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_facts(recipe)


def test_limits_are_read_with_units() -> None:
    told = {"temperature": "1100 degC", "ramp": "300 K/h", "mass": "500 mg", "attended": "12 h"}
    limits = guarded(**told).safety
    assert limits.temperature == pytest.approx(1373.15)
    assert (limits.ramp, limits.mass, limits.attended) == (5.0, 0.5, 43200.0)


@pytest.mark.parametrize(
    "safety", [{"forbidden": ["Xx"]}, {"hazardous": ["Q"]}, {"mass": "3 K"}, {"temprature": 3}]
)
def test_a_limit_that_means_nothing_is_refused(safety: dict) -> None:
    data = {
        "name": "x",
        "parents": [str(PARENTS)],
        "objective": "max bulk_modulus",
        "budget": {"experiments": 1},
        "safety": safety,
    }
    with pytest.raises(SpecError):
        validate_spec(data, "x")
