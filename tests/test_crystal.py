"""Crystal: one crystal has one key, and a colouring's symmetry is what spglib finds."""

import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import spglib
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudseed._reading import read_cells
from cloudseed._symmetry import ANGLE_TOLERANCE
from cloudseed.crystal import (
    SYMPREC,
    VACANCY,
    VACANT,
    Cell,
    Crystal,
    GeometryRoot,
    Orbit,
    multiplicities,
    relabelings,
)
from cloudseed.errors import StructureError
from tests.structures import materials_project

PEROVSKITE = Cell(
    lattice=((3.905, 0.0, 0.0), (0.0, 3.905, 0.0), (0.0, 0.0, 3.905)),
    species=("Sr", "Ti", "O", "O", "O"),
    frac_coords=((0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)),
)
ELEMENTS = ("H", "Li", "B", "C", "N", "O", "F", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca")


@cache
def real_cells():
    """Some dozens of real cells of all crystal systems, at most 40 sites."""
    rows = [row for row in materials_project(120) if int(row["n_sites"]) <= 40]
    texts = [(row["material_id"], row["cif"]) for row in rows]
    return [Cell(*result) for result in read_cells(texts)]


@cache
def real_crystals():
    return [Crystal.from_cell(cell) for cell in real_cells()]


def shuffled(cell, rng):
    order = rng.permutation(len(cell.species))
    return Cell(
        cell.lattice,
        tuple(cell.species[i] for i in order),
        tuple(cell.frac_coords[i] for i in order),
    )


def shifted(cell, rng):
    return Cell.from_json(
        cell.to_json() | {"frac_coords": (np.array(cell.frac_coords) + rng.random(3)).tolist()}
    )


def doubled(cell, rng):
    axis = int(rng.integers(3))
    lattice, coords = np.array(cell.lattice), np.array(cell.frac_coords)
    lattice[axis] *= 2
    coords[:, axis] /= 2
    step = np.eye(3)[axis] / 2
    return Cell.from_json(
        {
            "lattice": lattice.tolist(),
            "species": cell.species * 2,
            "frac_coords": [*coords.tolist(), *(coords + step).tolist()],
        }
    )


def found_by_spglib(crystal):
    """spglib's dataset of the built cell, past all that Crystal knows."""
    cell = crystal.build()
    elements = sorted(set(cell.species))
    numbers = [elements.index(s) + 1 for s in cell.species]
    return spglib.get_symmetry_dataset(
        (cell.lattice, cell.frac_coords, numbers),
        symprec=SYMPREC,
        angle_tolerance=ANGLE_TOLERANCE,
    )


def test_the_perovskite():
    crystal = Crystal.from_cell(PEROVSKITE)
    assert crystal.root.space_group == 221
    assert [orbit.symbol for orbit in crystal.root.orbits] == ["1a", "1b", "3c"]
    assert crystal.colouring == ("Sr", "Ti", "O")
    assert crystal.key == "221 1a:Sr 1b:Ti 3c:O"
    assert crystal.composition == {"Sr": 1, "Ti": 1, "O": 3}
    assert crystal.formula == "SrTiO3"
    assert crystal.chemical_system == "O-Sr-Ti"


def test_the_key_ignores_the_origin_and_tells_a_from_b():
    crystal = Crystal.from_cell(PEROVSKITE)
    swapped = crystal.recoloured(("Ti", "Sr", "O"))
    moved = np.array(PEROVSKITE.frac_coords) + 0.5
    other = Cell.from_json(PEROVSKITE.to_json() | {"frac_coords": moved.tolist()})
    assert Crystal.from_cell(other).key == crystal.key
    assert swapped.key != crystal.key
    assert swapped.composition == crystal.composition


@pytest.mark.parametrize("change", [shuffled, shifted, doubled])
def test_one_crystal_has_one_key(change):
    rng = np.random.default_rng(1)
    wrong = []
    for cell, crystal in zip(real_cells(), real_crystals(), strict=True):
        other = Crystal.from_cell(change(cell, rng))
        same = other.key == crystal.key and sum(other.composition.values()) == sum(
            crystal.composition.values()
        )
        if not same or other.formula != crystal.formula:
            wrong.append((crystal.key, other.key))
    assert not wrong


@settings(max_examples=80, deadline=None)
@given(which=st.integers(0, 10**6), kinds=st.integers(0, 4), seed=st.integers(0, 10**6))
def test_a_recoloured_crystal_has_the_symmetry_that_spglib_finds(which, kinds, seed):
    """Injective maps where `kinds` is 0, else random colours from so many elements."""
    crystals, rng = real_crystals(), np.random.default_rng(seed)
    crystal = crystals[which % len(crystals)]
    injective = kinds == 0
    if injective:
        becomes = dict(zip(sorted(set(crystal.colouring)), rng.permutation(ELEMENTS), strict=False))
        child = crystal.recoloured([str(becomes[e]) for e in crystal.colouring])
    else:
        drawn = rng.integers(0, kinds, len(crystal.root.orbits))
        child = crystal.recoloured([ELEMENTS[i] for i in drawn])
    symmetry, dataset = child.symmetry, found_by_spglib(child)
    assert symmetry.space_group == dataset.number
    if injective:
        assert symmetry.inherited
        assert symmetry.orbits == child.root.orbits
    expected = {
        (dataset.wyckoffs[head], child.build().species[head])
        for head in dataset.crystallographic_orbits
    }
    if not symmetry.inherited:
        assert {
            (orbit.letter, e) for orbit, e in zip(symmetry.orbits, child.colouring, strict=True)
        } == expected
    rebuilt = Crystal.from_cell(child.build())
    assert rebuilt.key == child.key


def test_a_merge_that_raises_the_symmetry_is_remembered():
    child = Crystal.from_cell(PEROVSKITE).recoloured(("Po", "Po", "O"))
    before = dict(child.root.memo)
    assert not child.symmetry.inherited
    assert child.symmetry is child.recoloured(("Na", "Na", "Cl")).symmetry
    assert len(child.root.memo) == len(before) + 1


def test_all_sites_alike():
    crystal = Crystal.from_cell(
        Cell(
            lattice=((3.16, 0.0, 0.0), (0.0, 3.16, 0.0), (0.0, 0.0, 3.16)),
            species=("Cs", "Cl"),
            frac_coords=((0, 0, 0), (0.5, 0.5, 0.5)),
        )
    )
    merged = crystal.recoloured(("W", "W"))
    assert merged.key == "229 2a:W"
    assert merged.symmetry.group == (0, 0)


def test_json_gives_the_same_crystal_back():
    for crystal in real_crystals()[:20]:
        root = GeometryRoot.from_json(json.loads(json.dumps(crystal.root.to_json())))
        assert root.sha == crystal.root.sha
        assert Crystal(root, crystal.colouring) == crystal
        cell = crystal.build()
        assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell


def test_build_scales():
    cell = Crystal.from_cell(PEROVSKITE).build(64.0)
    assert cell.volume == pytest.approx(64.0)
    assert cell.formula == "SrTiO3"
    with pytest.raises(StructureError):
        cell.scaled_to(float("nan"))


def test_other_programs_get_the_same_cell():
    assert Cell.from_structure(PEROVSKITE.to_structure()) == PEROVSKITE
    assert Cell.from_atoms(PEROVSKITE.to_atoms()).species == PEROVSKITE.species
    assert Crystal.from_atoms(PEROVSKITE.to_atoms()).key == "221 1a:Sr 1b:Ti 3c:O"
    (read,) = read_cells([("written", PEROVSKITE.to_cif())])
    assert Crystal.from_cell(Cell(*read)).key == "221 1a:Sr 1b:Ti 3c:O"
    molecule = PEROVSKITE.to_atoms()
    molecule.pbc = False
    with pytest.raises(StructureError, match="periodic"):
        Cell.from_atoms(molecule)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"lattice": [[1, 0], [0, 1]], "species": [], "frac_coords": []},
        PEROVSKITE.to_json() | {"species": ["Sr"]},
        PEROVSKITE.to_json() | {"frac_coords": "here"},
        PEROVSKITE.to_json() | {"lattice": [[float("nan")] * 3] * 3},
    ],
)
def test_bad_json_is_refused(data):
    with pytest.raises(StructureError):
        Cell.from_json(data)


def test_a_colouring_needs_one_element_per_orbit():
    with pytest.raises(StructureError, match="2 elements"):
        Crystal.from_cell(PEROVSKITE).recoloured(("Sr", "Ti"))


def test_coinciding_atoms_have_no_symmetry():
    coords = ((0, 0, 0), (0, 0, 0), *PEROVSKITE.frac_coords[2:])
    with pytest.raises(StructureError, match="no symmetry"):
        Crystal.from_cell(Cell(PEROVSKITE.lattice, ("O",) * 5, coords))


def test_spglib_writes_nothing_to_the_error_stream():
    code = (
        "from cloudseed.crystal import Crystal, Cell\n"
        "c = Cell(((4,0,0),(0,4,0),(0,0,4)), ('Sr','Sr'), ((0,0,0),(1e-9,0,0)))\n"
        "try: Crystal.from_cell(c)\n"
        "except Exception: pass\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert run.stderr == b""


def test_tables():
    assert multiplicities(221)["c"] == 3
    assert all(chr(point) == letter for point, letter in relabelings(221)[0].items())
    assert Orbit("c", 3).symbol == "3c"


def test_importing_loads_nothing_heavy():
    code = "import sys, cloudseed.crystal; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert not loaded & {"pymatgen.core", "spglib", "ase", "pandas", "scipy", "torch"}


def test_a_child_without_some_sites_has_the_symmetry_of_what_is_left():
    parent = Crystal.from_cell(PEROVSKITE)
    oxide = parent.recoloured((VACANCY, "Re", "O"))
    assert oxide.key == "221 1a:Re 3d:O"
    assert oxide.composition == {"Re": 1, "O": 3}
    assert oxide.symmetry.group == (VACANT, 1, 2)
    assert len(oxide.build().species) == 4
    assert Crystal.from_cell(oxide.build()).key == oxide.key
    with pytest.raises(StructureError, match="No site"):
        _ = parent.recoloured((VACANCY, VACANCY, VACANCY)).symmetry


def test_a_split_orbit_has_the_symmetry_that_spglib_finds():
    root = Crystal.from_cell(PEROVSKITE).root
    labels = [0, 1, 2, 2, 3]
    split = root.split(labels)
    assert root.split([5, 7, 1, 1, 0]) is split
    assert split.space_group == 123
    assert root.orbit_map(split) == (0, 1, 2, 2)
    child = Crystal(split, ("Sr", "Ti", "O", "N"))
    assert child.symmetry.inherited
    assert Crystal.from_cell(child.build()).key == child.key
    assert len(root.permutations) == 6


def test_letters_of_the_built_cell_are_those_of_the_input():
    salt = [(0, 0, 0), (0.75, 0.75, 0.75)]
    half = 2.8
    cell = Cell(((0, half, half), (half, 0, half), (half, half, 0)), ("Ga", "As"), tuple(salt))
    for crystal in (*real_crystals()[:40], Crystal.from_cell(cell)):
        again = spglib.get_symmetry_dataset(
            (
                crystal.root.lattice,
                crystal.root.frac_coords,
                [crystal.root.partition[orbit] + 1 for orbit in crystal.root.site_orbits],
            ),
            symprec=SYMPREC,
            angle_tolerance=ANGLE_TOLERANCE,
        )
        assert again.number == crystal.root.space_group
        letters = [crystal.root.orbits[orbit].letter for orbit in crystal.root.site_orbits]
        assert list(again.wyckoffs) == letters
