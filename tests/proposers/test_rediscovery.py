"""The re-discovery benchmark in short: known children are found, the seed decides."""

import csv
import gzip
import sys

from tests.proposers.test_benchmarks import script
from tests.structures import materials_project


def test_a_small_table_runs_to_the_end(tmp_path, monkeypatch, capsys):
    rows = materials_project(60)
    with gzip.open(tmp_path / "mp_structures_0.csv.gz", "wt", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.setattr(sys, "argv", ["rediscovery", "--data", str(tmp_path), "--parents", "8"])
    script("rediscovery").main()
    printed = capsys.readouterr().out
    assert "8 parents read" in printed
    assert "ionic_substitution / random, all elements" in printed


def test_a_hidden_child_of_a_parent_is_found(parent):
    benchmark = script("rediscovery")
    row = {"formula": "BaTiO3", "spacegroup_number": "221"}
    wanted = benchmark.np.array([benchmark._pair(row)], dtype="uint64")
    proposer = benchmark.load_proposer("ionic_substitution")
    context = benchmark.ProposalContext((), None)

    def way(one):
        return benchmark._proposed(proposer, one, context, None)

    found = benchmark._shares("ionic", way, [parent["SrTiO3"]], wanted)
    assert found[100] == 1.0
    assert benchmark._pair({"formula": "Ti2Ba2O6", "spacegroup_number": "221"}) == wanted[0]
    assert benchmark._pair({"formula": "BaTiO3", "spacegroup_number": "99"}) != wanted[0]
