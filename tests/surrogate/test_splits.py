"""Groups, the held-out tenth and cross-validation folds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudseed.errors import InputError, ScopeError
from cloudseed.surrogate.scope import ELEMENTS
from cloudseed.surrogate.splits import fold, folds, group, is_held_out, is_validation
from tests.structures import materials_project

COUNTS = st.dictionaries(
    st.sampled_from(ELEMENTS[:94]), st.integers(min_value=1, max_value=12), min_size=1, max_size=4
)
CUBIC = "1 4 b O O O c O O O d O O O e O O O 0"


@given(COUNTS, st.integers(min_value=1, max_value=4), st.randoms())
def test_a_group_does_not_see_order_or_cell(counts, times, random):
    formula = "".join(f"{e}{n}" for e, n in counts.items())
    shuffled = random.sample(list(counts.items()), len(counts))
    assert group("".join(f"{e}{n * times}" for e, n in shuffled)) == group(formula)


def test_formula_and_string_give_the_same_fold():
    string = f"{CUBIC} | 1a 1b 3c | Sr 0.2 Ti 0.2 O 0.6"
    canonical = f"{CUBIC} | 1a Ti 1b Sr 3c O | Ti 0.2 Sr 0.2 O 0.6"
    assert fold("SrTiO3") == fold(string) == fold(canonical) == fold("O9 Ti3 Sr3")


def test_formula_and_string_agree_on_real_rows():
    for row in materials_project(300):
        assert group(row["formula"]) == group(row["scope"])


def test_folds_are_pinned():
    # A change here would put what was trained on into the held-out tenth.
    assert [round(fold(f), 6) for f in ("SrTiO3", "NaCl", "Fe2O3")] == [
        0.362613,
        0.015911,
        0.956415,
    ]


def test_tenths_are_tenths_and_disjoint():
    pairs = [f"{a}{b}2" for a in ELEMENTS[:94] for b in ELEMENTS[:94] if a != b]
    assert np.mean([is_held_out(p) for p in pairs]) == pytest.approx(0.1, abs=0.01)
    assert np.mean([is_validation(p) for p in pairs]) == pytest.approx(0.1, abs=0.01)
    assert not any(is_held_out(p) and is_validation(p) for p in pairs)


@given(st.lists(st.sampled_from(["NaCl", "KCl", "SrTiO3", "TiO2", "Fe2O3", "Si"]), min_size=5))
def test_folds_split_no_group(materials):
    dealt = folds(materials, 3)
    for name in set(materials):
        assert len({int(f) for m, f in zip(materials, dealt, strict=True) if m == name}) == 1


def test_folds_are_of_equal_size_and_depend_on_the_seed_only():
    materials = [f"{a}O2" for a in ELEMENTS[10:60]] * 2
    dealt = folds(materials, 5, seed=1)
    assert set(Counter(dealt.tolist()).values()) == {20}
    assert (folds(materials, 5, seed=1) == dealt).all()
    assert (folds(materials, 5, seed=2) != dealt).any()


@pytest.mark.parametrize("formula", ["", "xyz", "Sr(Ti"])
def test_what_is_no_formula_is_refused(formula):
    with pytest.raises(InputError):
        group(formula)


def test_what_is_no_string_is_refused():
    with pytest.raises(ScopeError):
        fold("1 4 b | 1a | Po 1.0")
