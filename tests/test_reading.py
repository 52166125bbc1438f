"""Foreign files: what is refused, in which words, and what a limit does."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloudseed._parsing import LIMITS, PlainCell, plain_cell
from cloudseed._reading import read_cells
from cloudseed.crystal import Crystal, read_crystals
from cloudseed.errors import InputError, StructureError

CIF = """data_SrTiO3
_space_group_name_H-M_alt 'P m -3 m'
_cell_length_a 3.905
_cell_length_b 3.905
_cell_length_c 3.905
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Sr Sr 0 0 0 1
Ti Ti 0.5 0.5 0.5 1
O O 0.5 0.5 0 1
"""
POSCAR = """perovskite
1.0
3.9 0 0
0 3.9 0
0 0 3.9
Sr Ti O
1 1 3
direct
0 0 0
0.5 0.5 0.5
0.5 0.5 0
0.5 0 0.5
0 0.5 0.5
"""
EXTXYZ = """2
Lattice="4.2 0 0 0 4.2 0 0 0 4.2" Properties=species:S:1:pos:R:3 pbc="T T T"
Cs 0 0 0
Cl 2.1 2.1 2.1
"""
NO_TYPES = CIF.replace("_atom_site_type_symbol\n", "").replace("Sr Sr", "Sr1")
NO_TYPES = NO_TYPES.replace("Ti Ti", "Ti1").replace("O O", "O1A")
P1 = CIF.replace("'P m -3 m'", "'P 1'")


def exploding_cif(sites: int = 100) -> str:
    """A small file that asks for many sites times 192 operations."""
    rng = np.random.default_rng(0)
    rows = "".join(
        f"O{i} O {x:.4f} {y:.4f} {z:.4f} 1\n" for i, (x, y, z) in enumerate(rng.random((sites, 3)))
    )
    head = CIF.split("Sr Sr", maxsplit=1)[0].replace("P m -3 m", "F m -3 m").replace("3.905", "40")
    return head + rows


def read_one(source, **changes):
    (result,) = read_cells([source], limits=replace(LIMITS, **changes))
    return result


GOOD = {
    "a.cif": (CIF, "SrTiO3"),
    "POSCAR": (POSCAR, "SrTiO3"),
    "b.vasp": (POSCAR, "SrTiO3"),
    "c.extxyz": (EXTXYZ, "CsCl"),
    "d.CIF": (CIF, "SrTiO3"),
    "no-types.cif": (NO_TYPES, "SrTiO3"),
    "capitals.cif": (CIF.replace("Ti Ti", "TI TI4+").replace("Sr Sr", "a SR"), "SrTiO3"),
}


def test_formats(tmp_path):
    for name, (text, _) in GOOD.items():
        (tmp_path / name).write_text(text)
    crystals = list(read_crystals(tmp_path / name for name in GOOD))
    for crystal, (_, formula) in zip(crystals, GOOD.values(), strict=True):
        assert isinstance(crystal, Crystal), crystal
        assert crystal.formula == formula
        assert crystal.root.space_group == 221


def test_from_file_raises_what_reading_found(tmp_path):
    (tmp_path / "a.cif").write_text(CIF)
    assert Crystal.from_file(str(tmp_path / "a.cif")).formula == "SrTiO3"
    with pytest.raises(InputError, match="no file"):
        Crystal.from_file(tmp_path / "b.cif")


BROKEN = {
    "empty.cif": ("", "empty"),
    "blank.vasp": (" \n\n", "empty"),
    "prose.cif": ("Dear editor, please find the crystal enclosed.", "cannot be parsed as CIF"),
    "no-sites.cif": (CIF.split("loop_", maxsplit=1)[0], "cannot be parsed as CIF"),
    "no-cell.cif": (CIF.replace("_cell_length_a 3.905\n", ""), "cannot be parsed as CIF"),
    "words.cif": (CIF.replace("3.905", "large"), "cannot be parsed as CIF"),
    "flat.cif": (CIF.replace("_cell_length_c 3.905", "_cell_length_c 0"), ""),
    "nan.cif": (P1.replace("3.905", "nan"), ""),
    "half.cif": (CIF.replace("Ti Ti 0.5 0.5 0.5 1", "Ti Ti 0.5 0.5 0.5 0.5"), "partly occupied"),
    "over.cif": (CIF.replace("Ti Ti 0.5 0.5 0.5", "Ti Ti 0.01 0.01 0.01"), ""),
    "overlap.cif": (P1.replace("Ti Ti 0.5 0.5 0.5", "Ti Ti 0.1 0 0"), "angstrom apart"),
    "dummy.cif": (CIF.replace("Ti Ti", "X X"), "'X' is not an element"),
    "vacancy.cif": (CIF.replace("Ti Ti", "Vac1 Vac"), "'Vac' is not an element"),
    "vacancy-label.cif": (NO_TYPES.replace("Ti1", "Vac1"), "'Vac1' is not an element"),
    "water.cif": (CIF.replace("Ti Ti", "W1 Wat"), "'Wat' is not an element"),
    "ammonium.cif": (CIF.replace("Ti Ti", "NH4 NH4"), "'NH4' is not an element"),
    "unknown.cif": (CIF.replace("Ti Ti", "Ti ?"), "'?' is not an element"),
    "carbonyl.cif": (CIF.replace("Ti Ti", "CO CO"), "'CO' is not an element"),
    "dummy.vasp": (POSCAR.replace("Ti", "X"), "'X' is not an element"),
    "dummy.extxyz": (EXTXYZ.replace("Cl", "X"), "'X' is not an element"),
    "two.cif": (CIF + CIF.replace("SrTiO3", "other"), "2 structures"),
    "prose.vasp": ("not a structure", "cannot be parsed as POSCAR"),
    "nameless.vasp": (POSCAR.replace("Sr Ti O\n", ""), "does not name its elements"),
    "short.vasp": (POSCAR.rsplit("0 0.5 0.5", 1)[0], "cannot be parsed as POSCAR"),
    "molecule.xyz": ("1\n\nH 0 0 0\n", "not periodic"),
    "frames.extxyz": (EXTXYZ + EXTXYZ, "2 structures"),
    "prose.xyz": ("hello", "cannot be parsed as extended XYZ"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Name -> result; one worker reads them all, with a good file at the end."""
    folder = tmp_path_factory.mktemp("broken")
    for name, (text, _) in BROKEN.items():
        (folder / name).write_text(text)
    (folder / "good.cif").write_text(CIF)
    names = [*BROKEN, "good.cif"]
    return dict(zip(names, read_cells([folder / name for name in names]), strict=True))


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_say_why(broken, name):
    error = broken[name]
    assert isinstance(error, StructureError)
    assert name in error.message
    assert BROKEN[name][1] in error.message
    assert error.hint
    assert "\n" not in error.message
    assert len(error.message) < 500


def test_a_good_file_after_broken_ones(broken):
    assert isinstance(broken["good.cif"], PlainCell)
    assert broken["good.cif"].species == ("Sr", "Ti", "O", "O", "O")


def test_paths_that_hold_no_text(tmp_path):
    (tmp_path / "binary.cif").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "crystal.docx").write_text(CIF)
    (tmp_path / "large.cif").write_text("#" * 1_100_000)
    names = ("absent.cif", "", "binary.cif", "crystal.docx", "large.cif")
    results = list(read_cells([tmp_path / name for name in names]))
    assert all(isinstance(result, InputError) and result.hint for result in results)
    words = ("no file", "not a file", "not a text file", "no known structure format", "1.1 MB")
    for result, said in zip(results, words, strict=True):
        assert said in result.message


def test_no_worker_starts_for_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(subprocess, "Popen", None)
    assert isinstance(read_one(tmp_path / "absent.cif"), InputError)


def test_deuterium_is_hydrogen():
    text = P1.replace("Ti Ti", "D1 D").replace("O O", "O1 O")
    assert read_one(("heavy", text)).species == ("Sr", "H", "O")


def test_an_exploding_file_is_stopped_and_the_next_is_read():
    start = time.monotonic()
    results = list(
        read_cells(
            [("bomb", exploding_cif()), ("good", CIF)], limits=replace(LIMITS, cpu_seconds=1)
        )
    )
    assert "takes longer" in results[0].message
    assert "bomb" in results[0].message
    assert isinstance(results[1], PlainCell)
    assert time.monotonic() - start < 60


def test_a_worker_that_waits_is_stopped(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    result = read_one(("late", CIF), wall_seconds=0.0)
    assert isinstance(result, StructureError)
    assert "takes longer" in result.message


def test_a_cell_with_too_many_sites():
    result = read_one(("many", CIF), sites=4)
    assert "has 5 sites; at most 4" in result.message


def test_memory_is_limited():
    result = read_one(("greedy", CIF), memory_gigabytes=0.05)
    assert isinstance(result, StructureError)


def test_a_crash_is_an_error_and_the_next_is_read(monkeypatch):
    import cloudseed._reading as reading

    start, seen = reading.Worker._start, []

    def killed_at_first(self):
        process = start(self)
        if not seen:
            seen.append(process)
            process.kill()
            process.wait()
        return process

    monkeypatch.setattr(reading.Worker, "_start", killed_at_first)
    results = list(read_cells([("one", CIF), ("two", CIF)]))
    assert "crash" in results[0].message
    assert isinstance(results[1], PlainCell)


def test_order_is_kept_with_several_workers():
    lengths = [f"{3.8 + i / 100:.2f}" for i in range(12)]
    sources = [(f"row {i}", CIF.replace("3.905", a)) for i, a in enumerate(lengths)]
    sources.insert(5, ("row bad", "nothing"))
    results = list(read_cells(sources, workers=2))
    assert isinstance(results.pop(5), StructureError)
    assert [f"{cell.lattice[0][0]:.2f}" for cell in results] == lengths


def test_leaving_early_leaves_no_process():
    results = read_cells([("a", CIF), ("b", CIF)])
    next(results)
    results.close()
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    if not children.exists():
        pytest.skip("this kernel lists no child processes")
    for child in children.read_text().split():
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        assert b"cloudseed._parsing" not in command


def test_the_worker_leaves_when_its_input_ends():
    worker = subprocess.run(
        [sys.executable, "-c", "from cloudseed._parsing import serve; serve()"],
        input=json.dumps({"megabytes": 1.0}).encode() + b"\n",
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert worker.stdout == b"ready\n"


def test_read_crystals_refines_or_explains(tmp_path):
    results = list(read_crystals([("a", CIF), tmp_path / "absent.cif", ("b", "x")]))
    assert results[0].key == "221 1a:Sr 1b:Ti 3c:O"
    assert type(results[1]) is InputError
    assert isinstance(results[2], StructureError)


def test_plain_cell_refuses_an_empty_structure():
    from pymatgen.core import Lattice, Structure

    with pytest.raises(StructureError, match="no atoms"):
        plain_cell(Structure(Lattice.cubic(4), [], []))
