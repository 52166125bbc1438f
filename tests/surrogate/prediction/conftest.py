"""Heads that were trained on made-up properties, once for all tests."""

from __future__ import annotations

import pytest

from cloudseed.surrogate.prediction import fit_heads
from tests.surrogate.prediction.kit import copy_of_shipped, encoder, made_up

NAMES = (
    "formation_energy",
    "band_gap",
    "bulk_modulus",
    "shear_modulus",
    "volume",
    "heat_capacity",
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A copy of the shipped encoder with heads, which no test may change."""
    folder = copy_of_shipped(tmp_path_factory.mktemp("heads"))
    fit_heads(encoder(), {name: made_up(name) for name in NAMES}, folder, steps=200)
    return folder
