import numpy as np

from cloudseed.surrogate.space_filling import fill_space


def clusters(rng, centres, each=50):
    return np.concatenate([c + 0.01 * rng.normal(size=(each, 2)) for c in np.array(centres)])


def test_every_cluster_gets_one():
    points = clusters(np.random.default_rng(0), [(0, 0), (5, 0), (0, 5), (5, 5)])
    for seed in range(20):
        picks = fill_space(points, np.empty((0, 2)), 4, np.random.default_rng(seed))
        assert sorted(p // 50 for p in picks) == [0, 1, 2, 3]


def test_taken_clusters_are_passed_over():
    points = clusters(np.random.default_rng(0), [(0, 0), (5, 0), (0, 5), (5, 5)])
    taken = np.array([[0.0, 0.0], [5.0, 5.0]])
    for seed in range(20):
        picks = fill_space(points, taken, 2, np.random.default_rng(seed))
        assert sorted(p // 50 for p in picks) == [1, 2]


def test_equal_points_are_each_picked_once():
    picks = fill_space(np.ones((5, 3)), np.ones((2, 3)), 9, np.random.default_rng(0))
    assert sorted(picks) == [0, 1, 2, 3, 4]


def test_batch_covers_better_than_chance():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(400, 3)) ** 3

    def gap(picks):
        return np.linalg.norm(points[:, None] - points[picks], axis=2).min(axis=1).mean()

    ours = [gap(fill_space(points, points[:0], 12, np.random.default_rng(s))) for s in range(8)]
    chance = [gap(np.random.default_rng(s).permutation(400)[:12]) for s in range(8)]
    assert np.mean(ours) < 0.85 * np.mean(chance)
