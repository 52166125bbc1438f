"""Every acquisition that may be asked for, on every kind of problem that it has a meaning for."""

import json

import numpy as np
import pytest

from cloudseed.errors import InputError, ObjectiveError
from cloudseed.surrogate import deciding, gp
from cloudseed.surrogate.deciding import decide
from cloudseed.surrogate.features import Features
from cloudseed.surrogate.objectives import problem
from cloudseed.surrogate.protocols import Guess, Observations
from cloudseed.surrogate.strategy import ACQUISITIONS, Strategy

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(160, 4)).astype(np.float32)
A = FEATURES[:, 0] - 0.5 * FEATURES[:, 1] ** 2
GAP = np.maximum(FEATURES[:, 2] - 0.3, 0.0)
VALUES = np.column_stack([A, GAP]).astype(np.float64)
EVERY = np.arange(160)
GOALS = {
    "optimum": problem("max a"),
    "bounded": problem("min a", ["band_gap >= 0.2", "a >= -3"]),
    "target": problem("a = 0.2", ["band_gap <= 0.5"]),
    "window": problem("a in [0.5, 1.0]"),
    "hurdle": problem("find all", ["a >= 0", "band_gap in [0.2, 1.0]"]),
}
ALLOWED = {
    "optimum": set(ACQUISITIONS) - {"level_set"},
    "window": set(ACQUISITIONS) - {"expected_improvement", "upper_confidence_bound"},
}
CASES = [
    (goal, name)
    for goal, found in GOALS.items()
    for name in ACQUISITIONS
    if name in ALLOWED["window" if found.objective.direction == "find" else "optimum"]
]


@pytest.fixture(autouse=True, scope="module")
def _equal_fits_once():
    """Fits are the same for the same data: each is made once for all tests here."""
    found, fit = {}, gp.optimising._optimise

    def once(x, targets, blocks, seed, noise=None, **told):
        key = (x.tobytes(), targets.tobytes(), blocks, None if noise is None else noise.tobytes())
        if key not in found:
            found[key] = fit(x, targets, blocks, seed, noise, **told)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gp.optimising, "_optimise", once)
        yield


def observed(rows, infeasible=()):
    rows = np.asarray(rows)
    barred = np.array(infeasible, dtype=np.int64)
    return Observations(rows, VALUES[rows], ("a", "band_gap"), barred)


def choose(name, goal="optimum", *, known=40, beta=4.0, **changes):
    asked = {
        "observations": observed(range(known)),
        "available": EVERY,
        "pending": (),
        "problem": GOALS[goal],
        "batch": 4,
        "seed": 0,
        "strategy": Strategy(name, beta),
    } | changes
    return decide(FEATURES, **asked)


@pytest.mark.parametrize(("goal", "name"), CASES)
def test_a_batch_with_pending_and_infeasible_candidates(goal, name):
    seen = observed(range(40), infeasible=[150, 151])
    choice = choose(name, goal, observations=seen, pending=[60, 61], hints=FEATURES[:, 2] * 1.0)
    assert len(set(choice.picks)) == 4
    assert not set(choice.picks) & {*range(40), 60, 61, 150, 151}
    assert len(choice.scores.rows) == 116
    assert not np.isnan(choice.scores.acquisition).any()
    assert (np.diff(choice.scores.acquisition) <= 0).all()
    assert json.loads(json.dumps(choice.model))["acquisition"] != "auto"


@pytest.mark.parametrize(("goal", "name"), [c for c in CASES if c[0] in {"bounded", "hurdle"}])
def test_a_hurdle_over_several_blocks_with_heads_and_hints(goal, name):
    blocks = Features({"embedding": FEATURES[:, :2], "elements": FEATURES[:, 1:]})
    guess = Guess(GAP.astype(np.float64), np.full(160, 0.5))
    choice = decide(
        blocks,
        observed(range(40)),
        available=EVERY,
        problem=GOALS[goal],
        batch=4,
        seed=0,
        strategy=Strategy(name),
        hints=FEATURES[:, 2] * 1.0,
        guesses={"band_gap": guess},
    )
    assert choice.model["surrogates"]["band_gap"]["kernel"].startswith("hurdle")
    assert len(set(choice.picks)) == 4
    assert not np.isnan(choice.scores.acquisition).any()


@pytest.mark.parametrize("name", ["thompson", "information", "upper_confidence_bound"])
def test_equal_seeds_give_equal_picks(name):
    np.random.seed(1)
    first = choose(name, "bounded")
    np.random.seed(2)
    assert choose(name, "bounded", available=EVERY[::-1]).picks == first.picks


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("level_set", "optimum"),
        ("level_set", "target"),
        ("expected_improvement", "window"),
        ("upper_confidence_bound", "hurdle"),
    ],
)
def test_an_acquisition_without_a_meaning_is_refused(name, goal):
    with pytest.raises(ObjectiveError, match=name) as caught:
        choose(name, goal)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("upper_confidence_bound", "optimum"),
        ("information", "optimum"),
        ("probability", "optimum"),
        ("level_set", "window"),
        ("information", "window"),
        ("information", "hurdle"),
    ],
)
def test_what_is_pending_takes_the_value_of_its_twin(name, goal):
    twins = np.concatenate([FEATURES, FEATURES])
    ask = {
        "problem": GOALS[goal],
        "batch": 2,
        "seed": 0,
        "available": np.arange(60, 160),
        "strategy": Strategy(name, beta=100.0),
    }
    first = decide(twins, observed(range(25)), **ask).picks[0]
    ask["available"] = np.append(np.arange(60, 160), 160 + first)
    choice = decide(twins, observed(range(25)), pending=[first], **ask)
    assert choice.scores.rows[0] == 160 + first
    assert first not in choice.picks
    assert choice.picks[0] != 160 + first


def test_beta_goes_from_the_best_mean_to_the_least_known():
    greedy = choose("upper_confidence_bound", beta=0.0, batch=1)
    scores = greedy.scores
    assert greedy.picks[0] == scores.rows[scores.mean[:, 0].argmax()]
    curious = choose("upper_confidence_bound", beta=1e6, batch=1)
    scores = curious.scores
    assert curious.picks[0] == scores.rows[scores.sd[:, 0].argmax()]
    assert curious.model["beta"] == 1e6


def test_a_level_set_search_asks_what_is_less_known_than_the_likeliest():
    edge, middle = (choose(n, "window", known=60) for n in ("level_set", "probability"))
    assert set(edge.picks) != set(middle.picks)
    assert edge.scores.sd[:8, 0].mean() > middle.scores.sd[:8, 0].mean()


@pytest.mark.parametrize("name", ["thompson", "information", "probability", "expected_improvement"])
def test_a_batch_finds_better_than_chance(name):
    picks = choose(name, known=60, batch=8).picks
    assert A[list(picks)].mean() > np.quantile(A[60:], 0.75)


@pytest.mark.parametrize("widths", [None, (1, 3)])
def test_drawn_functions_have_the_posterior_s_moments(widths):
    x = RNG.normal(size=(30, 4)) / 4
    model = gp.fit(x, np.sin(4 * x[:, 0]) + x[:, 1], seed=0, widths=widths)
    points = np.concatenate([RNG.normal(size=(12, 4)) / 4, x[:2]])
    values = gp.draw_functions(model, 1500, seed=3)(points)
    mean, sd = model.posterior_moments(points)
    np.testing.assert_allclose(values.mean(axis=0), mean, atol=0.1 * model.scale)
    np.testing.assert_allclose(values.std(axis=0), sd, atol=0.12 * model.scale)


def test_a_dear_candidate_waits_for_cheap_ones():
    plain = choose("auto").picks
    costs = np.ones(160)
    assert choose("auto", costs=costs).picks == plain
    costs[plain[0]] = 1e6
    dear = choose("auto", costs=costs)
    assert plain[0] not in dear.picks
    assert dear.model["costs"] == [1.0] * 4


@pytest.mark.parametrize(
    ("goal", "name"),
    [("optimum", n) for n in sorted(ALLOWED["optimum"])] + [("window", "level_set")],
)
def test_costs_count_by_every_acquisition(goal, name):
    plain = choose(name, goal)
    costs = np.ones(160)
    costs[list(plain.picks)] = 1e9
    assert not set(choose(name, goal, costs=costs).picks) & set(plain.picks)


@pytest.mark.parametrize("costs", [np.ones(3), np.zeros(160), np.full(160, np.nan)])
def test_costs_are_one_positive_number_a_row(costs):
    with pytest.raises(InputError, match="costs"):
        choose("auto", costs=costs)


@pytest.mark.parametrize("cost", [0.0, -2.0, np.nan, np.inf])
def test_a_bad_cost_is_told_with_its_row(cost):
    costs = np.ones(160)
    costs[7] = cost
    with pytest.raises(InputError, match=f"costs, that of row 7 is {cost:g}"):
        choose("auto", costs=costs)


def test_a_failing_joint_stage_takes_the_best_by_their_value_alone(monkeypatch):
    monkeypatch.setattr(
        gp.FittedSurrogate,
        "standardised_joint",
        lambda self, x: (np.zeros(len(x)), np.full((len(x), len(x)), np.nan)),
    )
    choice = choose("upper_confidence_bound", pending=[50])
    assert choice.picks == tuple(choice.scores.rows[:4])
    assert any("by their value alone" in note for note in choice.notes)


def test_few_values_fill_space_whatever_the_acquisition(monkeypatch):
    monkeypatch.setattr(deciding, "fit_criterion", None)
    assert choose("thompson", observations=observed([0])).method == "space_filling"


@pytest.mark.parametrize("name", ["thompson", "upper_confidence_bound", "expected_improvement"])
def test_a_batch_may_explore_alone(name):
    choice = choose(name, exploration=1.0)
    assert len(set(choice.picks)) == 4
    assert any("4 of 4 picks explore" in note for note in choice.notes)
