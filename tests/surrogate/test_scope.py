import json
import os
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from cloudseed.crystal import Cell, Crystal, GeometryRoot, Orbit, multiplicities
from cloudseed.errors import ScopeError
from cloudseed.surrogate.scope import (
    DIALECTS,
    ELEMENTS,
    full_string,
    generators,
    parse,
    scope_string,
)

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[3] / "shared" / "data"))

CUBIC, HEX, TETRA = Lattice.cubic, Lattice.hexagonal, Lattice.tetragonal
ORTHO = Lattice.orthorhombic

PROTOTYPES = {
    "perovskite": ("Pm-3m", CUBIC(3.9), ["A", "B", "X"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]),
    "rocksalt": ("Fm-3m", CUBIC(5.6), ["A", "X"], [[0, 0, 0], [0.5] * 3]),
    "cesium chloride": ("Pm-3m", CUBIC(4.1), ["A", "X"], [[0, 0, 0], [0.5] * 3]),
    "fluorite": ("Fm-3m", CUBIC(5.4), ["A", "X"], [[0, 0, 0], [0.25] * 3]),
    "half-Heusler": ("F-43m", CUBIC(5.9), ["A", "B", "X"], [[0] * 3, [0.25] * 3, [0.5] * 3]),
    "zincblende": ("F-43m", CUBIC(5.4), ["A", "X"], [[0, 0, 0], [0.25] * 3]),
    "elpasolite": (
        "Fm-3m",
        CUBIC(8.3),
        ["A", "B", "X", "C"],
        [[0.25] * 3, [0, 0, 0], [0.24, 0, 0], [0.5] * 3],
    ),
    "spinel": ("Fd-3m", CUBIC(8.1), ["A", "B", "X"], [[0] * 3, [0.625] * 3, [0.387] * 3]),
    "rutile": ("P4_2/mnm", TETRA(4.6, 2.96), ["A", "X"], [[0, 0, 0], [0.305, 0.305, 0]]),
    "anatase": ("I4_1/amd", TETRA(3.78, 9.5), ["A", "X"], [[0, 0, 0], [0, 0, 0.208]]),
    "wurtzite": ("P6_3mc", HEX(3.2, 5.2), ["A", "X"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.38]]),
    "corundum": ("R-3c", HEX(4.76, 12.99), ["A", "X"], [[0, 0, 0.352], [0.306, 0, 0.25]]),
    "tilted perovskite": (
        "Pnma",
        ORTHO(5.5, 7.7, 5.4),
        ["A", "B", "X", "X"],
        [[0.03, 0.25, 0.99], [0, 0, 0.5], [0.49, 0.25, 0.06], [0.28, 0.03, 0.71]],
    ),
    "nickel arsenide": ("P6_3/mmc", HEX(3.6, 5.0), ["A", "X"], [[0, 0, 0], [1 / 3, 2 / 3, 0.25]]),
}
COLOURS = [
    {"A": "Sr", "B": "Ti", "X": "O", "C": "Na"},
    {"A": "Ti", "B": "Sr", "X": "O", "C": "Ag"},
    {"A": "F", "B": "Al", "X": "K", "C": "Cs"},
]
CASES = [(name, i) for name in PROTOTYPES for i in range(len(COLOURS))]


Change = Callable[[Structure, np.random.Generator], Structure]

STAND_INS = {"A": "Rb", "B": "Sc", "X": "Te", "C": "Au"}


@cache
def prototype(name: str) -> Structure:
    group, lattice, labels, sites = PROTOTYPES[name]
    return Structure.from_spacegroup(group, lattice, [STAND_INS[x] for x in labels], sites)


def make(name: str, colours: dict[str, str]) -> Structure:
    structure = prototype(name).copy()
    labels = dict.fromkeys(PROTOTYPES[name][2])
    structure.replace_species({STAND_INS[label]: colours[label] for label in labels})
    return structure


def both(structure: Structure) -> dict[str, str]:
    crystal = Crystal.from_structure(structure)
    return {dialect: scope_string(crystal, dialect) for dialect in DIALECTS}


def test_cloud_perovskite() -> None:
    assert both(make("perovskite", COLOURS[0])) == {
        "cloud": "1 4 b O O O c O O O d O O O e O O O 0 | 1a 1b 3c | Sr 0.2 Ti 0.2 O 0.6",
        "canonical": "1 4 b O O O c O O O d O O O e O O O 0 | 1a Sr 1b Ti 3c O"
        " | Sr 0.2 Ti 0.2 O 0.6",
    }


def test_cloud_follows_the_sites() -> None:
    structure = make("perovskite", COLOURS[0])
    turned = Structure.from_sites(structure.sites[::-1])
    expected = "1 4 b O O O c O O O d O O O e O O O 0 | 3c 1b 1a | O 0.6 Ti 0.2 Sr 0.2"
    assert scope_string(Crystal.from_structure(turned)) == expected


def test_canonical_tells_swapped_sites_apart() -> None:
    """In the canonical dialect the A site is always 1a, whatever the elements."""
    strings = [both(make("perovskite", COLOURS[i]))["canonical"] for i in (0, 1)]
    assert "1a Sr 1b Ti 3c O" in strings[0]
    assert "1a Ti 1b Sr 3c O" in strings[1]


def test_canonical_equal_letters_are_settled_by_elements() -> None:
    salt = make("rocksalt", {"A": "Na", "X": "Cl"})
    tlas = make("rocksalt", {"A": "Cl", "X": "Na"})
    assert both(salt)["canonical"] == both(tlas)["canonical"]
    assert "4a Na 4b Cl" in both(salt)["canonical"]


def conventional(structure: Structure, rng: np.random.Generator) -> Structure:
    return SpacegroupAnalyzer(structure).get_conventional_standard_structure()


def primitive(structure: Structure, rng: np.random.Generator) -> Structure:
    return structure.get_primitive_structure()


def niggli(structure: Structure, rng: np.random.Generator) -> Structure:
    return structure.get_reduced_structure("niggli")


def supercell(structure: Structure, rng: np.random.Generator) -> Structure:
    return structure.make_supercell(rng.permutation([1, 1, 2]), in_place=False)


def sheared(structure: Structure, rng: np.random.Generator) -> Structure:
    """The same crystal in another cell of the same volume."""
    return structure.make_supercell([[1, 0, 0], [1, 1, 0], [0, -1, 1]], in_place=False)


def moved(structure: Structure, rng: np.random.Generator) -> Structure:
    return structure.translate_sites(range(len(structure)), rng.random(3), to_unit_cell=True)


def shuffled(structure: Structure, rng: np.random.Generator) -> Structure:
    return Structure.from_sites([structure[i] for i in rng.permutation(len(structure))])


CHANGES = (conventional, primitive, niggli, supercell, sheared, moved, shuffled)


@pytest.mark.parametrize("full", [False, True])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    case=st.sampled_from(CASES),
    changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_canonical_does_not_depend_on_the_setting(
    full: bool, case: tuple[str, int], changes: list[Change], seed: int
) -> None:
    structure = make(case[0], COLOURS[case[1]])
    expected = scope_string(Crystal.from_structure(structure), "canonical", full=full)
    rng = np.random.default_rng(seed)
    for change in changes:
        structure = change(structure.copy(), rng)
    assert scope_string(Crystal.from_structure(structure), "canonical", full=full) == expected


@settings(max_examples=25, deadline=None, derandomize=True)
@given(case=st.sampled_from(CASES), seed=st.integers(0, 2**32 - 1))
def test_full_names_every_site_in_order(case: tuple[str, int], seed: int) -> None:
    structure = shuffled(make(case[0], COLOURS[case[1]]), np.random.default_rng(seed))
    full = parse(full_string(Cell.from_structure(structure)))
    reduced = parse(scope_string(Crystal.from_structure(structure)))
    assert len(full.symbols) == len(structure)
    assert tuple(dict.fromkeys(full.symbols)) == reduced.symbols
    assert (full.space_group, full.composition) == (reduced.space_group, reduced.composition)
    counts = Counter(full.symbols)
    assert all(counts[symbol] % int(symbol[:-1]) == 0 for symbol in counts)


def test_full_forms() -> None:
    structure = make("tilted perovskite", COLOURS[0])
    crystal = Crystal.from_structure(structure)
    canonical = scope_string(crystal, "canonical", full=True)
    assert " | 4a Ti 4c Sr 4c O 8d O | " in canonical
    assert parse(canonical).is_full
    assert parse(canonical).orbits[1:3] == (("4c", ("Sr",)), ("4c", ("O",)))
    assert parse(scope_string(crystal, "canonical")).orbits[1] == ("4c", ("Sr", "O"))
    assert not parse(scope_string(crystal)).is_full
    cells = [Cell.from_structure(structure), crystal.build()]
    assert [len(parse(full_string(cell)).symbols) for cell in cells] == [20, 20]
    assert full_string(crystal.build()) == scope_string(crystal, full=True)


@pytest.mark.parametrize("name", PROTOTYPES)
def test_inherited_strings_are_those_of_the_built_crystal(name: str) -> None:
    parent = Crystal.from_structure(make(name, COLOURS[0]))
    swap = dict(zip(parent.composition, ("Ba", "Zr", "S", "Tl"), strict=False))
    child = parent.recoloured([swap[e] for e in parent.colouring])
    assert child.symmetry.inherited
    built = Crystal.from_cell(child.build())
    assert scope_string(child, "canonical") == scope_string(built, "canonical")


def test_merged_sites_are_searched_anew() -> None:
    parent = Crystal.from_structure(make("elpasolite", COLOURS[0]))
    merged = {"Sr": "K", "Ti": "Al", "Na": "Al", "O": "F"}
    child = parent.recoloured([merged[e] for e in parent.colouring])
    assert scope_string(child, "canonical") == (
        "1 4 b O O O c O O O d O O O e O O O 0 | 1a K 1b Al 3c F | K 0.2 Al 0.2 F 0.6"
        if child.symmetry.space_group == 221
        else scope_string(Crystal.from_cell(child.build()), "canonical")
    )


def test_fractions_round_as_numpy_does() -> None:
    count, total = next(
        (a, b)
        for b in range(2, 201)
        for a in range(1, b)
        if float(np.round(a / b, 2)) != round(a / b, 2)
    )
    coords = tuple((i / total, 0.0, 0.0) for i in range(total))
    root = GeometryRoot(
        space_group=1,
        lattice=((900.0, 0.0, 0.0), (0.0, 5.0, 0.0), (0.0, 0.0, 5.0)),
        frac_coords=coords,
        site_orbits=tuple(range(total)),
        orbits=(Orbit("a", 1),) * total,
        partition=tuple(int(i >= count) for i in range(total)),
    )
    crystal = Crystal(root, ("Na",) * count + ("Cl",) * (total - count))
    assert f"Na {float(np.round(count / total, 2))} Cl" in scope_string(crystal)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_inherited_strings_are_fast(dialect: str) -> None:
    """Promised: 200 times as many as by a search of each; asserted: what a busy machine does."""
    parent = Crystal.from_structure(make("tilted perovskite", COLOURS[0]))
    cell = parent.build()
    start = time.process_time()
    for _ in range(10):
        scope_string(Crystal.from_cell(cell), dialect)
    searched = (time.process_time() - start) / 10
    swap = {"Sr": "Ba", "Ti": "Zr", "O": "S"}
    child = parent.recoloured([swap[e] for e in parent.colouring])
    scope_string(child, dialect)
    start = time.process_time()
    for _ in range(5_000):
        scope_string(child, dialect)
    assert searched > 10 * (time.process_time() - start) / 5_000


def test_unknown_dialect() -> None:
    with pytest.raises(ScopeError) as caught:
        scope_string(Crystal.from_structure(make("rocksalt", COLOURS[0])), "clod")
    assert caught.value.data["token"] == "clod"


def test_generators() -> None:
    table = generators()
    assert list(table) == list(range(1, 231))
    assert len(set(table.values())) == 230
    assert table[39] == "03aODDbOOOcODO0"
    assert table[131] == "13bDDOgDOOcODD0"
    assert table[222] == "14bDDOcDODdOOOeOOD1YYY"
    assert table[225] == "16aODDaDODbOOOcOOOdOOOeOOO0"


@pytest.mark.skipif(not DATA.is_dir(), reason="set CLOUDSEED_DATA to the folder of reference data")
def test_both_published_tables() -> None:
    folder = DATA / "cloud_tables"
    published = json.loads((folder / "generator.json").read_text())
    assert generators() == {int(number): text for number, text in published.items()}
    counts = json.loads((folder / "wyckoff-position-multiplicities.json").read_text())
    for number in range(1, 231):
        expected = {letter: int(count) for letter, count in counts[str(number)].items()}
        assert multiplicities(number) == expected


def test_three_generators_differ_from_the_standard() -> None:
    path = files("pymatgen.symmetry") / "symm_data.json"
    groups = json.loads(path.read_text(encoding="utf-8"))["space_group_encoding"].values()
    standard = {int(group["int_number"]): group["enc"] for group in groups}
    assert {n for n, text in generators().items() if text != standard[n]} == {39, 131, 222}


def test_elements() -> None:
    assert len(ELEMENTS) == len(set(ELEMENTS)) == 118
    assert (ELEMENTS[0], ELEMENTS[25], ELEMENTS[117]) == ("H", "Fe", "Og")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_parse_reads_what_was_written(case: tuple[str, int]) -> None:
    structure = make(case[0], COLOURS[case[1]])
    crystal = Crystal.from_structure(structure)
    for dialect, string in both(structure).items():
        scope = parse(string)
        assert str(scope) == string
        assert scope.dialect == dialect
        assert scope.space_group == crystal.symmetry.space_group
        assert set(scope.symbols) == {o.symbol for o in crystal.symmetry.orbits} or (
            dialect == "canonical"
        )
        assert set(scope.elements) == set(crystal.composition)


HEAD = "1 4 b O O O c O O O d O O O e O O O 0"


@pytest.mark.parametrize(
    ("string", "token"),
    [
        ("", ""),
        (f"{HEAD} | 1a 1b 3c", f"{HEAD} | 1a 1b 3c"),
        ("1 4 b O O O | 1a | Po 1.0", "1 4 b O O O"),
        ("1 4 b O Q O | 1a | Po 1.0", "Q"),
        (f"{HEAD[:-1]}7 | 1a | Po 1.0", "7"),
        (f"{HEAD} | 1a 1b 3e | Sr 0.2 Ti 0.2 O 0.6", "3e"),
        (f"{HEAD} | 1a 2b | Cs 0.5 Cl 0.5", "2b"),
        (f"{HEAD} | 1a Cs 1a Cl | Cs 0.5 Cl 0.5", "1a"),
        (f"{HEAD} |  | Cs 0.5 Cl 0.5", ""),
        (f"{HEAD} | 1a 1b | Cs 0.5 Xx 0.5", "Xx"),
        (f"{HEAD} | 1a 1b | Cs 0.5 Cs 0.5", "Cs"),
        (f"{HEAD} | 1a 1b | Cs 0.5 Cl", ""),
        (f"{HEAD} | 1a 1b | Cs 0.50 Cl 0.5", "0.50"),
        (f"{HEAD} | 1a 1b | Cs nan Cl 0.5", "nan"),
        (f"{HEAD} | 1a 1b | Cs 0.5 Cl 0.4", "Cs 0.5 Cl 0.4"),
        (f"{HEAD} | 1a Cs 1b | Cs 0.5 Cl 0.5", "1b"),
        (f"{HEAD} | 1a Cs 1b Cl | Cs 0.5 Br 0.5", "Br"),
        (f"{HEAD} | 1a Cs 1b Xx | Cs 0.5 Br 0.5", "Xx"),
    ],
)
def test_parse_names_the_offender(string: str, token: str) -> None:
    with pytest.raises(ScopeError) as caught:
        parse(string)
    assert caught.value.data["token"] == token
    assert caught.value.hint
    position = caught.value.data["position"]
    assert string[position : position + len(token)] == token


def test_parse_shows_the_offender() -> None:
    string = f"{HEAD} | 1a 1b 3e | Sr 0.2 Ti 0.2 O 0.6"
    with pytest.raises(ScopeError) as caught:
        parse(string)
    first, shown, carets = caught.value.message.split("\n")
    assert caught.value.data["position"] == string.index("3e")
    assert "'3e', at character" in first
    assert shown[carets.index("^") : carets.rindex("^") + 1] == "3e"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=st.sampled_from(CASES), full=st.booleans(), data=st.data())
def test_parse_points_at_any_spoilt_token(
    case: tuple[str, int], full: bool, data: st.DataObject
) -> None:
    dialect = data.draw(st.sampled_from(sorted(DIALECTS)))
    crystal = Crystal.from_structure(make(case[0], COLOURS[case[1]]))
    tokens = scope_string(crystal, dialect, full=full).split(" ")
    good = [i for i, token in enumerate(tokens) if token != "|"]
    place = data.draw(st.sampled_from(good))
    tokens[place] = "?"
    with pytest.raises(ScopeError) as caught:
        parse(" ".join(tokens))
    assert caught.value.data["token"] == "?"
    assert caught.value.data["position"] == len(" ".join(tokens[:place])) + (place > 0)


@pytest.mark.parametrize("value", [None, float("nan"), 3])
def test_parse_refuses_what_is_no_string(value: object) -> None:
    with pytest.raises(ScopeError):
        parse(value)  # type: ignore[arg-type]


@pytest.mark.skipif(not DATA.is_dir(), reason="set CLOUDSEED_DATA to the folder of reference data")
@pytest.mark.filterwarnings("ignore:.*:UserWarning:pymatgen")
def test_cloud_equals_the_published_strings() -> None:
    """`benchmarks/scope.py` compares all 18,711."""
    table = pd.read_csv(DATA / "mp_structures_1.csv.gz", usecols=["scope", "cif"])
    for row in table.sample(150, random_state=7).itertuples():
        structure = Structure.from_str(row.cif, fmt="cif")
        assert scope_string(Crystal.from_structure(structure)) == row.scope
