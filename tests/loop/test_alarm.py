"""The alarm: a model that orders results worse than chance, and what a campaign does about it."""

from types import SimpleNamespace

import numpy as np
import pytest

from cloudseed.db import ExperimentState
from cloudseed.loop import planning
from cloudseed.loop.alarm import misled
from cloudseed.surrogate import EXPLORED, parse_problem, ranks_worse_than_random
from tests.loop.labs import InstantLab
from tests.loop.small import spec_of

RNG = np.random.default_rng(2)


def results(predicted, came, chances=None):
    chances = [None] * len(came) if chances is None else chances
    return [
        SimpleNamespace(
            experiment=SimpleNamespace(id=i, state=ExperimentState.MEASURED),
            at=i + 1,
            predicted={"x": (p, 1.0)},
            measured={"x": (v, None)},
            values={"x": v},
            chance=c,
        )
        for i, (p, v, c) in enumerate(zip(predicted, came, chances, strict=True))
    ]


def test_the_wrong_order_is_told_from_none_and_from_the_right_one():
    came = np.arange(20.0)
    assert ranks_worse_than_random(-came, came)
    assert not ranks_worse_than_random(came, came)
    assert not ranks_worse_than_random(-came[:9], came[:9])
    assert not ranks_worse_than_random(np.ones(20), came)
    alarms = [ranks_worse_than_random(RNG.normal(size=20), came) for _ in range(400)]
    assert np.mean(alarms) < 0.09


@pytest.mark.parametrize(("goal", "sign"), [("max x", 1), ("min x", -1)])
def test_only_the_last_predictions_count(goal, sign):
    right, wrong = np.arange(20.0), -np.arange(20.0)
    found = results([*right, *wrong], sign * np.concatenate([right, -wrong]) * sign)
    problem = parse_problem(goal)
    assert misled(found, problem, 20)
    assert not misled(found[:20], problem, 20)
    assert not misled(found, problem, 0)
    assert not misled([], problem, 20)


def test_finds_are_judged_by_their_chances():
    came = np.array([0.5, 3.0] * 10)
    chances = np.where(came < 1, 0.1, 0.9)
    problem = parse_problem("x in [0, 1]")
    assert misled(results(came, came, chances), problem, 20)
    assert not misled(results(came, came, 1 - chances), problem, 20)


def test_a_campaign_explores_while_the_alarm_stands(campaign_on, ledger, monkeypatch):
    monkeypatch.setattr(planning, "misled", lambda *_: True)
    assert EXPLORED == 0.5
    with campaign_on(InstantLab(), spec_of(initial=4, batch=4)) as campaign:
        campaign.run()
    notes = [note for row in ledger.decisions(1) for note in row.notes]
    assert any("alarm" in note for note in notes)
    assert any("picks explore" in note for note in notes)
