"""Ready predictors: names, temperatures, atoms, uncertainty and flags."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from cloudseed.errors import EncoderError, InputError, ScopeError
from cloudseed.surrogate import Predictor
from cloudseed.surrogate.prediction import resolve, temperatures_of
from cloudseed.surrogate.prediction.debye import GAS_CONSTANT
from tests.surrogate.prediction.kit import CUBIC, made_up, perovskites

STRINGS = perovskites()[::60]


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor.load(checkpoint)


def test_it_predicts_all_that_it_has_heads_for(predictor):
    assert predictor.properties == (
        "band_gap",
        "bulk_modulus",
        "debye_temperature",
        "formation_energy",
        "heat_capacity",
        "shear_modulus",
        "thermal_conductivity",
        "volume",
    )
    for name in predictor.properties:
        found = predictor.predict(name, STRINGS, atoms=5 if "c" in name else None)
        assert found.values.shape == found.sd.shape == (len(STRINGS),)
        assert np.isfinite(found.values).all()
        assert (found.sd > 0).all()
        assert (found.note == "") == (name not in ("thermal_conductivity", "debye_temperature"))


@pytest.mark.parametrize("name", ["formation_energy", "band-gap", "Bulk Modulus", "heat_capacity"])
def test_values_and_errors_hold(predictor, name):
    table = made_up(name.lower().replace("-", "_").replace(" ", "_"))
    found = predictor.predict(name, table.strings, atoms=5 if name == "heat_capacity" else None)
    errors = np.abs(found.values - table.values)
    assert errors.mean() < 0.5 * np.abs(table.values - np.median(table.values)).mean()
    assert (errors <= 1.96 * found.sd).mean() > 0.85


def test_a_value_does_not_depend_on_its_neighbours(predictor):
    alone = predictor.predict("volume", STRINGS[3:4])
    together = predictor.predict("volume", STRINGS)
    assert alone.values[0] == pytest.approx(together.values[3], rel=1e-5)


def test_heat_capacity_goes_by_temperature_and_atoms(predictor):
    kelvin = [1.0, 100.0, 300.0, 9000.0]
    found = predictor.predict("heat_capacity", STRINGS, temperature=kelvin, atoms=5)
    assert found.values.shape == (len(STRINGS), 4)
    assert found.temperatures == tuple(kelvin)
    assert (np.diff(found.values, axis=1) > 0).all()
    np.testing.assert_allclose(found.values[:, 3], 15 * GAS_CONSTANT, rtol=0.01)
    one = predictor.predict("heat-capacity@300K", STRINGS, atoms=np.full(len(STRINGS), 10))
    np.testing.assert_allclose(one.values, 2 * found.values[:, 2], rtol=1e-5)
    np.testing.assert_allclose(
        predictor.predict("heat_capacity", STRINGS, atoms=10).values, one.values
    )


def test_conductivity_is_drawn_the_same_way_each_time(predictor):
    first, again = (
        predictor.predict("thermal_conductivity", STRINGS, temperature=[300.0, 600.0], atoms=5)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_allclose(first.values[:, 0], 2 * first.values[:, 1], rtol=1e-6)
    assert "estimate" in first.note


def test_flags_name_the_reason(predictor):
    strange = f"{CUBIC} | 1a Ti 1b Pu 3c O | Ti 0.2 Pu 0.2 O 0.6"
    found = predictor.predict("volume", [STRINGS[0], strange])
    assert found.flags[0] == ()
    assert "no training material holds Pu" in found.flags[1][0]
    several = predictor.predict("thermal_conductivity", [strange], atoms=5)
    assert any(why.startswith("shear modulus: ") for why in several.flags[0])


@pytest.mark.parametrize(
    ("name", "options", "words", "hint"),
    [
        ("bandgap", {}, "bandgap", "band_gap"),
        ("hardness", {}, "hardness", "band_gap, bulk_modulus"),
        ("", {}, "no predictor", "There are"),
        ("heat_capacity@hotK", {"atoms": 5}, "nan K", "300"),
        ("heat_capacity@0K", {"atoms": 5}, "0 K", "above 0"),
        ("heat_capacity", {"atoms": 5, "temperature": -5.0}, "-5 K", "above 0"),
        ("heat_capacity", {"atoms": 5, "temperature": [300.0, 0.0]}, "0 K", "above 0"),
        ("heat_capacity", {"atoms": 5, "temperature": float("inf")}, "inf K", "above 0"),
        ("heat_capacity", {"atoms": 5, "temperature": []}, "no temperature", "300"),
        ("heat_capacity@500K", {"atoms": 5, "temperature": 300.0}, "another", "one of them"),
        ("heat_capacity", {}, "number of atoms", "n_atoms"),
        ("heat_capacity", {"atoms": 0}, "0 atoms", "n_atoms"),
        ("heat_capacity", {"atoms": np.nan}, "nan atoms", "n_atoms"),
        ("heat_capacity", {"atoms": [1, 2]}, "2 numbers", "each"),
        ("band_gap", {"temperature": 300.0}, "does not depend", "heat_capacity"),
        ("band_gap@300K", {}, "does not depend", "heat_capacity"),
    ],
)
def test_what_cannot_be_predicted_is_refused_with_a_hint(predictor, name, options, words, hint):
    with pytest.raises(InputError, match=words) as caught:
        predictor.predict(name, STRINGS, **options)
    assert hint in caught.value.hint


def test_bad_strings_are_refused(predictor):
    with pytest.raises(ScopeError):
        predictor.predict("volume", ["nonsense"])


def test_heads_that_were_moved_to_another_encoder_are_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "encoder")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"pooling": "cls"', '"pooling": "mean"'))
    with pytest.raises(EncoderError, match="another encoder"):
        Predictor.load(folder)


def test_names_and_temperatures():
    assert resolve("Heat-Capacity@500 K", ["heat_capacity"]) == ("heat_capacity", 500.0)
    assert temperatures_of(None) == (300.0,)
    assert temperatures_of(77) == (77.0,)
