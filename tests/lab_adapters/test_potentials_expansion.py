"""The quasi-harmonic properties of the computed lab, on a cheap potential."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest
from scipy import constants

from cloudseed.errors import SpecError
from cloudseed.lab_adapters import FailureKind, Outcome, OutcomeKind, Quality, load_lab
from cloudseed.lab_adapters.potentials.outcomes import Breakdown, Ended
from tests.lab_adapters.potentials_kit import (
    QUASI_HARMONIC,
    QUIET,
    check,
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

ALL = (
    *(f"{base}@{t}K" for base in QUASI_HARMONIC for t in (290, 300, 310)),
    "heat_capacity@300K",
)

COLD = ("gibbs_energy@20K",)
"""Few temperatures to fit."""


@lru_cache(maxsize=2)
def scan(pressure: float, properties: tuple[str, ...] = ALL) -> Outcome:
    return measure(
        primitive("Cu", 3.6),
        *properties,
        temperatures=(290, 300, 310),
        pressure=pressure,
        fmax=0.005,
        qha_points=5,
        supercell=5.0,
    )


def test_quasi_harmonic_errors_hold_what_all_fits_share() -> None:
    found = {m.property: m for m in scan(0.0).measurements}

    def error(name: str) -> float:
        sigma = found[f"{name}@300K"].sigma
        assert sigma is not None
        return sigma

    kt = constants.k * 300 / constants.e
    heat = found["heat_capacity@300K"].sigma
    modulus, volume = found["bulk_modulus@300K"].value, found["volume@300K"].value
    assert heat is not None
    # The classical limit of 15 % higher frequencies: 3 kT ln 1.15 an atom.
    assert error("gibbs_energy") == pytest.approx(
        math.hypot(0.03, 3 * kt * math.log(1.15)), rel=0.1
    )
    assert error("heat_capacity_p") == pytest.approx(heat, rel=0.2)
    assert 0.06 * modulus <= error("bulk_modulus") < 0.1 * modulus
    assert 0.005 * volume <= error("volume") < 0.01 * volume
    expansion = found["thermal_expansion@300K"]
    assert error("thermal_expansion") >= 0.06 * expansion.value
    assert "spread of 3 equations of state" in expansion.sigma_method
    assert expansion.quality is Quality.GOOD


def test_a_single_fit_has_no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its value is marked."""
    from cloudseed.lab_adapters.potentials import expansion

    fitted = expansion._fitted

    def only_vinet(*args: Any) -> Any:
        at = fitted(*args)
        if args[3] == "vinet":
            return at
        return lambda kelvin: dict.fromkeys(at(kelvin), math.nan)

    monkeypatch.setattr(expansion, "_fitted", only_vinet)
    (found,) = scan.__wrapped__(0.0, COLD).measurements
    assert found.quality is Quality.SUSPECT
    assert found.sigma is not None
    assert found.sigma > 0.03


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("matcalc", "Fitting to EOS failed."),
        pytest.param("phonopy", "Met difficulty in fitting to EOS.", marks=pytest.mark.nightly),
    ],
)
def test_energies_that_no_equation_of_state_fits_are_unusable(
    monkeypatch: pytest.MonkeyPatch, where: str, message: str
) -> None:
    """Whether matcalc's own fit fails, or only one of ours."""
    import matcalc._qha
    import phonopy

    class NoFit:
        def __init__(self, **kwargs: Any) -> None:
            raise RuntimeError(message)

    monkeypatch.setattr(matcalc._qha if where == "matcalc" else phonopy, "PhonopyQHA", NoFit)
    outcome = scan.__wrapped__(0.0, COLD)
    check(outcome, "unusable", "no equation of state fits its free energies")
    assert outcome.failure is FailureKind.MEASUREMENT_INVALID


def test_another_error_of_a_scan_is_not_taken_for_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    import matcalc

    def broken(*args: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(matcalc.QHACalc, "calc", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        scan.__wrapped__(0.0, COLD)


def test_a_scan_holds_the_relaxed_volume(tmp_path: Path) -> None:
    """Its phonons there tell whether the material is unstable."""
    with pytest.raises(SpecError, match=r"'qha_points'.*odd") as caught:
        load_lab("mlip", {"temperatures": [300], "qha_points": 6}, tmp_path / "lab")
    assert "odd" in caught.value.hint
    volumes = scan(0.0).details["quasi_harmonic"]["volumes"]
    cell = scan(0.0).cell
    assert cell is not None
    assert volumes[len(volumes) // 2] == pytest.approx(cell.volume, rel=1e-3)


def test_quasi_harmonic_properties_agree_with_each_other() -> None:
    """Thermodynamics ties them, and with them their units."""
    outcome = scan(0.0)
    found = numbers(outcome)
    volume, expansion = found["volume@300K"], found["thermal_expansion@300K"]
    slope = (found["volume@310K"] - found["volume@290K"]) / 20 / volume
    assert expansion == pytest.approx(slope, rel=0.02)
    # Copper: 50e-6 per kelvin at room temperature (CRC Handbook).
    assert 3e-5 < expansion < 9e-5
    # Cp - Cv = T V B alpha^2, with V in m^3/mol.
    molar = volume * 1e-30 * constants.N_A
    modulus = found["bulk_modulus@300K"] * 1e9
    excess = 300 * molar * modulus * expansion**2
    assert found["heat_capacity_p@300K"] - found["heat_capacity@300K"] == pytest.approx(
        excess, abs=0.3
    )
    # -dG/dT = S, which Dulong and Petit's solid of this Debye temperature (CRC: 33.2 J/mol/K) has.
    entropy = -(found["gibbs_energy@310K"] - found["gibbs_energy@290K"]) / 20
    assert entropy * constants.e * constants.N_A == pytest.approx(33.2, rel=0.15)
    assert all(m.sigma is not None and m.sigma_method for m in outcome.measurements)


@pytest.mark.nightly
def test_pressure_acts_on_the_quasi_harmonic_properties_alone() -> None:
    pressed = scan(2.0, ("gibbs_energy@300K", "volume@300K", "heat_capacity@300K"))
    found, squeezed = numbers(scan(0.0)), numbers(pressed)
    # dG/dp = V.
    rise = squeezed["gibbs_energy@300K"] - found["gibbs_energy@300K"]
    mean = (found["volume@300K"] + squeezed["volume@300K"]) / 2
    assert rise == pytest.approx(mean * 2 / 160.21766, rel=0.01)
    assert squeezed["heat_capacity@300K"] == found["heat_capacity@300K"]
    gibbs, _, heat = (m.method for m in pressed.measurements)
    assert "at 2 GPa" in gibbs
    assert "at 0 GPa" in heat


@pytest.mark.nightly
def test_imaginary_modes_end_a_quasi_harmonic_scan() -> None:
    asked = "thermal_expansion@300K"
    outcome = measure(simple_cubic("Al", 2.7), asked, temperatures=(300,), qha_points=5)
    check(outcome, "imaginary_modes", "unstable")
    assert outcome.failure is FailureKind.SAMPLE_FAILED


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"volume": 11.0}, "its volume lies outside the quasi-harmonic scan"),
        ({"volume": 10.0, "bulk_modulus": -1.0}, "fit gives bulk_modulus -1"),
        ({"volume": 10.0, "gibbs_energy": math.nan}, "fit gives gibbs_energy nan"),
    ],
)
def test_a_fit_beyond_what_was_computed_is_unusable(values: dict[str, float], words: str) -> None:
    from cloudseed.lab_adapters.potentials.expansion import _check

    _check({"volume": 10.0}, 300, (19.0, 20.0, 21.0), 2)
    with pytest.raises(Ended, match=words) as caught:
        _check(values, 300, (19.0, 20.0, 21.0), 2)
    assert caught.value.kind is Breakdown.UNUSABLE


@pytest.mark.nightly
def test_a_scan_that_does_not_hold_the_volume_is_unusable() -> None:
    """It says nothing of the material, and comes out the same again."""
    outcome = measure(
        primitive("Al", 4.0),
        "thermal_expansion@300K",
        temperatures=(300,),
        qha_points=5,
        qha_strain=0.001,
        supercell=5.0,
    )
    check(outcome, "unusable", "at 300 K")
    assert outcome.kind is OutcomeKind.FAILED_FINAL
    assert outcome.failure is FailureKind.MEASUREMENT_INVALID
