import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cloudseed.errors import InputError
from cloudseed.surrogate.scope import ELEMENTS, parse
from cloudseed.surrogate.splits import fold
from cloudseed.surrogate.training.children import Substitution
from cloudseed.surrogate.training.lexicon import Lexicon, pad
from cloudseed.surrogate.training.shards import VALIDATION_SHARE, TokenShards, prepare
from cloudseed.surrogate.training.stream import Stream, ahead
from tests.surrogate.training.kit import CLOUD, STRINGS, perovskite, prepared, table


def read_all(shards: TokenShards) -> list[tuple[tuple[int, ...], int, bool]]:
    found = []
    for number in range(len(shards.counts)):
        shard = shards.read(number)
        rows = shard.rows(np.arange(len(shard)))
        found += [
            (tuple(row.tolist()), int(group), bool(real))
            for row, group, real in zip(rows, shard.groups, shard.real, strict=True)
        ]
    return found


def test_every_string_once_and_none_validated(tmp_path: Path) -> None:
    strings = STRINGS + STRINGS[:100]
    source = table(tmp_path / "twice.csv", strings)
    shards = prepare([source], tmp_path / "data", rows_per_shard=100)
    assert len(shards.counts) == 5
    rows = read_all(shards)
    tokenizer = Lexicon(64).tokenizer
    expected = {tuple(tokenizer.encode([t])[0]) for t in STRINGS if fold(t) >= VALIDATION_SHARE}
    assert len(rows) == len(expected) == shards.total
    assert {tokens for tokens, _, _ in rows} == expected
    assert {group for _, group, _ in rows} == {221}
    assert shards.total + shards.validation == len(STRINGS)
    held = shards.read_validation()
    assert len(held) == shards.validation > 0
    assert sum(shards.elements) == 3 * shards.total
    assert shards.elements[ELEMENTS.index("O")] > 0


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    first = prepared(tmp_path)
    told: list[str] = []
    again = prepare(
        [tmp_path / "strings.csv"], tmp_path / "data", progress=lambda name, *_: told.append(name)
    )
    assert again == first or vars(again) == vars(first)
    assert not told
    with pytest.raises(InputError, match="other tables or options"):
        prepare([tmp_path / "strings.csv"], tmp_path / "data", children=3)


def test_a_broken_off_preparation_starts_anew(tmp_path: Path) -> None:
    source = table(tmp_path / "strings.csv")

    def stop(name: str, done: int, total: int) -> None:
        if name == "tokenizing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([source], tmp_path / "data", rows_per_shard=100, progress=stop)
    with pytest.raises(InputError, match="no prepared shards"):
        TokenShards.open(tmp_path / "data")
    assert prepare([source], tmp_path / "data", rows_per_shard=100).total > 300


def test_csv_gzip_and_parquet_are_alike(tmp_path: Path) -> None:
    frame = pd.DataFrame({"scope": STRINGS})
    frame.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    both = [
        read_all(prepare([tmp_path / name], tmp_path / f"{name}.data"))
        for name in ("a.parquet", "a.csv.gz")
    ]
    assert both[0] == both[1]


def test_bad_strings_are_left_out_and_counted(tmp_path: Path) -> None:
    long = CLOUD.replace("1a 1b 3c", "1a 1b 3c 6e 6f 8g 12h 12i 12j 24k 24l 24m 48n")
    bad = [CLOUD.replace("Ti", "Xx"), CLOUD.replace("3c", "9z"), "", long]
    source = table(tmp_path / "bad.csv", STRINGS + bad)
    shards = prepare([source], tmp_path / "data", limit=24)
    assert sum(shards.left_out.values()) == 4
    assert shards.total + shards.validation == len(STRINGS)


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "scope\n", "scope\nnonsense\n"])
def test_tables_that_hold_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(InputError):
        prepare([path], tmp_path / "data")


def test_missing_and_broken_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table"):
        prepare([tmp_path / "none.csv"], tmp_path / "data")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 nonsense")
    with pytest.raises(InputError, match="cannot be read"):
        prepare([broken], tmp_path / "data")
    cut = tmp_path / "cut.csv.gz"
    whole = gzip.compress(pd.DataFrame({"scope": STRINGS}).to_csv().encode())
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        prepare([cut], tmp_path / "data")


def test_structures_give_both_dialects_and_children(tmp_path: Path) -> None:
    path = tmp_path / "cifs.csv"
    pd.DataFrame({"cif": [perovskite().build().to_cif(), "no cif"]}).to_csv(path, index=False)
    shards = prepare([path], tmp_path / "data", children=30)
    rows = read_all(shards)
    real = [tokens for tokens, _, exists in rows if exists]
    lexicon = Lexicon(64)
    assert len(real) == 2
    assert 20 < len(rows) <= 32
    assert all(group == 221 for _, group, _ in rows)
    kept = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert kept["sources"]["children"] == 30
    assert lexicon.tied(np.array([next(t for t, _, e in rows if not e)])).all()


def test_substitution_never_names_an_element_twice() -> None:
    substitution = Substitution(np.ones(118, dtype=np.int64))
    rng = np.random.default_rng(0)
    rows = np.tile([ELEMENTS.index(e) for e in ("Sr", "Ti", "O")], (400, 1))
    rows = np.hstack([rows, np.full((400, 1), -1)])
    swapped = substitution.swap(rows, rng)
    assert (swapped[:, 3] == -1).all()
    assert all(len(set(row[:3])) == 3 for row in swapped.tolist())
    assert (swapped[:, :3] != rows[:, :3]).mean() > 0.8
    near = np.isin(swapped[:, 0], [ELEMENTS.index(e) for e in ("Ca", "Ba", "Mg", "Ra", "Be")])
    assert near.mean() > 0.08


def stream(shards: TokenShards, **options: int) -> Stream:
    return Stream(shards, Lexicon(64), 32, **options)


def take(batches: object, count: int) -> list[object]:
    return [next(batches) for _ in range(count)]  # type: ignore[call-overload]


def test_a_stream_begins_anywhere(tmp_path: Path) -> None:
    shards = prepared(tmp_path, rows_per_shard=120)
    whole = take(stream(shards)(), 40)
    for start in (0, 1, 7, 25, 38):
        for one, two in zip(whole[start:], stream(shards)(start), strict=False):
            np.testing.assert_array_equal(one.tokens, two.tokens)
            np.testing.assert_array_equal(one.targets, two.targets)


def test_an_epoch_holds_every_string_and_epochs_differ(tmp_path: Path) -> None:
    shards = prepared(tmp_path, rows_per_shard=120)
    one = stream(shards)
    per_epoch = sum(-(-count // 32) for count in shards.counts)
    batches = take(one(), 2 * per_epoch)
    assert sum(len(b.groups) for b in batches[:per_epoch]) == shards.total
    first, second = (
        [b.tokens.tobytes() for b in part] for part in (batches[:per_epoch], batches[per_epoch:])
    )
    assert first != second


def test_processes_share_a_stream(tmp_path: Path) -> None:
    shards = prepared(tmp_path, rows_per_shard=200)
    rows: list[bytes] = []
    for rank in range(2):
        part = stream(shards, rank=rank, world=2)
        per_epoch = sum(max(1, -(-count // 32) // 2) for count in shards.counts)
        rows += [r.tobytes() for b in take(part(), per_epoch) for r in b.tokens]
    assert len(rows) == len(set(rows))
    assert len(rows) > 0.7 * shards.total


def test_varied_strings_still_parse(tmp_path: Path) -> None:
    cloud = [
        t.replace("1a", "~", 1).split("~")[0] + "1a 1b 3c | " + t.rpartition(" | ")[2]
        for t in STRINGS
    ]
    shards = prepare([table(tmp_path / "cloud.csv", cloud)], tmp_path / "data")
    lexicon = Lexicon(64)
    words = {number: word for word, number in lexicon.tokenizer.vocabulary.items()}
    elements = set()
    for batch in take(Stream(shards, lexicon, 32)(), 8):
        for row, real in zip(batch.tokens, batch.real, strict=True):
            body = [words[t] for t in row if words[t] not in {"[CLS]", "[SEP]", "[PAD]"}]
            sites, amounts = " ".join(body).split(" | ")[1:]
            scope = parse(f"{cloud[0].split(' | ')[0]} | {sites} | {amounts}")
            assert sorted(f for _, f in scope.composition) == [0.2, 0.2, 0.6]
            assert sorted(scope.symbols) == ["1a", "1b", "3c"]
            if not real:
                elements |= set(scope.elements)
    assert len(elements) > 40
    for batch in take(Stream(shards, lexicon, 32, seed=1)(), 12):
        assert (lexicon.folds(batch.tokens) >= VALIDATION_SHARE).all()


def test_folds_are_those_of_the_strings() -> None:
    lexicon = Lexicon(64)
    tokens = pad(lexicon.tokenizer.encode([*STRINGS[:30], CLOUD]))
    assert lexicon.folds(tokens).tolist() == [fold(text) for text in [*STRINGS[:30], CLOUD]]


def test_a_thread_passes_errors_on() -> None:
    def broken() -> object:
        yield 1
        raise InputError("gone")

    got = ahead(broken())  # type: ignore[arg-type]
    assert next(got) == 1
    with pytest.raises(InputError, match="gone"):
        next(got)
