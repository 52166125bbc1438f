import numpy as np
import pytest

from cloudseed.surrogate.element_table import (
    CHARGES,
    element_table,
    ionic_radii,
    oxidation_states,
)
from cloudseed.surrogate.scope import ELEMENTS
from cloudseed.surrogate.training.lexicon import PAD, Lexicon, pad
from cloudseed.surrogate.training.targets import SLOTS, blocks, charges, describe
from tests.surrogate.training.kit import CANONICAL, CLOUD, HEAD, STRINGS, SWAPPED


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return Lexicon(64)


def targets(lexicon: Lexicon, *strings: str) -> np.ndarray:
    return describe(pad(lexicon.tokenizer.encode(strings)), lexicon)


def test_element_table() -> None:
    names, table = element_table()
    assert table.shape == (118, len(names))
    x = table[:, names.index("electronegativity")]
    assert np.nanargmax(x) == ELEMENTS.index("F")
    assert np.isnan(x[ELEMENTS.index("He")])
    assert np.nanargmax(table[:, names.index("radius")]) == ELEMENTS.index("Cs")
    d = table[:, names.index("d electrons")]
    assert d[ELEMENTS.index("Fe")] > d[ELEMENTS.index("Ti")] > d[ELEMENTS.index("Sr")]
    np.testing.assert_allclose(np.nanmean(table, axis=0), 0, atol=1e-9)


def test_oxidation_states_and_radii() -> None:
    states, costs = oxidation_states()
    iron = ELEMENTS.index("Fe")
    assert set(states[iron][costs[iron] == 0]) == {2, 3}
    radii = ionic_radii()
    assert radii[iron, CHARGES.index(2)] > radii[iron, CHARGES.index(3)]


def test_lexicon_reads_both_dialects(lexicon: Lexicon) -> None:
    tokens = pad(lexicon.tokenizer.encode([CLOUD, CANONICAL, f"{HEAD} | 1a | Fe 1.0"]))
    found = lexicon.compositions(tokens)
    names = [[ELEMENTS[i] for i in row if i >= 0] for row in found.elements]
    assert names == [["Sr", "Ti", "O"], ["Sr", "Ti", "O"], ["Fe"]]
    np.testing.assert_allclose(found.amounts[0], [0.2, 0.2, 0.6])
    assert lexicon.tied(tokens).tolist() == [False, True, False]
    assert lexicon.space_group(CLOUD) == 221
    assert tokens[2, -1] == PAD


def test_fractions_and_statistics(lexicon: Lexicon) -> None:
    (row,) = targets(lexicon, CLOUD)
    fractions = row[blocks()["fractions"]]
    assert fractions[ELEMENTS.index("O")] == np.float32(0.6)
    assert fractions.sum() == pytest.approx(1)
    names, table = element_table()
    p, i = len(names), names.index("electronegativity")
    x = table[[ELEMENTS.index(e) for e in ("Sr", "Ti", "O")], i]
    mean = x @ [0.2, 0.2, 0.6]
    expected = [mean, np.sqrt((x - mean) ** 2 @ [0.2, 0.2, 0.6]), x.min(), x.max(), np.ptp(x)]
    np.testing.assert_allclose(row[blocks()["statistics"]].reshape(5, p)[:, i], expected, rtol=1e-5)


def test_sites_follow_the_string(lexicon: Lexicon) -> None:
    first, second, same = targets(lexicon, CLOUD, SWAPPED, CANONICAL)
    np.testing.assert_array_equal(first, same)
    sites = blocks()["sites"]
    one, two = (row[sites].reshape(SLOTS, -1) for row in (first, second))
    np.testing.assert_array_equal(one[[1, 0, 2, 4]], two[[0, 1, 2, 4]])
    assert np.isnan(one[3]).all()


@pytest.mark.parametrize(
    ("composition", "expected"),
    [
        ("Sr 0.2 Ti 0.2 O 0.6", [2, 4, -2]),
        ("K 0.2 Mg 0.2 F 0.6", [1, 2, -1]),
        ("Al 0.4 O 0.6", [3, -2]),
        ("Na 0.5 Cl 0.5", [1, -1]),
        ("Ba 0.1 Sr 0.1 Ti 0.2 O 0.6", [2, 2, 4, -2]),
    ],
)
def test_charges_are_neutral(lexicon: Lexicon, composition: str, expected: list[int]) -> None:
    text = f"0 0 0 | 1a | {composition}"
    found = lexicon.compositions(pad(lexicon.tokenizer.encode([text])))
    assert charges(found)[0].tolist() == expected


def test_no_charges_where_none_are_neutral(lexicon: Lexicon) -> None:
    strings = [f"{HEAD} | 1a | Fe 1.0", f"{HEAD} | 1a 1b | Cu 0.75 Au 0.25"]
    found = targets(lexicon, *strings)
    assert np.isnan(found[:, blocks()["ionic"]]).all()
    assert (found[:, blocks()["charges"]][:, -1] == 0).all()


def test_tolerance_factors(lexicon: Lexicon) -> None:
    """By hand, from crystal radii of 1.32, 0.745 and 1.26 angstrom for Sr2+, Ti4+ and O2-."""
    ratio, volume, goldschmidt, tau = targets(lexicon, CLOUD)[0, blocks()["ionic"]]
    assert goldschmidt == pytest.approx((1.32 + 1.26) / (np.sqrt(2) * (0.745 + 1.26)), abs=1e-4)
    a_b = 1.32 / 0.745
    assert tau == pytest.approx(1.26 / 0.745 - 2 * (2 - a_b / np.log(a_b)), abs=1e-4)
    assert ratio == pytest.approx((1.32 + 0.745) / 2 / 1.26, abs=1e-4)
    assert volume == pytest.approx(np.log(0.2 * 1.32**3 + 0.2 * 0.745**3 + 0.6 * 1.26**3), abs=1e-4)


def test_targets_do_not_depend_on_company(lexicon: Lexicon) -> None:
    together = targets(lexicon, *STRINGS[:40], f"{HEAD} | 1a | Fe 1.0")
    alone = np.vstack([targets(lexicon, text) for text in STRINGS[:40]])
    np.testing.assert_allclose(together[:-1], alone, rtol=1e-5, atol=1e-6)


def test_blocks_cover_all_columns(lexicon: Lexicon) -> None:
    parts = list(blocks().values())
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert parts[-1].stop == targets(lexicon, CLOUD).shape[1]
