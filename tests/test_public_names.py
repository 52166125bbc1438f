"""The public names of each part, pinned: a change here is a change for users."""

from __future__ import annotations

import importlib

import pytest

NAMES = {
}


@pytest.mark.parametrize("part", sorted(NAMES))
def test_names_are_pinned_sorted_and_there(part):
    module = importlib.import_module(f"cloudseed.{part}")
    assert set(module.__all__) == NAMES[part]
    assert module.__all__ == sorted(module.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert all(hasattr(module, name) for name in module.__all__)
