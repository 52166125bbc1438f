import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cloudseed.crystal import multiplicities
from cloudseed.errors import EncoderError, ScopeError
from cloudseed.surrogate.scope import ELEMENTS, generators
from cloudseed.surrogate.tokenizer import (
    PublishedTokenizer,
    WholeTokenizer,
    load_tokenizer,
    whole_vocabulary,
)
from tests.surrogate.checkpoints import FRACTIONS, published_vocabulary, write_tokenizer

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[3] / "shared" / "data"))
PEROVSKITE = "1 4 b O O O c O O O d O O O e O O O 0 | 1a 1b 3c | Sr 0.2 Ti 0.2 O 0.6"
CANONICAL = "1 4 b O O O c O O O d O O O e O O O 0 | 1a Sr 1b Ti 3c O | Sr 0.2 Ti 0.2 O 0.6"


@pytest.fixture(scope="module")
def whole() -> WholeTokenizer:
    return WholeTokenizer(whole_vocabulary(), 64)


@pytest.fixture
def published() -> PublishedTokenizer:
    tokens = published_vocabulary()
    added = {fraction: len(tokens) + i for i, fraction in enumerate(FRACTIONS)}
    return PublishedTokenizer(tokens, added, 64)


def words(tokenizer: WholeTokenizer | PublishedTokenizer, string: str) -> list[str]:
    names = {number: token for token, number in tokenizer.vocabulary.items()}
    return [names[number] for number in tokenizer.encode([string])[0]]


def test_whole_tokens(whole: WholeTokenizer) -> None:
    assert words(whole, CANONICAL) == [
        "[CLS]",
        "g:14",
        "g:bOOO",
        "g:cOOO",
        "g:dOOO",
        "g:eOOO",
        "g:+0",
        "|",
        "1a",
        "Sr",
        "1b",
        "Ti",
        "3c",
        "O",
        "|",
        "Sr",
        "0.2",
        "Ti",
        "0.2",
        "O",
        "0.6",
        "[SEP]",
    ]


def test_whole_vocabulary_knows_everything(whole: WholeTokenizer) -> None:
    for group, text in generators().items():
        letter, multiplicity = next(iter(multiplicities(group).items()))
        whole.encode([f"{' '.join(text)} | {multiplicity}{letter} | Og 1.0"])
    assert {*ELEMENTS, "192l", "8A", *FRACTIONS} <= whole.vocabulary.keys()
    assert len(whole.vocabulary) == len(whole_vocabulary())


def test_whole_vocabulary_does_not_depend_on_the_process() -> None:
    code = (
        "from cloudseed.surrogate.tokenizer import *;"
        "print(WholeTokenizer(whole_vocabulary(), 64).fingerprint)"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_published_pieces(published: PublishedTokenizer) -> None:
    string = "0 1 c O D O 0 | 2a | At 0.33 O 0.67"
    assert words(published, string) == [
        *("[CLS]", *"01cODO0", "|", "2a", "|", "A", "##t", "0.33", "O", "0.67", "[SEP]")
    ]


def test_published_folder(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    tokens = published_vocabulary()
    write_tokenizer(tmp_path, tokens, {f: len(tokens) + i for i, f in enumerate(FRACTIONS)})
    reference = BertTokenizer.from_pretrained(tmp_path)
    strings = [PEROVSKITE, "1 1 c O D O 0 | 2e 4f | Fr 0.05 Cn 0.95"]
    assert load_tokenizer(tmp_path, 64).encode(strings) == reference(strings)["input_ids"]


@pytest.mark.skipif(not DATA.is_dir(), reason="set CLOUDSEED_DATA to the folder of reference data")
def test_published_tokenizer_equals_the_reference() -> None:
    from transformers import BertTokenizer

    table = pd.read_csv(DATA / "scope_pretrain.csv.gz")["scope"]
    strings = [s for s in table.sample(4000, random_state=1) if " X " not in s]
    folder = DATA / "cloud_tokenizer"
    reference = BertTokenizer.from_pretrained(folder)(strings)["input_ids"]
    assert load_tokenizer(folder, 64).encode(strings) == reference


@pytest.mark.parametrize("kind", ["whole", "published"])
@pytest.mark.parametrize("string", ["", float("nan"), "0 0 0 | 1a | Xx 1.0", "0 0 0 | 1a | X 1.0"])
def test_bad_strings(kind: str, string: object, request: pytest.FixtureRequest) -> None:
    with pytest.raises(ScopeError):
        request.getfixturevalue(kind).encode([PEROVSKITE, string])


def test_too_long() -> None:
    with pytest.raises(ScopeError, match="22 tokens") as caught:
        WholeTokenizer(whole_vocabulary(), 20).encode([CANONICAL])
    assert caught.value.data["token"] == CANONICAL
    with pytest.raises(ScopeError, match="32 tokens"):
        PublishedTokenizer(
            tokens := published_vocabulary(),
            {f: len(tokens) + i for i, f in enumerate(FRACTIONS)},
            30,
        ).encode([PEROVSKITE])


def test_unknown_tokens() -> None:
    tokens = [t for t in published_vocabulary() if t not in {"Sr", "##r"}]
    added = {fraction: len(tokens) + i for i, fraction in enumerate(FRACTIONS)}
    with pytest.raises(ScopeError) as caught:
        PublishedTokenizer(tokens, added, 64).encode([PEROVSKITE])
    assert caught.value.data["token"] == "Sr"
    with pytest.raises(ScopeError) as caught:
        WholeTokenizer([t for t in whole_vocabulary() if t != "3c"], 64).encode([PEROVSKITE])
    assert caught.value.data["token"] == "3c"


def test_broken_vocabularies(tmp_path: Path) -> None:
    tokens = published_vocabulary()
    with pytest.raises(EncoderError):
        WholeTokenizer(tokens[1:], 64)
    with pytest.raises(EncoderError):
        WholeTokenizer([*tokens, "Sr"], 64)
    with pytest.raises(EncoderError):
        PublishedTokenizer(tokens, {"0.5": 9999}, 64)
    with pytest.raises(EncoderError):
        load_tokenizer(tmp_path, 64)
    write_tokenizer(tmp_path, tokens, {"0.5": 463})
    config = tmp_path / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"do_lower_case": false', '"do_lower_case": true'))
    with pytest.raises(EncoderError):
        load_tokenizer(tmp_path, 64)
