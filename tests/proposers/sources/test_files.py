"""Sources that are files: ASE databases, tables, CIF streams, what cannot be a parent."""

import gzip
import io
import json
import time
from itertools import chain, product, repeat

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect

from cloudseed._parsing import Limits
from cloudseed.crystal import Cell, Crystal
from cloudseed.errors import InputError, StructureError, UsageError
from cloudseed.proposers.parents import counted, load_parents, read_entries, read_parents
from cloudseed.proposers.sources import Entry, ase_db, find_entries, lists
from cloudseed.proposers.sources.lists import read_stream

SALT = Cell(
    ((4.1, 0.0, 0.0), (0.0, 4.1, 0.0), (0.0, 0.0, 4.1)),
    ("Cs", "Cl"),
    ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),
)


def cif(first="Cs", second="Cl", edge=4.1, occupancy=1.0, more=""):
    return f"""data_{first}{second}
_cell_length_a {edge}
_cell_length_b {edge}
_cell_length_c {edge}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_type_symbol
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{first} {first}1 0 0 0 {occupancy}
{second} {second}1 0.5 0.5 0.5 1
{more}
"""


@pytest.fixture(params=["all.db", "all.json"])
def ase_database(tmp_path, request):
    path = tmp_path / request.param
    with connect(path) as rows:
        rows.write(SALT.to_atoms(), gap=8.3, note="salt")
        rows.write(Atoms("H2O", [[0, 0, 0], [0, 0, 1], [0, 1, 0]], cell=[9, 9, 9], pbc=False))
        rows.write(Atoms(f"Fe{1000}", cell=[30, 30, 30], pbc=True))
    return path


def test_an_ase_database_gives_crystals_values_and_errors(ase_database):
    entries = list(find_entries([ase_database]))
    assert [e.name for e in entries] == ["all-1", "all-2", "all-3"]
    assert entries[0].values == {"gap": 8.3}
    found = read_parents([ase_database], skip_bad=True)
    assert [p.crystal.key for p in found.parents] == ["221 1a:Cl 1b:Cs"]
    assert "not periodic" in found.skipped[0]
    assert "1000 sites" in found.skipped[1]
    with pytest.raises(StructureError, match="1 more file"):
        load_parents([ase_database])


def test_what_is_no_ase_database(tmp_path):
    for name, text in (("a.db", "no database"), ("b.json", "{"), ("c.json", json.dumps([1]))):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="ASE database"):
            list(find_entries([tmp_path / name]))
    with pytest.raises(InputError, match="no file"):
        list(find_entries([tmp_path / "missing.db"]))
    assert not (tmp_path / "missing.db").exists()


def test_a_table_gives_names_and_numbers(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(f'id,energy,note,cif\nfirst,-1.5,x,"{cif()}"\nsecond,,y,"{cif("Rb")}"\n')
    entries = list(find_entries([path]))
    assert [(e.name, dict(e.values)) for e in entries] == [
        ("first", {"energy": -1.5}),
        ("second", {}),
    ]
    assert [p.name for p in load_parents([path])] == ["first", "second"]
    path.write_text("id,structure\n1,2\n")
    with pytest.raises(InputError, match="no column 'cif'") as caught:
        list(find_entries([path]))
    assert "structure" in caught.value.hint


def test_a_stream_is_cut_into_structures():
    text = "# from a generator\n" + cif() + cif("Rb", "Br", 4.4) + "data_broken\n_cell_length_a x\n"
    entries = list(read_stream(text.splitlines(keepends=True)))
    assert [e.name for e in entries] == ["CsCl", "RbBr", "broken"]
    assert entries[2].origin == "standard input, structure 3"
    with pytest.raises(InputError, match="no CIF"):
        list(read_stream(["nothing\n"]))
    with pytest.raises(InputError, match="too long"):
        list(read_stream(["data_x\n", "y" * 2_000_000]))


def test_partly_occupied_sites_are_refused_or_ordered_by_majority(tmp_path):
    (tmp_path / "mixed.cif").write_text(cif(occupancy=0.7, more="Rb Rb1 0 0 0 0.3"))
    (tmp_path / "empty.cif").write_text(cif("K", occupancy=0.3))
    (tmp_path / "half.cif").write_text(cif("Na", occupancy=0.5, more="Li Li1 0 0 0 0.5"))
    with pytest.raises(StructureError, match="partly occupied"):
        load_parents([tmp_path])
    found = {p.name: p for p in read_parents([tmp_path], disorder="majority").parents}
    assert {name: p.crystal.formula for name, p in found.items()} == {
        "mixed": "CsCl",
        "empty": "Cl2",
        "half": "LiCl",
    }
    assert found["mixed"].source.endswith("(ordered by majority)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (cif(edge=0.5), "apart"),
        (cif(edge=30.0), "molecule in vacuum"),
        (cif("Xx"), "not an element"),
        ("data_x\n", "parsed as CIF"),
    ],
)
def test_what_cannot_be_a_parent_is_refused_or_counted(tmp_path, text, said):
    (tmp_path / "bad.cif").write_text(text)
    with pytest.raises(InputError, match=said):
        load_parents([tmp_path / "bad.cif"])
    (tmp_path / "good.cif").write_text(cif())
    found = read_parents([tmp_path], skip_bad=True)
    assert [p.name for p in found.parents] == ["good"]
    assert len(found.skipped) == 1


def test_a_parent_without_symmetry_is_a_parent(tmp_path):
    (tmp_path / "low.cif").write_text(cif(more="O O1 0.13 0.57 0.02 1\nMg Mg1 0.61 0.12 0.93 1"))
    (parent,) = load_parents([tmp_path])
    assert parent.crystal.symmetry.space_group == 1
    assert len(parent.crystal.root.orbits) == 4


def test_prototypes_stand_beside_files(tmp_path):
    (tmp_path / "salt.cif").write_text(cif())
    parents = load_parents([tmp_path, "prototypes"])
    assert parents[0].name == "salt"
    assert len(parents) > 250
    assert len({p.name for p in parents}) == len(parents)


def test_nothing_is_no_parent():
    with pytest.raises(UsageError, match="No parents are given"):
        load_parents([])


def test_what_a_packed_table_unpacks_to_is_bounded(tmp_path, monkeypatch):
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wt") as stream:
        stream.write("id,cif\n" + "1,x\n" * 5_000)
    monkeypatch.setattr(lists, "LARGEST", 10_000)
    with pytest.raises(InputError, match="more than"):
        list(find_entries([path]))
    with gzip.open(path, "wt") as stream:
        stream.write("id,cif\n" + "x" * 5_000_000)
    with pytest.raises(InputError, match="too long"):
        list(find_entries([path]))


def test_no_more_of_an_endless_line_is_read_than_a_line_may_hold():
    class Endless(io.StringIO):
        asked = 0

        def readline(self, size=-1):
            assert size > 0
            self.asked += size
            return "x" * size

    endless = Endless()
    with pytest.raises(InputError, match="too long"):
        list(read_stream(endless))
    assert endless.asked <= 2 * lists.LONGEST_LINE


def test_entries_are_taken_a_few_at_a_time():
    taken = []

    def entries():
        for number in range(40):
            taken.append(number)
            bad = StructureError("odd") if number % 2 else (str(number), cif())
            yield Entry(str(number), str(number), bad)

    results = read_entries(entries())
    names = [next(results)[0].name for _ in range(6)]
    assert names == ["0", "1", "2", "3", "4", "5"]
    assert len(taken) < 20
    assert [isinstance(r, StructureError) for _, _, r in results] == [False, True] * 17


def test_entries_are_counted_where_they_are_few(monkeypatch):
    monkeypatch.setattr("cloudseed.proposers.parents._COUNTABLE", 3)
    entries = [Entry(str(n), "", ("", "")) for n in range(4)]
    assert counted(entries[:2])[1] == 2
    rest, total = counted(entries)
    assert total == 0
    assert list(rest) == entries


def test_an_ase_database_that_costs_too_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "all.json"
    path.write_text("[" * 200_000)
    monkeypatch.setattr(ase_db, "_LIMITS", Limits(cpu_seconds=5, memory_gigabytes=2))
    with pytest.raises(InputError, match=r"all\.json"):
        list(find_entries([path]))
    stuck = "import sys; sys.stdin.readline(); print('ready', flush=True); sys.stdin.read()"
    monkeypatch.setattr(ase_db._Rows, "code", stuck)
    monkeypatch.setattr(ase_db, "_LIMITS", Limits(wall_seconds=0.2))
    with pytest.raises(InputError, match="takes longer"):
        list(find_entries([path]))


def test_of_an_endless_block_little_is_held():
    lines = chain(["data_x\n"], repeat("y" * 99 + "\n", 30_000), cif().splitlines(keepends=True))
    first, second = read_stream(lines)
    assert 1_000_000 < len(first.source[1]) <= lists.LARGEST_CIF
    assert second.name == "CsCl"


def test_the_largest_child_cell_is_searched_quickly():
    grid = np.array(list(product(range(5), repeat=3)))
    faces = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    coords = (grid[:, None] + faces).reshape(-1, 3) / 5
    species = tuple(np.random.default_rng(0).choice(["Cu", "Au"], len(coords)).tolist())
    begun = time.process_time()
    Crystal.from_cell(Cell(np.eye(3) * 20, species, coords))
    assert len(coords) == 500
    assert time.process_time() - begun < 5.0
