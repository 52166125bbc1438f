"""The joint stage: BoTorch is the reference where its samples suffice; its trap is avoided."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.objective import GenericMCObjective
from botorch.models import ModelListGP
from botorch.sampling.normal import SobolQMCNormalSampler

from cloudseed.errors import FitError
from cloudseed.surrogate import batch, gp
from cloudseed.surrogate.acquisition import Criterion
from cloudseed.surrogate.batch import Baseline, choose_jointly
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


MEASURED = Baseline(X, np.full(5, np.nan))
CHOICES = np.linspace(0, 1, 101)[:, None]


def test_picks_are_distinct_and_as_many_as_there_are():
    picks, gains = choose_jointly(criterion(), MEASURED, CHOICES[:3], 5, seed=0)
    assert sorted(picks) == [0, 1, 2]
    assert len(gains) == 3


def test_twin_of_a_pick_loses_its_value():
    choices = np.concatenate([CHOICES, CHOICES])
    picks, gains = choose_jointly(criterion(), MEASURED, choices, 3, seed=0)
    places = [choices[p, 0] for p in picks]
    assert len(set(places)) == 3
    assert gains == sorted(gains, reverse=True)


def with_pending(rows):
    x = np.concatenate([X, CHOICES[rows]])
    return Baseline(x, np.full(len(x), np.nan))


def test_no_pick_of_a_batch_lands_beside_a_pending_twin():
    found = criterion()
    (first,), (alone,) = choose_jointly(found, MEASURED, CHOICES, 1, seed=0)
    picks, gains = choose_jointly(found, with_pending([first]), CHOICES, 3, seed=0)
    assert first not in picks
    assert max(gains) < alone
    twin = np.array([[0.01], CHOICES[first]])  # worth nothing, and the twin
    _, gains = choose_jointly(found, with_pending([first]), twin, 2, seed=0)
    assert max(gains) < alone - 3


def botorch_model(found):
    """The same processes in BoTorch, standardised."""
    models = []
    for surrogate in found.surrogates.values():
        model = gp.botorch_model(X, surrogate.targets, surrogate.hyper.covariance)
        model.likelihood.noise = max(surrogate.hyper.noise, 1e-4)
        model.mean_module.constant.data.fill_(surrogate.hyper.mean)
        models.append(model.eval())
    return ModelListGP(*models)


def botorch_value(found, samples=4096, constraints=None, **pending):
    return qLogNoisyExpectedImprovement(
        botorch_model(found),
        X_baseline=torch.as_tensor(X),
        sampler=SobolQMCNormalSampler(torch.Size([samples]), seed=0),
        objective=GenericMCObjective(lambda samples, X=None: samples[..., 0]),
        constraints=constraints,
        prune_baseline=False,
        **pending,
    )


def test_value_agrees_with_botorch(monkeypatch):
    monkeypatch.setattr(batch, "SAMPLES", 4096)
    found = criterion()
    value = botorch_value(found)
    for place in (0.45, 0.6, 0.65):
        _, (ours,) = choose_jointly(found, MEASURED, np.array([[place]]), 1, seed=0)
        with torch.no_grad():
            theirs = float(value(torch.tensor([[[place]]], dtype=torch.float64)))
        assert ours == pytest.approx(theirs, abs=0.1)


def test_second_pick_agrees_with_botorch_after_the_first(monkeypatch):
    monkeypatch.setattr(batch, "SAMPLES", 4096)
    found = criterion()
    two = np.array([[0.6], [0.45]])
    picks, (_, ours) = choose_jointly(found, MEASURED, two, 2, seed=0)
    value = botorch_value(found)
    with torch.no_grad():
        value.set_X_pending(torch.as_tensor(two[picks[:1]]))
        theirs = float(value(torch.as_tensor(two[picks[1]]).reshape(1, 1, 1)))
    assert ours == pytest.approx(theirs, abs=0.15)


def test_constrained_value_agrees_with_botorch(monkeypatch):
    monkeypatch.setattr(batch, "SAMPLES", 4096)
    found = criterion("b <= 0.52")
    model = found.surrogates["b"]
    bound = (0.52 - model.centre) / model.scale
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        value = botorch_value(found, constraints=[lambda samples: samples[..., 1] - bound])
        theirs = float(value(torch.tensor([[[0.48]]], dtype=torch.float64)))
    # BoTorch bounds the noise-free property, so ours is asked without noise too.
    silent = replace(model, hyper=replace(model.hyper, noise=0.0))
    found = replace(found, surrogates={**found.surrogates, "b": silent})
    _, (ours,) = choose_jointly(found, MEASURED, np.array([[0.48]]), 1, seed=0)
    assert ours == pytest.approx(theirs, abs=0.1)


def test_botorch_forgets_the_pending_points_it_was_made_with():
    """The trap of BoTorch 0.18 that `choose_jointly` must not share; see the test above."""
    found = criterion()
    (first,), _ = choose_jointly(found, MEASURED, CHOICES, 1, seed=0)
    twin = torch.as_tensor(CHOICES[[first]])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = botorch_value(found, X_pending=twin)
        remembered = float(value(twin.unsqueeze(0)))
        value.set_X_pending(torch.tensor([[0.01]], dtype=torch.float64))  # after a first pick
        forgotten = float(value(twin.unsqueeze(0)))
    assert forgotten > remembered + 3


def test_a_bound_on_what_is_sought_and_a_gain_are_one_event_of_the_batch():
    found, known = criterion("a <= 0.95"), np.array([1.0, 1.0, 1.0, 0.0, 1.0])
    choice = np.array([[0.62]])
    _, (told,) = choose_jointly(found, Baseline(X, known), choice, 1, seed=0)
    model = found.surrogates["a"]
    mean, joint = model.standardised_joint(np.concatenate([X, choice]))
    joint[np.diag_indices(6)] += 1e-8
    rng = np.random.default_rng(1)
    drawn = rng.multivariate_normal(mean, joint, size=200_000, method="cholesky")
    best = np.where(known == 1, drawn[:, :5], -np.inf).max(axis=1)
    top = (0.95 - model.centre) / model.scale
    gain = np.where(drawn[:, 5] <= top, np.maximum(drawn[:, 5] - best, 0.0), 0.0)
    error = gain.std() / np.sqrt(len(gain))
    assert gain.mean() > 20 * error
    # The method's own 256 samples of what is known have an error too, which is small here.
    assert np.exp(told) == pytest.approx(gain.mean(), rel=0.05)


def test_hopeless_candidates_keep_their_order():
    found = criterion()
    low = np.array([[0.02], [0.05], [0.08], [0.11]])
    picks, gains = choose_jointly(found, MEASURED, low, 1, seed=0)
    _, (least,) = choose_jointly(found, MEASURED, low[:1], 1, seed=0)
    assert picks == [3]
    assert np.isfinite([*gains, least]).all()
    assert gains[0] > least


def test_known_feasibility_counts_more_than_the_model():
    found = criterion("b <= 0.5")
    nothing = Baseline(X, np.zeros(5))
    everything = Baseline(X, np.ones(5))
    place = np.array([[0.3]])
    _, (open_,) = choose_jointly(found, nothing, place, 1, seed=0)
    _, (closed,) = choose_jointly(found, everything, place, 1, seed=0)
    assert open_ > closed + 1


def test_constraints_move_the_batch():
    free, _ = choose_jointly(criterion(), MEASURED, CHOICES, 2, seed=0)
    bound, _ = choose_jointly(criterion("b <= 0.4"), MEASURED, CHOICES, 2, seed=0)
    assert min(CHOICES[free, 0]) > 0.4
    assert max(CHOICES[bound, 0]) < 0.5
    window, _ = choose_jointly(criterion("b <= 0.4", "b >= 0.3"), MEASURED, CHOICES, 1, seed=0)
    assert 0.25 < CHOICES[window[0], 0] < 0.45


def test_batch_goes_on_where_nothing_is_feasible():
    found = criterion("b >= 1.2")
    picks, gains = choose_jointly(found, MEASURED, CHOICES, 2, seed=0)
    assert len(picks) == 2
    assert np.isfinite(gains).all()


def test_same_seed_same_batch_and_no_trace_in_the_global_generator():
    before = torch.random.get_rng_state()
    first = choose_jointly(criterion("b <= 0.8"), MEASURED, CHOICES, 3, seed=4)
    torch.rand(3)
    torch.random.set_rng_state(before)
    assert choose_jointly(criterion("b <= 0.8"), MEASURED, CHOICES, 3, seed=4) == first
    assert torch.equal(before, torch.random.get_rng_state())


def test_unusable_posterior_is_our_error(monkeypatch):
    def joint(self, x):
        return np.zeros(len(x)), np.full((len(x), len(x)), np.nan)

    monkeypatch.setattr(gp.FittedSurrogate, "standardised_joint", joint)
    with pytest.raises(FitError, match="joint posterior"):
        choose_jointly(criterion(), MEASURED, CHOICES, 2, seed=0)


class RightHalf:
    """Says that nothing in the right half can be made."""

    def log_probability(self, x):
        return np.where(x[:, 0] > 0.5, -1e3, 0.0)


def test_what_cannot_be_made_is_not_picked():
    free = choose_jointly(criterion(), MEASURED, CHOICES, 3, seed=0)[0]
    bound = choose_jointly(replace(criterion(), makeable=RightHalf()), MEASURED, CHOICES, 3, seed=0)
    assert any(CHOICES[free, 0] > 0.5)
    assert all(CHOICES[bound[0], 0] <= 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_the_cut_to_the_finalists_costs_next_to_nothing(seed):
    """A batch from the best 512 by their value alone is worth one from the whole pool."""
    rng = np.random.default_rng(seed)
    # Families of near twins, of which the best by value alone are many of one.
    pool = np.repeat(rng.normal(size=(250, 3)) / 3, 5, axis=0)
    pool += 1e-3 * rng.normal(size=pool.shape)
    value = np.sin(3 * pool[:, 0]) + pool[:, 1] * pool[:, 2]
    known = rng.permutation(len(pool))[:40]
    model = gp.fit(pool[known], value[known], seed=0)
    found = Criterion(problem("max a"), {"a": model}, best=float(value[known].max()))
    baseline = Baseline(pool[known], np.ones(40))
    rest = np.delete(pool, known, axis=0)
    rest = rest[np.argsort(-found(rest).acquisition)]

    def worth(size):
        picks = choose_jointly(found, baseline, rest[:size], 6, seed)[0]
        # Told in samples of their own, for a stage likes the samples that it has seen.
        return np.exp(choose_jointly(found, baseline, rest[picks], 6, 99)[1]).sum()

    whole = worth(len(rest))
    assert worth(512) / whole > 0.99
    assert worth(6) / whole < 0.98
