"""Codes of keys: those of `Crystal.key`, merged, split and empty orbits included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudseed._elements import SYMBOLS
from cloudseed._keys import key_code, key_codes, key_text
from cloudseed.crystal import Crystal
from cloudseed.errors import StructureError
from tests.test_crystal import PEROVSKITE, real_crystals


def colourings(crystal, rng, rows, kinds=4):
    classes = [int(i) for i in rng.integers(0, kinds, len(crystal.root.orbits))]
    numbers = rng.choice([0, 1, 5, 8, 8, 14, 22, 56], (rows, kinds)).astype(np.uint8)
    numbers[:, classes[0]] = 38
    return classes, numbers


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_codes_are_the_keys_of_crystals(seed):
    rng = np.random.default_rng(seed)
    crystals = real_crystals()
    crystal = crystals[int(rng.integers(len(crystals)))]
    classes, numbers = colourings(crystal, rng, 4)
    expected = [
        crystal.recoloured([SYMBOLS[row[column]] for column in classes]).key for row in numbers
    ]
    codes = key_codes(crystal.root, classes, numbers)
    assert [key_text(code) for code in codes] == expected
    assert [key_code(text) for text in expected] == codes


def test_no_rows_and_no_atoms():
    root = Crystal.from_cell(PEROVSKITE).root
    assert key_codes(root, (0, 1, 2), np.zeros((0, 3), dtype=np.uint8)) == []
    with pytest.raises(StructureError, match="No site"):
        key_codes(root, (0, 1, 2), np.zeros((1, 3), dtype=np.uint8))
