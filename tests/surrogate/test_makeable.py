"""What can be made: learned from what could not be."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cloudseed.errors import FitError, InputError
from cloudseed.surrogate import makeable, modelling
from cloudseed.surrogate.acquisition import Criterion
from cloudseed.surrogate.deciding import decide
from cloudseed.surrogate.makeable import fit_makeable, newest
from cloudseed.surrogate.objectives import problem
from cloudseed.surrogate.protocols import Observations
from cloudseed.surrogate.ranking import rank

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(120, 4)).astype(np.float32)
A = FEATURES[:, 0] + RNG.normal(size=120)
IMPOSSIBLE = FEATURES[:, 1] > 0
EVERY = np.arange(120)


def tried(count, impossible=IMPOSSIBLE):
    rows = np.arange(count)
    made = rows[~impossible[rows]]
    return Observations(made, A[made, None], ("a",), rows[impossible[rows]])


MAXIMUM = problem("max a")


def choose(observations, goal=MAXIMUM):
    return decide(FEATURES, observations, available=EVERY, problem=goal, batch=5, seed=0)


def advantage(scores):
    """Returns how much likelier to be feasible the possible ones are than the others."""
    hopeless = IMPOSSIBLE[scores.rows]
    return scores.feasible[~hopeless].mean() / scores.feasible[hopeless].mean()


@pytest.mark.parametrize("bounds", [(), ("a >= -0.5",)])
def test_picks_keep_away_from_what_cannot_be_made(bounds):
    goal = problem("find all", bounds) if bounds else MAXIMUM
    data = tried(40)
    choice = choose(data, goal)
    blind = choose(replace(data, infeasible=data.infeasible[:0]), goal)
    assert IMPOSSIBLE[list(choice.picks)].sum() <= 1
    assert advantage(choice.scores) > 2
    assert 0.8 < advantage(blind.scores) < 1.25
    assert not set(choice.picks) & set(data.infeasible.tolist())


def test_the_record_says_what_was_learned_from():
    data = tried(40)
    choice = choose(data)
    found = choice.model["makeable"]
    assert (found["made"], found["infeasible"]) == (len(data.rows), len(data.infeasible))
    assert f"{len(data.infeasible)} of 40 candidates could not be made" in choice.notes[0]
    json.dumps(choice.model)
    assert "makeable" not in choose(tried(40, np.zeros(120, dtype=bool))).model


def test_where_nothing_could_be_made_the_batch_fills_space():
    choice = choose(tried(10, np.ones(120, dtype=bool)))
    assert choice.method == "space_filling"
    assert min(choice.picks) >= 10
    alone = fit_makeable(np.empty((0, 4)), FEATURES[:10].astype(np.float64), [])
    assert (alone.log_probability(FEATURES[:10].astype(np.float64)) < np.log(0.5)).all()


def test_a_failed_fit_leaves_the_other_models(monkeypatch):
    def fail(*_):
        raise FitError("The classes cannot be modelled.")

    monkeypatch.setattr(makeable, "fit_classifier", fail)
    choice = choose(tried(40))
    assert "can be made is left out" in choice.notes[1]
    assert choice.method == "LogNEI"
    assert (choice.scores.feasible == 1).all()


def test_hints_are_no_feature_and_ranking_knows_too():
    ask = {"available": EVERY, "problem": MAXIMUM, "seed": 0}
    plain = rank(FEATURES, tried(40), **ask)
    hinted = rank(FEATURES, tried(40), **ask, hints=RNG.normal(size=120))
    assert plain.scores.feasible == pytest.approx(hinted.scores.feasible)
    assert plain.model["makeable"] == hinted.model["makeable"]


def test_a_row_out_of_range_is_named():
    with pytest.raises(InputError, match="Row 120"):
        rank(
            FEATURES,
            replace(tried(40), infeasible=np.array([120])),
            available=EVERY,
            problem=MAXIMUM,
            seed=0,
        )


def test_each_candidate_counts_once_and_the_newest_are_kept():
    made, failed = newest(np.array([1, 2, 1, 3]), np.array([7, 2, 8, 7]))
    assert (made.tolist(), failed.tolist()) == ([3, 1, 2], [7, 8])
    made, failed = newest(np.arange(60), np.arange(60, 100), most=10)
    assert (made.tolist(), failed.tolist()) == ([*range(59, 53, -1)], [*range(99, 95, -1)])
    rare = newest(np.arange(99), np.array([99]), most=10)
    assert [len(part) for part in rare] == [9, 1]
    common = newest(np.array([99]), np.arange(99), most=10)
    assert [len(part) for part in common] == [1, 9]


def test_a_long_campaign_notes_what_is_left_out(monkeypatch):
    def ten(made, infeasible):
        return newest(made, infeasible, 10)

    monkeypatch.setattr(modelling, "newest", ten)
    choice = choose(tried(40))
    assert sum(choice.model["makeable"][kind] for kind in ("made", "infeasible")) == 10
    assert "that model learns from the newest 10" in choice.notes


def test_a_criterion_without_the_model_takes_all_for_makeable():
    points = np.zeros((3, 2))
    assert Criterion(MAXIMUM, {}, best=0.0).log_makeable(points).tolist() == [0, 0, 0]
