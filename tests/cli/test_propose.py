"""`cloudseed propose` as a new user meets it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cloudseed.cli import propose as command
from cloudseed.cli.app import app
from cloudseed.errors import CloudseedError, UsageError
from tests.loop.small import PARENTS
from tests.proposers.sources.test_files import cif


def run(*arguments):
    return CliRunner().invoke(app, ["propose", *map(str, arguments)])


def test_a_pool_its_summary_and_one_childs_papers(tmp_path):
    pool = tmp_path / "pool.parquet"
    done = run(PARENTS, "--top", 12, "--per-parent", 60, "--out", pool)
    assert done.exit_code == 0, done.output
    for word in ("ionic_substitution", "dropped", "duplicates", "wrote 12 candidates"):
        assert word in done.output
    import pyarrow.parquet as pq

    rows = pq.read_table(pool).to_pylist()
    assert [row["rank"] for row in rows] == list(range(1, 13))
    assert all(row["cif"].startswith("# generated") for row in rows)
    papers = run("--out", pool, "--explain", rows[3]["key"])
    assert rows[3]["key"] in papers.output
    assert "SCOPE (canonical-1" in papers.output
    as_json = json.loads(run("--out", pool, "--explain", rows[3]["key"], "--json").output)
    assert as_json["key"] == rows[3]["key"]


def test_the_seed_alone_decides_what_is_explored(tmp_path):
    def pool(name, seed):
        path = tmp_path / f"{name}.csv"
        arguments = (PARENTS, "--top", 9, "--per-parent", 40, "--explore", 0.5, "--no-structures")
        done = run(*arguments, "--json", "--seed", seed, "--out", path)
        assert json.loads(done.output)["kept"] == 9
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert "exploration" in {row["chosen"] for row in rows}
        return rows

    first = pool("first", 5)
    assert pool("second", 5) == first
    other = [row["key"] for row in pool("other", 6)]
    assert set(other) != {row["key"] for row in first}


def test_cifs_on_standard_input_become_a_pool(tmp_path):
    text = cif() + cif("Rb", "Br", 4.4) + "data_broken\n_cell_length_a x\n"
    options = ["--skip-bad", "--out", str(tmp_path / "pool.csv"), "--no-structures"]
    done = subprocess.run(
        [sys.executable, "-m", "cloudseed", "propose", "--list", "-", *options],
        input=text,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "wrote 2 candidates" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no parents"),
        ((PARENTS, "--out", "pool.xlsx"), "no known format"),
        ((PARENTS, "--proposer", "alchemy"), "no proposer"),
        ((PARENTS, "--proposer", "ionic_substitution:treshold=1"), "no option"),
        ((PARENTS, "--filter", "ion_size:least"), "no option"),
        ((PARENTS, "--allow", ""), "empty"),
        ((PARENTS, "--forbid", "Xx"), "'Xx'"),
        ((PARENTS, "--share", "ionic_substitution=much"), "no share"),
        (("--explain", "SrTiO3"), "neither parents nor a pool"),
        (("nowhere.cif",), "no file"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, said):
    done = run(*arguments)
    assert isinstance(done.exception, CloudseedError)
    assert said in done.exception.message
    assert done.exception.hint


def test_values_are_read_as_they_are_meant():
    choice = command._choice("a:x=1,y=1e-6,z=true,w=word")
    assert choice.options == {"x": 1, "y": 1e-6, "z": True, "w": "word"}
    with pytest.raises(UsageError):
        command._choice("a:x")
