"""Heads read for a pool that is embedded already."""

import numpy as np
import pytest

from cloudseed.errors import EncoderError, InputError
from cloudseed.surrogate import Predictor, check_heads, guess
from tests.surrogate.prediction.kit import encoder, perovskites

STRINGS = perovskites()[:6]


def test_guesses_are_what_the_predictor_says(checkpoint):
    features = encoder().embed(STRINGS)
    found = guess(checkpoint, encoder().id, features, ["band_gap", "heat_capacity", "hardness"])
    assert set(found) == {"band_gap"}
    told = Predictor.load(checkpoint).predict("band_gap", STRINGS)
    np.testing.assert_allclose(found["band_gap"].mean, told.values, rtol=1e-5)
    np.testing.assert_allclose(found["band_gap"].sd, told.sd, rtol=1e-5)


def test_a_property_may_have_a_head_of_another_name(checkpoint):
    features = encoder().embed(STRINGS)
    found = guess(checkpoint, encoder().id, features, ["gap"], {"gap": "band_gap"})
    assert set(found) == {"gap"}
    with pytest.raises(InputError, match="no head 'bandgap'"):
        guess(checkpoint, encoder().id, features, ["gap"], {"gap": "bandgap"})


def test_other_embeddings_have_no_heads(checkpoint):
    assert guess(checkpoint, "another", np.zeros((3, encoder().dimension)), ["band_gap"]) == {}


def test_named_heads_are_checked_before_anything_is_embedded(checkpoint):
    about = (encoder().id, encoder().dimension)
    check_heads(checkpoint, *about, {"gap": "band_gap"})
    with pytest.raises(InputError, match="no head 'bandgap'") as caught:
        check_heads(checkpoint, *about, {"gap": "bandgap"})
    assert caught.value.hint == "Did you mean 'band_gap'?"
    with pytest.raises(EncoderError):
        check_heads(checkpoint, "another", encoder().dimension, {"gap": "band_gap"})
    check_heads(checkpoint, "another", encoder().dimension, {})
