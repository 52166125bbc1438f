"""Deciding for several objectives: pending points, missing objectives, constraints, back-tests."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from botorch.acquisition.multi_objective.monte_carlo import (
    qNoisyExpectedHypervolumeImprovement,
)
from botorch.models import ModelListGP
from botorch.sampling.normal import SobolQMCNormalSampler

from cloudseed.errors import ObjectiveError, UnitError
from cloudseed.surrogate import Observations, best_so_far, decide, gp, parse_problem, rank
from cloudseed.surrogate.acquisition import Criterion
from cloudseed.surrogate.backtesting import (
    CloudSearcher,
    GreedySearcher,
    Rules,
    Truth,
    chance_of,
    curves_of,
    replay,
)
from cloudseed.surrogate.batch import Baseline
from cloudseed.surrogate.front import hypervolume, nondominated
from cloudseed.surrogate.front_batch import choose_for_front
from cloudseed.surrogate.front_gain import FrontGain
from cloudseed.surrogate.judging import merits, on_front
from cloudseed.surrogate.objectives import describe

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(300, 5))
A = FEATURES[:, 0] - 0.5 * FEATURES[:, 1] ** 2
B = FEATURES[:, 2] - FEATURES[:, 0]
C = FEATURES[:, 3]
EVERY = np.arange(300)
GOAL = "max a; min b"


def observed(rows, columns=(A, B), names=("a", "b")):
    rows = np.asarray(rows)
    return Observations(rows, np.column_stack([c[rows] for c in columns]), names)


def choose(observations, goal=GOAL, constraints=(), **changes):
    asked = {"available": EVERY, "batch": 4, "seed": 0} | changes
    return decide(FEATURES, observations, problem=parse_problem(goal, constraints), **asked)


def test_several_objectives_are_read_and_described():
    problem = parse_problem("max bulk_modulus; min formation_energy", ["band_gap >= 1"])
    assert problem == parse_problem(["max bulk_modulus", "min formation_energy"], ["band_gap >= 1"])
    assert problem.properties == ("bulk_modulus", "formation_energy", "band_gap")
    text = "max bulk_modulus (GPa); min formation_energy (eV/atom), band_gap >= 1.0 eV"
    assert describe(problem) == text
    given = {"formation_energy": "500 meV/atom", "bulk_modulus": 50}
    found = parse_problem("max bulk_modulus; min formation_energy", (), given)
    assert found.reference == (50.0, 0.5)
    assert "from bulk_modulus 50, formation_energy 0.5" in describe(found)


@pytest.mark.parametrize(
    ("goal", "reference", "message"),
    [
        ("max a; min a", None, "twice"),
        ("max a; find all", None, "mixes"),
        ("max a; b in [1, 2]", None, "mixes"),
        ("max a; find lowest 1 % b", None, "mixes"),
        ("max a; ", None, "not a direction"),
        ("max a; min b", {"a": 1}, "b has none"),
        ("max a; min b", {"a": 1, "b": 1, "c": 1}, "c is no objective"),
        ("max a; min b", {"a": "nan", "b": 1}, "not a number"),
        ("max a", {"a": 1}, "one objective only"),
    ],
)
def test_what_makes_no_front_is_refused(goal, reference, message):
    with pytest.raises(ObjectiveError, match=message):
        parse_problem(goal, (), reference)


def test_a_reference_of_another_unit_is_refused():
    with pytest.raises(UnitError):
        parse_problem("max bulk_modulus; min b", (), {"bulk_modulus": "3 eV", "b": 1})


def test_values_are_judged_by_all_objectives():
    problem = parse_problem(GOAL, ["c <= 1"])
    measured = [
        {"a": 1.0, "b": 1.0, "c": 0.0},
        {"a": 2.0, "b": 2.0, "c": 0.0},
        {"a": 9.0, "b": -9.0, "c": 2.0},
        {"a": 1.0, "b": 2.0, "c": 0.0},
        {"a": 3.0, "c": 0.0},
    ]
    assert on_front(problem, measured) == [True, True, False, False, False]
    assert np.isneginf(merits(problem, measured)[[2, 4]]).all()
    curve = best_so_far(replace(problem, reference=(0.0, 3.0)), measured)
    assert curve == [2.0, 3.0, 3.0, 3.0, 3.0]
    assert best_so_far(problem, measured[2:3]) == [None]


X = np.array([[0.0], [0.25], [0.5], [0.75], [1.0]])
CHOICES = np.linspace(0, 1, 41)[:, None]


def criterion(reference=(-1.0, -1.0)):
    """Two smooth bumps with their tops at 0.35 and 0.65."""
    models = {
        "a": gp.fit(X, np.exp(-20 * (X[:, 0] - 0.35) ** 2), seed=0),
        "b": gp.fit(X, -np.exp(-20 * (X[:, 0] - 0.65) ** 2), seed=0),
    }
    found = Criterion(parse_problem(GOAL), models, best=0.0)
    point = np.array(reference)
    empty = FrontGain.of(found.goals, np.empty((0, 2)), point)
    return replace(found, front=empty, reference=point)


def baseline(*rows):
    x = np.concatenate([X, CHOICES[list(rows)]])
    return Baseline(x, np.full(len(x), np.nan))


def test_pending_points_count_for_the_whole_batch():
    """BoTorch's incremental functions drop pending points at a batch's second pick."""
    found = criterion()
    (first,), (alone,) = choose_for_front(found, baseline(), CHOICES, 1, seed=0)
    picks, gains = choose_for_front(found, baseline(first), CHOICES, 3, seed=0)
    assert first not in picks
    assert max(gains) < alone
    # Of a useless candidate and two twins of what is pending, no twin is worth anything much.
    twins = np.array([[0.0], CHOICES[first], CHOICES[first]])
    _, gains = choose_for_front(found, baseline(first), twins, 3, seed=0)
    assert max(gains) < alone - 3


def test_a_pick_is_worth_what_botorch_says():
    found = criterion()
    models = []
    for name in ("a", "b"):
        surrogate = found.surrogates[name]
        sign = 1.0 if name == "a" else -1.0
        model = gp.botorch_model(X, sign * surrogate.targets, surrogate.hyper.covariance)
        model.likelihood.noise = max(surrogate.hyper.noise, 1e-4)
        model.mean_module.constant.data.fill_(sign * surrogate.hyper.mean)
        models.append(model.eval())
    reference = [
        goal.standardised(-1.0, found.surrogates[n].centre, found.surrogates[n].scale)
        for goal, n in zip(found.goals, ("a", "b"), strict=True)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The one in logarithms would compile C++.
        value = qNoisyExpectedHypervolumeImprovement(
            ModelListGP(*models),
            reference,
            torch.tensor(X),
            sampler=SobolQMCNormalSampler(torch.Size([512]), seed=0),
            prune_baseline=False,
        )
        with torch.no_grad():
            wanted = value(torch.tensor(CHOICES).unsqueeze(1)).numpy()
    (pick,), (gain,) = choose_for_front(found, baseline(), CHOICES, 1, seed=0)
    assert wanted[pick] >= 0.95 * wanted.max()
    assert np.exp(gain) == pytest.approx(wanted.max(), rel=0.15)


def test_a_front_is_found_sooner_than_by_chance():
    truth = Truth.of(parse_problem(GOAL), {"a": A, "b": B})
    assert truth.hits.sum() == nondominated(np.column_stack([A, -B])).sum()
    assert (truth.goal_name, truth.direction) == ("hypervolume", 1.0)
    rules = Rules(32, 6, 6, 0)
    start = EVERY[:20].tolist()
    runs = [
        replay(kind(FEATURES, truth.problem), truth, start, rules)
        for kind in (CloudSearcher, GreedySearcher)
    ]
    reached = [curves_of([run], truth).best.mean for run in runs]
    chance = chance_of(truth, 32)
    assert all(curve[-1] > chance.best[-1] for curve in reached)
    assert reached[0][-1] > chance.best_band[1, -1]
    assert (chance.best_band[0] <= chance.best).all()
    whole = hypervolume(truth.merits, truth.reference)
    assert truth.reached(EVERY[None, :])[0][0, -1] == pytest.approx(1)
    assert whole == truth.volume


def test_constraints_hold_for_a_front():
    choice = choose(observed(EVERY[:50], (A, B, C), ("a", "b", "c")), constraints=["c >= 0.5"])
    assert choice.method == "LogNEHVI"
    assert (C[list(choice.picks)] > 0).all()


def test_nothing_feasible_still_gives_a_batch():
    known = observed(EVERY[:30], (A, B, C), ("a", "b", "c"))
    choice = choose(known, constraints=["c >= 50"])
    assert len(set(choice.picks)) == 4
    assert any("nothing feasible" in note for note in choice.notes)


def test_an_objective_that_was_never_measured_is_left_out():
    nothing = np.full(300, np.nan)
    choice = choose(observed(EVERY[:20], (A, nothing)))
    assert choice.method == "LogNEI"
    assert "b was measured 0 times: it is left out of the objectives" in choice.notes
    choice = choose(observed(EVERY[:20], (nothing, B)))
    assert choice.method == "LogNEI"
    assert choice.scores.properties == ("b",)
    assert choose(observed(EVERY[:20], (nothing, nothing))).method == "space_filling"


def test_a_constant_objective_leaves_the_other():
    choice = choose(observed(EVERY[:20], (A, np.ones(300))))
    assert choice.method == "LogNEHVI"
    assert len(set(choice.picks)) == 4


def test_rankings_follow_the_front():
    ranking = rank(
        FEATURES,
        observed(EVERY[:60]),
        available=EVERY,
        problem=parse_problem(GOAL),
        seed=0,
        order_by="mean",
    )
    mean = ranking.scores.mean * [1, -1]
    first = nondominated(mean)
    assert first[: first.sum()].all()


@pytest.mark.parametrize(("many", "method"), [(3, "LogNEHVI"), (4, "LogNParEGO")])
def test_more_objectives_are_sought_together(many, method):
    columns, names = (A, B, C, FEATURES[:, 4])[:many], ("a", "b", "c", "d")[:many]
    goal = "; ".join(f"max {name}" for name in names)
    choice = choose(observed(EVERY[:40], columns, names), goal, batch=3)
    assert choice.method == method
    assert len(set(choice.picks)) == 3
    picked = np.column_stack(columns)[list(choice.picks)]
    assert picked.mean() > np.column_stack(columns).mean() + 0.3
