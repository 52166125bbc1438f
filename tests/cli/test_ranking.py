"""`cloudseed rank` with several objectives, shares, formulas, and fewer features."""

from __future__ import annotations

import csv
import json
import sys

import pytest

from cloudseed.cli import main
from cloudseed.crystal import Crystal
from cloudseed.surrogate import scope_string
from tests.loop.test_listing import A_SITES, B_SITES, perovskite

PAIRS = [(a, b) for a in A_SITES for b in B_SITES]


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """A pool, and a measured list with two moduli, of perovskites as SCOPE strings."""
    folder = tmp_path_factory.mktemp("rank")
    heads = ["id", "scope", "bulk_modulus", "shear_modulus"]
    for name, part in (("pool", PAIRS[::3]), ("known", [p for i, p in enumerate(PAIRS) if i % 3])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            write = csv.writer(file).writerow
            write(heads)
            for a, b in part:
                bulk = 80.0 + 10 * A_SITES.index(a)
                shear = 70.0 - 8 * B_SITES.index(b)
                scope = scope_string(Crystal.from_cell(perovskite(a, b)), "cloud")
                write([f"{a}{b}O3", scope, bulk, shear])
    return folder


@pytest.fixture
def rank(lists, monkeypatch, capsys):
    """Runs the command in this process; returns its exit code, JSON and what it complained of."""

    def run(*arguments):
        files = ["--pool", lists / "pool.csv", "--measured", lists / "known.csv", "--json"]
        monkeypatch.setattr(sys, "argv", ["cloudseed", "rank", *map(str, [*files, *arguments])])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code, json.loads(said.out) if said.out else None, said.err

    return run


def test_a_formula_is_sought_and_bounded(rank):
    formula = ("--derived", "pugh=shear_modulus / bulk_modulus", "--order-by", "mean")
    code, found, _ = rank("--objective", "max pugh", *formula, "--constraint", "pugh >= 0.5")
    assert code == 0
    means = [row["mean"]["pugh"] for row in found["rows"]]
    assert found["candidates"] == 12
    assert max(means) == means[0] > 0.5
    assert found["rows"][0]["feasible"] > found["rows"][-1]["feasible"]


def test_several_objectives_make_a_front(rank):
    code, found, _ = rank("--objective", "max bulk_modulus; max shear_modulus", "--top", "0")
    assert code == 0
    assert set(found["rows"][0]["mean"]) == {"bulk_modulus", "shear_modulus"}
    worst = found["rows"][-1]["mean"]
    assert any(
        row["mean"]["bulk_modulus"] > worst["bulk_modulus"]
        and row["mean"]["shear_modulus"] > worst["shear_modulus"]
        for row in found["rows"]
    )


def test_the_best_share_is_sought(rank):
    code, found, _ = rank("--objective", "find highest 20 % shear_modulus", "--top", "0")
    assert code == 0
    means = [row["mean"]["shear_modulus"] for row in found["rows"]]
    assert means[0] > sorted(means)[len(means) // 2]
    assert any("by the model" in note for note in found["notes"])


def test_fewer_features_and_no_heads_say_other_things(rank):
    asked = ("--objective", "max bulk_modulus", "--top", "0")
    both = rank(*asked)[1]["rows"]
    alone = rank(*asked, "--no-heads")[1]["rows"]
    embedding = rank(*asked, "--features", "embedding", "--no-heads")[1]["rows"]

    def means(rows):
        return {row["name"]: row["mean"]["bulk_modulus"] for row in rows}

    assert means(both) != means(alone)
    assert means(alone) != means(embedding)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--features", "embedding,element"), "element"),
        (("--features", "elements,elements"), "once"),
        (("--derived", "pugh"), "pugh"),
        (("--derived", "=1"), "=1"),
        (("--derived", "x=bulk_modulus", "--derived", "x=shear_modulus"), "x=shear"),
        (("--derived", "x=bulk_modulus +"), "x"),
    ],
)
def test_what_cannot_be_asked_is_refused(rank, given, words):
    code, found, said = rank("--objective", "max bulk_modulus", *given)
    assert code in {1, 2}
    assert found is None
    assert words in said
    assert "Traceback" not in said
