"""How far a campaign has come, beside random choice, in its status."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cloudseed import surrogate
from cloudseed.cli.commands import status
from cloudseed.cli.sparklines import WIDTH, sparkline, track_rows
from cloudseed.db import ExperimentState
from cloudseed.loop import ranks, tracking
from cloudseed.loop.amending import retract
from cloudseed.loop.replaying import Replayer
from cloudseed.loop.results import improvements, in_order_of_arrival, load_results
from cloudseed.loop.snapshot import take_snapshot
from cloudseed.loop.tracking import DRAWS, Track, Tracker, known_scores
from cloudseed.surrogate import (
    RandomCurve,
    Scores,
    exact_random_best,
    expected_random_best,
    with_reference,
)
from tests.loop.recorded import SPEC, run, spec_of


def track_of(ledger, spec=SPEC):
    row = ledger.campaign("small")
    return Tracker(ledger, row, spec).track(take_snapshot(ledger, row, spec))


def test_it_is_what_was_reached_beside_random(finished):
    found = track_of(finished)
    results = load_results(finished, 1, SPEC.problem)
    assert list(found.reached) == improvements(results, SPEC.problem)
    assert found.what == "best bulk modulus"
    assert len(found.random.expected) >= SPEC.budget.experiments
    expected = found.random.expected
    assert (np.diff(expected[np.isfinite(expected)]) > -2.0).all()
    assert found.reached[-1] > expected[0]
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert len(told["random"]) == len(told["random_upper"]) == len(expected)
    assert told["discovery_yield"] is told["enhancement"] is None


def test_what_is_known_is_certain(finished):
    """Where all that a pool holds is measured, the random curve is the exact one."""
    problem = spec_of(constraints=[]).problem
    results = load_results(finished, 1, problem)
    measured = [r for r in results if r.measured]
    made = next(d for d in reversed(finished.decisions(1)) if d.model.get("surrogates"))
    proposals = finished.proposals(made.id)
    tried = {r.candidate.id for r in results if r.experiment.state.terminal}
    known = known_scores(results, [p for p in proposals if p.candidate_id in tried], problem)
    assert known.sd.max() == 0.0
    values = np.array([r.value("bulk_modulus") for r in measured])
    failed = len(known.rows) - len(values)
    assert failed == len({r.candidate.id for r in results} - {r.candidate.id for r in measured})
    drawn = expected_random_best(known, problem, count=5, seed=0, draws=20_000)
    table = np.concatenate([values, np.zeros(failed)])
    exact, chance = exact_random_best(table, count=5, feasible=np.arange(len(table)) < len(values))
    np.testing.assert_allclose(drawn.expected, exact, rtol=0.01)
    np.testing.assert_allclose(drawn.found, chance, atol=0.02)
    rest = known_scores(results, proposals, problem)
    assert len(rest.rows) == len({p.candidate_id for p in proposals} | tried)
    assert (rest.sd > 0).sum() > 0


def test_finds_have_a_yield(finished):
    spec = spec_of(objective="find all", constraints=["formation_energy <= -2.0 eV/atom"])
    found = track_of(finished, spec)
    told = found.to_json()
    assert found.what == "materials found"
    assert found.hits >= found.reached[-1] > 0
    assert told["discovery_yield"] == found.reached[-1] / found.hits
    assert told["enhancement"] == found.reached[-1] / found.random.expected[found.experiments - 1]
    assert told["acceleration"] is None
    assert [name for name, _ in track_rows(found)[-2:]] == ["discovery yield", "enhancement"]


def curve(expected):
    every = np.array(expected)
    return RandomCurve(every, every, every, np.ones(len(every)), every)


@pytest.mark.parametrize(
    ("larger", "reached", "expected", "wanted"),
    [
        (True, (1.0, 4.0), [np.nan, 1.0, 2.0, 3.0, 4.0, 4.5], (2.5, False)),
        (True, (1.0, 5.0), [np.nan, 1.0, 2.0, 3.0, 4.0, 4.5], (3.0, True)),
        (False, (None, -2.0), [3.0, -1.0, -2.5], (1.5, False)),
        (True, (None, None), [1.0, 2.0], None),
    ],
)
def test_acceleration_is_by_what_random_choice_needs(larger, reached, expected, wanted):
    found = Track("best", larger, reached, len(reached), curve(expected))
    assert found.acceleration == wanted
    assert found.enhancement is None
    told = found.to_json()
    assert (told["acceleration"], told["acceleration_is_lower_bound"]) == (wanted or (None, None))
    rows = dict(track_rows(found))
    if wanted is None:
        assert "acceleration" not in rows
    else:
        assert ("at least" in rows["acceleration"]) == wanted[1]


def certain(values, feasible):
    """What is known where everything is."""
    count = len(values)
    table = (np.arange(count), values[:, None], np.zeros((count, 1)), np.zeros(count))
    return Scores(*table, feasible.astype(float), ("bulk_modulus",))


@pytest.mark.parametrize("made", [0.4, 1.0])
def test_a_random_campaign_is_as_good_as_random_choice_however_many_fail(made):
    rng = np.random.default_rng(1)
    optimum, hits = (
        spec_of(objective=goal, constraints=bounds).problem
        for goal, bounds in (("max bulk_modulus", []), ("find all", ["bulk_modulus >= 1"]))
    )
    times, more = [], []
    for seed in range(60):
        values, can_be = rng.normal(size=400), rng.random(400) < made
        tried = rng.permutation(400)[:60]
        measured = values[tried][can_be[tried]]
        best = tuple(np.maximum.accumulate(measured).tolist())
        known = certain(values, can_be)
        drawn = expected_random_best(known, optimum, count=400, seed=seed, draws=100)
        times.append(Track("best", True, best, 60, drawn).acceleration[0])
        known = certain(values, can_be & (values >= 1))
        drawn = expected_random_best(known, hits, count=400, seed=seed, draws=100)
        found = tuple(np.cumsum(measured >= 1).astype(float).tolist())
        more.append(Track("found", True, found, 60, drawn, float((values >= 1).sum())).enhancement)
    assert 0.7 < np.median(times) < 1.4
    assert 0.85 < np.mean(more) < 1.15


@pytest.mark.parametrize(("place", "exact"), [(0, 12.5), (2, 5.2), (5, 2.73)])
def test_where_few_are_feasible_the_first_that_chance_finds_do_not_count_for_all(place, exact):
    rng = np.random.default_rng(0)
    values, meets = rng.normal(size=1000), np.zeros(1000, dtype=bool)
    meets[rng.choice(1000, 20, replace=False)] = True
    best = float(np.sort(values[meets])[::-1][place])
    goal = spec_of(constraints=["formation_energy <= -2"]).problem
    for seed in range(3):
        drawn = expected_random_best(
            certain(values, meets), goal, count=1000, seed=seed, draws=DRAWS
        )
        times, is_bound = Track("best", True, (None, best), 40, drawn).acceleration
        assert not is_bound
        assert times == pytest.approx(exact, rel=0.2)


def test_experiments_that_failed_count_as_those_of_random_choice_do(finished):
    found = track_of(finished)
    ended = [e for e in finished.experiments(1) if e.state.terminal]
    assert found.experiments == len(ended) > len(found.reached)
    assert found.to_json()["experiments"] == len(ended)
    at_random = dict(track_rows(found))["at random"]
    assert f"  {found.random.expected[len(ended) - 1]:.4g} (" in at_random


def test_what_was_taken_back_was_not_made(finished):
    before = track_of(finished).experiments
    retract(finished, 1, finished.experiments(1, [ExperimentState.MEASURED])[0], "wrong sample")
    assert track_of(finished).experiments == before - 1


def test_results_that_a_snapshot_leaves_out_are_read(finished, monkeypatch):
    row = finished.campaign("small")
    now = take_snapshot(finished, row, SPEC)
    whole = Tracker(finished, row, SPEC).track(now)
    without = replace(now, results=())
    tracker = Tracker(finished, row, SPEC)
    assert tracker.track(without).reached == whole.reached
    monkeypatch.setattr(tracking, "load_results", None)
    assert tracker.track(without).reached == whole.reached
    monkeypatch.setattr(tracking, "MOST_READ", 3)
    assert tracker.track(without) is None  # not what it read while the campaign was smaller
    assert Tracker(finished, row, SPEC).track(without) is None


def test_random_choice_goes_on_as_long_as_the_campaign(finished, monkeypatch):
    """Beyond the experiments that are simulated of any campaign there are those that were made."""
    monkeypatch.setattr(tracking, "MOST", 3)
    found = track_of(finished)
    assert len(found.reached) > 3
    assert len(found.random.expected) >= len(found.reached)


def test_fronts_count_their_volume(finished):
    spec = spec_of(objective="max bulk_modulus; min formation_energy", constraints=[])
    found = track_of(finished, spec)
    assert found.what == "hypervolume of the front"
    assert found.reached[-1] >= found.random.expected[0] > 0


def test_both_volumes_of_a_front_count_from_one_reference(finished):
    spec = spec_of(objective="max bulk_modulus; min formation_energy", constraints=[])
    row = finished.campaign("small")
    now = take_snapshot(finished, row, spec)
    kept = Tracker(finished, row, spec)
    front = {r.experiment.id for r in now.front}
    inner = [r for r in now.results if r.experiment.id not in front]
    before = kept.track(replace(now, results=inner))
    after = kept.track(now)
    assert after.random is before.random
    then = with_reference(spec.problem, [r.values for r in in_order_of_arrival(inner)])
    assert list(after.reached) == improvements(now.results, then)
    assert list(after.reached) != improvements(now.results, spec.problem)
    later = kept.track(replace(now, rounds=now.rounds + 1))
    assert list(later.reached) == improvements(now.results, spec.problem)


def test_without_a_model_or_a_whole_pool_there_is_no_random_curve(finished, monkeypatch):
    made = finished.proposals
    monkeypatch.setattr(finished, "proposals", lambda *a, **k: made(*a, **k)[:5])
    found = track_of(finished)
    assert found.random is None
    assert "random" not in found.to_json()
    assert len(track_rows(found)) == 1
    row = finished.campaign("small")
    now = replace(take_snapshot(finished, row, SPEC), measured=0)
    assert Tracker(finished, row, SPEC).track(now) is None


def test_one_decision_draws_once(finished, monkeypatch):
    row = finished.campaign("small")
    now = take_snapshot(finished, row, SPEC)
    tracker = Tracker(finished, row, SPEC)
    first = tracker.track(now)
    monkeypatch.setattr(surrogate, "expected_random_best", None)
    assert tracker.track(now).random is first.random
    with pytest.raises(TypeError):
        tracker.track(replace(now, rounds=now.rounds + 1))


def test_the_status_shows_it(finished_run, finished, capsys):
    states = {e.state for e in finished.experiments(1)}
    assert ExperimentState.MEASURED in states
    status(str(finished_run), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["progress"]["reached"][-1] == told["best"]["measured"]["bulk_modulus"]
    calibration = told["calibration"]["bulk_modulus"]
    assert 0 <= calibration["coverage90"] <= 1
    assert 5 <= calibration["n"] <= told["measured"]
    status(str(finished_run), as_json=False)
    said = capsys.readouterr().out
    assert "best bulk modulus" in said
    assert "at random" in said


def test_a_sparkline_keeps_its_ends():
    curve = sparkline([float(i) for i in range(1000)], 0.0, 999.0)
    assert len(curve) == WIDTH
    assert (curve[0], curve[-1]) == ("▁", "█")
    assert sparkline([3.0, 1.0], 1.0, 3.0, larger=False) == "▁█"
    assert sparkline([2.0, 2.0], 2.0, 2.0) == "▁▁"


def test_an_even_sample_stands_for_a_large_pool(finished, monkeypatch):
    spec = spec_of(objective="find all", constraints=["bulk_modulus >= 100"])
    whole, all_found = track_of(finished), track_of(finished, spec)
    monkeypatch.setattr(ranks, "ALL", 20)
    monkeypatch.setattr(ranks, "SPREAD", 45)
    sampled, some_found = track_of(finished), track_of(finished, spec)
    assert sampled.reached == whole.reached
    start = slice(SPEC.budget.experiments)
    few, all_of_them = sampled.random.expected[start], whole.random.expected[start]
    np.testing.assert_allclose(few, all_of_them, rtol=0.03)
    assert not np.array_equal(sampled.random.expected, whole.random.expected)
    assert some_found.hits == pytest.approx(all_found.hits, rel=0.15)


def test_the_sample_is_recorded_and_the_decision_made_again(ledger, generation, monkeypatch):
    monkeypatch.setattr(ranks, "ALL", 20)
    monkeypatch.setattr(ranks, "TOP", 5)
    monkeypatch.setattr(ranks, "SPREAD", 10)
    spec = spec_of(budget={"experiments": 8, "unsuccessful": 1000}, initial=4)
    run(ledger, spec, generation)
    made = [d for d in ledger.decisions(1) if d.model.get("surrogates")]
    assert made
    for decision in made:
        kept = [p.rank for p in ledger.proposals(decision.id)]
        scored = decision.model["scored"]
        every = ranks.spacing(scored)
        assert every > 5
        assert set(kept) >= {*range(5), *range(every // 2, scored, every)}
        assert len(kept) <= 5 + 10 + 2
        again = Replayer(ledger, ledger.campaign(spec.name), spec).replay(decision)
        assert again.same
        assert again.scores_compared == len(kept)
    assert track_of(ledger, spec).random is not None
    monkeypatch.setattr(ranks, "SPREAD", 12)
    assert track_of(ledger, spec).random is None
