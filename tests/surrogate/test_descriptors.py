import numpy as np

from cloudseed.surrogate.descriptors import SLOTS, blocks, describe, element_table
from cloudseed.surrogate.scope import ELEMENTS

HEAD = "1 4 b O O O c O O O d O O O e O O O 0"
CLOUD = f"{HEAD} | 1a 1b 3c | Sr 0.2 Ti 0.2 O 0.6"
SWAPPED = f"{HEAD} | 1a 1b 3c | Ti 0.2 Sr 0.2 O 0.6"
CANONICAL = f"{HEAD} | 1a Sr 1b Ti 3c O | Sr 0.2 Ti 0.2 O 0.6"


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


def test_fractions_and_statistics() -> None:
    (row,) = describe([CLOUD])
    fractions = row[blocks()["fractions"]]
    assert fractions[ELEMENTS.index("O")] == np.float32(0.6)
    assert fractions.sum() == np.float32(1)
    names, table = element_table()
    p, i = len(names), names.index("electronegativity")
    x = table[[ELEMENTS.index(e) for e in ("Sr", "Ti", "O")], i]
    mean = x @ [0.2, 0.2, 0.6]
    expected = [mean, np.sqrt((x - mean) ** 2 @ [0.2, 0.2, 0.6]), x.min(), x.max(), np.ptp(x)]
    np.testing.assert_allclose(row[blocks()["statistics"]].reshape(5, p)[:, i], expected, rtol=1e-5)


def test_sites_follow_the_string() -> None:
    first, second, same = describe([CLOUD, SWAPPED, CANONICAL])
    np.testing.assert_array_equal(first, same)
    sites = blocks()["sites"]
    one, two = (row[sites].reshape(SLOTS, -1) for row in (first, second))
    np.testing.assert_array_equal(one[[1, 0, 2, 4]], two[[0, 1, 2, 4]])
    assert np.isnan(one[3]).all()
    np.testing.assert_allclose(
        first[blocks()["statistics"]], second[blocks()["statistics"]], rtol=1e-4, atol=1e-5
    )


def test_blocks_cover_all_columns() -> None:
    parts = list(blocks().values())
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert parts[-1].stop == describe([CLOUD]).shape[1]
