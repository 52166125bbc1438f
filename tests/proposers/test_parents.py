"""Parents from files; and that each example file is the crystal that its comment names."""

import logging
import re
import shutil

import numpy as np
import pytest

from cloudseed.errors import InputError, StructureError, UsageError
from cloudseed.proposers import load_parents
from tests.proposers.conftest import FOLDER

FILES = sorted(FOLDER.glob("*.cif"))


def test_each_example_has_the_space_group_that_it_states(parents):
    assert [p.source for p in parents] == [str(path) for path in FILES]
    assert len(parents) >= 10
    for parent, path in zip(parents, FILES, strict=True):
        text = path.read_text()
        stated = re.search(r"_space_group_IT_number (\d+)", text)
        formula = re.search(r"_chemical_formula_sum '(.+)'", text)
        assert parent.crystal.root.space_group == int(stated[1]), path.name
        assert sorted(formula[1].replace("3", "").split()) == sorted(parent.crystal.composition)
        assert len(parent.crystal.root.site_orbits) <= 20
        assert re.search(r"\(\d{4}\)", text), f"{path.name} cites no source"
    small = [p for p in parents if len(p.crystal.root.site_orbits) <= 10]
    assert len(small) > len(parents) / 2


def test_bond_lengths_of_the_examples_are_those_of_perovskites(parents):
    for parent in parents:
        structure = parent.crystal.build().to_structure()
        apart = structure.distance_matrix[~np.eye(len(structure), dtype=bool)]
        assert 1.75 < apart.min() < 2.2, parent.name


def test_a_file_a_pattern_and_a_folder_are_the_same(parents, tmp_path):
    for path in FILES[:2]:
        shutil.copy(path, tmp_path)
    by_pattern = load_parents([tmp_path / "*.cif"])
    by_folder = load_parents(tmp_path)
    assert [p.name for p in by_pattern] == [p.name for p in by_folder]
    assert [p.crystal for p in by_folder] == [p.crystal for p in parents[:2]]


def test_the_same_crystal_twice_is_one_parent(tmp_path, caplog):
    for name in ("a.cif", "b.cif"):
        shutil.copy(FOLDER / "SrTiO3.cif", tmp_path / name)
    with caplog.at_level(logging.WARNING):
        (parent,) = load_parents([tmp_path])
    assert parent.name == "a"
    assert parent.source == f"{tmp_path / 'a.cif'}; {tmp_path / 'b.cif'}"
    assert "same crystal" in caplog.text


def test_equal_file_names_take_their_folders(tmp_path):
    for folder, source in (("one", "SrTiO3"), ("two", "KMgF3")):
        (tmp_path / folder).mkdir()
        shutil.copy(FOLDER / f"{source}.cif", tmp_path / folder / "parent.cif")
    parents = load_parents([tmp_path / "one", tmp_path / "two"])
    assert [p.name for p in parents] == ["one/parent", "two/parent"]


def test_a_broken_file_is_named_and_the_others_counted(tmp_path):
    shutil.copy(FOLDER / "SrTiO3.cif", tmp_path)
    (tmp_path / "bad.cif").write_text("nothing")
    with pytest.raises(StructureError, match=r"bad\.cif") as caught:
        load_parents([tmp_path])
    assert "more" not in caught.value.message
    (tmp_path / "worse.cif").write_text("")
    with pytest.raises(StructureError, match=r"bad\.cif.*1 more file cannot be used"):
        load_parents([tmp_path])


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda folder: [], UsageError, "No parents"),
        (lambda folder: [folder], UsageError, "no structure files"),
        (lambda folder: [folder / "*.cif"], UsageError, "No file matches"),
        (lambda folder: [folder / "a.cif"], InputError, "no file"),
    ],
)
def test_nothing_to_read(tmp_path, make, error, said):
    with pytest.raises(error, match=said) as caught:
        load_parents(make(tmp_path))
    assert caught.value.hint
