"""The table of units and conversion at the edge."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudseed.errors import UnitError
from cloudseed.units import PROPERTIES, convert, unit_of

UNITS = sorted({p.unit for p in PROPERTIES.values()})


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (1.0, "GPa", "Pa", 1e9),
        (1.0, "kbar", "GPa", 0.1),
        (96.485332, "kJ/mol/atom", "eV/atom", 1.0),
        (1000.0, "meV/atom", "eV/atom", 1.0),
        (1.0, "kJ/mol/K", "J/mol/K", 1000.0),
        (1.0, "g/cm^3", "kg/m^3", 1000.0),
        (10.0, "angstrom^3/atom", "nm^3/atom", 0.01),
        (3.0, "", "", 3.0),
        (50.0, "percent", "", 0.5),
    ],
)
def test_conversions(value, source, target, expected):
    assert convert(value, source, target) == pytest.approx(expected)


@pytest.mark.parametrize("unit", UNITS)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_unit_converts_to_itself_exactly(unit, value):
    assert convert(value, unit, unit) == value


@pytest.mark.parametrize("unit", [u for u in UNITS if u])
def test_every_unit_of_the_table_is_known(unit):
    assert convert(1.0, unit, f"{unit} * 1") == pytest.approx(1.0)


def test_unknown_units_name_the_nearest():
    with pytest.raises(UnitError) as caught:
        convert(1.0, "GPaa", "GPa")
    assert "GPa" in caught.value.hint
    assert caught.value.data["unit"] == "GPaa"


@pytest.mark.parametrize("source", ["K", "GPa/atom", "kJ/mol", "m/", "(", "1/0", "eV**", "?"])
def test_units_that_do_not_fit_are_refused(source):
    with pytest.raises(UnitError) as caught:
        convert(1.0, source, "eV/atom")
    assert caught.value.hint


def test_unit_of():
    assert unit_of("bulk_modulus") == "GPa"
    assert unit_of("heat_capacity@500K") == "J/mol/K"
    assert unit_of("charm") is None


def test_names_match_their_rows():
    assert all(name == row.name for name, row in PROPERTIES.items())


def test_importing_loads_no_pint():
    code = "import sys, cloudseed.units; print('pint' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
