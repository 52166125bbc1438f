import numpy as np
import pytest

from cloudseed.surrogate.descriptors import descriptor_names, element_descriptors
from cloudseed.surrogate.element_table import element_table
from cloudseed.surrogate.scope import ELEMENTS

CUBIC = "1 4 b O O O c O O O d O O O e O O O 0"
PEROVSKITE = f"{CUBIC} | 1a Ti 1b Sr 3c O | Ti 0.2 Sr 0.2 O 0.6"


def test_mean_and_deviation_weigh_elements_by_their_share():
    names, table = element_table()
    own = table[[ELEMENTS.index(e) for e in ("Ti", "Sr", "O")], names.index("electronegativity")]
    mean = own @ [0.2, 0.2, 0.6]
    found = dict(zip(descriptor_names(), element_descriptors([PEROVSKITE])[0], strict=True))
    assert found["mean electronegativity"] == pytest.approx(mean, abs=1e-6)
    deviation = np.abs(own - mean) @ [0.2, 0.2, 0.6]
    assert found["deviation of electronegativity"] == pytest.approx(deviation, abs=1e-6)


def test_a_dialect_a_structure_and_the_order_of_elements_make_no_difference():
    others = [
        "0 0 0 | 1a | O 0.6 Ti 0.2 Sr 0.2",
        f"{CUBIC} | 1a Sr 1b Ti 3c O | Sr 0.2 Ti 0.2 O 0.6",
    ]
    rows = element_descriptors([PEROVSKITE, *others])
    np.testing.assert_allclose(rows[1:], np.broadcast_to(rows[0], rows[1:].shape), atol=1e-6)


def test_rounded_fractions_count_by_their_share():
    thirds, exact = element_descriptors(["0 | 1a | Ti 0.33 O 0.67", "0 | 1a | Ti 1 O 2.0303"])
    np.testing.assert_allclose(thirds, exact, atol=1e-4)


@pytest.mark.parametrize(
    "string",
    [
        "",
        "no string",
        "0 | 1a | Xx 1.0",
        "0 | 1a | Fe",
        "0 | 1a | Fe nan",
        "0 | 1a | Fe 0.0",
        "0 | 1a | Fe -0.5 O 1.5",
        "0 | 1a | Fe inf",
        "0 | 1a | Fe x O 0.5",
    ],
)
def test_what_cannot_be_read_counts_as_average(string):
    assert not element_descriptors([string]).any()


def test_every_element_has_finite_numbers_and_most_differ():
    rows = element_descriptors([f"0 | 1a | {element} 1.0" for element in ELEMENTS])
    assert np.isfinite(rows).all()
    assert len(np.unique(rows[:100], axis=0)) == 100


def test_parts_change_nothing(monkeypatch):
    strings = [PEROVSKITE, "0 | 1a | Fe 1.0", "?", "0 | 1a | Li 0.5 F 0.5"] * 3
    whole = element_descriptors(strings)
    monkeypatch.setattr("cloudseed.surrogate.descriptors._CHUNK", 5)
    np.testing.assert_array_equal(element_descriptors(strings), whole)
    assert element_descriptors([]).shape == (0, len(descriptor_names()))
