"""A lab that cannot even describe itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from cloudseed.db import ExperimentState
from cloudseed.errors import LabError
from cloudseed.loop import campaign as module
from tests.loop.labs import InstantLab
from tests.loop.small import spec_of


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    monkeypatch.setattr(module, "pause", lambda *_, **__: 0.001)


class Lost(InstantLab):
    """Answers so many times, or until it has two experiments; then nothing any more."""

    def __init__(self, answers):
        super().__init__()
        self.left = answers

    def describe(self):
        if self.left <= 0:
            raise LabError("no route to the lab")
        self.left -= 1
        return super().describe()

    def submit(self, request):
        handle = super().submit(request)
        if self.submissions == 2:
            self.left = 0
        return handle

    def poll(self, handles):
        raise LabError("no route to the lab")


def test_the_other_lab_goes_on(campaign_on, ledger):
    labs = [{"adapter": "table", "name": name} for name in ("near", "far")]
    spec = spec_of(labs=labs, in_flight=8, batch=4, budget={"experiments": 8})
    with campaign_on(InstantLab(), spec) as campaign:
        others = {"far": Lost(1000)}
        campaign.context = replace(campaign.context, label="near", others=others)
        for _ in range(14):
            campaign.step()
    ran = Counter((e.lab, e.state) for e in ledger.experiments(1))
    # What the lost lab got waits there; nothing else is sent to it.
    held = ran.pop(("far", ExperimentState.RUNNING), 0)
    assert held == 2
    assert ran == {("near", ExperimentState.MEASURED): 6}
    assert ledger.health(1)["far"].failures >= 3


def test_the_only_lab_is_tried_again_and_then_given_up(campaign_on, ledger):
    with (
        campaign_on(Lost(2), spec_of()) as campaign,
        pytest.raises(LabError, match="no route"),
    ):
        campaign.run(tries=3)
    assert ledger.health(1)["instant"].failures == 3
    assert ledger.experiments(1) == []
