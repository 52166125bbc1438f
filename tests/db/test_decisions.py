"""Decisions and what they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from cloudseed.db.rows import CampaignRow, Claim, NewExperiment, ProposalRow
from cloudseed.db.states import ExperimentState
from cloudseed.errors import LedgerError

from .kit import Lab, candidate, decision, sql

if TYPE_CHECKING:
    from cloudseed.db.ledger import SqlLedger

S = ExperimentState


@pytest.fixture
def pool(ledger: SqlLedger, campaign: CampaignRow, claim: Claim) -> list[int]:
    ledger.add_candidates(claim, [candidate(k) for k in "abc"])
    return [c.id for c in ledger.candidates(campaign.id)]


def test_a_decision_comes_back_whole(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, pool: list[int]
) -> None:
    proposals = [
        ProposalRow(pool[1], 0, 1.5, 0.9, {"band_gap": (1.0, 0.1)}, True),
        ProposalRow(pool[0], 1, None, None, {}, False),
    ]
    made = ledger.record_decision(
        claim,
        decision(
            0,
            seed=2**127 + 1,
            pending=(pool[2],),
            observed=(4, 5),
            notes=("GP fell back",),
            model={"lengthscale": 0.1 + 0.2, "versions": {"torch": "2"}},
            proposals=proposals,
            experiments=[NewExperiment(pool[1], "key", "lab", {"x": [1]})],
        ),
    )
    assert ledger.decisions(campaign.id) == [made]
    assert made.seed == 2**127 + 1
    assert made.model == {"lengthscale": 0.1 + 0.2, "versions": {"torch": "2"}}
    assert (made.pending, tuple(made.observed)) == ((pool[2],), (4, 5))
    assert made.notes == ("GP fell back",)
    assert ledger.proposals(made.id) == proposals
    assert ledger.proposals(made.id, chosen_only=True) == proposals[:1]
    (planned,) = ledger.experiments(campaign.id)
    assert (planned.candidate_id, planned.decision_id) == (pool[1], made.id)
    assert (planned.state, planned.attempt, planned.handle) == (S.PLANNED, 0, None)
    assert planned.request == {"x": [1]}


def test_a_proposal_without_a_number_has_none(
    ledger: SqlLedger, claim: Claim, pool: list[int]
) -> None:
    proposal = ProposalRow(pool[0], 0, float("nan"), float("inf"), {}, False)
    made = ledger.record_decision(claim, decision(proposals=[proposal]))
    (found,) = ledger.proposals(made.id)
    assert found.acquisition is None
    assert found.feasible == float("inf")


def _experiments(pool: list[int]) -> dict[str, dict[str, Any]]:
    return {
        "a key used twice": {
            "experiments": [NewExperiment(i, "same", "lab", {}) for i in pool[:2]]
        },
        "a candidate used twice": {
            "experiments": [NewExperiment(pool[0], k, "lab", {}) for k in "xy"]
        },
        "no such candidate": {"experiments": [NewExperiment(10**6, "k", "lab", {})]},
        "no such candidate proposed": {"proposals": [ProposalRow(10**6, 0, None, None, {}, False)]},
        "two of one rank": {
            "proposals": [ProposalRow(i, 0, None, None, {}, False) for i in pool[:2]]
        },
        "a prediction of NaN": {
            "proposals": [ProposalRow(pool[0], 0, 0.0, 0.0, {"x": (float("nan"), 0.0)}, False)]
        },
        "a model that is no JSON": {"model": {"x": object()}},
        "a request that is no JSON": {
            "experiments": [NewExperiment(pool[0], "k", "lab", {"x": b""})]
        },
    }


@pytest.mark.parametrize("fault", list(_experiments([1, 2])))
def test_a_faulty_decision_leaves_nothing_behind(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, pool: list[int], fault: str
) -> None:
    good = {
        "proposals": [ProposalRow(pool[2], 1, 0.0, 0.0, {}, True)],
        "experiments": [NewExperiment(pool[2], "good", "lab", {})],
    }
    before = ledger.events(campaign.id)
    with pytest.raises(LedgerError) as caught:
        ledger.record_decision(claim, decision(**(good | _experiments(pool)[fault])))
    assert caught.value.hint
    assert ledger.decisions(campaign.id) == []
    assert ledger.experiments(campaign.id) == []
    assert ledger.events(campaign.id) == before
    ledger.record_decision(claim, decision(**good))
    assert ledger.verify() == []


def test_candidates_of_another_campaign_are_refused(
    ledger: SqlLedger, claim: Claim, pool: list[int]
) -> None:
    other = ledger.create_campaign("other", {})
    with ledger.claim(other.id) as second:
        for change in (
            {"experiments": [NewExperiment(pool[0], "k", "lab", {})]},
            {"proposals": [ProposalRow(pool[0], 0, None, None, {}, False)]},
        ):
            with pytest.raises(LedgerError, match="another campaign"):
                ledger.record_decision(second, decision(**change))
    assert ledger.experiments(other.id) == []


def test_a_step_is_decided_once(ledger: SqlLedger, campaign: CampaignRow, claim: Claim) -> None:
    ledger.record_decision(claim, decision(0))
    with pytest.raises(LedgerError, match="decided already"):
        ledger.record_decision(claim, decision(0))
    ledger.record_decision(claim, decision(1))
    assert [d.step for d in ledger.decisions(campaign.id)] == [0, 1]


@pytest.mark.parametrize(
    ("path", "again"),
    [
        ([], False),
        ([S.CANCELLED], True),
        ([S.MEASURED], False),
        ([S.INFEASIBLE], False),
        ([S.REFUSED], True),
        ([S.FAILED], True),
        ([S.MEASURED, S.RETRACTED], True),
    ],
)
def test_a_candidate_is_tried_again_only_where_the_first_try_says_nothing(
    ledger: SqlLedger, claim: Claim, lab: Lab, path: list[ExperimentState], again: bool
) -> None:
    (first,) = lab.plan("a")
    if path and path != [S.CANCELLED]:
        lab.run()
    for state in path:
        ledger.transition(claim, first.id, state)
    if again:
        lab.plan("a")
    else:
        with pytest.raises(LedgerError, match="planned twice"):
            lab.plan("a")
    assert ledger.verify() == []


def test_events_tell_of_a_decision_and_its_experiments(lab: Lab) -> None:
    lab.plan("a", "b")
    assert lab.kinds()[-3:] == ["decision_recorded", "experiment_planned", "experiment_planned"]


def test_a_candidate_may_stand_in_two_labs_where_that_is_meant(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, pool: list[int]
) -> None:
    def asked(step: int, key: str, lab: str, beside: tuple[str, ...] = ()) -> Any:
        new = NewExperiment(pool[0], key, lab, {}, beside)
        return ledger.record_decision(claim, decision(step, experiments=[new]))

    asked(0, "first", "cheap")
    for lab, beside in (("dear", ()), ("dear", ("other",)), ("cheap", ("cheap",))):
        with pytest.raises(LedgerError, match="planned twice"):
            asked(1, "second", lab, beside)
    asked(1, "second", "dear", ("cheap",))
    with pytest.raises(LedgerError, match="planned twice"):
        asked(2, "third", "third", ("cheap",))
    assert [e.lab for e in ledger.experiments(campaign.id)] == ["cheap", "dear"]
    assert ledger.verify() == []


def test_the_tables_hold_one_experiment_per_candidate_and_lab(
    ledger: SqlLedger, claim: Claim, pool: list[int]
) -> None:
    new = [NewExperiment(pool[0], "a", "cheap", {}), NewExperiment(pool[1], "b", "cheap", {})]
    ledger.record_decision(claim, decision(experiments=new))
    same = text("UPDATE experiment SET candidate_id = (SELECT min(id) FROM candidate)")
    with sql(ledger) as connection, pytest.raises(IntegrityError):
        connection.execute(same)
