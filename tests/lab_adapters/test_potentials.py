"""The computed lab on cheap potentials: every property, unit and kind of ending."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import constants

from cloudseed.crystal import Cell
from cloudseed.errors import LabError, MissingDependencyError, SpecError, UsageError
from cloudseed.lab_adapters import FailureKind, Outcome, OutcomeKind, Quality, load_lab
from cloudseed.lab_adapters.potentials import available_calculators
from cloudseed.lab_adapters.potentials.calculators import load_calculator
from cloudseed.lab_adapters.potentials.references import read_entries
from tests.lab_adapters import potentials
from tests.lab_adapters.kit import perovskite, request, wait
from tests.lab_adapters.potentials_kit import (
    QUASI_HARMONIC,
    QUIET,
    check,
    face_centred,
    installed,
    measure,
    numbers,
    primitive,
    simple_cubic,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["installed"]

pytestmark = QUIET

GAS_CONSTANT = constants.R


# What it offers.


def test_calculators_are_found_by_entry_point() -> None:
    assert available_calculators() == tuple(sorted({"chgnet", *potentials.POINTS}))


def test_an_unknown_calculator_has_a_near_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no calculator 'lenard_jones'") as caught:
        load_lab("mlip", {"calculator": "lenard_jones"}, tmp_path / "lab")
    assert caught.value.hint == "Did you mean 'lennard_jones'?"


def test_a_calculator_that_does_not_load_is_a_lab_error() -> None:
    with pytest.raises(LabError, match="'broken' cannot be loaded: RuntimeError: no weights"):
        load_calculator("broken", "cpu")


def test_what_it_offers_depends_on_what_it_is_given(tmp_path: Path) -> None:
    plain = load_lab("mlip", {"calculator": "emt"}, tmp_path / "a").describe()
    assert sorted(plain.properties) == ["bulk_modulus", "energy", "shear_modulus", "volume"]
    assert plain.elements is None
    warm = load_lab("mlip", {"temperatures": [300, 650.5]}, tmp_path / "b").describe()
    assert {n for n in warm.properties if n.endswith("@650.5K")} == {
        f"{base}@650.5K" for base in ("heat_capacity", *QUASI_HARMONIC)
    }
    assert warm.properties["thermal_expansion@300K"] == "1/K"
    assert warm.properties["gibbs_energy@300K"] == "eV/atom"
    assert "formation_energy" in warm.properties
    assert "energy_above_hull" not in warm.properties


def test_each_property_tells_its_duration_and_cost(tmp_path: Path) -> None:
    config = {"temperatures": [300], "price": 3.6, "currency": "EUR", "timeout": 100}
    can = load_lab("mlip", config, tmp_path / "lab").describe()
    assert can.durations.keys() == can.costs.keys() == can.properties.keys()
    for name, duration in can.durations.items():
        assert 0 < duration.p50 <= duration.p95 <= 100
        assert can.costs[name].p95 == pytest.approx(duration.p95 / 1000)
        assert can.costs[name].unit == "EUR"
    assert can.duration is not None
    assert can.duration.p50 > can.durations["shear_modulus"].p50
    assert can.cost is not None
    assert can.cost.p50 == pytest.approx(can.duration.p50 / 1000)


def test_conductivity_must_be_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("phono3py")
    config: dict[str, Any] = {"temperatures": [300]}
    assert "thermal_conductivity@300K" not in (
        load_lab("mlip", config, tmp_path / "a").describe().properties
    )
    dear = load_lab("mlip", {**config, "conductivity": True}, tmp_path / "b").describe()
    assert dear.properties["thermal_conductivity@300K"] == "W/m/K"
    assert dear.durations["thermal_conductivity@300K"].p50 > dear.durations["energy"].p50


def test_a_missing_library_gives_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="needs phono3py") as caught:
        load_lab("mlip", {"conductivity": True}, tmp_path / "lab")
    assert caught.value.hint == "pip install 'cloudseed[conductivity]'"


@pytest.mark.nightly
def test_a_worker_runs_a_foreign_calculator(tmp_path: Path) -> None:
    lab = load_lab("mlip", {"calculator": "emt", "concurrency": 1, "price": 36}, tmp_path / "lab")
    try:
        handle = lab.submit(request(cell=primitive("Cu", 3.6), properties=("energy", "volume")))
        (message,) = wait(lab, [handle], 120).values()
    finally:
        lab.close()
    outcome = Outcome.from_json(message.raw)
    # Jacobsen, Norskov & Puska's copper: a lattice constant of 3.59 angstrom.
    assert numbers(outcome)["volume"] == pytest.approx(3.59**3 / 4, rel=0.005)
    assert outcome.instrument is not None
    assert outcome.instrument.name == "emt"
    assert outcome.instrument.firmware == "toy-potentials 1.2"
    assert outcome.cost is not None
    assert outcome.duration is not None
    # A duration is in whole milliseconds.
    assert 0 < outcome.cost <= (outcome.duration + 0.001) / 100


# Energies against elements and other phases.


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    path = tmp_path / "phases.csv"
    path.write_text("formula,energy_per_atom\nCu,0.1\nCu,-0.01\nAu,0.02\nCu3Au,-0.2\n")
    return path


def test_energies_against_given_phases(entries: Path, tmp_path: Path) -> None:
    config = {"calculator": "emt", "entries": entries}
    can = load_lab("mlip", config, tmp_path / "lab").describe()
    assert can.elements == {"Cu", "Au"}
    asked = ("energy", "formation_energy", "energy_above_hull")
    cell = Cell(
        face_centred("Cu", 3.9).lattice, ("Cu", "Au", "Au", "Cu"), face_centred("Cu", 1).frac_coords
    )
    outcome = measure(cell, *asked, entries=str(entries))
    found = numbers(outcome)
    # By hand: CuAu lies between Cu3Au (1 of 4 is Au) and Au; half of its atoms are Au.
    line = -0.2 + (0.5 - 0.25) / (1 - 0.25) * (0.02 + 0.2)
    assert found["formation_energy"] == pytest.approx(found["energy"] - (-0.01 + 0.02) / 2)
    assert found["energy_above_hull"] == pytest.approx(found["energy"] - line)
    assert outcome.details["hull"]["distance"] == pytest.approx(found["energy_above_hull"])


def test_a_new_ground_state_is_on_the_hull(tmp_path: Path) -> None:
    path = tmp_path / "high.csv"
    path.write_text("formula,energy_per_atom\nCu,1.0\n")
    outcome = measure(primitive("Cu", 3.6), "energy", "energy_above_hull", entries=str(path))
    found = numbers(outcome)
    assert found["energy_above_hull"] == 0
    assert outcome.details["hull"]["distance"] == pytest.approx(found["energy"] - 1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("formula,energy\nCu,1\n", "no column 'energy_per_atom'"),
        ("formula,energy_per_atom\nCu,nan\n", "row 1: 'Cu' with 'nan'"),
        ("formula,energy_per_atom\nXx,1\n", "row 1"),
    ],
)
def test_bad_entries_are_refused_at_once(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(SpecError, match=words) as caught:
        load_lab("mlip", {"entries": path}, tmp_path / "lab")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("config", "rows", "words", "key"),
    [
        ({"calculator": "emt"}, "CuAu,-1\n", "phases.csv has no row for .*: Au, Cu", "entries"),
        ({"calculator": "emt"}, "Cu,0\nCuO,-1\n", "phases.csv has no row for .*: O", "entries"),
        ({"calculator": "emt"}, "", "phases.csv has no row, so", "entries"),
        (
            {"calculator": "emt", "elements": ["Cu", "Al"]},
            "Cu,0\n",
            "has no row for .*: Al",
            "entries",
        ),
        ({"elements": ["Cu", "Og"]}, None, "CHGNet has no reference energy for Og", "elements"),
    ],
)
def test_an_element_without_an_energy_is_refused_at_once(
    tmp_path: Path, config: dict[str, Any], rows: str | None, words: str, key: str
) -> None:
    """Every experiment on it would fail, or none would be taken."""
    if rows is not None:
        path = tmp_path / "phases.csv"
        path.write_text("formula,energy_per_atom\n" + rows)
        config = {**config, "entries": path}
    with pytest.raises(SpecError, match=words) as caught:
        load_lab("mlip", config, tmp_path / "lab")
    assert caught.value.hint
    assert caught.value.data["key"] == key


def test_elements_may_leave_out_those_without_an_energy(tmp_path: Path) -> None:
    path = tmp_path / "phases.csv"
    path.write_text("formula,energy_per_atom\nCu,0\nCuO,-1\n")
    config = {"calculator": "emt", "entries": path, "elements": ["Cu"]}
    can = load_lab("mlip", config, tmp_path / "lab").describe()
    assert can.elements == {"Cu"}
    assert "energy_above_hull" in can.properties


def test_entries_may_not_change_under_a_lab(entries: Path, tmp_path: Path) -> None:
    lab = load_lab("mlip", {"calculator": "emt", "entries": entries}, tmp_path / "lab")
    opened = hashlib.sha256(entries.read_bytes()).hexdigest()
    options = {"entries": str(entries), "entries_sha256": opened}
    outcome = measure(primitive("Cu", 3.6), "energy", **options)
    assert outcome.details["hull"]["sha256"] == opened
    kept = entries.read_text()
    entries.write_text(kept + "CuAu,-0.3\n")
    with pytest.raises(LabError, match="has changed since the lab was opened") as caught:
        lab.submit(request(cell=primitive("Cu", 3.6), properties=("energy",)))
    assert caught.value.hint
    # A worker that starts only now refuses it too; a lab that is opened now takes it.
    read_entries.cache_clear()
    with pytest.raises(SpecError, match="not the file it was"):
        measure(primitive("Cu", 3.6), "energy", **options)
    with pytest.raises(SpecError, match="not the file it was"):
        load_lab("mlip", {"calculator": "emt", **options}, tmp_path / "pinned")
    load_lab("mlip", {"calculator": "emt", "entries": entries}, tmp_path / "anew")
    entries.unlink()
    with pytest.raises(LabError, match="cannot be read"):
        lab.submit(request(cell=primitive("Cu", 3.6), properties=("energy",)))


# Values, against computations of another kind.


def test_shear_modulus_against_energies() -> None:
    """Of aluminium, from the energy of two shears, in GPa by ASE's units."""
    from ase import Atoms, units
    from ase.calculators.emt import EMT

    outcome = measure(primitive("Al", 4.0), "shear_modulus")
    assert outcome.cell is not None
    atoms = Atoms("Al", cell=outcome.cell.lattice, pbc=True, calculator=EMT())

    def stiffness(strain: np.ndarray) -> float:
        """Returns (1/V) d2E/dx2 in GPa."""
        energies = []
        for x in (-0.004, 0.0, 0.004):
            bent = atoms.copy()
            bent.calc = EMT()
            bent.set_cell(np.array(atoms.cell) @ (np.eye(3) + x * strain), scale_atoms=True)
            energies.append(bent.get_potential_energy())
        curve = (energies[0] - 2 * energies[1] + energies[2]) / 0.004**2
        return curve / atoms.get_volume() / units.GPa

    c44 = stiffness(np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]]))
    tetragonal = stiffness(np.diag([0.5, -0.5, 0])) * 2  # (C11 - C12) / 2 times 2
    voigt = (tetragonal + 3 * c44) / 5
    reuss = 5 * tetragonal * c44 / (4 * c44 + 3 * tetragonal)
    (found,) = outcome.measurements
    assert found.unit == "GPa"
    assert found.value == pytest.approx((voigt + reuss) / 2, rel=0.05)
    # Voigt and Reuss bound what a polycrystal can be.
    assert found.sigma is not None
    assert found.sigma >= abs(voigt - reuss) / 2 * 0.9


def test_heat_capacity_against_its_formula() -> None:
    from matcalc import PhononCalc
    from pymatgen.core import Structure

    outcome = measure(
        primitive("Cu", 3.6),
        "heat_capacity@100K",
        "heat_capacity@3000K",
        temperatures=(100, 3000),
        fmax=0.005,
    )
    found = numbers(outcome)
    assert outcome.cell is not None
    structure = Structure(outcome.cell.lattice, ["Cu"], [[0, 0, 0]])
    phonon = PhononCalc(
        load_calculator("emt", "cpu"), min_length=7.5, relax_structure=False, write_phonon=False
    ).calc(structure)["phonon"]
    mesh = phonon.mesh
    weights = np.repeat(mesh.weights / mesh.weights.sum(), 3).reshape(mesh.frequencies.shape)
    x = constants.h * np.clip(mesh.frequencies, 1e-3, None) * 1e12 / (constants.k * 100)
    modes = x**2 * np.exp(x) / (np.exp(x) - 1) ** 2
    assert found["heat_capacity@100K"] == pytest.approx(
        GAS_CONSTANT * float((weights * modes).sum()), rel=1e-3
    )
    # Dulong and Petit.
    assert found["heat_capacity@3000K"] == pytest.approx(3 * GAS_CONSTANT, rel=2e-3)
    # Copper at 100 K: 16.0 J/mol/K (CRC Handbook).
    assert found["heat_capacity@100K"] == pytest.approx(16.0, rel=0.1)


def test_heat_capacity_is_per_formula_unit() -> None:
    """Whatever the cell: four atoms or one."""
    options: dict[str, Any] = {"temperatures": (300,), "supercell": 5.0, "pressure": 3}
    small = measure(primitive("Al", 4.0), "heat_capacity@300K", **options)
    large = measure(face_centred("Al", 4.0), "heat_capacity@300K", **options)
    (one,), (four,) = small.measurements, large.measurements
    assert one.value == pytest.approx(four.value, rel=0.01)
    assert "at 0 GPa, per mole of Al" in one.method
    assert one.sigma is not None
    assert 0 < one.sigma < 0.1 * one.value


def argon(supercell: float) -> Outcome:
    return measure(
        primitive("Ca", 5.26),  # whose mass is argon's, to 0.3 %
        "thermal_conductivity@40K",
        "thermal_conductivity@80K",
        calculator="lennard_jones",
        temperatures=(40, 80),
        conductivity=True,
        conductivity_mesh=9,
        supercell=supercell,
    )


def test_conductivity_of_argon() -> None:
    pytest.importorskip("phono3py")
    outcome = argon(7.5)
    found = numbers(outcome)
    # Solid argon near its melting point at 84 K has a few tenths of a W/m/K.
    assert 0.2 < found["thermal_conductivity@80K"] < 0.7
    ratio = found["thermal_conductivity@40K"] / found["thermal_conductivity@80K"]
    assert ratio == pytest.approx(2, rel=0.25)
    assert outcome.measurements[0].unit == "W/m/K"


def test_a_supercell_too_small_for_a_conductivity_is_noticed() -> None:
    """Twice a cell of one atom has no third-order forces, by symmetry."""
    pytest.importorskip("phono3py")
    outcome = argon(7.0)
    check(outcome, "unusable", "its conductivity at 40 K comes out as")
    assert outcome.failure is FailureKind.MEASUREMENT_INVALID


# Endings without a value.


def test_imaginary_modes_are_an_observation() -> None:
    outcome = measure(simple_cubic("Cu", 2.4), "heat_capacity@300K", temperatures=(300,))
    told = check(outcome, "imaginary_modes", "its lattice is unstable: the lowest mode has")
    assert outcome.kind is OutcomeKind.INFEASIBLE
    assert outcome.failure is FailureKind.SAMPLE_FAILED
    assert told["lowest_frequency_THz"] < -1
    assert f"{-told['lowest_frequency_THz']:.2f}i THz" in outcome.reason
    assert outcome.cell is not None


def test_imaginary_modes_may_be_a_flag() -> None:
    options = {"temperatures": (300,), "imaginary": "suspect"}
    outcome = measure(simple_cubic("Cu", 2.4), "heat_capacity@300K", **options)
    assert outcome.kind is OutcomeKind.MEASURED
    assert outcome.measurements[0].quality is Quality.SUSPECT
    assert outcome.details["phonons"]["lowest_frequency_THz"] < -1


@pytest.mark.nightly
def test_imaginary_modes_end_a_conductivity() -> None:
    pytest.importorskip("phono3py")
    options = {"temperatures": (300,), "conductivity": True, "conductivity_mesh": 7, "supercell": 5}
    outcome = measure(simple_cubic("Cu", 2.4), "thermal_conductivity@300K", **options)
    check(outcome, "imaginary_modes", "unstable")
    assert outcome.failure is FailureKind.SAMPLE_FAILED


def test_a_strain_that_lowers_the_energy_is_an_observation() -> None:
    outcome = measure(simple_cubic("Cu", 2.4), "shear_modulus")
    told = check(outcome, "elastically_unstable", "a small strain lowers its energy")
    assert outcome.kind is OutcomeKind.INFEASIBLE
    assert told["lowest_modulus_GPa"] < 0


def test_what_takes_too_many_forces_is_refused() -> None:
    pytest.importorskip("phono3py")
    options = {"temperatures": (300,), "conductivity": True, "max_force_calls": 2}
    outcome = measure(primitive("Cu", 3.6), "thermal_conductivity@300K", **options)
    told = check(outcome, "too_dear", "force calculations of 2")
    assert outcome.kind is OutcomeKind.REFUSED
    assert outcome.failure is FailureKind.REJECTED_CAPABILITY
    assert told["force_calls"] > 2


@pytest.mark.filterwarnings("ignore:logm result:RuntimeWarning")
@pytest.mark.parametrize(
    ("calculator", "cell", "settings", "kind", "words"),
    [
        ("pushing", simple_cubic("Cu", 2.4), {"max_steps": 20}, "exploded", "exploded to"),
        ("not_a_number", simple_cubic("Cu", 2.4), {}, "exploded", ""),
        ("emt", primitive("Cu", 4.4), {"max_steps": 1}, "not_converged", "within 1 steps"),
        ("emt", face_centred("Cu", 5.2), {"max_volume_ratio": 1.5}, "collapsed", "collapsed to"),
    ],
)
def test_what_does_not_survive_its_relaxation(
    calculator: str, cell: Cell, settings: dict[str, Any], kind: str, words: str
) -> None:
    outcome = measure(cell, "energy", calculator=calculator, **settings)
    told = check(outcome, kind, words)
    assert outcome.failure is FailureKind.SAMPLE_FAILED
    assert all(math.isfinite(v) for v in told.values() if isinstance(v, float))


# CHGNet, at its full length.


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_chgnet_on_rock_salt() -> None:
    """Against tables, within what CHGNet is known to be wrong by (docs/labs.md)."""
    a = 5.64
    h = a / 2
    cell = Cell(((0.0, h, h), (h, 0.0, h), (h, h, 0.0)), ("Na", "Cl"), ((0.0,) * 3, (0.5,) * 3))
    asked = ("heat_capacity@300K", "shear_modulus", "thermal_conductivity@300K")
    pytest.importorskip("phono3py")
    outcome = measure(cell, *asked, calculator="chgnet", temperatures=(300,), conductivity=True)
    found = numbers(outcome)
    # Cv of NaCl at 300 K: 47.6 J/mol/K, from Cp = 50.5 (CRC Handbook) less T V B alpha^2.
    assert found["heat_capacity@300K"] == pytest.approx(47.6, rel=0.05)
    # CHGNet's own, as measured; tables have 14.7 GPa and 7.1 W/m/K.
    assert found["shear_modulus"] == pytest.approx(8.03, rel=0.1)
    assert found["thermal_conductivity@300K"] == pytest.approx(0.504, rel=0.1)


@pytest.mark.nightly
def test_chgnet_finds_cubic_barium_titanate_unstable() -> None:
    """It is, below 393 K: titanium leaves the centre."""
    options: dict[str, Any] = {"calculator": "chgnet", "temperatures": (300,)}
    outcome = measure(perovskite(4.0, "Ba Ti O"), "heat_capacity@300K", **options)
    told = check(outcome, "imaginary_modes", "unstable")
    assert told["lowest_frequency_THz"] < -1


@pytest.mark.nightly
def test_chgnet_breaks_the_sum_rule_in_strontium_titanate() -> None:
    """By more than 2 THz; with the rule put back, no mode is imaginary, and the value is marked."""
    options: dict[str, Any] = {"calculator": "chgnet", "temperatures": (300,)}
    outcome = measure(perovskite(), "heat_capacity@300K", **options)
    # Ligny & Richet, Phys. Rev. B 53, 3013 (1996): 98 J/mol/K at 298 K.
    assert numbers(outcome)["heat_capacity@300K"] == pytest.approx(98, rel=0.1)
    assert outcome.measurements[0].quality is Quality.SUSPECT
    phonons = outcome.details["phonons"]
    assert phonons["lowest_without_sum_rule_THz"] < -1
    assert phonons["lowest_frequency_THz"] > -0.1
