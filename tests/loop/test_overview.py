"""The status of a large campaign is that of a small one, read in another way."""

from __future__ import annotations

import numpy as np
import pytest

from cloudseed.loop import overview as module
from cloudseed.loop.amending import correct, retract
from cloudseed.loop.overview import overview
from cloudseed.loop.snapshot import take_snapshot
from cloudseed.surrogate import is_feasible, merit, parse_problem
from tests.loop.labs import InstantLab
from tests.loop.recorded import SPEC, answer, opened, spec_of

_TIMES = ("elapsed_s", "remaining_s")


@pytest.fixture
def under_way(either, generation):
    """A campaign with results of all kinds, some taken back, and two experiments in the lab."""
    spec = spec_of(initial=100, objective="max bulk_modulus")
    with opened(either, spec, InstantLab(answer), generation) as campaign:
        while len(either.measurements(1)) < 16:
            campaign.step()
    measured = sorted({m.experiment_id for m in either.measurements(1)})
    by_id = {e.id: e for e in either.experiments(1)}
    retract(either, 1, by_id[measured[0]], "wrong sample")
    new = {"bulk_modulus": (400.0, None, None)}
    correct(either, 1, by_id[measured[1]], new, "recalibrated")
    return either


@pytest.mark.parametrize(
    ("goal", "constraints"),
    [
        ("max bulk_modulus", ["formation_energy <= -2.0 eV/atom"]),
        ("min bulk_modulus", []),
        ("bulk_modulus = 120 GPa", ["formation_energy <= -2.0 eV/atom"]),
        ("find all", ["formation_energy <= -2.0 eV/atom"]),
        ("max bulk_modulus", ["formation_energy <= -99 eV/atom"]),
    ],
)
def test_it_says_what_a_snapshot_says(under_way, monkeypatch, goal, constraints):
    spec = spec_of(initial=100, objective=goal, constraints=constraints)
    row = under_way.campaign("small")
    whole = take_snapshot(under_way, row, spec)
    monkeypatch.setattr(module, "FEW", 0)
    quick = overview(under_way, row, spec)
    assert quick.results == ()
    told, wanted = quick.to_json(), whole.to_json()
    for name in _TIMES:
        assert told.pop(name) == pytest.approx(wanted.pop(name), abs=2.0)
    assert told == wanted
    assert quick.best == whole.best
    assert quick.states["running"] > 0


def test_a_finished_campaign_is_told_too(finished, monkeypatch):
    row = finished.campaign("small")
    monkeypatch.setattr(module, "FEW", 0)
    told, wanted = overview(finished, row, SPEC), take_snapshot(finished, row, SPEC)
    assert told.to_json() == wanted.to_json()


@pytest.mark.parametrize("goal", ["max x", "min x", "x in [0, 1]", "x = 0.3"])
def test_results_are_judged_all_at_once_as_one_by_one(goal):
    problem = parse_problem(goal, ["y <= 0.5", "z >= -0.5"])
    rng = np.random.default_rng(1)
    table = rng.normal(size=(200, len(problem.properties)))
    table[rng.random(table.shape) < 0.2] = np.nan
    merits, holds, fails = module._judged(problem, table)
    for i, line in enumerate(table.tolist()):
        values = {
            name: None if np.isnan(value) else value
            for name, value in zip(problem.properties, line, strict=True)
        }
        one = merit(problem, values)
        assert (one is None and np.isnan(merits[i])) or one == merits[i]
        assert holds[i] == is_feasible(problem, values)
        known = all(values[c.property] is not None for c in problem.constraints)
        assert fails[i] == (known and not holds[i])
