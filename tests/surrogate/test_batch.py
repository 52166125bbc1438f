"""The joint stage, and the trap of pending points that BoTorch forgets."""

import numpy as np
import pytest
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.sampling.normal import SobolQMCNormalSampler

from cloudseed.errors import FitError
from cloudseed.surrogate import batch, gp
from cloudseed.surrogate.acquisition import Criterion
from cloudseed.surrogate.objectives import problem

X = np.array([[0.0], [0.25], [0.5], [0.75], [1.0]])


def criterion(*constraints):
    """A smooth bump with its top near 0.6, and a second property that rises."""
    models = {
        "a": gp.fit(X, np.exp(-20 * (X[:, 0] - 0.6) ** 2), seed=0),
        "b": gp.fit(X, X[:, 0].copy(), seed=0),
    }
    goal = problem("max a", constraints)
    return Criterion(goal, {n: models[n] for n in goal.properties}, best=0.8)


CHOICES = np.linspace(0, 1, 101)[:, None]


def test_picks_are_distinct_and_as_many_as_there_are():
    picks, gains = batch.choose_jointly(criterion(), X, CHOICES[:3], 5, seed=0)
    assert sorted(picks) == [0, 1, 2]
    assert len(gains) == 3


def test_twin_of_a_pick_loses_its_value():
    choices = np.concatenate([CHOICES, CHOICES])
    picks, gains = batch.choose_jointly(criterion(), X, choices, 3, seed=0)
    places = [choices[p, 0] for p in picks]
    assert len(set(places)) == 3
    assert gains == sorted(gains, reverse=True)


def test_no_pick_of_a_batch_lands_beside_a_pending_twin():
    found = criterion()
    (first,), (alone,) = batch.choose_jointly(found, X, CHOICES, 1, seed=0)
    pending = CHOICES[[first]]
    baseline = np.concatenate([X, pending])
    picks, gains = batch.choose_jointly(found, baseline, CHOICES, 3, seed=0)
    assert first not in picks
    assert max(gains) < alone
    twins, twin_gains = batch.choose_jointly(found, baseline, pending, 1, seed=0)
    assert twins == [0]
    assert twin_gains[0] < alone - 3


def acquisition(found, table, **pending):
    return qLogNoisyExpectedImprovement(
        table,
        X_baseline=torch.arange(len(X), dtype=torch.float64).unsqueeze(-1),
        sampler=SobolQMCNormalSampler(torch.Size([256]), seed=0),
        objective=batch._objective(found),
        prune_baseline=False,
        **pending,
    )


def test_botorch_forgets_the_constructors_pending_points():
    """The reason why pending points go into the baseline: without it, drop this test and that."""
    found = criterion()
    (first,), _ = batch.choose_jointly(found, X, CHOICES, 1, seed=0)
    table = batch._Table(found, np.concatenate([X, CHOICES[[first]], CHOICES[[first]], [[0.01]]]))
    pending, twin, pick = (
        torch.tensor([[float(len(X) + i)]], dtype=torch.float64) for i in range(3)
    )
    with torch.no_grad():
        value = acquisition(found, table, X_pending=pending)
        remembered = float(value(twin.unsqueeze(0)))
        assert value.X_pending is None
        value.set_X_pending(pick)  # what an optimiser does after the first pick of a batch
        forgotten = float(value(twin.unsqueeze(0)))
    assert forgotten > remembered + 3


def test_constraints_move_the_batch():
    free, _ = batch.choose_jointly(criterion(), X, CHOICES, 2, seed=0)
    bound, _ = batch.choose_jointly(criterion("b <= 0.4"), X, CHOICES, 2, seed=0)
    assert min(CHOICES[free, 0]) > 0.4
    assert max(CHOICES[bound, 0]) < 0.5
    window, _ = batch.choose_jointly(criterion("b <= 0.4", "b >= 0.3"), X, CHOICES, 1, seed=0)
    assert 0.25 < CHOICES[window[0], 0] < 0.45


def test_batch_goes_on_where_nothing_is_feasible():
    found = criterion("b >= 1.2")
    picks, gains = batch.choose_jointly(found, X, CHOICES, 2, seed=0)
    assert len(picks) == 2
    assert np.isfinite(gains).all()


def test_chunks_change_nothing(monkeypatch):
    whole = batch.choose_jointly(criterion("b <= 0.8"), X, CHOICES, 3, seed=0)
    monkeypatch.setattr(batch, "_CHUNK_ENTRIES", 100)
    assert batch.choose_jointly(criterion("b <= 0.8"), X, CHOICES, 3, seed=0)[0] == whole[0]


def test_same_seed_same_batch_and_no_trace_in_the_global_generator():
    before = torch.random.get_rng_state()
    first = batch.choose_jointly(criterion("b <= 0.8"), X, CHOICES, 3, seed=4)
    torch.rand(3)
    torch.random.set_rng_state(before)
    assert batch.choose_jointly(criterion("b <= 0.8"), X, CHOICES, 3, seed=4) == first
    assert torch.equal(before, torch.random.get_rng_state())


def test_unusable_posterior_is_our_error(monkeypatch):
    def joint(self, x):
        return np.zeros(len(x)), np.full((len(x), len(x)), np.nan)

    monkeypatch.setattr(gp.FittedSurrogate, "standardised_joint", joint)
    with pytest.raises(FitError, match="joint posterior"):
        batch.choose_jointly(criterion(), X, CHOICES, 2, seed=0)
