from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cloudseed.errors import EncoderError, InputError
from cloudseed.surrogate.encoder import CloudEncoder
from cloudseed.surrogate.splits import fold
from cloudseed.surrogate.training.finetuning import finetune
from cloudseed.surrogate.training.labels import LabelledBatches, read_labelled
from cloudseed.surrogate.training.lexicon import Lexicon
from cloudseed.surrogate.training.pretraining import pretrain
from cloudseed.surrogate.training.probing import composition_features, probe, probe_targets
from cloudseed.surrogate.training.trainer import workers
from tests.surrogate.checkpoints import write_published
from tests.surrogate.training.kit import STRINGS, labels, perovskite, prepared, small, table


def test_labels_are_read_and_split(tmp_path: Path) -> None:
    values = labels()
    values[3] = np.nan
    path = table(tmp_path / "labels.csv", gap=values, modulus=np.exp(values))
    found = read_labelled([path], {"band_gap": "gap", "bulk_modulus": "modulus"}, tmp_path)
    assert found.names == ("band_gap", "bulk_modulus")
    assert len(found.strings) == len(STRINGS) - 1
    np.testing.assert_allclose(found.values[:, 1], found.values[:, 0], rtol=1e-5)
    parts = found.part(0, 0.1), found.validated, found.trained
    assert sum(len(part.strings) for part in parts) == len(found.strings)
    assert found.asked == ("band_gap", "bulk_modulus")
    assert all(fold(text) >= 0.2 for text in found.trained.strings)
    assert all(0.1 <= fold(text) < 0.2 for text in found.validated.strings)


def test_structures_bring_their_volume(tmp_path: Path) -> None:
    cell = perovskite().build()
    frame = pd.DataFrame({"cif": [cell.to_cif(), "broken"], "gap": [1.0, 2.0]})
    frame.to_csv(tmp_path / "cifs.csv", index=False)
    found = read_labelled([tmp_path / "cifs.csv"], {"band_gap": "gap"}, tmp_path / "cache")
    assert found.names == ("band_gap", "volume")
    assert len(found.strings) == 2
    assert (found.asked, sum(found.left_out.values())) == (("band_gap",), 1)
    assert "1a Sr" in found.strings[0]
    assert "1a Sr" not in found.strings[1]
    np.testing.assert_allclose(found.values[:, 1], np.log(3.9**3 / 5), rtol=1e-5)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["inf", "1"], "row 1: inf in the column 'gap' is no finite number"),
        (["metal", "1"], "no finite number"),
        (["", ""], "No row has a label"),
    ],
)
def test_bad_labels(tmp_path: Path, cells: list[str], message: str) -> None:
    path = tmp_path / "bad.csv"
    pd.DataFrame({"scope": STRINGS[:2], "gap": cells}).to_csv(path, index=False)
    with pytest.raises(InputError, match=message):
        read_labelled([path], {"band_gap": "gap"}, tmp_path)
    with pytest.raises(InputError, match="No table has a column 'gaps'"):
        read_labelled([path], {"band_gap": "gaps"}, tmp_path)


def test_two_label_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "doubled.csv"
    frame = pd.DataFrame({"scope": STRINGS[:2], "gap": [1.0, 2.0], "other": [3.0, 4.0]})
    frame.to_csv(path, index=False, header=["scope", "gap", "gap"])
    with pytest.raises(InputError, match="two columns 'gap'"):
        read_labelled([path], {"band_gap": "gap"}, tmp_path)


def test_too_long_strings_are_left_out_and_counted(tmp_path: Path) -> None:
    path = table(tmp_path / "labels.csv", gap=labels())
    with pytest.raises(InputError, match="No row"):
        read_labelled([path], {"band_gap": "gap"}, tmp_path, limit=16)


def test_too_few_labels_to_split(tmp_path: Path) -> None:
    validated = [text for text in STRINGS if 0.1 <= fold(text) < 0.2]
    for strings in (validated, [text for text in STRINGS if fold(text) >= 0.2][:40]):
        path = table(tmp_path / "few.csv", strings, gap=np.arange(len(strings), dtype=float))
        labelled = read_labelled([path], {"band_gap": "gap"}, tmp_path)
        with pytest.raises(InputError, match="No labelled string is left"):
            finetune(None, labelled, tmp_path / "out", small(), workers("no"))


def test_labelled_batches_repeat(tmp_path: Path) -> None:
    path = table(tmp_path / "labels.csv", gap=labels())
    found = read_labelled([path], {"band_gap": "gap"}, tmp_path)
    one, two = (LabelledBatches(found, Lexicon(64), 32, 0) for _ in range(2))
    for number in (0, 5, 40):
        np.testing.assert_array_equal(one(number).tokens, two(number).tokens)
    assert sum(len(batch.groups) for batch in one.all()) == len(STRINGS)


def test_what_is_learned_can_be_read_and_nothing_is_forgotten(tmp_path: Path) -> None:
    shards = prepared(tmp_path)
    team = workers("no")
    pretrain(shards, tmp_path / "before", small(steps=60), team)
    # A value per pair of A and B that their order in the table decides: no physics tells it.
    path = table(tmp_path / "labels.csv", band_gap=labels())
    labelled = read_labelled([path], {"band_gap": "band_gap"}, tmp_path)
    recipe = small(steps=250, validate_every=50, rehearsal=0.0, labels=60.0)
    ended = finetune(tmp_path / "before", labelled, tmp_path / "after", recipe, team, shards=shards)
    assert ended.stopped == "steps"
    r2 = {}
    for name in ("before", "after"):
        embeddings = CloudEncoder.load(tmp_path / name).embed(STRINGS)
        (found,) = probe(embeddings, STRINGS, {"band_gap": labels()})
        r2[name] = found.r2
        r2[f"{name} sites"] = probe_targets(embeddings, STRINGS)["sites"]
    assert r2["after"] > max(0.9, r2["before"])
    assert r2["after sites"] > 0.5 * r2["before sites"]
    again = finetune(tmp_path / "before", labelled, tmp_path / "after", recipe, team, shards=shards)
    assert (again.step, again.best) == (ended.step, ended.best)


def test_other_vocabularies_are_refused(tmp_path: Path) -> None:
    published = write_published(tmp_path / "published", layers=1, hidden=64)
    path = table(tmp_path / "labels.csv", gap=labels())
    labelled = read_labelled([path], {"band_gap": "gap"}, tmp_path)
    for folder in (published, tmp_path):
        with pytest.raises(EncoderError):
            finetune(folder, labelled, tmp_path / "out", small(), workers("no"))


def test_probes_read_what_is_there() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(len(STRINGS), 12)).astype(np.float32)
    values = {
        "line": features @ rng.normal(size=12) + 5.0,
        "noise": rng.normal(size=len(STRINGS)),
        "rare": np.where(np.arange(len(STRINGS)) < 10, 1.0, np.nan),
    }
    line, noise = probe(features, STRINGS, values)
    assert line.r2 > 0.999
    assert line.mae < 0.05 * line.spread
    assert noise.r2 < 0.1
    assert composition_features(STRINGS).sum() == pytest.approx(len(STRINGS))
