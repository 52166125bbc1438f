"""The benchmark of searching seeks what it says."""

import importlib.util
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("searching", FOLDER / "searching.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "searching", module)
    spec.loader.exec_module(module)
    return module


def test_the_perovskites_have_as_many_hits_as_published(script):
    if not (script.DATA / "perov5_dev.csv.gz").exists():
        pytest.skip("no ../shared/data")
    values = script.read_perovskites()[1]
    names = ("perovskites", "perovskites-strict", "perovskites-wide")
    assert [script.TASKS[n].truth(values).hits.sum() for n in names] == [17, 3, 48]


def test_it_starts_at_random_keeps_runs_and_takes_features(script, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(200, 3)))
    values = {"bulk_modulus": rng.normal(size=200)}
    monkeypatch.setitem(script.READERS, "moduli", lambda: (None, values))
    options = Namespace(
        methods="random", seeds=2, budget=30, arriving=5, workers=1, label="+x", out=tmp_path,
        features=tmp_path / "x.npy", encoder="", no_hints=False,
    )  # fmt: skip
    result = script.search(script.TASKS["moduli"], options)
    first = result.runs["random+x"][1].order
    assert list(first[:20]) == np.random.default_rng(1).permutation(200)[:20].tolist()
    assert script.search(script.TASKS["moduli"], options).runs["random+x"][1].order == first
    assert len((tmp_path / "moduli.jsonl").read_text().splitlines()) == 2
    script.report(result)
    assert "random+x" in capsys.readouterr().out
