"""The back-tests against peers in short: what a task holds, and the arithmetic of the report."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "peers"


@pytest.fixture
def script(monkeypatch):
    """Imports a script as Python does beside it; its plain module name is gone after the test."""
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_a_written_task_holds_its_hits_starts_and_unit_features(script, tmp_path):
    tasks, rng = script("tasks"), np.random.default_rng(0)
    values = np.array([[0.1, 2.0], [0.1, 0.0], [0.499, 3.0], [0.5, 2.0]] * 10)
    window = {"goal": "window", "properties": list(tasks.WINDOW), "limits": tasks.WINDOW}
    features = np.repeat(rng.normal(size=(20, 3)), 2, axis=0)  # every row twice
    written = tasks.write(tmp_path / "toy", window, values, {"magpie": features})
    assert json.loads((tmp_path / "toy" / "task.json").read_text()) == written
    assert written["hits"] == sorted([*range(0, 40, 4), *range(2, 40, 4)])
    assert len(written["starts"]) == 20
    assert all(len(set(start)) == 20 for start in written["starts"])
    stored = np.load(tmp_path / "toy" / "features-magpie.npy")
    assert stored.min() >= 0
    assert stored.max() <= 1
    assert len(np.unique(stored, axis=0)) == 40
    assert np.allclose(stored[::2], stored[1::2], atol=1e-5)


def test_the_best_share_and_the_front_are_found(script):
    tasks = script("tasks")
    low = {"goal": "best", "signs": [-1.0], "share": 0.02}
    assert tasks.hits(low, np.arange(100.0)[::-1, None]).tolist() == [98, 99]
    points = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 1.0], [3.0, 1.0], [0.0, 9.0]])
    both = {"goal": "front", "signs": [1.0, 1.0]}
    assert tasks.hits(both, points).tolist() == [0, 1, 3, 4]


def test_descriptors_by_hand(script):
    descriptors = script("descriptors")
    sites = descriptors.by_site([[["Na"], ["Cl", "F"]]])
    both = descriptors.by_site([[["Na"]], [["Cl"]], [["F"]]])
    assert np.allclose(sites, [np.concatenate([both[0], both[1:].mean(axis=0)])])
    assert np.allclose(descriptors.spread([["Na", "Na"], ["Cl", "F"]])[0], 0)


def test_a_window_scores_what_is_missed(script):
    goals = script("goals")
    spec = {
        "goal": "window",
        "properties": ["heat", "gap"],
        "limits": {"heat": [None, 0.5], "gap": [1.5, 3.0]},
        "scales": {"heat": 1.0, "gap": 1.5},
    }
    task = goals.Task(spec, np.zeros((0, 2)), np.zeros((0, 1)))
    score = task.sought.outcomes(np.array([[0.4, 2.0], [0.7, 0.0], [-9.0, 6.0]]))
    assert np.allclose(score[:, 0], [0, -1.2, -2])


def test_peers_are_told_an_optimum_and_a_front_as_they_are(script):
    goals, values = script("goals"), np.array([[3.0, -1.0], [2.0, 5.0]])
    best = {"goal": "best", "properties": ["x"], "signs": [-1.0]}
    task = goals.Task(best, values[:, :1], values)
    assert task.sought.signs == {"score": 1.0}
    assert task.sought.outcomes(values[:, :1]).tolist() == [[-3.0], [-2.0]]
    both = {"goal": "front", "properties": ["x", "y"], "signs": [1.0, -1.0]}
    front = goals.Task(both, values, values)
    assert front.sought.signs == {"x": 1.0, "y": -1.0}
    assert front.sought.outcomes(values).tolist() == values.tolist()


def test_acceleration_counts_runs_that_do_not_get_there(script):
    report = script("report")
    hits, size = {0, 1, 2, 3}, 99
    assert report.random_needs(2, 4, size) == 40
    quick, slow = [9, 0, 1, 8, 7], [9, 8, 7, 6, 0]
    half = report.reached([quick, slow], hits, size, 0.5)
    assert (half.runs, half.bounded) == (1, True)
    assert half.mean == pytest.approx(40 / np.mean([3, 99]))
    assert half.median == pytest.approx(40 / 5)
    quickest = report.reached([quick, quick, slow], hits, size, 0.5)
    assert (quickest.bounded, quickest.median) == (False, pytest.approx(40 / 3))
    assert report.needs(quick, hits, 3) is None


def test_random_in_full_is_as_fast_as_its_expectation(script):
    report, rng = script("report"), np.random.default_rng(3)
    orders = [rng.permutation(60).tolist() for _ in range(2000)]
    for share in (0.5, 0.9, 1.0):
        assert report.reached(orders, set(range(7)), 60, share).mean == pytest.approx(1, abs=0.03)


def test_hypervolume_of_two_steps(script):
    volume = script("report").hypervolume
    points = np.array([[2.0, 1.0], [1.0, 3.0], [1.0, 1.0], [-1.0, 9.0]])
    assert volume(points, np.zeros(2)) == 4.0  # 2 x 1 and 1 x 2 above it


def test_the_report_reads_any_method_and_refuses_repeats(script, tmp_path, capsys, monkeypatch):
    report = script("report")
    (tmp_path / "toy").mkdir()
    spec = {"name": "toy", "goal": "best", "hits": [1, 2], "size": 300}
    (tmp_path / "toy" / "task.json").write_text(json.dumps(spec))
    path = tmp_path / "ours.jsonl"
    line = {"method": "ours", "task": "toy", "seed": 0, "order": [2, 1, *range(3, 101)]}
    path.write_text(json.dumps(line) + "\n")
    monkeypatch.setattr("sys.argv", ["report.py", str(path), "--tasks", str(tmp_path)])
    report.main()
    printed = capsys.readouterr().out
    assert "## toy: 2 hits in 300" in printed
    assert "| ours | 1 | 100.3 (100.3; 1) | 100.3 (100.3; 1) | 100.3 (100.3; 1) | 2.00" in printed
    path.write_text(json.dumps({**line, "order": [2, 2]}) + "\n")
    with pytest.raises(ValueError, match="twice"):
        report.main()


def test_a_peer_replays_from_the_starts_without_repeats(script):
    goals, run = script("goals"), script("run")
    values = np.random.default_rng(0).normal(size=(40, 1))
    spec = {"goal": "best", "properties": ["x"], "signs": [1.0], "starts": [[5, 6, 7]], "batch": 4}
    task = goals.Task(spec, values, values)
    for name in ("random", "camd-gp"):
        found = run.replay(name, task, 0, 13)
        assert found["order"][:3] == [5, 6, 7]
        assert len(set(found["order"])) == 13
        assert len(found["seconds"]) == 3
    assert int(values.argmax()) in found["order"]
