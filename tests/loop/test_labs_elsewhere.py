"""Campaigns on labs that are far away or unreliable."""

from __future__ import annotations

import pytest

from cloudseed.db import ExperimentState
from cloudseed.lab_adapters.unreliable import UnreliableLab, UnreliableSettings
from cloudseed.loop import campaign as module
from tests.lab_adapters.gateways import SECRET, VARIABLE, client, serving
from tests.loop.labs import InstantLab


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    monkeypatch.setenv(VARIABLE, SECRET)


def test_a_campaign_runs_through_the_gateway(campaign_on, ledger, tmp_path):
    lab = InstantLab()
    with serving(lab, tmp_path / "served") as url, campaign_on(client(url)) as campaign:
        end = campaign.run()
    assert (end.status, end.measured) == ("finished", 10)
    assert set(lab.runs.values()) == {1}
    assert ledger.verify() == []


def test_a_campaign_survives_an_unreliable_lab(campaign_on, ledger, tmp_path):
    faults = {"lost_reply": 0.15, "drop": 0.1, "outage": 0.1, "duplicate": 0.5, "late": 0.3}
    settings = UnreliableSettings(lab="instant", tick=1.0, late_by=5.0, noise=0.02, **faults)
    lab = InstantLab()
    with campaign_on(UnreliableLab(lab, settings, tmp_path / "lab")) as campaign:
        end = campaign.run()
    assert (end.status, end.measured) == ("finished", 10)
    assert set(lab.runs.values()) == {1}
    measured = ledger.experiments(1, [ExperimentState.MEASURED])
    assert len({e.candidate_id for e in measured}) == 10
    assert ledger.verify() == []
