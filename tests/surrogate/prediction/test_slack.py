"""Slack's model on crystals whose conductivity everyone knows, within a factor."""

from __future__ import annotations

import numpy as np
import pytest

from cloudseed.surrogate.prediction.slack import (
    elastic_debye,
    grueneisen,
    poisson,
    thermal_conductivity,
)

# Debye temperature, bulk and shear modulus, volume per atom, mass, atoms, W/m/K at 300 K.
CRYSTALS = {
    "C": (2230, 443, 535, 5.67, 12.011, 2, 2200),
    "Si": (645, 98, 67, 20.0, 28.085, 2, 150),
    "NaCl": (321, 25, 15, 22.4, 29.22, 2, 6.5),
    "MgO": (945, 160, 130, 9.34, 20.15, 2, 55),
}


def conductivity(name, temperature=300.0):
    debye, bulk, shear, volume, mass, atoms, _ = CRYSTALS[name]
    return thermal_conductivity(
        debye=debye,
        bulk=bulk,
        shear=shear,
        volume=volume,
        mass=mass,
        atoms=atoms,
        temperature=temperature,
    )


@pytest.mark.parametrize("name", CRYSTALS)
def test_known_crystals_within_a_factor_of_four(name):
    assert 1 / 4 < float(conductivity(name)) / CRYSTALS[name][-1] < 4


def test_it_falls_as_one_over_temperature():
    cold, hot = conductivity("Si", np.array([300.0, 600.0]))
    assert cold == pytest.approx(2 * hot)


@pytest.mark.parametrize("name", CRYSTALS)
def test_sound_gives_the_debye_temperature_of_simple_crystals(name):
    debye, bulk, shear, volume, mass, _, _ = CRYSTALS[name]
    assert float(elastic_debye(bulk, shear, volume, mass)) == pytest.approx(debye, rel=0.06)


def test_stiff_optical_phonons_carry_no_heat():
    soft = {"bulk": 20.0, "shear": 10.0, "volume": 12.0, "mass": 15.0, "atoms": 50}
    found = [thermal_conductivity(debye=d, temperature=300.0, **soft) for d in (900.0, 1800.0)]
    assert found[0] == found[1]


def test_poisson_and_grueneisen():
    # An isotropic solid with nu = 1/3 has K = 8/3 G and, by Belomestnykh, gamma = 2.
    assert float(poisson(8.0, 3.0)) == pytest.approx(1 / 3)
    assert float(grueneisen(1 / 3)) == pytest.approx(2.0)
    assert 0 <= float(poisson(1.0, 500.0)) < float(poisson(500.0, 1.0)) <= 0.45
