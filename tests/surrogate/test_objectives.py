import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudseed.errors import ObjectiveError, UnitError
from cloudseed.surrogate.judging import best_so_far, bounds, is_feasible, merit, shown
from cloudseed.surrogate.objectives import (
    constraint,
    constraint_text,
    constraints_of,
    describe,
    objective,
    objective_text,
    problem,
)
from cloudseed.surrogate.protocols import Constraint, Objective

NAMES = st.sampled_from(
    ["bulk_modulus", "heat_all", "formation_energy", "heat_capacity@500K", "_x1"]
)


@given(NAMES, st.sampled_from(["max", "min"]))
def test_objective_text_parses_to_itself(name, direction):
    wanted = Objective(name, direction)
    assert objective(objective_text(wanted)) == wanted


@given(
    NAMES,
    st.sampled_from(["<=", ">="]),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_constraint_text_parses_to_itself(name, relation, bound):
    if name.startswith("heat_capacity"):
        bound = abs(bound)
    wanted = Constraint(name, relation, bound)
    assert constraint(constraint_text(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("formation_energy <= -2.0 eV/atom", Constraint("formation_energy", "<=", -2.0)),
        ("formation_energy<-2", Constraint("formation_energy", "<=", -2.0)),
        ("band_gap > 1.5eV", Constraint("band_gap", ">=", 1.5)),
        ("band_gap ≥ .5", Constraint("band_gap", ">=", 0.5)),
        ("heat_all <= 1e-1", Constraint("heat_all", "<=", 0.1)),
    ],
)
def test_constraint_grammar(text, wanted):
    assert constraint(text) == wanted


def test_bound_is_converted_to_the_own_unit():
    assert constraint("formation_energy <= -2000 meV/atom").bound == pytest.approx(-2.0)
    assert constraint("bulk_modulus >= 20000 MPa").bound == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("maximise bulk_modulus", "max bulk_modulus"),
        ("mim bulk_modulus", "min bulk_modulus"),
        ("best bulk_modulus", "Begin with"),
        ("bulk_modulus", "max bulk_modulus"),
        ("max", "max bulk_modulus"),
        ("max bulk modulus", "max bulk_modulus"),
        ("", "max bulk_modulus"),
        ("max 2x", "letters"),
        ("max heat_capacity@K", "heat_capacity@500K"),
    ],
)
def test_bad_objective_is_refused_with_a_hint(text, hint):
    with pytest.raises(ObjectiveError) as caught:
        objective(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize("kelvin", ["0K", "-5K", "0.0K", "20000K", "500C", "500", "hotK"])
def test_temperatures_that_are_none_are_refused(kelvin):
    with pytest.raises(ObjectiveError, match="no temperature") as caught:
        objective(f"max heat_capacity@{kelvin}")
    assert "heat_capacity@500K" in caught.value.hint


@pytest.mark.parametrize("kelvin", ["500K", "500.0K", "0500.00K"])
def test_one_temperature_has_one_name(kelvin):
    assert objective(f"max heat_capacity@{kelvin}").property == "heat_capacity@500K"


def test_a_property_at_a_temperature_has_its_bases_unit():
    bound = constraint("heat_capacity@500.5K >= 0.2 kJ/mol/K")
    assert bound == Constraint("heat_capacity@500.5K", ">=", pytest.approx(200.0))
    found = problem("max heat_capacity@500K", ["heat_capacity@300K <= 90"])
    assert describe(found) == "max heat_capacity@500K (J/mol/K), heat_capacity@300K <= 90.0 J/mol/K"
    with pytest.raises(ObjectiveError, match="never below 0"):
        constraint("heat_capacity@300K <= -1")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("band_gap = 1", "For a window"),
        ("band_gap == 1", "For a window"),
        ("band_gap => 1", "For a window"),
        ("1 <= band_gap <= 2", "letters"),
        ("band_gap <= two", "Write it as"),
        ("band_gap <= 1 <= 2", "unit"),
        ("band_gap", "formation_energy <= -2.0"),
        ("<= 2", "formation_energy <= -2.0"),
        ("band gap <= 2", "formation_energy <= -2.0"),
        ("band_gap <= inf", "Write it as"),
        ("band_gap <= 1e999", "Leave the constraint out"),
        ("band_gap <= -1", "sign"),
    ],
)
def test_bad_constraint_is_refused_with_a_hint(text, hint):
    with pytest.raises((ObjectiveError, UnitError)) as caught:
        constraint(text)
    assert hint in caught.value.hint


def test_wrong_and_unconvertible_units_are_refused():
    with pytest.raises(UnitError):
        constraint("band_gap <= 2 GPa")
    with pytest.raises(UnitError, match="no unit for heat_all"):
        constraint("heat_all <= 2 eV")


def test_contradiction_is_refused_with_both_bounds():
    with pytest.raises(ObjectiveError, match=r">= 2 and <= 1") as caught:
        problem("max bulk_modulus", ["band_gap <= 1", "band_gap >= 2"])
    assert caught.value.hint
    assert caught.value.data["property"] == "band_gap"
    with pytest.raises(ObjectiveError):
        problem("max bulk_modulus", ["band_gap <= 1", "band_gap >= 1"])


def test_problem_keeps_order_and_drops_repeats():
    found = problem("max x", ["y <= 1", "z >= 0", "y <= 1", Constraint("y", ">=", -1.0)])
    assert found.properties == ("x", "y", "z")
    assert len(found.constraints) == 3
    assert bounds(found) == {"y": (-1.0, 1.0), "z": (0.0, math.inf)}


def test_parsed_constraints_are_checked_too():
    with pytest.raises(ObjectiveError):
        problem("max x", [Constraint("y", "<=", math.nan)])


def test_describe_names_units():
    text = describe(problem("min formation_energy", ["band_gap >= 1", "heat_all <= 2"]))
    assert text == "min formation_energy (eV/atom), band_gap >= 1.0 eV, heat_all <= 2.0"


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"y": 1.0}, True),
        ({"y": 1.1}, False),
        ({"y": math.nan}, False),
        ({"y": None}, False),
        ({}, False),
    ],
)
def test_feasible_only_when_known_to_be(values, wanted):
    assert is_feasible(problem("max x", ["y <= 1"]), values) is wanted


def test_best_so_far_counts_feasible_values_only():
    measured = [
        {"x": 9.0, "y": 2.0},
        {"x": 1.0, "y": 0.0},
        {"x": 5.0, "y": None},
        {"x": math.nan, "y": 0.0},
        {"x": 3.0, "y": 1.0},
        {"x": 2.0, "y": 1.0},
    ]
    assert best_so_far(problem("max x", ["y <= 1"]), measured) == [None, 1, 1, 1, 3, 3]
    assert best_so_far(problem("min x"), measured) == [9, 1, 1, 1, 1, 1]


def test_parsing_loads_no_torch():
    code = (
        "import sys, cloudseed.surrogate.objectives, cloudseed.surrogate.deciding, "
        "cloudseed.surrogate.ranking; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'botorch', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(NAMES, st.floats(0, 1e6))
def test_targets_parse_to_themselves(name, target):
    wanted = Objective(name, "target", target)
    assert objective(objective_text(wanted)) == wanted


def test_a_window_is_two_bounds_in_the_own_unit():
    lower, upper = constraints_of("band_gap in [1500, 3000] meV")
    assert (lower, upper) == (Constraint("band_gap", ">=", 1.5), Constraint("band_gap", "<=", 3.0))
    found = problem("band_gap in [1.5, 3] eV", ["formation_energy <= 0.5"])
    assert found.objective == Objective("band_gap", "find")
    assert bounds(found)["band_gap"] == (1.5, 3.0)
    assert describe(found).startswith("find all, band_gap >= 1.5 eV")
    assert problem("find all", ["y >= 1", "x in [0, 2]"]).objective == Objective("y", "find")


@pytest.mark.parametrize(
    ("goal", "constraints", "said"),
    [
        ("band_gap in [3, 1.5]", [], "is empty"),
        ("band_gap in [1.5 eV]", [], "not a direction"),
        ("find all", [], "nothing to find"),
        ("band_gap = -1 eV", [], "cannot be"),
        ("band_gap = soon", [], "not a number"),
        ("band_gap in [1, 2]", ["band_gap >= 2.5"], "is both"),
    ],
)
def test_goals_that_make_no_sense(goal, constraints, said):
    with pytest.raises(ObjectiveError, match=said) as caught:
        problem(goal, constraints)
    assert caught.value.hint


def test_merit_is_larger_for_what_is_better():
    target = problem("band_gap = 1.4 eV")
    assert merit(target, {"band_gap": 1.1}) == pytest.approx(-0.3)
    assert shown(target, -0.3) == 0.3
    assert merit(problem("min x"), {"x": 2.0}) == -2.0
    assert merit(problem("max x"), {"y": 2.0}) is None
    find = problem("x in [0, 1]")
    assert [merit(find, {"x": v}) for v in (0.5, 2.0)] == [1.0, 0.0]
    assert merit(find, {}) is None
    assert best_so_far(find, [{"x": 0.5}, {"x": 2.0}, {"x": 1.0}]) == [1, 1, 2]
    assert best_so_far(target, [{"band_gap": 2.0}, {"band_gap": 1.5}]) == pytest.approx([0.6, 0.1])
