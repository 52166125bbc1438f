import csv
from pathlib import Path

import numpy as np
import pytest

from cloudseed.surrogate.corpus import Corpus
from cloudseed.surrogate.encoder import CloudEncoder
from cloudseed.surrogate.pretraining import Learner, Recipe, masked_accuracy, pretrain, recovered
from tests.surrogate.test_corpus import STRINGS, perovskite

SMALL = Recipe(
    layers=1,
    hidden=32,
    heads=2,
    intermediate=32,
    batch=64,
    rate=3e-3,
    warmup=5,
    steps=24,
    chunk=768,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Learner]:
    folder = tmp_path_factory.mktemp("encoder")
    return folder, pretrain(Corpus(STRINGS, [perovskite()]), folder, SMALL)


def log(folder: Path) -> list[dict[str, float]]:
    with (folder / "training.csv").open() as handle:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(handle)]


def test_losses_fall(trained: tuple[Path, Learner]) -> None:
    rows = log(trained[0])
    assert rows[-1]["step"] == SMALL.steps
    for name in ("sites", "statistics", "space_group", "masked"):
        assert rows[-1][name] < rows[0][name], name


def test_checkpoint_loads(trained: tuple[Path, Learner]) -> None:
    folder, learner = trained
    encoder = CloudEncoder.load(folder)
    assert (encoder.dimension, encoder.dialect) == (32, "canonical")
    assert encoder.embed(STRINGS).shape == (4, 32)
    assert 0 <= masked_accuracy(learner, STRINGS, np.random.default_rng(0)) <= 1


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    corpus = Corpus(STRINGS, [perovskite()])
    told: list[float] = []
    pretrain(corpus, tmp_path, SMALL, progress=told.append)
    kept = CloudEncoder.load(tmp_path)
    pretrain(corpus, tmp_path, SMALL, progress=told.append)
    assert len(told) == SMALL.steps
    assert CloudEncoder.load(tmp_path).id == kept.id
    longer = Recipe(**{name: getattr(SMALL, name) for name in Recipe.__slots__} | {"steps": 30})
    pretrain(corpus, tmp_path, longer, progress=told.append)
    assert len(told) == 30
    assert CloudEncoder.load(tmp_path).id != kept.id


def test_trainings_repeat(trained: tuple[Path, Learner], tmp_path: Path) -> None:
    pretrain(Corpus(STRINGS, [perovskite()]), tmp_path, SMALL)
    one, two = (CloudEncoder.load(folder).embed(STRINGS) for folder in (trained[0], tmp_path))
    np.testing.assert_allclose(one, two, atol=2e-2)


def test_recovered_scores_every_block(trained: tuple[Path, Learner]) -> None:
    texts = Corpus(STRINGS, [perovskite()]).draw(200, np.random.default_rng(5))[0]
    scores = recovered(trained[1], texts)
    assert scores.keys() == {"fractions", "statistics", "sites", "site_fractions", "contrasts"}
    assert scores["sites"] > 0.05
