"""Fronts and their volumes, against counting, simulation and BoTorch."""

import numpy as np
import pytest
import torch
from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
from botorch.utils.multi_objective.box_decompositions.non_dominated import (
    FastNondominatedPartitioning,
)
from botorch.utils.multi_objective.hypervolume import Hypervolume
from botorch.utils.testing import MockModel, MockPosterior

from cloudseed.surrogate.acquisition import Goal
from cloudseed.surrogate.front import (
    hypervolume,
    hypervolumes,
    layers,
    nadir,
    nondominated,
    random_hypervolumes,
)
from cloudseed.surrogate.front_gain import FrontGain
from cloudseed.surrogate.scalarised import Scalarised

RNG = np.random.default_rng(0)


def test_a_front_is_what_nothing_dominates():
    merits = RNG.integers(0, 6, size=(60, 3)).astype(float)
    merits[7] = np.nan
    merits[8] = -np.inf
    for place, on in enumerate(nondominated(merits)):
        row = merits[place]
        beaten = ((merits >= row).all(axis=1) & (merits > row).any(axis=1)).any()
        assert on == (np.isfinite(row).all() and not beaten)


def test_equal_rows_are_on_a_front_together():
    assert nondominated(np.array([[1.0, 2], [1, 2], [1, 1]])).tolist() == [True, True, False]
    assert not len(nondominated(np.empty((0, 2))))
    assert layers(np.array([[3.0, 3], [2, 2], [1, 1], [0, 4]]), most=2).tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("many", [2, 3, 4])
def test_volume_is_that_of_botorch(many):
    merits = RNG.normal(size=(25, many))
    reference = np.full(many, -1.0)
    front = torch.tensor(merits[nondominated(merits)])
    wanted = Hypervolume(torch.tensor(reference)).compute(front)
    assert hypervolume(merits, reference) == pytest.approx(wanted)
    assert hypervolumes(merits, reference)[-1] == pytest.approx(wanted)
    assert (np.diff(hypervolumes(merits, reference)) >= 0).all()
    assert hypervolume(merits, np.full(many, 9.0)) == 0


def test_a_reference_lies_beyond_the_ends_of_the_front():
    merits = np.array([[0.0, 2], [1, 0], [-5, -5]])
    assert nadir(merits).tolist() == pytest.approx([-0.1, -0.2])
    assert nadir(np.array([[1.0, 1], [0, -1]])).tolist() == pytest.approx([0.9, 0.8])
    assert (nadir(np.array([[3.0, 0]])) < [3, 0]).all()


@pytest.mark.parametrize(("many", "tolerance"), [(2, 0.05), (3, 0.08)])
def test_random_picks_reach_what_is_expected(many, tolerance):
    merits = RNG.normal(size=(20, many))
    reference = np.full(many, -1.0)
    runs = [hypervolumes(merits[RNG.permutation(20)[:8]], reference) for _ in range(1000)]
    # Ten candidates more that never count.
    found = random_hypervolumes(merits, reference, 20, 8)
    assert found == pytest.approx(np.mean(runs, axis=0), rel=tolerance)
    assert (random_hypervolumes(merits, reference, 30, 8) < found).all()
    every = random_hypervolumes(merits, reference, 20, 20)[-1]
    assert every == pytest.approx(hypervolume(merits, reference), rel=tolerance)


@pytest.mark.parametrize("many", [2, 3])
def test_expected_gain_is_that_of_botorch(many):
    merits = RNG.normal(size=(12, many))
    reference = np.full(many, -1.5)
    mean, sd = RNG.normal(size=(6, many)), 0.1 + RNG.random((6, many))
    gain = FrontGain.of([Goal(1.0)] * many, merits, reference)
    boxes = FastNondominatedPartitioning(torch.tensor(reference), torch.tensor(merits))
    posterior = MockPosterior(
        mean=torch.tensor(mean).unsqueeze(1), variance=torch.tensor(sd**2).unsqueeze(1)
    )
    botorch = ExpectedHypervolumeImprovement(MockModel(posterior), reference.tolist(), boxes)
    wanted = botorch(torch.zeros(6, 1, 1)).numpy()
    assert np.exp(gain.log_gain(list(mean.T), list(sd.T))) == pytest.approx(wanted, rel=1e-6)


def test_gain_stays_finite_and_ordered_where_it_is_tiny():
    gain = FrontGain.of([Goal(1.0), Goal(-1.0)], np.array([[1.0, 1.0]]), np.zeros(2))
    mean = [np.array([-50.0, -60.0, 0.5]), np.array([50.0, 60.0, -0.5])]
    found = gain.log_gain(mean, [np.full(3, 0.1)] * 2)
    assert np.isfinite(found).all()
    assert found[1] < found[0] < found[2]


def test_an_empty_front_leaves_the_whole_volume():
    gain = FrontGain.of([Goal(1.0), Goal(1.0)], np.empty((0, 2)), np.zeros(2))
    (found,) = gain.log_gain([np.array([2.0]), np.array([3.0])], [np.full(1, 1e-6)] * 2)
    assert np.exp(found) == pytest.approx(6.0)


def test_a_target_is_an_objective_of_a_front():
    goals = [Goal(1.0), Goal(1.0, target=5.0)]
    gain = FrontGain.of(goals, np.array([[1.0, -1.0]]), np.array([0.0, -2.0]))
    (found,) = gain.log_gain([np.array([2.0]), np.array([5.5])], [np.full(1, 1e-6)] * 2)
    assert np.exp(found) == pytest.approx(2 * 1.5 - 1 * 1, rel=1e-4)


def test_the_worst_of_many_objectives_improves_as_in_simulation():
    goals = [Goal(1.0), Goal(-1.0), Goal(1.0, target=2.0), Goal(1.0)]
    reference, weights = np.array([-1.0, -1, -3, -1]), np.array([0.4, 0.3, 0.2, 0.1])
    merits = RNG.normal(size=(5, 4)) * 0.3
    scalar = Scalarised.of(goals, merits, reference, weights)
    assert scalar.best == (weights * (merits - reference)).min(axis=1).max()
    mean, sd = np.array([[1.0, -1, 2, 3], [0, 0, 3, 0]]), np.array([[0.5, 0.7, 0.6, 1.0]] * 2)
    drawn = mean + sd * RNG.standard_normal((200_000, 2, 4))
    found = np.stack([g.merit(drawn[..., j]) for j, g in enumerate(goals)], axis=-1)
    gain = np.maximum((weights * (found - reference)).min(axis=-1) - scalar.best, 0).mean(axis=0)
    log_gain = scalar.log_gain(list(mean.T), list(sd.T))
    assert np.exp(log_gain) == pytest.approx(gain, rel=0.05)
    far = scalar.log_gain([np.full(1, -50.0)] * 4, [np.full(1, 0.1)] * 4)
    assert np.isfinite(far).all()
    assert far < log_gain.min()
    assert Scalarised.of(goals, np.empty((0, 4)), reference, weights).best == 0
