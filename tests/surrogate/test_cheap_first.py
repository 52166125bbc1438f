"""A cheap source before the one that counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from cloudseed.surrogate import CheapSource, Observations, decide, parse_problem, start
from cloudseed.surrogate.cheap_first import passing
from cloudseed.surrogate.fidelities import fit_fidelities

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(300, 3))
TRUTH = FEATURES[:, 0] - 0.4 * FEATURES[:, 1] ** 2 + 0.3 * np.sin(3 * FEATURES[:, 2])
CHEAP = 3.0 + 0.5 * TRUTH + RNG.normal(scale=0.02, size=300)
NONE = np.empty(0, dtype=np.int64)


def seen(dear, hinted, hints=None):
    """Values of both sources; the cheap one is off by a scale, a shift and some noise."""
    cheap = CHEAP if hints is None else hints
    rows = np.concatenate([hinted, dear]).astype(np.int64)
    values = np.concatenate([cheap[hinted], TRUTH[dear]])
    source = np.concatenate([np.ones(len(hinted)), np.zeros(len(dear))]).astype(np.int64)
    return Observations(rows, values[:, None], ("a",), source=source)


def asked(known, cheap, goal="max a", constraints=(), batch=6, **more):
    hinted = set(cheap.done.tolist())
    dear = set(known.rows[known.source == 0].tolist())
    return decide(
        FEATURES,
        known,
        available=[r for r in range(300) if r not in dear],
        problem=parse_problem(goal, list(constraints)),
        batch=batch,
        seed=0,
        cheap=cheap,
        **more,
    ), hinted


@pytest.mark.parametrize("told", [0.0, 0.3, 0.9, 1.0])
def test_passing_is_what_simulated_tests_do(told):
    mean, sd = np.array([-1.0, 0.0, 2.0]), np.array([1.0, 0.5, 1.5])
    passed, kept = passing(mean, sd, np.full(3, told), 1.0, np.inf)
    if told == 0:
        assert passed.tolist() == pytest.approx([1, 1, 1])
        assert kept.tolist() == pytest.approx([1, 1, 1])
        return
    rng = np.random.default_rng(1)
    for i in range(3):
        hint = rng.normal(size=200_000)
        rest = rng.normal(size=200_000)
        value = mean[i] + sd[i] * (np.sqrt(told) * hint + np.sqrt(1 - told) * rest)
        left = max(sd[i] * np.sqrt(1 - told), 1e-9)
        chance = ndtr((mean[i] + sd[i] * np.sqrt(told) * hint - 1.0) / left)
        passes = chance >= ndtr((mean[i] - 1.0) / sd[i])
        assert passed[i] == pytest.approx(passes.mean(), abs=0.12)
        assert kept[i] == pytest.approx(passes[value >= 1.0].mean(), abs=0.12)


def test_what_cannot_be_is_not_told_apart():
    passed, kept = passing(np.zeros(1), np.full(1, 1e-6), np.ones(1) * 0.5, 50.0, np.inf)
    assert (passed.tolist(), kept.tolist()) == ([1.0], [1.0])


def test_what_a_hint_would_tell_is_what_conditioning_on_it_takes_away():
    rows, source = np.arange(30), (np.arange(30) >= 12).astype(np.int64)
    values = np.where(source == 1, 3 + 0.5 * TRUTH[:30], TRUTH[:30])
    model = fit_fidelities(FEATURES[:30], values, source, seed=0, name="a")
    x = FEATURES[30:34]
    shares = model.explained(x)
    both = np.vstack([np.eye(len(model.other))[0], model.other])
    b = both @ both.T
    for point, share in zip(x, shares, strict=True):
        every = np.vstack([FEATURES[rows], point[None], point[None]])
        labels = np.concatenate([source, [1, 0]])
        k = model.hyper.kernel(every, every) * b[np.ix_(labels, labels)]
        k[:31, :31] += model.hyper.noise * np.eye(31)
        without = k[31, 31] - k[31, :30] @ np.linalg.solve(k[:30, :30], k[:30, 31])
        after = k[31, 31] - k[31, :31] @ np.linalg.solve(k[:31, :31], k[:31, 31])
        assert share == pytest.approx(1 - after / without, abs=1e-6)
    assert model.widened(2.0).explained(x) == pytest.approx(shares)


def test_each_pick_has_its_source_and_only_what_is_new_goes_to_the_cheap_one():
    known = seen(np.arange(8), np.arange(4, 40))
    cheap = CheapSource(np.arange(4, 40), 0.05)
    choice, hinted = asked(known, cheap, batch=12)
    assert len(choice.picks) == len(choice.sources) == len(set(choice.picks)) == 12
    assert 1 in choice.sources
    for row, source in zip(choice.picks, choice.sources, strict=True):
        assert row >= 8
        assert not (source == 1 and row in hinted)
    assert choice.model["sources"] == list(choice.sources)
    again, _ = asked(known, cheap, batch=12)
    assert (again.picks, again.sources) == (choice.picks, choice.sources)


def test_what_looks_good_to_the_cheap_source_goes_to_the_dear_one():
    cheap = CheapSource(np.arange(4, 200), 0.05)
    choice, hinted = asked(seen(np.arange(8), cheap.done), cheap, batch=4)
    chosen = [r for r, s in zip(choice.picks, choice.sources, strict=True) if s == 0]
    # One that is as good as sure without a hint may go there at once.
    assert len(set(chosen) & hinted) >= len(chosen) / 2
    assert max(TRUTH[chosen]) > np.sort(TRUTH)[-10]


@pytest.mark.parametrize("price", [1.0, np.inf])
def test_a_cheap_source_that_saves_nothing_is_not_asked(price):
    known = seen(np.arange(8), np.arange(4, 40))
    choice, _ = asked(known, CheapSource(np.arange(4, 40), price))
    assert set(choice.sources) == {0}


def test_a_cheap_source_that_tells_nothing_is_not_asked():
    noise = np.random.default_rng(7).normal(size=300)
    known = seen(np.arange(60), np.arange(90), hints=noise)
    choice, _ = asked(known, CheapSource(np.arange(90), 0.3))
    assert set(choice.sources) == {0}


@pytest.mark.parametrize(
    ("goal", "constraints"),
    [
        ("min a", ()),
        ("a = 1", ()),
        ("find all", ("a >= 1.2",)),
        ("a in [0.5, 0.8]", ()),
        ("find highest 5 % a", ()),
        ("max a", ("a <= 1",)),
    ],
)
def test_every_goal_may_have_a_cheap_source(goal, constraints):
    known = seen(np.arange(8), np.arange(4, 40))
    cheap = CheapSource(np.arange(4, 40), 0.05)
    choice, _ = asked(known, cheap, goal, constraints, batch=30)
    assert 1 in choice.sources
    assert len(choice.sources) == 30


def test_a_front_may_have_one_too():
    other = FEATURES[:, 1]
    rows = np.concatenate([np.arange(4, 40), np.arange(8)])
    source = (np.arange(len(rows)) < 36).astype(np.int64)
    scale = np.where(source == 1, 0.5, 1.0)
    values = np.column_stack([scale * TRUTH[rows], scale * other[rows]])
    known = Observations(rows, values, ("a", "b"), source=source)
    cheap = CheapSource(np.arange(4, 40), 0.05)
    choice, _ = asked(known, cheap, "max a; min b")
    assert 1 in choice.sources


def begun(known, cheap, batch=4, pending=()):
    return start(
        FEATURES,
        known,
        available=np.arange(300),
        pending=pending,
        problem=parse_problem("max a"),
        batch=batch,
        seed=0,
        cheap=cheap,
    )


def test_the_start_is_cheap_and_then_half_of_it_again_dear():
    nothing = Observations(NONE, np.empty((0, 1)), ("a",), source=NONE)
    first = begun(nothing, CheapSource(NONE, 0.1))
    assert first.sources == (1, 1, 1, 1)
    done = np.array(first.picks)
    second = begun(seen(NONE, done), CheapSource(done, 0.1))
    assert second.sources == (0, 0, 1, 1)
    assert set(second.picks[:2]) <= set(done.tolist())
    assert not set(second.picks[2:]) & set(done.tolist())
    waiting = begun(seen(NONE, done), CheapSource(done, 0.1), pending=done[:3])
    assert waiting.sources == (0, 1, 1, 1)
    assert waiting.picks[0] == done[3]
    without = begun(seen(NONE, done), CheapSource(done, np.inf))
    assert without.sources == (0, 0, 0, 0)


def test_no_model_leads_before_three_values_count():
    few = seen(np.arange(2), np.arange(40))
    choice, _ = asked(few, CheapSource(np.arange(40), 0.1))
    assert choice.method == "space_filling"
    assert choice.scores is None
    assert "2 values of the objective are too few" in choice.notes[-1]
