"""Back-tests of a campaign file on a table."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.errors import (
    CloudseedError,
    InputError,
    MissingDependencyError,
    SpecError,
    UnitError,
    UsageError,
)
from cloudseed.loop import load_spec
from cloudseed.loop.backtesting import BacktestSettings, backtest, draw, parse_share, settings
from cloudseed.loop.listing import read_values
from cloudseed.surrogate import Choice
from cloudseed.surrogate.backtesting import composition_features

COUNT = 40


class Lowest:
    """Takes the lowest rows; stops for good at the seed in `fails`."""

    calls = 0
    fails = None

    def __init__(self, features, problem):
        del features, problem

    def next(self, available, pending, observations, batch, seed):
        type(self).calls += 1
        if self.calls == self.fails:
            raise KeyboardInterrupt
        return Choice(tuple(available[:batch].tolist()), None, "lowest")


class Alone(Lowest):
    """Chooses only where it computes in one thread."""

    def next(self, available, pending, observations, batch, seed):
        import torch

        assert torch.get_num_threads() == 1, torch.get_num_threads()
        return super().next(available, pending, observations, batch, seed)


NAME = f"{__name__}:Lowest"


@pytest.fixture
def folder(tmp_path):
    """A campaign file without parents, a table, and features."""
    (tmp_path / "spec.yaml").write_text(
        "name: small\nobjective: max score\nconstraints: [band_gap >= 1 eV]\n"
        "budget: {experiments: 16}\nbatch: 4\ninitial: 6\nseed: 3\n"
    )
    rng = np.random.default_rng(0)
    lines = ["id,score,band_gap (meV)"]
    lines += [f"m{i},{i},{2000 if i % 2 else 500}" for i in range(COUNT)]
    lines[5] = "m4,,"
    (tmp_path / "table.csv").write_text("\n".join(lines))
    np.save(tmp_path / "features.npy", rng.normal(size=(COUNT, 4)))
    return tmp_path


def run(folder, **options):
    spec = load_spec(folder / "spec.yaml", parents_optional=True)
    given = {"methods": ("random", NAME), "seeds": 3, "features": folder / "features.npy"}
    settings = BacktestSettings(**{**given, "share": 0.1, **options})
    return backtest(spec, folder / "table.csv", folder / "out", settings)


def test_a_backtest_reports_figures_and_pictures(folder):
    result = run(folder)
    assert (result.hits, result.budget) == (2, 16)
    report = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert report["goal"] == "max score, band_gap >= 1.0 eV"
    assert report["unmeasurable"] == 1
    assert report["random"]["found"][-1] == pytest.approx(16 * 2 / COUNT)
    assert report["methods"]["random"]["runs"] == 3
    lengths = {len(r.order) for runs in result.runs.values() for r in runs}
    assert lengths == {16}
    starts = [{r.order[:6] for r in (a, b)} for a, b in zip(*result.runs.values(), strict=True)]
    assert all(len(s) == 1 for s in starts)
    assert len(set.union(*starts)) == 3
    files = draw(result, folder / "out")
    assert {f.name for f in files} == {"hits.png", "hits.svg", "best.png", "best.svg"}
    assert all(f.stat().st_size > 5000 for f in files)


def test_an_interrupted_backtest_goes_on(folder, monkeypatch):
    monkeypatch.setattr(Lowest, "calls", 0)
    monkeypatch.setattr(Lowest, "fails", 5)
    with pytest.raises(KeyboardInterrupt):
        run(folder, methods=(NAME,))
    kept = folder / "out" / "runs.jsonl"
    assert len(kept.read_text().splitlines()) == 1
    with kept.open("a") as file:
        file.write('{"settings": "cut sho')
    monkeypatch.setattr(Lowest, "fails", None)
    monkeypatch.setattr(Lowest, "calls", 0)
    whole = run(folder, methods=(NAME,))
    assert Lowest.calls == 2 * 3
    again = run(folder, methods=(NAME,))
    assert Lowest.calls == 2 * 3
    assert [r.order for r in again.runs[NAME]] == [r.order for r in whole.runs[NAME]]
    run(folder, methods=(NAME,), budget=12)
    assert Lowest.calls == 2 * 3 + 3 * 2


def test_kept_runs_of_a_method_whose_code_changed_are_made_again(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    kept = folder / "out" / "runs.jsonl"
    answers = []
    for end in ("available[:batch]", "available[-batch:]"):
        (folder / "of_mine.py").write_text(
            "from cloudseed.surrogate import Choice\n"
            "class Method:\n"
            "    def __init__(self, features, problem): pass\n"
            "    def next(self, available, pending, observations, batch, seed):\n"
            f"        return Choice(tuple({end}.tolist()), None, 'mine')\n"
        )
        monkeypatch.delitem(sys.modules, "of_mine", raising=False)
        importlib.invalidate_caches()
        answers.append(run(folder, methods=("random", "of_mine:Method")).runs["of_mine:Method"])
    first, second = answers
    assert all(a.order != b.order for a, b in zip(first, second, strict=True))
    assert len(kept.read_text().splitlines()) == 3 * 3
    run(folder, methods=("of_mine:Method", "random"))
    assert len(kept.read_text().splitlines()) == 3 * 3


def test_kept_runs_that_meant_something_else_are_made_again(folder, monkeypatch):
    monkeypatch.setattr(Lowest, "calls", 0)
    run(folder, methods=(NAME,))
    before = Lowest.calls
    monkeypatch.setattr(settings, "REPLAYS", settings.REPLAYS + 1)
    run(folder, methods=(NAME,))
    assert Lowest.calls == 2 * before


def test_processes_give_the_same_runs_in_one_thread_each(folder, monkeypatch):
    alone = run(folder, methods=(NAME,), seeds=2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    name = f"{__name__}:Alone"
    together = run(folder, methods=(name,), seeds=2, workers=2)
    assert [r.order for r in together.runs[name]] == [r.order for r in alone.runs[NAME]]
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_a_share_of_hits_needs_something_that_ranks(folder):
    spec = folder / "spec.yaml"
    spec.write_text(spec.read_text().replace("max score", "find all"))
    given = ["backtest", str(spec), "--data", str(folder / "table.csv"), "--out", "out"]
    refused = CliRunner().invoke(app, [*given, "--hits", "5%"])
    assert isinstance(refused.exception, UsageError)
    assert "leave --hits out" in refused.exception.hint


@pytest.mark.parametrize("hits", ["5%", "feasible"])
def test_a_front_has_no_share_of_hits(folder, hits):
    spec = folder / "spec.yaml"
    spec.write_text(spec.read_text().replace("max score", "[max score, min band_gap]"))
    given = ["backtest", str(spec), "--data", str(folder / "table.csv"), "--out", "out"]
    refused = CliRunner().invoke(app, [*given, "--hits", hits])
    assert isinstance(refused.exception, UsageError)
    assert "Pareto front is the hits" in refused.exception.hint


def test_the_command_prints_a_table_and_json(folder):
    given = ["backtest", str(folder / "spec.yaml"), "--data", str(folder / "table.csv")]
    given += ["--features", str(folder / "features.npy"), "--methods", "random", "--seeds", "2"]
    given += ["--hits", "10%", "--out", str(folder / "out")]
    shown = CliRunner().invoke(app, given, env={"COLUMNS": "120"})
    assert shown.exit_code == 0, shown.output
    assert "random, exact" in shown.output
    report = json.loads(CliRunner().invoke(app, [*given, "--json"]).stdout)
    assert report == json.loads((folder / "out" / "report.json").read_text())


def test_a_backtest_tells_when_its_campaign_would_stop(folder):
    spec = folder / "spec.yaml"
    spec.write_text(spec.read_text() + "stop: {regret: {epsilon: 40}}\n")
    given = ["backtest", str(spec), "--data", str(folder / "table.csv"), "--seeds", "2"]
    given += ["--features", str(folder / "features.npy"), "--methods", "greedy,random"]
    given += ["--hits", "10%", "--out", str(folder / "out")]
    shown = CliRunner().invoke(app, given, env={"COLUMNS": "120"})
    assert "nothing better by more than 40, with 0.95" in shown.output
    methods = json.loads((folder / "out" / "report.json").read_text())["methods"]
    assert methods["random"]["stopping"] is None
    found = methods["greedy"]["stopping"]
    assert (found["runs"], found["rule"]["epsilon"]) == (2, 40.0)
    # Nothing can be better by so much.
    assert (found["fired"], found["early"], found["after"]) == (2, 0, 10)


@pytest.mark.parametrize(
    ("old", "new", "error", "text"),
    [
        ("(meV)", "(GPa)", UnitError, "GPa"),
        ("score", "scores", InputError, "score"),
        ("m7,7", "m7,inf", InputError, "row 8"),
    ],
)
def test_bad_tables_are_refused(folder, old, new, error, text):
    table = folder / "table.csv"
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(error, match=text) as caught:
        run(folder)
    assert caught.value.hint


@pytest.mark.parametrize(
    "options", [{"budget": 6}, {"methods": ("clod",)}, {"arriving": 9}, {"seeds": 0}]
)
def test_impossible_settings_are_refused(folder, options):
    with pytest.raises(UsageError) as caught:
        run(folder, **options)
    assert caught.value.hint


def test_features_must_fit_the_table(folder):
    np.save(folder / "features.npy", np.zeros((3, 4)))
    with pytest.raises(InputError, match="40 rows"):
        run(folder)
    (folder / "features.npy").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read as a matrix"):
        run(folder)


def test_a_campaign_s_way_of_choosing_is_replayed(folder, monkeypatch):
    asked = []

    def decided(features, observations, *, available, batch, **given):
        asked.append((given["strategy"], given["exploration"], given["costs"]))
        return Choice(tuple(available[:batch].tolist()), None, "lowest")

    monkeypatch.setattr("cloudseed.surrogate.backtesting.searchers.decide", decided)
    text = (folder / "spec.yaml").read_text()
    wanted = "decide: {acquisition: thompson, exploration: 0.25}\n"
    (folder / "spec.yaml").write_text(text + wanted)
    run(folder, methods=("cloud",), seeds=1)
    assert {(s.acquisition, e, c) for s, e, c in asked} == {("thompson", 0.25, None)}
    before = len(asked)
    (folder / "spec.yaml").write_text(text)
    run(folder, methods=("cloud",), seeds=1)
    assert asked[before][0].acquisition == "auto"


def test_costs_by_elements_need_materials(folder):
    text = (folder / "spec.yaml").read_text()
    (folder / "spec.yaml").write_text(text + "decide: {cost: {elements: {Rh: 30}}}\n")
    with pytest.raises(UsageError, match="elements"):
        run(folder)


def test_costs_of_a_table_are_kept_with_it(tmp_path, monkeypatch):
    asked = []

    def decided(features, observations, *, available, batch, **given):
        asked.append(given["costs"].tolist())
        return Choice(tuple(available[:batch].tolist()), None, "lowest")

    monkeypatch.setattr("cloudseed.surrogate.backtesting.searchers.decide", decided)
    scopes = ["1 3 n O O O b O O D e O O O 0 | 4f | Ga 0.5 Te 0.5"]
    scopes += [scopes[0].replace("Te", other) for other in ("Se", "S", "O")]
    rows = [f"m{i},{i},{text}" for i, text in enumerate(scopes)]
    (tmp_path / "table.csv").write_text("\n".join(["id,score,scope", *rows]))
    (tmp_path / "spec.yaml").write_text(
        "name: few\nobjective: max score\nbudget: {experiments: 4}\nbatch: 3\ninitial: 1\n"
        "decide: {cost: {base: 2, elements: {Te: 1, Ga: 3}}}\n"
    )
    spec = load_spec(tmp_path / "spec.yaml", parents_optional=True)
    for seeds in (1, 2):
        settings = BacktestSettings(("cloud",), seeds=seeds)
        backtest(spec, tmp_path / "table.csv", tmp_path / "out", settings)
    assert asked == [[6.0, 5.0, 5.0, 5.0]] * 2


def test_an_embedded_table_is_kept(tmp_path):
    scopes = ["1 3 n O O O b O O D e O O O 0 | 4f | Ga 0.5 Te 0.5"]
    scopes += [scopes[0].replace("Te", other) for other in ("Se", "S", "O")]
    rows = [f"m{i},{i},{text}" for i, text in enumerate(scopes)]
    (tmp_path / "table.csv").write_text("\n".join(["id,score,scope", *rows]))
    (tmp_path / "spec.yaml").write_text(
        "name: few\nobjective: max score\nbudget: {experiments: 4}\nbatch: 1\ninitial: 1\n"
    )
    spec = load_spec(tmp_path / "spec.yaml", parents_optional=True)
    settings = BacktestSettings(("random",), seeds=1)
    first = backtest(spec, tmp_path / "table.csv", tmp_path / "out", settings)
    seen = []
    again = backtest(
        spec, tmp_path / "table.csv", tmp_path / "out", settings, lambda name, *_: seen.append(name)
    )
    assert set(seen) == {"replaying"}
    assert again.runs["random"][0].order == first.runs["random"][0].order


class Seer:
    """A peer that keeps what it sees and takes the lowest rows."""

    seen: ClassVar[list[np.ndarray]] = []

    def __init__(self, features, signs, seed):
        self.seen.append(features)

    def tell(self, rows, outcomes):
        pass

    def ask(self, count, available, pending):
        return available[:count].tolist()


def test_peers_see_compositions_in_place_of_embeddings(tmp_path, monkeypatch):
    monkeypatch.setattr("cloudseed.surrogate.backtesting.peers.searcher._load", lambda name: Seer)
    monkeypatch.setattr(Seer, "seen", [])
    scopes = ["1 3 n O O O b O O D e O O O 0 | 4f | Ga 0.5 Te 0.5"]
    scopes += [scopes[0].replace("Te", other) for other in ("Se", "S", "O")]
    rows = [f"m{i},{i},{text}" for i, text in enumerate([*scopes, *scopes])]
    (tmp_path / "table.csv").write_text("\n".join(["id,score,scope", *rows]))
    (tmp_path / "spec.yaml").write_text(
        "name: few\nobjective: max score\nbudget: {experiments: 6}\nbatch: 1\ninitial: 4\n"
    )
    spec = load_spec(tmp_path / "spec.yaml", parents_optional=True)
    settings = BacktestSettings(("random", "baybe"), seeds=2)
    result = backtest(spec, tmp_path / "table.csv", tmp_path / "out", settings)
    assert [len(run.order) for run in result.runs["baybe"]] == [6, 6]
    assert {run.order[:4] for run in result.runs["baybe"]} == {
        run.order[:4] for run in result.runs["random"]
    }
    first, again = Seer.seen
    assert np.array_equal(first, again)
    assert np.array_equal(first, composition_features([*scopes, *scopes]))
    told = f"seen by baybe: descriptors of composition, {first.shape[1]} in [0, 1]"
    assert told in result.notes


def test_peers_see_features_of_one_s_own_within_the_unit_cube(folder, monkeypatch):
    monkeypatch.setattr("cloudseed.surrogate.backtesting.peers.searcher._load", lambda name: Seer)
    monkeypatch.setattr(Seer, "seen", [])
    run(folder, methods=("ax",), seeds=1)
    own = np.load(folder / "features.npy")
    low, high = own.min(axis=0), own.max(axis=0)
    assert np.allclose(Seer.seen[0], (own - low) / (high - low))


def test_a_peer_that_is_not_installed_is_an_error_before_anything_is_replayed(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "baybe", None)
    monkeypatch.delitem(sys.modules, "cloudseed.surrogate.backtesting.peers.baybe", raising=False)
    with pytest.raises(MissingDependencyError, match="baybe"):
        run(folder, methods=("random", "baybe"))
    assert not (folder / "out" / "runs.jsonl").exists()


def test_parents_may_be_missing_only_here(folder):
    with pytest.raises(SpecError, match="parents"):
        load_spec(folder / "spec.yaml")


def test_a_share_of_hits_is_read():
    assert [parse_share(t) for t in ("1%", "0.01", "feasible")] == [0.01, 0.01, None]
    for text in ("most", "0%", "101%", "2"):
        with pytest.raises(CloudseedError, match="share of hits"):
            parse_share(text)


def test_units_in_headings_are_converted(folder):
    names, values = read_values(folder / "table.csv", ["band_gap"])
    assert names[:2] == ["m0", "m1"]
    assert values["band_gap"][:2].tolist() == pytest.approx([0.5, 2.0])


def test_a_front_and_a_formula_are_replayed(folder):
    path = folder / "spec.yaml"
    goal = "[max 2*mark - 1, min band_gap]"
    path.write_text(path.read_text().replace("max score", goal).replace(">= 1", "<= 9"))
    table = folder / "table.csv"
    table.write_text(table.read_text().replace("score", "mark"))
    result = run(folder, methods=("cloud", "random"), seeds=1, budget=10)
    # Of the two gaps the lower one goes with even rows, the higher one with odd rows.
    assert result.truth.hits.nonzero()[0].tolist() == [COUNT - 2, COUNT - 1]
    report = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert report["goal"].startswith("max score; min band_gap (eV)")
    assert report["goal"].endswith("score = 2*mark - 1")
    shares = report["methods"]["cloud"]["best"]["mean"]
    assert 0 <= shares[0] <= shares[-1] <= 1
    assert report["random"]["best"] == sorted(report["random"]["best"])
    files = draw(result, folder / "out")
    assert {f.name for f in files} >= {"best.png", "hits.png"}
