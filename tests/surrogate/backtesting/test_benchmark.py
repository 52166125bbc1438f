"""The benchmark of searching seeks what it says."""

import importlib.util
import sys
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
    options = script.parser().parse_args(
        [
            "moduli",
            "--methods",
            "random",
            "--seeds",
            "2",
            "--budget",
            "30",
            "--label=+x",
            "--features",
            str(tmp_path / "x.npy"),
            "--out",
            str(tmp_path),
        ]
    )
    result = script.search(script.TASKS["moduli"], options)
    first = result.runs["random+x"][1].order
    assert list(first[:20]) == np.random.default_rng(1).permutation(200)[:20].tolist()
    assert script.search(script.TASKS["moduli"], options).runs["random+x"][1].order == first
    assert len((tmp_path / "moduli.jsonl").read_text().splitlines()) == 2
    script.report(result)
    assert "random+x" in capsys.readouterr().out


def test_blocks_of_features_are_made_once_and_runs_tell_them_apart(script, tmp_path, monkeypatch):
    strings = [f"0 0 0 | 1a | {element} 1.0" for element in script.ELEMENTS[:40]]
    values = {"bulk_modulus": np.arange(40.0)}
    np.savez(tmp_path / "moduli-canonical.npz", strings=np.array(strings), **values)
    monkeypatch.setattr(script, "load_encoder", Encoder)
    result, lines = {}, []
    for blocks in ("embedding,elements", "elements,one-hot"):
        options = script.parser().parse_args(
            [
                "moduli",
                "--methods",
                "random",
                "--seeds",
                "1",
                "--budget",
                "24",
                "--no-hints",
                "--blocks",
                blocks,
                "--whiten",
                "--out",
                str(tmp_path),
            ]
        )
        features = script.pool("moduli", options)[1]
        assert list(features.blocks) == blocks.split(",")
        assert features.whiten
        result[blocks] = script.search(script.TASKS["moduli"], options)
        lines.append(len((tmp_path / "moduli.jsonl").read_text().splitlines()))
    assert lines == [1, 2]
    assert Encoder.asked == 1


class Encoder:
    """An encoder that counts how often it is asked."""

    asked = 0
    dialect = "canonical"

    def __init__(self, name, pooling=None):
        self.id = Path(name).name

    def embed(self, strings):
        type(self).asked += 1
        return np.random.default_rng(0).normal(size=(len(strings), 3))


def test_ablations_differ_in_one_thing_and_keep_what_is_done(script, tmp_path, monkeypatch, capsys):
    ablations = importlib.import_module("ablations")
    monkeypatch.delitem(sys.modules, "ablations")
    strings = [f"0 0 0 | 1a | {element} 1.0" for element in script.ELEMENTS[:60]]
    values = {"bulk_modulus": np.arange(60.0)}
    np.savez(tmp_path / "moduli-canonical.npz", strings=np.array(strings), **values)
    np.save(tmp_path / "moduli-sites.npy", np.zeros((60, 0, 26), dtype=np.float32))
    monkeypatch.setattr(script, "load_encoder", Encoder)
    monkeypatch.setitem(ablations.BUDGETS, "moduli", 25)
    given = ["--tasks", "moduli", "--seeds", "1", "--out", str(tmp_path)]
    given += ["--encoder", f"0.1.0={tmp_path}", "--rows", "defaults", "elements alone"]
    monkeypatch.setattr(sys, "argv", ["ablations.py", *given])
    for _ in range(2):
        ablations.main()
        assert len((tmp_path / "moduli.jsonl").read_text().splitlines()) == 2
    written = (tmp_path / "moduli.md").read_text().splitlines()
    assert [line.split(" | ")[1] for line in written[4:]] == ["defaults", "elements alone"]
    assert "1 hits of 60" in capsys.readouterr().out


def test_every_row_of_the_ablations_has_flags_that_are_known_or_are_left_out(script):
    ablations = importlib.import_module("ablations")
    names = [row.name for row in ablations.ROWS]
    assert len(set(names)) == len(names)
    for row in ablations.ROWS:
        found, _ = script.parser().parse_known_args(["moduli", *row.flags])
        assert found.tasks == ["moduli"], row.name
