"""The engine on labs that answer at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from cloudseed.db import ExperimentState
from cloudseed.errors import LabError
from cloudseed.lab_adapters import DeliveryClass, Measurement, Outcome, OutcomeKind
from cloudseed.loop import campaign as module
from cloudseed.loop import collecting, patience
from cloudseed.loop.results import load_results
from tests.loop.labs import InstantLab, modulus
from tests.loop.small import spec_of


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    monkeypatch.setattr(collecting, "RETRY_PAUSE", 0.0)
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.01)


def states(ledger) -> Counter:
    return Counter(e.state for e in ledger.experiments(1))


def test_runs_to_its_budget_and_measures_nothing_twice(campaign_on, ledger):
    lab = InstantLab()
    with campaign_on(lab) as campaign:
        end = campaign.run()
    assert end.status == "finished"
    assert end.measured == 10
    assert states(ledger) == {ExperimentState.MEASURED: 10}
    assert len({e.candidate_id for e in ledger.experiments(1)}) == 10
    assert set(lab.runs.values()) == {1}
    assert ledger.verify() == []


def test_covers_first_then_lets_the_model_choose(campaign_on, ledger):
    with campaign_on(InstantLab(), spec_of(initial=4)) as campaign:
        campaign.run()
    methods = [d.method for d in ledger.decisions(1)]
    assert methods[0] == "space_filling"
    assert set(methods[1:]) == {"LogNEI"}
    chosen = load_results(ledger, 1, spec_of().problem)
    assert all(r.predicted for r in chosen if r.step > 0)
    assert not any(r.predicted for r in chosen if r.step == 0)


def test_same_seed_same_campaign(campaign_on, ledger, tmp_path_factory, generation):
    with campaign_on(InstantLab(), spec_of(initial=4)) as campaign:
        campaign.run()
    with campaign_on(InstantLab(), spec_of(name="again", initial=4)) as campaign:
        campaign.run()
    keys = {row.id: row.key for i in (1, 2) for row in ledger.candidates(i)}
    first, second = ([keys[e.candidate_id] for e in ledger.experiments(i)] for i in (1, 2))
    assert first == second


def test_stops_when_told_and_resumes_without_repeating(campaign_on, ledger):
    lab = InstantLab()
    seen = []

    def three_looks() -> bool:
        seen.append(1)
        return len(seen) > 3

    with campaign_on(lab) as campaign:
        stopped = campaign.run(stopping=three_looks)
    assert stopped.status == "stopped"
    assert 0 < stopped.measured < 10
    with campaign_on(lab) as campaign:
        end = campaign.run()
    assert (end.status, end.measured) == ("finished", 10)
    assert set(lab.runs.values()) == {1}


def test_a_finished_campaign_stays_as_it_is(campaign_on, ledger):
    lab = InstantLab()
    with campaign_on(lab) as campaign:
        campaign.run()
        before = campaign.snapshot()
    with campaign_on(lab) as campaign:
        end = campaign.run()
    assert end == before
    assert lab.submissions == 10


def test_target_cancels_what_is_only_planned(campaign_on, ledger):
    spec = spec_of(stop={"target": 1.0}, constraints=[])
    with campaign_on(InstantLab(), spec) as campaign:
        end = campaign.run()
    assert "target" in end.stop_reason
    assert states(ledger)[ExperimentState.CANCELLED] > 0
    assert end.measured < 10


def test_infeasible_does_not_spend_the_budget(campaign_on, ledger):
    def half(request):
        if sum(map(ord, request.key)) % 2:
            return Outcome(OutcomeKind.INFEASIBLE, reason="it fell apart")
        return modulus(request)

    with campaign_on(InstantLab(half)) as campaign:
        end = campaign.run()
    assert end.measured == 10
    assert end.unsuccessful == states(ledger)[ExperimentState.INFEASIBLE] > 0


def test_gives_up_after_too_many_failures(campaign_on):
    spec = spec_of(budget={"experiments": 10, "unsuccessful": 3})
    lab = InstantLab(lambda _: Outcome(OutcomeKind.FAILED_FINAL, reason="broken"))
    with campaign_on(lab, spec) as campaign:
        end = campaign.run()
    assert end.measured == 0
    assert "without a measurement" in end.stop_reason


def test_retries_a_failed_instrument_under_a_new_key(campaign_on, ledger):
    def second_time(request):
        if request.key.endswith("-1"):
            return Outcome(OutcomeKind.FAILED_RETRYABLE, reason="no vacuum")
        return modulus(request)

    lab = InstantLab(second_time)
    with campaign_on(lab) as campaign:
        end = campaign.run()
    assert end.measured == 10
    assert {e.attempt for e in ledger.experiments(1)} == {2}
    assert set(lab.runs.values()) == {1}


def test_retries_are_bounded(campaign_on, ledger):
    spec = spec_of(budget={"experiments": 10, "unsuccessful": 0}, attempts=2)
    lab = InstantLab(lambda _: Outcome(OutcomeKind.FAILED_RETRYABLE, reason="no vacuum"))
    with campaign_on(lab, spec) as campaign:
        campaign.run()
    assert {e.attempt for e in ledger.experiments(1, [ExperimentState.FAILED])} == {2}


@pytest.mark.parametrize("delivery", [DeliveryClass.A, DeliveryClass.B])
def test_lost_acknowledgement_is_cleared_up(campaign_on, ledger, delivery):
    lab = InstantLab(delivery=delivery, lose=frozenset({2, 5}))
    with campaign_on(lab) as campaign:
        end = campaign.run()
    assert end.measured == 10
    assert set(lab.runs.values()) == {1}


def test_lost_acknowledgement_of_a_lab_that_cannot_be_asked_waits_for_a_person(campaign_on, ledger):
    lab = InstantLab(delivery=DeliveryClass.C, lose=frozenset({2}))
    with campaign_on(lab) as campaign:
        end = campaign.run()
    assert states(ledger)[ExperimentState.IN_DOUBT] == 1
    assert end.status == "stopped"
    assert "in doubt" in end.stop_reason
    assert set(lab.runs.values()) == {1}


def test_unreachable_lab_stops_the_campaign_with_the_reason(campaign_on, ledger, monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.001)
    lab = InstantLab(lose=frozenset(range(1000)))
    told = []
    with campaign_on(lab) as campaign, pytest.raises(LabError, match="connection broke"):
        campaign.run(on_trouble=told.append)
    assert "trying again: The connection broke" in told[0]
    assert ledger.campaign("small").status == "stopped"


@pytest.mark.parametrize(
    ("measurements", "why"),
    [
        ((Measurement("bulk_modulus", 100.0, "GPa"),), "lacks formation_energy"),
        (
            (
                Measurement("bulk_modulus", 100.0, "eV"),
                Measurement("formation_energy", -3.0, "eV/atom"),
            ),
            "cannot be converted",
        ),
        (
            (
                Measurement("bulk_modulus", float("nan"), "GPa"),
                Measurement("formation_energy", -3.0, "eV/atom"),
            ),
            "nan",
        ),
    ],
)
def test_unusable_results_fail_with_the_reason(campaign_on, ledger, measurements, why):
    spec = spec_of(budget={"experiments": 10, "unsuccessful": 0})
    lab = InstantLab(lambda _: Outcome(OutcomeKind.MEASURED, measurements))
    with campaign_on(lab, spec) as campaign:
        campaign.run()
    failed = ledger.experiments(1, [ExperimentState.FAILED])
    assert failed
    assert all(why in e.reason for e in failed)
    assert ledger.measurements(1) == []


def test_units_are_converted_at_the_edge(campaign_on, ledger):
    def in_other_units(request):
        return Outcome(
            OutcomeKind.MEASURED,
            (
                Measurement("bulk_modulus", 1.5, "eV/angstrom^3"),
                Measurement("formation_energy", -3000.0, "meV/atom"),
            ),
        )

    with campaign_on(InstantLab(in_other_units)) as campaign:
        campaign.run()
    values = {m.property: m.value for m in ledger.measurements(1)}
    assert values["formation_energy"] == pytest.approx(-3.0)
    assert values["bulk_modulus"] == pytest.approx(240.326, rel=1e-4)


def test_small_pool_is_used_up(campaign_on, ledger, generation):
    spec = spec_of(budget={"experiments": 10_000}, batch=500, initial=10_000)
    few = replace(generation, proposals=generation.proposals[:30])
    with campaign_on(InstantLab(), spec, few) as campaign:
        end = campaign.run()
    assert end.measured == end.pool == 30
    assert "every candidate" in end.stop_reason


def test_rounds_without_improvement_stop(campaign_on):
    spec = spec_of(budget={"experiments": 40}, stop={"no_improvement_rounds": 1})

    def flat(request):
        return Outcome(
            OutcomeKind.MEASURED,
            (
                Measurement("bulk_modulus", 100.0, "GPa"),
                Measurement("formation_energy", -3.0, "eV/atom"),
            ),
        )

    with campaign_on(InstantLab(flat), spec) as campaign:
        end = campaign.run()
    assert "brought nothing better" in end.stop_reason
    assert end.measured <= 12


def test_snapshot_names_what_it_waits_for(campaign_on):
    with campaign_on(InstantLab()) as campaign:
        campaign.step()
        now = campaign.snapshot()
    assert now.states["running"] == 2
    assert now.waiting == "for 2 experiments in the lab"
    assert now.to_json()["best"] is None
