"""Filters: verdicts, reasons that can be counted, lists that contradict themselves."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudseed._elements import SYMBOLS
from cloudseed.errors import UsageError
from cloudseed.proposers import (
    AllowedElements,
    ChargeNeutrality,
    CompositionFilter,
    Filter,
    Verdict,
)
from cloudseed.proposers._tables import elements, permitted_elements


def made_of(**composition):
    return SimpleNamespace(crystal=SimpleNamespace(composition=composition))


def test_radioactive_elements_are_out_by_default():
    permitted = permitted_elements()
    assert not permitted & {"Tc", "Pm", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "U", "Pu", "Og"}
    assert {"Bi", "Pb", "La", "H", "Xe"} <= permitted
    assert len(permitted) == 81


def test_a_radioactive_element_passes_where_it_is_named():
    judge = AllowedElements(allow=["Th", "O"])
    assert judge.check(made_of(Th=1, O=2)).verdict is Verdict.PASS
    result = AllowedElements().check(made_of(Th=1, O=2))
    assert (result.verdict, result.reason) == (Verdict.FAIL, "Th is radioactive")


def test_forbidden_elements_fail_with_the_first_in_the_alphabet():
    judge = AllowedElements(forbid=["Pb", "Cd"])
    result = judge.check(made_of(Pb=1, Cd=1, O=2))
    assert result.verdict is Verdict.FAIL
    assert result.reason == "Cd is not among the allowed elements"
    assert judge.check(made_of(Sr=1, O=1)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("allow", "forbid", "said", "hint"),
    [
        (["Sr", "Tii"], (), "'Tii' in the list of allowed", "Did you mean 'Ti'"),
        (["sr"], (), "'sr'", "Did you mean 'Sr'"),
        (None, ["Plumbum"], "forbidden", ""),
        ([], (), "empty", "leave the list out"),
        (["Sr", "O"], ["O"], "both allowed and forbidden", "one of the two"),
        ([False], (), "False", "quotes"),
    ],
)
def test_bad_lists_are_refused(allow, forbid, said, hint):
    with pytest.raises(UsageError) as caught:
        AllowedElements(allow, forbid)
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.hint


def test_forbidding_everything_is_refused():
    with pytest.raises(UsageError, match="Every element"):
        AllowedElements(forbid=permitted_elements())


@pytest.mark.parametrize(
    ("composition", "verdict"),
    [
        ({"Sr": 1, "Ti": 1, "O": 3}, Verdict.PASS),
        ({"Sr": 4, "Ti": 4, "O": 12}, Verdict.PASS),
        ({"La": 1, "W": 1, "N": 3}, Verdict.PASS),
        ({"Na": 1, "Cl": 1}, Verdict.PASS),
        ({"Si": 1, "O": 2}, Verdict.PASS),
        ({"Ga": 1, "As": 1}, Verdict.PASS),
        ({"Na": 1, "Cl": 2}, Verdict.FAIL),
        ({"Fe": 3, "O": 4}, Verdict.FAIL),
        ({"Ni": 3, "Al": 1}, Verdict.UNKNOWN),
        ({"He": 1, "O": 1}, Verdict.UNKNOWN),
    ],
)
def test_neutrality(composition, verdict):
    found, reason = ChargeNeutrality().judge(composition)
    assert found is verdict
    assert bool(reason) == (verdict is not Verdict.PASS)


def test_mixed_valence_is_an_option():
    mixed = ChargeNeutrality(mixed_valence=True)
    for composition in ({"Fe": 3, "O": 4}, {"Mn": 3, "O": 4}, {"Sr": 1, "Ti": 1, "O": 3}):
        assert mixed.judge(composition)[0] is Verdict.PASS
    assert mixed.judge({"Na": 1, "Cl": 2})[0] is Verdict.FAIL


@given(
    st.dictionaries(st.sampled_from(sorted(elements())), st.integers(1, 9), min_size=1, max_size=4),
    st.integers(2, 4),
)
def test_neutrality_depends_on_ratios_and_mixing_only_adds(composition, factor):
    plain, mixed = ChargeNeutrality(), ChargeNeutrality(mixed_valence=True)
    larger = {e: n * factor for e, n in composition.items()}
    assert plain.judge(composition) == plain.judge(larger)
    if plain.judge(composition)[0] is Verdict.PASS:
        assert mixed.judge(composition)[0] is Verdict.PASS


@given(
    st.lists(
        st.lists(st.integers(1, 118), min_size=3, max_size=3, unique=True), min_size=1, max_size=30
    ),
    st.lists(st.integers(1, 12), min_size=3, max_size=3),
    st.booleans(),
)
def test_many_at_once_get_the_same_verdicts(rows, amounts, mixed):
    numbers = np.array(rows, dtype=np.uint8)
    for judge in (ChargeNeutrality(mixed), AllowedElements(forbid=["O", "Fe", "Sr"])):
        assert isinstance(judge, CompositionFilter)
        judged = judge.check_many(numbers, amounts)
        for row, place in zip(rows, judged.index.tolist(), strict=True):
            made = {SYMBOLS[z]: n for z, n in zip(row, amounts, strict=True)}
            assert judged.results[place] == judge.check(made_of(**made))


def test_results_name_their_filter_and_version():
    for judge in (AllowedElements(), ChargeNeutrality()):
        assert isinstance(judge, Filter)
        result = judge.check(made_of(Sr=1, Ti=1, O=3))
        assert (result.filter, result.version) == (judge.name, judge.version)
        assert result.verdict is Verdict.PASS
