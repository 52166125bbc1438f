"""The re-discovery benchmark in short: known children are found, the seed decides."""

import csv
import gzip
import re
import sys

from tests.proposers.test_benchmarks import script

ALKALIS, HALOGENS = ("Li", "Na", "K", "Rb", "Cs"), ("F", "Cl", "Br", "I")
LINE = re.compile(r"(.+?)  +([\d.]+)% +([\d.]+)% +([\d.]+)%")


def rock_salt(first, second):
    """A row as the Materials Project's table has it, with a lattice made for the test."""
    edge, lines = 5.5, []
    for element, shift in ((first, 0.0), (second, 0.5)):
        for x, y, z in ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)):
            lines.append(f"{element} {element}{len(lines)} {(x + shift) % 1} {y} {z}")
    lengths = "".join(f"_cell_length_{a} {edge}\n" for a in "abc")
    angles = "".join(f"_cell_angle_{a} 90\n" for a in ("alpha", "beta", "gamma"))
    columns = ("type_symbol", "label", "fract_x", "fract_y", "fract_z")
    loop = "_space_group_name_H-M_alt 'P 1'\nloop_\n"
    loop += "".join(f"_atom_site_{column}\n" for column in columns)
    return {
        "material_id": f"{first}{second}",
        "formula": f"{first}{second}",
        "spacegroup_number": "225",
        "cif": f"data_x\n{lengths}{angles}{loop}" + "\n".join(lines) + "\n",
    }


def test_hidden_halides_are_found_and_by_chance_fewer(tmp_path, monkeypatch, capsys):
    rows = [rock_salt(a, x) for a in ALKALIS for x in HALOGENS]
    with gzip.open(tmp_path / "mp_structures_0.csv.gz", "wt", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.setattr(sys, "argv", ["rediscovery", "--data", str(tmp_path), "--parents", "4"])
    script("rediscovery").main()
    printed = capsys.readouterr().out
    assert "20 crystals, 4 hidden pairs, 4 parents" in printed
    found = {m[1]: float(m[3]) for m in map(LINE.fullmatch, printed.splitlines()) if m}
    assert found["ionic_substitution"] == 100.0
    assert found["random, all elements"] < 100.0


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
