"""Whole-network training, on few strings and for few steps."""

from __future__ import annotations

import numpy as np
import pytest

from cloudseed.errors import InputError
from cloudseed.surrogate.prediction.finetuning import FineTuning, finetune_property, shuffled
from cloudseed.surrogate.scope import parse
from tests.surrogate.prediction.kit import CUBIC, encoder, made_up

QUICK = FineTuning(epochs=3, batch=16, rate=1e-3)
SLOWER = FineTuning(epochs=8, batch=16, rate=1e-3)


@pytest.mark.parametrize(
    ("name", "head"),
    [("formation_energy", "linear"), ("bulk_modulus", "log"), ("heat_capacity", "debye")],
)
def test_every_head_learns_and_leaves_the_encoder_alone(name, head):
    table = made_up(name)
    before = encoder().embed(table.strings[:3])
    rows = np.random.default_rng(0).permutation(len(table.strings))
    train, test = rows[:128], rows[128:188]
    atoms = (lambda index: np.full(len(index), 5)) if head == "debye" else lambda _: None
    tuned = finetune_property(
        encoder(),
        [table.strings[i] for i in train],
        table.values[train],
        head=head,
        atoms=atoms(train),
        recipe=SLOWER if head == "debye" else QUICK,
    )
    found = tuned.predict([table.strings[i] for i in test], atoms(test))
    truth = table.values[test]
    errors, trivial = np.abs(found - truth), np.abs(truth - np.median(table.values[train]))
    assert errors.mean() < 0.7 * trivial.mean()
    np.testing.assert_array_equal(encoder().embed(table.strings[:3]), before)


def test_same_seed_same_network_and_untrained_is_another():
    table = made_up("volume")
    texts, values = table.strings[:20], table.values[:20]
    runs = [
        finetune_property(
            encoder(), texts, values, recipe=FineTuning(epochs=1, pretrained=pretrained)
        ).predict(texts)
        for pretrained in (True, True, False)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.allclose(runs[0], runs[2])


@pytest.mark.parametrize(
    ("values", "head", "words"),
    [
        ([1.0, np.nan], "linear", "Row 2 .* nan"),
        ([1.0, 0.0], "log", "above zero"),
        ([1.0], "linear", "shape"),
    ],
)
def test_values_that_cannot_be_right_are_refused(values, head, words):
    with pytest.raises(InputError, match=words):
        finetune_property(encoder(), made_up("volume").strings[:2], values, head=head)


def test_atoms_below_one_are_refused():
    with pytest.raises(InputError, match="atoms"):
        finetune_property(
            encoder(), made_up("volume").strings[:2], [1.0, 2.0], head="debye", atoms=[1, 0]
        )


def test_shuffling_keeps_what_a_cloud_string_says():
    rng = np.random.default_rng(0)
    text = f"{CUBIC} | 1a 1b 3c | Ti 0.2 Sr 0.2 O 0.6"
    found = {shuffled(text, rng) for _ in range(60)}
    assert len(found) > 5
    for other in map(parse, found):
        assert sorted(other.symbols) == ["1a", "1b", "3c"]
        assert dict(other.composition) == dict(parse(text).composition)
    canonical = f"{CUBIC} | 1a Ti 1b Sr 3c O | Ti 0.2 Sr 0.2 O 0.6"
    assert shuffled(canonical, rng) == canonical
