"""What failures mean for attempts, the pool, the model, the budget; and what results cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cloudseed.db import ExperimentState
from cloudseed.errors import UnitError
from cloudseed.lab_adapters import (
    EFFECTS,
    Estimate,
    FailureKind,
    Instrument,
    Outcome,
    Quality,
)
from cloudseed.loop import campaign as module
from cloudseed.loop import collecting
from cloudseed.loop.budgets import check_budget
from cloudseed.loop.effects import failures_of
from cloudseed.loop.planning import idempotency_key, situation
from tests.loop.labs import InstantLab, modulus
from tests.loop.small import spec_of

F = FailureKind


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    monkeypatch.setattr(collecting, "RETRY_PAUSE", 0.0)


class Failing(InstantLab):
    """Fails in one way what it gets first."""

    def __init__(self, failure, times=1):
        super().__init__(self._answer)
        self.failure, self.left, self.failed = failure, times, []

    def _answer(self, request):
        if request.key in self.failed or self.left:
            if request.key not in self.failed:
                self.left -= 1
                self.failed.append(request.key)
            return Outcome.failed(self.failure, "as told")
        return modulus(request)


@pytest.mark.parametrize(
    "kind",
    [
        F.REJECTED_INVALID,
        F.REJECTED_STOCK,
        F.SAMPLE_FAILED,
        F.SAMPLE_LOST,
        F.INSTRUMENT_FAULT,
        F.STOPPED,
    ],
)
def test_each_failure_has_its_effect(campaign_on, ledger, kind):
    effect = EFFECTS[kind]
    lab = Failing(kind)
    spec = spec_of(budget={"experiments": 4}, attempts=2)
    with campaign_on(lab, spec) as campaign:
        end = campaign.run()
        state = situation(ledger, 1, campaign.context.pool, spec.problem)
        place = campaign.context.pool.position
    failed = next(e for e in ledger.experiments(1) if lab.failed[0].startswith(e.idem_key))
    assert failed.attempt == (2 if effect.retry == "new key" else 1)
    assert (failed.state is ExperimentState.MEASURED) == (effect.retry == "new key")
    assert end.wasted == effect.spends
    assert end.measured == 4 - effect.spends
    assert len(state.observations.infeasible) == effect.teaches
    # What a person stopped waits for that person.
    assert place[failed.candidate_id] not in state.available
    assert failures_of(ledger, 1) == {failed.id: (kind,)}


def test_what_an_instrument_spoilt_is_chosen_again_under_another_key(campaign_on, ledger):
    lab = Failing(F.INSTRUMENT_FAULT, times=2)
    spec = spec_of(budget={"experiments": 30, "unsuccessful": 50}, attempts=2, in_flight=1)
    with campaign_on(lab, spec) as campaign:
        pool = campaign.context.pool
        while not (spoilt := ledger.experiments(1, [ExperimentState.FAILED])):
            campaign.step()
        row = pool.position[spoilt[0].candidate_id]
        assert row in situation(ledger, 1, pool, spec.problem).available
        context = campaign.context
        first, second = (
            idempotency_key(context.campaign, pool.rows[row], before) for before in (0, 1)
        )
    assert spoilt[0].idem_key == first != second


def test_a_small_pool_is_tried_until_the_instrument_works(campaign_on, ledger, generation):
    few = replace(generation, proposals=generation.proposals[:4])
    lab = Failing(F.INSTRUMENT_FAULT, times=3)
    with campaign_on(lab, spec_of(attempts=1), few) as campaign:
        end = campaign.run()
    assert end.measured == 4
    assert end.stop_reason == "every candidate has been tried"
    assert len(ledger.experiments(1)) == 7
    assert set(lab.runs.values()) == {1}
    assert ledger.verify() == []


def test_what_was_cancelled_is_sent_under_another_key(campaign_on, ledger, generation):
    few = replace(generation, proposals=generation.proposals[:4])
    lab = InstantLab()
    with campaign_on(lab, spec_of(budget={"experiments": 10}, batch=4), few) as campaign:
        campaign.step()
        planned = ledger.experiments(1, [ExperimentState.PLANNED])[0]
        claim = campaign.context.claim
        ledger.transition(claim, planned.id, ExperimentState.CANCELLED, "not now")
        end = campaign.run()
    assert end.measured == 4
    again = [e for e in ledger.experiments(1) if e.candidate_id == planned.candidate_id]
    assert [e.state for e in again] == [ExperimentState.CANCELLED, ExperimentState.MEASURED]
    assert again[0].idem_key != again[1].idem_key


def test_a_bad_reading_is_no_value_and_costs_an_experiment(campaign_on, ledger):
    seen = []

    def first_is_bad(request):
        outcome = modulus(request)
        if not seen or request.key == seen[0]:
            seen.append(request.key)
            bad = [replace(m, quality=Quality.BAD) for m in outcome.measurements]
            return replace(outcome, measurements=tuple(bad))
        return outcome

    with campaign_on(InstantLab(first_is_bad), spec_of(budget={"experiments": 4})) as campaign:
        end = campaign.run()
    assert (end.measured, end.wasted) == (3, 1)
    assert set(failures_of(ledger, 1).values()) == {(F.MEASUREMENT_INVALID,)}


def test_what_a_lab_tells_is_kept(campaign_on, ledger):
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)

    def telling(request):
        return replace(
            modulus(request),
            recipe={"steps": [1]},
            instrument=Instrument("furnace 3", "1.2", 60.0),
            simulated=True,
            started=at,
            ended=at,
            cost=4.0,
            measurements=tuple(
                replace(m, n=3, sigma_method="repeats") for m in modulus(request).measurements
            ),
        )

    with campaign_on(InstantLab(telling), spec_of(budget={"experiments": 1})) as campaign:
        campaign.run()
    told = ledger.details(1)
    assert told["instrument"] == {"name": "furnace 3", "firmware": "1.2", "calibration_age": 60.0}
    assert told["recipe"] == {"steps": [1]}
    assert told["started"] == at.isoformat()
    assert told["cost"] == 4.0
    assert {r["property"]: r["n"] for r in told["readings"]} == {
        "bulk_modulus": 3,
        "formation_energy": 3,
    }


class Priced(InstantLab):
    def __init__(self, unit, answer=modulus):
        super().__init__(answer)
        self.unit = unit

    def describe(self):
        return replace(super().describe(), cost=Estimate(5.0, 9.0, self.unit))


def test_the_record_settles_the_budget(campaign_on, ledger):
    spec = spec_of(
        lab={"costs": {"money": "30 EUR"}}, budget={"experiments": 10, "money": "60 EUR"}
    )
    lab = Priced("EUR", lambda request: replace(modulus(request), cost=10.0))
    with campaign_on(lab, spec) as campaign:
        end = campaign.run()
    # 10 + 10 + 10 are used after three; another may cost 30; then 40 are, and no other fits.
    assert end.measured == 4
    assert ledger.spent(1)["money"].settled == 40.0


def test_a_lab_that_counts_in_another_currency_is_refused():
    spec = spec_of(lab={"costs": {"money": "30 EUR"}}, budget={"experiments": 1, "money": "60 EUR"})
    check_budget(spec, {"instant": Priced("EUR")})
    with pytest.raises(UnitError, match="EUR"):
        check_budget(spec, {"instant": Priced("USD")})
