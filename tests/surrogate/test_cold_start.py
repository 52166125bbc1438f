"""Decisions by what was predicted beforehand: nothing measured yet, and what replaces it later."""

import json

import numpy as np
import pytest

from cloudseed.errors import InputError
from cloudseed.surrogate.cold_start import guessed_scores
from cloudseed.surrogate.deciding import decide, start
from cloudseed.surrogate.objectives import problem
from cloudseed.surrogate.protocols import Guess, ModelSettings, Observations
from cloudseed.surrogate.ranking import rank

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(200, 6)).astype(np.float32)
VALUE = FEATURES[:, 0].astype(np.float64) - 0.5 * FEATURES[:, 1] ** 2
GUESSES = {"a": Guess(VALUE + 0.05 * RNG.normal(size=200), np.full(200, 0.1))}
EVERY = np.arange(200)
NOTHING = Observations(np.empty(0, dtype=np.int64), np.empty((0, 1)), ("a",))


def observed(rows):
    return Observations(np.asarray(rows), VALUE[rows][:, None], ("a",))


def choose(goal="max a", constraints=(), data=NOTHING, **changes):
    asked = {"available": EVERY, "batch": 8, "seed": 0, "guesses": GUESSES} | changes
    return decide(FEATURES, data, problem=problem(goal, constraints), **asked)


@pytest.mark.parametrize(("goal", "sign"), [("max a", 1), ("min a", -1)])
def test_half_of_the_first_batch_is_what_heads_promise(goal, sign):
    choice = choose(goal)
    assert choice.method == "heads"
    assert "heads predict" in choice.notes[0]
    assert len(set(choice.picks)) == 8
    best = set(np.argsort(-sign * VALUE)[:12].tolist())
    assert set(choice.picks[:4]) <= best
    assert not set(choice.picks[4:]) <= best
    assert choice.scores.properties == ("a",)
    json.dumps(dict(choice.model))


def test_targets_and_bounds_are_led_by_heads_too():
    near = choose("a = 0.3").picks[:4]
    assert (np.abs(VALUE[list(near)] - 0.3) < 0.2).all()
    found = choose("find all", ["a >= 0.9"]).picks[:4]
    assert (VALUE[list(found)] > 0.8).all()


def test_without_a_guess_of_what_is_sought_the_batch_fills_space():
    assert choose("max b").method == "space_filling"
    assert choose("max b", ["a >= 0"]).method == "space_filling"
    assert guessed_scores({}, problem("max a"), EVERY) is None
    assert choose(guesses=None).method == "space_filling"


def test_picks_differ_from_what_is_pending_or_measured():
    first = choose().picks
    later = choose(pending=first, data=observed([5, 6])).picks
    assert not set(first) & set(later)
    assert not {5, 6} & set(later)


def test_single_picks_do_both_over_time():
    kinds = {
        start(
            FEATURES,
            NOTHING,
            available=EVERY,
            problem=problem("max a"),
            batch=1,
            seed=s,
            guesses=GUESSES,
        ).model["promising"]
        for s in range(12)
    }
    assert kinds == {0, 1}


def test_guesses_lead_the_model_while_little_is_measured():
    data = observed([1, 2, 3, 4])
    led = choose(data=data, batch=4)
    assert led.model["surrogates"]["a"]["slope"] == pytest.approx(1.0, abs=0.2)
    assert (
        VALUE[list(led.picks)].mean()
        > VALUE[list(choose(data=data, batch=4, guesses={}).picks)].mean()
    )
    ask = {"available": EVERY, "problem": problem("max a"), "seed": 0, "order_by": "mean"}
    order = rank(FEATURES, data, guesses=GUESSES, **ask).scores
    assert np.corrcoef(order.mean[:, 0], VALUE[order.rows])[0, 1] > 0.95


def test_hints_and_guesses_share_the_points():
    values = np.column_stack([VALUE, np.maximum(VALUE, 0.0)])
    rows = np.arange(40)
    data = Observations(rows, values[rows], ("a", "band_gap"))
    guesses = GUESSES | {"band_gap": Guess(values[:, 1], np.full(200, 0.1))}
    choice = choose(
        "find all",
        ["band_gap in [0.2, 1.0]", "a >= -1"],
        data=data,
        guesses=guesses,
        hints=np.where(VALUE > 0, 1.0, -1.0),
    )
    assert choice.model["surrogates"]["band_gap"]["hinted"]
    gaps = values[list(choice.picks), 1]
    assert ((gaps > 0.1) & (gaps < 1.1)).mean() > 0.7


def test_kinds_are_chosen_per_property():
    settings = ModelSettings("gp", {"a": "variational"})
    choice = choose(data=observed(range(12)), models=settings, guesses={})
    assert choice.model["surrogates"]["a"]["kind"] == "variational"
    assert settings.of("b") == "gp"


@pytest.mark.parametrize("bad", [np.full(200, np.nan), np.zeros(7)])
def test_guesses_must_fit_the_pool(bad):
    with pytest.raises(InputError, match="guesses of a"):
        choose(data=observed(range(5)), guesses={"a": Guess(bad, np.ones(len(bad)))})


def test_a_guess_that_is_no_number_is_told_with_its_row():
    spread = np.ones(200)
    spread[9] = np.inf
    with pytest.raises(InputError, match="guesses of a, that of row 9 is inf"):
        choose(data=observed(range(5)), guesses={"a": Guess(np.zeros(200), spread)})


@pytest.mark.parametrize(("goal", "sign"), [("highest", 1), ("lowest", -1)])
def test_a_share_is_led_by_the_head_too(goal, sign):
    choice = choose(f"find {goal} 5 % a")
    assert choice.method == "heads"
    assert set(choice.picks[:4]) <= set(np.argsort(-sign * VALUE)[:12].tolist())
    likely = choice.scores.feasible
    assert (np.diff(likely) <= 1e-12).all()
    assert 0.5 < likely.sum() / (0.05 * len(VALUE)) < 4
    bound = choose(f"find {goal} 5 % a", ["b >= 0"])
    assert bound.picks[:4] == choice.picks[:4]


def test_a_front_is_led_by_the_heads_there_are():
    for goal in ("max b; max a", "max a; max b"):
        choice = choose(goal)
        assert choice.method == "heads"
        assert choice.scores.properties == ("a",)
        assert set(choice.picks[:4]) <= set(np.argsort(-VALUE)[:12].tolist())
    other = Guess(FEATURES[:, 2].astype(np.float64) * 1e3, np.full(len(VALUE), 1.0))
    both = choose("min b; max a", guesses=GUESSES | {"b": other})
    assert set(both.scores.properties) == {"a", "b"}
    first = list(both.picks[:4])
    assert VALUE[first].mean() > VALUE.mean() + 0.5 * VALUE.std()
    assert other.mean[first].mean() < other.mean.mean() - 0.5 * other.mean.std()
    scaled = GUESSES | {"b": Guess(other.mean / 1e6, other.sd)}
    assert choose("min b; max a", guesses=scaled).picks == both.picks
