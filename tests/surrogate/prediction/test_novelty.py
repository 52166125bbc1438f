"""Strings that are unlike the training data are told, with the reason."""

from __future__ import annotations

import numpy as np
import pytest

from cloudseed.surrogate.prediction.novelty import fit_novelty
from cloudseed.surrogate.splits import TEST, fold
from tests.surrogate.prediction.kit import CUBIC, encoder, perovskites


@pytest.fixture(scope="module")
def known():
    strings = perovskites()
    held = [s for s in strings if fold(s) < TEST]
    rest = [s for s in strings if fold(s) >= TEST]
    return fit_novelty(rest, encoder().embed(rest), encoder().embed(held)), held


def reasons(known, string):
    (found,) = known.reasons([string], encoder().embed([string]))
    return " ".join(found)


def test_held_out_strings_are_known(known):
    novelty, held = known
    flagged = [bool(r) for r in novelty.reasons(held, encoder().embed(held))]
    assert np.mean(flagged) <= 0.03


@pytest.mark.parametrize(
    ("string", "words"),
    [
        (f"{CUBIC} | 1a Ti 1b Pu 3c O | Ti 0.2 Pu 0.2 O 0.6", "holds Pu"),
        ("0 0 0 | 1a Na Cl | Na 0.5 Cl 0.5", "space group 1"),
        (f"{CUBIC} | 1a 1b 3c | Ti 0.2 Sr 0.2 O 0.6", "canonical strings only"),
        ("0 0 0 | 1a Na Cl | Na 0.5 Cl 0.5", "embedding lies at"),
    ],
)
def test_strange_strings_are_told(known, string, words):
    assert words in reasons(known[0], string)


def test_constant_embeddings_are_no_crash():
    same = np.ones((40, 8), dtype=np.float32)
    found = fit_novelty(perovskites()[:40], same, same[:5])
    assert (found.distances(same) == 0).all()
    assert found.distances(same + 1).min() > found.limit
