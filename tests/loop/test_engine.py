"""The engine among people, budgets and several labs."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text

from cloudseed.db import ExperimentState, Spending, Wish, leases, listening, open_ledger
from cloudseed.errors import LabError, ObjectiveError, SpecError
from cloudseed.lab_adapters import DeliveryClass, Outcome, OutcomeKind, Validation
from cloudseed.loop import campaign as module
from cloudseed.loop import collecting, patience, pulse
from cloudseed.loop.amounts import Amount, parse_amount
from cloudseed.loop.budgets import affordable, check_budget
from cloudseed.loop.laboratories import check_labs
from cloudseed.loop.patience import pause
from cloudseed.loop.pulse import Pulse
from tests.loop.labs import InstantLab, modulus
from tests.loop.small import opened, spec_of


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    monkeypatch.setattr(collecting, "RETRY_PAUSE", 0.0)
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)


class NamedLab(InstantLab):
    """A lab of a name, with limits, that may be out of reach."""

    def __init__(self, name, *, properties=None, elements=None, away=False, refuses=False, **more):
        super().__init__(**more)
        self.name, self.away, self.refuses = name, away, refuses
        self.can = {"properties": properties, "elements": elements}

    def describe(self):
        changes = {k: v for k, v in self.can.items() if v is not None}
        return replace(super().describe(), name=self.name, **changes)

    def validate(self, request):
        return Validation(not self.refuses, ("out of powder",) if self.refuses else ())

    def submit(self, request):
        if self.away:
            raise LabError(f"{self.name} is away.")
        return super().submit(request)

    def poll(self, handles):
        if self.away:
            raise LabError(f"{self.name} is away.")
        return super().poll(handles)


@pytest.fixture
def two_labs(campaign_on):
    """Opens a campaign on two labs."""

    @contextmanager
    def start(first, second, spec):
        with campaign_on(first, spec) as campaign:
            campaign.context = replace(
                campaign.context, label=first.name, others={second.name: second}
            )
            yield campaign

    return start


def labs_spec(**changes):
    labs = [
        {"adapter": "table", "name": "dear", "costs": {"money": "10 EUR"}},
        {"adapter": "table", "name": "cheap", "costs": {"money": "2 EUR"}, "in_flight": 1},
    ]
    return spec_of(**({"labs": labs, "in_flight": 3} | changes))


def test_the_cheaper_lab_is_filled_first(two_labs, ledger):
    dear, cheap = NamedLab("dear"), NamedLab("cheap")
    with two_labs(dear, cheap, labs_spec()) as campaign:
        campaign.step()
        busy = Counter(e.lab for e in ledger.experiments(1, [ExperimentState.RUNNING]))
        assert busy == {"cheap": 1, "dear": 2}
        end = campaign.run()
    assert end.measured == 10
    assert set((dear.runs + cheap.runs).values()) == {1}
    used = end.spending["money"]
    assert used.settled == 10 * len(dear.runs) + 2 * len(cheap.runs)
    assert used.reserved == 0
    assert ledger.verify() == []


def test_an_experiment_goes_only_where_it_can_be_done(two_labs, ledger):
    dear = NamedLab("dear")
    cheap = NamedLab("cheap", properties={"bulk_modulus": "GPa"})
    with two_labs(dear, cheap, labs_spec(in_flight=2)) as campaign:
        assert campaign.run().measured == 10
    assert not cheap.runs


def test_what_one_lab_refuses_another_takes(two_labs, ledger):
    dear, cheap = NamedLab("dear"), NamedLab("cheap", refuses=True)
    with two_labs(dear, cheap, labs_spec(in_flight=2)) as campaign:
        end = campaign.run()
    assert (end.measured, end.unsuccessful) == (10, 0)


def test_a_lab_that_is_away_is_left_alone_and_the_other_works(two_labs, ledger, monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE", 1000.0)
    dear, cheap = NamedLab("dear"), NamedLab("cheap", away=True)
    with two_labs(dear, cheap, labs_spec()) as campaign:
        for _ in range(40):
            campaign.step()
        now = campaign.snapshot()
        assert now.measured >= 8
        health = ledger.health(1)["cheap"]
        assert health.failures == patience.CLOSING
        assert "for the lab cheap to answer: cheap is away" in now.waiting
        cheap.away = False
        ledger.record_health(campaign.context.claim, "cheap", failures=0)
        end = campaign.run()
    assert (end.status, end.measured) == ("finished", 10)
    assert set((dear.runs + cheap.runs).values()) == {1}


def test_money_is_a_hard_limit(campaign_on, ledger):
    spec = spec_of(
        lab={"costs": {"money": "30 EUR", "TiO2": "0.5 g"}},
        budget={"experiments": 10, "money": "100 EUR", "consumables": {"TiO2": "10000 mg"}},
    )
    with campaign_on(InstantLab(), spec) as campaign:
        end = campaign.run()
    assert end.measured == 3
    assert end.spending["money"] == Spending("EUR", 90.0, 0.0)
    assert end.spending["TiO2"] == Spending("mg", 1500.0, 0.0)
    assert end.stop_reason == "the money budget of 100 EUR is spent: 90 EUR are used"
    assert end.to_json()["spending"]["money"]["limit"] == 100.0


def test_what_came_cheaper_than_reserved_leaves_room_for_more(campaign_on, ledger):
    def quick(request):
        return replace(modulus(request), duration=3600.0, details={"costs": {"money": "5 EUR"}})

    spec = spec_of(
        lab={"costs": {"money": "30 EUR", "instrument_time": "2 h"}},
        budget={"experiments": 5, "money": "60 EUR", "instrument_time": "10 h"},
    )
    with campaign_on(InstantLab(quick), spec) as campaign:
        end = campaign.run()
    assert end.measured == 5
    assert end.spending["money"].settled == 25.0
    assert end.spending["instrument_time"].settled == pytest.approx(5.0)


def test_never_more_is_reserved_than_is_left(campaign_on, ledger):
    spec = spec_of(
        lab={"costs": {"money": "30 EUR"}}, budget={"experiments": 10, "money": "50 EUR"}
    )
    with campaign_on(InstantLab(), spec) as campaign:
        campaign.step()
        assert ledger.spent(1)["money"] == Spending("EUR", 0.0, 30.0)
        assert campaign.run().measured == 1


def test_affordable_counts_what_is_planned():
    spec = spec_of(lab={"costs": {"money": "30 EUR"}}, budget={"experiments": 9, "money": "90 EUR"})
    assert affordable(spec, {}, 0) == 3
    assert affordable(spec, {"money": Spending("EUR", 0.0, 30.0)}, 1) == 1
    assert affordable(spec_of(), {}, 5) is None


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("500 EUR", 500.0, "EUR"), ("1.5e1 h", 15.0, "h"), ("3", 3.0, "")],
)
def test_amounts_are_read(text, value, unit):
    assert parse_amount(text) == Amount(value, unit)


@pytest.mark.parametrize("text", ["", "EUR", "-3 EUR", "nan EUR", "inf h"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match="an amount is a number"):
        parse_amount(text)


def test_a_limit_without_a_price_is_refused():
    spec = spec_of(budget={"experiments": 1, "money": "5 EUR"})
    with pytest.raises(SpecError, match="no price"):
        check_budget(spec, {"instant": InstantLab()})


def test_labs_that_share_the_properties_out_are_refused():
    spec = labs_spec()
    halves = {
        "dear": NamedLab("dear", properties={"bulk_modulus": "GPa"}),
        "cheap": NamedLab("cheap", properties={"formation_energy": "eV/atom"}),
    }
    with pytest.raises(ObjectiveError, match="all of"):
        check_labs(spec, halves)


@pytest.mark.parametrize(
    "changes",
    [
        {"labs": [{"adapter": "table"}, {"adapter": "table"}]},
        {"labs": [{"adapter": "table", "name": "a"}], "lab": {"adapter": "table"}},
        {"lab": {"costs": {"money": "much"}}},
    ],
)
def test_labs_that_cannot_be_meant_are_refused(changes):
    with pytest.raises((SpecError, ValueError)):
        spec_of(**changes)


def test_a_paused_campaign_collects_and_sends_nothing(campaign_on, ledger):
    lab = InstantLab()
    with campaign_on(lab) as campaign:
        campaign.step()
        ledger.wish(1, Wish.PAUSE, "the lab is painted")
        for _ in range(5):
            campaign.step()
        now = campaign.snapshot()
        assert (now.measured, lab.submissions) == (2, 2)
        assert "paused by a person (the lab is painted)" in now.waiting
        ledger.wish(1, Wish.RUN)
        assert campaign.run().measured == 10


@pytest.mark.parametrize(("wish", "measured"), [(Wish.STOP, 0), (Wish.DRAIN, 2)])
def test_a_wish_to_stop_leaves_or_finishes_what_is_in_the_labs(campaign_on, ledger, wish, measured):
    lab = InstantLab()
    with campaign_on(lab) as campaign:
        campaign.step()
        ledger.wish(1, wish, "holidays")
        end = campaign.run()
        assert (end.status, end.measured, lab.submissions) == ("stopped", measured, 2)
        assert "asked by the user" in end.stop_reason
        assert "holidays" in end.stop_reason
    with campaign_on(lab) as campaign:
        assert campaign.run().measured == 10
    assert set(lab.runs.values()) == {1}


class Spoken(InstantLab):
    """A lab that says nothing, and in which a person ends the campaign through another door."""

    def __init__(self, ledger):
        super().__init__()
        self.ledger = ledger

    def poll(self, handles):
        if len(handles) == 2:
            with open_ledger(self.ledger._database.location.url.render_as_string(False)) as other:
                other.wish(1, Wish.STOP, "holidays")
        return []


@contextmanager
def waits_of(ledger, monkeypatch):
    """Yields what each wait of an engine returns."""
    heard, listen = [], ledger.listening

    @contextmanager
    def listening_too(campaign):
        with listen(campaign) as wait:
            yield lambda seconds: heard.append(wait(seconds)) or heard[-1]

    monkeypatch.setattr(ledger, "listening", listening_too)
    yield heard


def test_an_engine_wakes_when_a_person_speaks(on_postgresql, generation, monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 30.0)
    lab = Spoken(on_postgresql)
    with (
        opened(on_postgresql, spec_of(), lab, generation) as campaign,
        waits_of(on_postgresql, monkeypatch) as heard,
    ):
        assert "holidays" in campaign.run().stop_reason
    assert heard
    assert all(heard)


def test_an_engine_finds_what_a_person_said_without_a_hint(either, generation, monkeypatch):
    monkeypatch.setattr(listening, "_NOTIFY", text("SELECT :channel"))
    lab = Spoken(either)
    with (
        opened(either, spec_of(), lab, generation) as campaign,
        waits_of(either, monkeypatch) as heard,
    ):
        assert "holidays" in campaign.run().stop_reason
    assert heard
    assert not any(heard)


@pytest.mark.parametrize(("answers", "waited"), [([False, True, False], 2), ([False] * 3, 3)])
def test_a_pause_for_a_lab_ends_when_somebody_speaks(answers, waited):
    left = iter(answers)
    asked = []

    def wait(seconds):
        asked.append(seconds)
        return next(left)

    module._wait(60.0, lambda: len(asked) == len(answers), wait)
    assert len(asked) == waited


def test_a_lab_of_class_b_is_not_trusted_while_an_older_engine_may_live(campaign_on, ledger):
    lab = InstantLab(delivery=DeliveryClass.B)
    with campaign_on(lab) as campaign:
        campaign._plan()
        item = ledger.next_to_send(campaign.context.claim)
        claim = replace(campaign.context.claim, unproven=campaign.context.claim.epoch)
        campaign.context = replace(campaign.context, claim=claim)
        campaign.step()
        (row,) = ledger.experiments(1, [ExperimentState.IN_DOUBT])
        assert row.id == item.experiment.id
        ledger.resolve(1, row.id, ExperimentState.PLANNED, reason="seen: it is not there")
        campaign.context = replace(campaign.context, claim=replace(claim, unproven=0))
        end = campaign.run()
    assert end.measured == 10
    assert set(lab.runs.values()) == {1}


def test_a_failed_instrument_waits_before_it_is_tried_again(campaign_on, ledger, monkeypatch):
    monkeypatch.setattr(collecting, "RETRY_PAUSE", 1000.0)
    lab = InstantLab(lambda _: Outcome(OutcomeKind.FAILED_RETRYABLE, reason="no vacuum"))
    with campaign_on(lab, spec_of(batch=2)) as campaign:
        for _ in range(4):
            campaign.step()
        assert lab.submissions == 2
        assert "to try again what failed" in campaign.snapshot().waiting


def test_a_late_failure_of_an_earlier_attempt_changes_nothing(campaign_on, ledger):
    def first_fails(request):
        if request.key.endswith("-1"):
            return Outcome(OutcomeKind.FAILED_RETRYABLE, reason="no vacuum")
        return modulus(request)

    lab = InstantLab(first_fails)
    with campaign_on(lab) as campaign:
        campaign.step()
        campaign.step()
        second = [e for e in ledger.experiments(1, [ExperimentState.RUNNING]) if e.attempt == 2]
        raw = Outcome(OutcomeKind.FAILED_FINAL, reason="said again, otherwise").to_json()
        for e in second:
            ledger.receive(campaign.context.claim, "instant", f"x{e.id}", f"{e.idem_key}-1", raw)
        assert second
        end = campaign.run()
    assert (end.measured, end.unsuccessful) == (10, 0)


def test_pauses_double_to_a_limit_and_differ():
    found = [pause(n, first=1.0, longest=8.0) for n in range(1, 9)]
    assert all(0.5 * min(2.0**n, 8.0) <= p <= min(2.0**n, 8.0) for n, p in enumerate(found))
    assert len({pause(4) for _ in range(10)}) > 1


def test_the_pulse_renews_the_lease_and_falls_silent_when_a_step_hangs(ledger, monkeypatch):
    monkeypatch.setattr(pulse, "BEAT", 0.01)
    row = ledger.create_campaign("pulse", {})
    overdue = threading.Event()
    with ledger.claim(row.id) as claim:
        before = ledger.lease(row.id).until
        with Pulse(ledger, claim) as beating:
            beating.limit(0.3, lambda _: overdue.set())
            beating.stage("fitting")
            assert overdue.wait(20)
            now = ledger.lease(row.id)
        assert now.stage == "fitting"
        assert now.until > before
        assert now.held
    assert ledger.lease(row.id).holder == ""
    assert leases.LEASE >= 6 * 5.0
