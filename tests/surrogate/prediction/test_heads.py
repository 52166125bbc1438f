"""Heads as files: they come back as they were, with their own encoder, or not at all."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from cloudseed.errors import EncoderError
from cloudseed.surrogate.prediction import fit_heads
from cloudseed.surrogate.prediction.heads import FILES, read_heads, write_heads
from tests.surrogate.prediction.kit import copy_of_shipped, encoder, made_up


@pytest.fixture
def folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "encoder")


def read(folder):
    return read_heads(folder, encoder().id, encoder().dimension)


def test_heads_come_back_as_they_were_written(folder):
    table = {"band_gap": made_up("band_gap")}
    (written,) = fit_heads(encoder(), table, folder, steps=100).values()
    (found,) = read(folder).values()
    x = encoder().embed(table["band_gap"].strings[:20])
    assert torch.equal(written.ensemble(torch.from_numpy(x)), found.ensemble(torch.from_numpy(x)))
    assert (found.link, found.widening, found.card) == (
        written.link,
        written.widening,
        written.card,
    )
    strange = written.novelty.reasons(
        table["band_gap"].strings, encoder().embed(table["band_gap"].strings)
    )
    assert (
        found.novelty.reasons(table["band_gap"].strings, encoder().embed(table["band_gap"].strings))
        == strange
    )
    np.testing.assert_array_equal(found.novelty.whiten, written.novelty.whiten)


def test_same_seed_same_files(tmp_path):
    texts = []
    for name in ("a", "b"):
        folder = copy_of_shipped(tmp_path / name)
        fit_heads(encoder(), {"volume": made_up("volume")}, folder, steps=50, seed=7)
        texts.append([(folder / file).read_bytes() for file in FILES])
    assert texts[0] == texts[1]


def test_a_checkpoint_without_heads_says_so(tmp_path):
    with pytest.raises(EncoderError, match="no property heads") as caught:
        read(copy_of_shipped(tmp_path))
    assert "fit_heads" in caught.value.hint


def test_heads_of_another_encoder_are_refused(folder):
    with pytest.raises(EncoderError, match="another encoder"):
        read_heads(folder, "0" * 64, encoder().dimension)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _widen(path):
    told = json.loads(path.read_text())
    told["heads"]["band_gap"]["widening"] = 0.01
    path.write_text(json.dumps(told))


def _adopt(path):
    told = json.loads(path.read_text())
    told["encoder"] = "0" * 64
    path.write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("heads.safetensors", _cut),
        ("heads.safetensors", _flip),
        ("heads.safetensors", lambda path: path.unlink()),
        ("heads.json", _cut),
        ("heads.json", _widen),
        ("heads.json", _adopt),
        ("heads.json", lambda path: path.write_text("[]")),
        ("heads.json", lambda path: path.write_text("{}")),
    ],
)
def test_changed_files_are_refused(folder, file, change):
    change(folder / file)
    with pytest.raises(EncoderError, match="heads in encoder") as caught:
        read(folder)
    assert caught.value.hint


def test_heads_that_do_not_fit_are_refused_even_if_they_are_whole(folder):
    heads = read(folder)
    with pytest.raises(EncoderError, match="do not fit"):
        read_heads(folder, encoder().id, encoder().dimension + 1)
    parameter = heads["volume"].ensemble.weights[0]
    parameter.data[0, 0, 0] = float("nan")
    write_heads(folder, encoder().id, heads)
    with pytest.raises(EncoderError, match="do not fit"):
        read(folder)
