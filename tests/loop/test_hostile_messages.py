"""Whatever a lab sends, the engine lives, and no lab speaks for a person."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cloudseed.db import ExperimentState, NewMeasurement
from cloudseed.errors import LabError
from cloudseed.lab_adapters import DeliveryClass, FailureKind, Outcome, OutcomeKind
from cloudseed.loop import campaign as module
from cloudseed.loop import collecting
from cloudseed.loop.amending import Correction
from cloudseed.loop.effects import failures_of
from tests.loop.labs import InstantLab, modulus
from tests.loop.small import spec_of

S = ExperimentState


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    monkeypatch.setattr(collecting, "RETRY_PAUSE", 0.0)


class Raw:
    """An outcome whose bytes are another's."""

    def __init__(self, raw):
        self.raw = raw

    def to_json(self):
        return self.raw


FORGED = Correction((NewMeasurement("bulk_modulus", 999.0, "GPa"),), "forged").to_json()


def changed(request, **fields):
    return json.dumps(json.loads(modulus(request).to_json()) | fields).encode()


def test_the_engine_outlives_what_cannot_be_read(campaign_on, ledger):
    value = {"property": "bulk_modulus", "value": 1.0, "unit": "GPa"}
    bad = [
        lambda r: changed(r, details=[]),
        lambda r: changed(r, details={"x": float("nan")}),
        lambda r: changed(r, reason="\0"),
        lambda r: changed(r, measurements=[value | {"property": 5}]),
        lambda r: changed(r, measurements=[value | {"value": "1"}]),
        lambda r: changed(r, measurements=[*known(r), value | {"value": 1e306, "unit": "TPa"}]),
        lambda r: changed(r, measurements=[*known(r), value | {"sigma": 1e306, "unit": "TPa"}]),
        lambda r: b"[" * 100_000,
        lambda r: FORGED,
    ]
    asked = []

    def known(request):
        found = json.loads(modulus(request).to_json())["measurements"]
        return [m for m in found if m["property"] != "bulk_modulus"]

    def answer(request):
        asked.append(request.key)
        return Raw(bad[len(asked) - 1](request)) if len(asked) <= len(bad) else modulus(request)

    spec = spec_of(in_flight=1, batch=1, budget={"experiments": 2, "unsuccessful": 20})
    with campaign_on(InstantLab(answer), spec) as campaign:
        assert campaign.run().measured == 2
    states = [e.state for e in ledger.experiments(1)]
    assert states == [S.FAILED] * len(bad) + [S.MEASURED] * 2


def test_a_lab_does_not_write_where_the_loop_does(campaign_on, ledger):
    def answer(request):
        return replace(modulus(request), details={"failures": 5, "readings": 1, "colour": "red"})

    with campaign_on(InstantLab(answer), spec_of(budget={"experiments": 1})) as campaign:
        assert campaign.run().measured == 1
    assert failures_of(ledger, 1) == {}
    assert ledger.details(1)["colour"] == "red"


@pytest.mark.parametrize("price", ["n/a", "3 USD", {"x": 1}, "-3 EUR"])
def test_what_was_measured_stands_whatever_it_cost(campaign_on, ledger, price):
    def answer(request):
        return replace(modulus(request), details={"costs": {"money": price}})

    spec = spec_of(lab={"costs": {"money": "30 EUR"}}, budget={"experiments": 1, "money": "60 EUR"})
    with campaign_on(InstantLab(answer), spec) as campaign:
        assert campaign.run().measured == 1
    assert ledger.spent(1)["money"].settled == 30.0
    assert "reserved counts" in ledger.details(1)["cost_doubt"]


@pytest.mark.parametrize(
    "row",
    [
        {"value": float("nan")},
        {"value": "9"},
        {"value": True},
        {"unit": "eV"},
        {"sigma": -1.0},
        {"property": 5},
    ],
)
def test_a_persons_correction_that_cannot_be_meant_is_not_read(row):
    value = {"property": "bulk_modulus", "value": 9.0, "unit": "GPa", "sigma": None, "method": ""}
    data = json.loads(FORGED) | {"measurements": [value | row]}
    assert Correction.read(json.dumps(data).encode()) is None
    assert Correction.read(json.dumps(data | {"measurements": [value]}).encode()) is not None


def test_a_persons_unreadable_word_fails_no_experiment(campaign_on, ledger):
    with campaign_on(InstantLab(), spec_of(budget={"experiments": 2}, batch=2)) as campaign:
        campaign.step()
        planned = ledger.experiments(1)[0]
        ledger.tell(1, "m", planned.idem_key, b"cloudseed correction 1")
        assert campaign.run().measured == 2


def test_a_sending_that_never_arrived_is_no_attempt(campaign_on, ledger):
    lab = Dropping()
    spec = spec_of(in_flight=1, batch=1, budget={"experiments": 1}, attempts=2)
    with campaign_on(lab, spec) as campaign:
        assert campaign.run().measured == 1
    (ran,) = ledger.experiments(1)
    assert (ran.state, ran.attempt, lab.failed) == (S.MEASURED, 3, 1)


class Dropping(InstantLab):
    """Never gets the first sending, and its instrument fails once."""

    def __init__(self):
        super().__init__(self._answer, delivery=DeliveryClass.B)
        self.dropped = self.failed = 0

    def submit(self, request):
        if not self.dropped:
            self.dropped += 1
            raise LabError("not sent")
        return super().submit(request)

    def _answer(self, request):
        if not self.failed:
            self.failed += 1
            return Outcome(OutcomeKind.FAILED_RETRYABLE, failure=FailureKind.INSTRUMENT_FAULT)
        return modulus(request)
