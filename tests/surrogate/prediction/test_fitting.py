"""Heads learn, are judged on what they never saw, and refuse tables that cannot be right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cloudseed.errors import FitError, InputError
from cloudseed.surrogate.prediction import PropertyTable
from cloudseed.surrogate.prediction.fitting import cross_validated, fit_head, fit_heads
from cloudseed.surrogate.prediction.heads import read_heads
from cloudseed.surrogate.splits import TEST, VALIDATION, fold, folds
from tests.surrogate.prediction.kit import encoder, made_up


def test_every_kind_of_head_learns_and_is_calibrated(checkpoint):
    heads = read_heads(checkpoint, encoder().id, encoder().dimension)
    for name, head in heads.items():
        assert head.card["mae"] < 0.5 * head.card["mae_of_median"], name
        assert 0.8 <= head.card["within_1.96_sd"] <= 1.0, name
        assert head.card["within_1_sd"] < head.card["within_1.96_sd"] + 1e-9, name


def test_the_tested_tenth_changes_nothing_that_is_learnt():
    table = made_up("formation_energy")
    features = encoder().embed(table.strings)
    tested = np.array([fold(s) < TEST for s in table.strings])
    other = replace(table, values=np.where(tested, 99.0, table.values))
    heads = [fit_head("formation_energy", t, features, steps=60) for t in (table, other)]
    states = [head.ensemble.state_dict() for head in heads]
    assert all((states[0][key] == states[1][key]).all() for key in states[0])
    assert heads[0].widening == heads[1].widening
    assert heads[1].card["mae"] > 50 > heads[0].card["mae"]


def test_cross_validation_never_sees_the_tested_fold():
    table = made_up("volume")
    features = encoder().embed(table.strings)
    parts = folds(table.strings, 3)
    found = cross_validated("log", features, table.values, parts, steps=60)
    other = np.where(parts == 0, table.values * 5, table.values)
    again = cross_validated("log", features, other, parts, steps=60)
    np.testing.assert_array_equal(found[parts == 0], again[parts == 0])
    assert (found[parts == 1] != again[parts == 1]).any()


def test_rows_are_counted_by_fold(checkpoint):
    head = read_heads(checkpoint, encoder().id, encoder().dimension)["volume"]
    folds = np.array([fold(s) for s in made_up("volume").strings])
    assert head.card["rows"] == {
        "train": (folds >= VALIDATION).sum(),
        "validation": ((folds >= TEST) & (folds < VALIDATION)).sum(),
        "test": (folds < TEST).sum(),
    }


def changed(name, row, value):
    table = made_up(name)
    values = table.values.copy()
    values[row] = value
    return replace(table, values=values)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"band_gap": changed("band_gap", 4, np.nan)}, "Row 5 .* nan"),
        ({"band_gap": changed("band_gap", 0, -0.1)}, "Row 1 "),
        ({"volume": changed("volume", 2, 0.0)}, "above zero"),
        ({"formation_energy": changed("formation_energy", 2, np.inf)}, "finite"),
        ({"hardness": made_up("volume")}, "hardness"),
        ({"heat_capacity": replace(made_up("heat_capacity"), atoms=None)}, "number of atoms"),
        ({"volume": PropertyTable(made_up("volume").strings, np.ones(3))}, "values"),
    ],
)
def test_tables_that_cannot_be_right_are_refused(tables, words, tmp_path):
    with pytest.raises(InputError, match=words) as caught:
        fit_heads(encoder(), tables, tmp_path)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_too_few_materials_are_refused(tmp_path):
    table = made_up("volume")
    few = PropertyTable(table.strings[:50], table.values[:50])
    with pytest.raises(FitError, match="to validate on"):
        fit_heads(encoder(), {"volume": few}, tmp_path)
