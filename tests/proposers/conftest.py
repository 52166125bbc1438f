"""The example's parents, read once."""

from pathlib import Path

import pytest

from cloudseed.proposers import load_parents

FOLDER = Path(__file__).parents[2] / "examples" / "stiff-perovskites" / "parents"


@pytest.fixture(scope="session")
def parents():
    return load_parents([FOLDER])


@pytest.fixture(scope="session")
def parent(parents):
    """Name -> parent."""
    return {p.name: p for p in parents}
