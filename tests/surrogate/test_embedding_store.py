import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudseed.errors import EncoderError
from cloudseed.surrogate.embedding_store import EmbeddingStore

ENCODER, DIMENSION = "e" * 64, 5


def vectors(strings: list[str]) -> np.ndarray:
    """Something that differs from string to string."""
    rows = [[len(s), *(sum(map(ord, s)) * k for k in range(1, DIMENSION))] for s in strings]
    return np.array(rows, dtype=np.float32).reshape(-1, DIMENSION)


def open_store(folder: Path) -> EmbeddingStore:
    return EmbeddingStore(folder, ENCODER, DIMENSION)


@settings(max_examples=12, deadline=None)
@given(
    batches=st.lists(st.lists(st.text(max_size=6), max_size=8), max_size=4),
    asked=st.lists(st.text(max_size=6), max_size=8),
)
def test_what_is_written_is_read(
    batches: list[list[str]], asked: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    writer = open_store(folder)
    for batch in batches:
        writer.write(batch, vectors(batch))
    strings = [*asked, *(s for batch in batches for s in batch)]
    for store in (writer, open_store(folder)):
        found, table = store.read(strings)
        known = {s for batch in batches for s in batch}
        assert found.tolist() == [s in known for s in strings]
        np.testing.assert_array_equal(table, vectors(strings) * found[:, None])


def test_one_shard_per_content(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    first = store.write(["a", "b", "a"], vectors(["a", "b", "a"]))
    again = open_store(tmp_path).write(["b", "a"], vectors(["b", "a"]))
    assert first == again
    assert store.write([], vectors([])) is None
    assert len(list(tmp_path.rglob("*.shard"))) == 1


def test_a_new_shard_is_seen(tmp_path: Path) -> None:
    reader = open_store(tmp_path)
    assert not reader.read(["a"])[0].any()
    open_store(tmp_path).write(["a"], vectors(["a"]))
    assert reader.read(["a"])[0].all()


def test_rows_are_mapped_not_held(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(["a", "b"], vectors(["a", "b"]))
    store.read(["a"])
    (shard,) = store._opened()
    assert isinstance(shard.vectors, np.memmap)


def test_wrong_shapes(tmp_path: Path) -> None:
    for matrix in (np.zeros((1, DIMENSION)), np.zeros((2, 3))):
        with pytest.raises(EncoderError):
            open_store(tmp_path).write(["a", "b"], matrix.astype(np.float32))


def test_encoders_do_not_mix(tmp_path: Path) -> None:
    open_store(tmp_path).write(["a"], vectors(["a"]))
    assert not EmbeddingStore(tmp_path, "f" * 64, DIMENSION).read(["a"])[0].any()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(os.urandom(500))


@pytest.mark.parametrize("spoil", [flip, cut, empty, garble], ids=lambda f: f.__name__)
def test_damage_is_put_aside(
    spoil: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path)
    damaged = store.write(["a", "b"], vectors(["a", "b"]))
    store.write(["c"], vectors(["c"]))
    spoil(damaged)  # type: ignore[operator]
    reader = open_store(tmp_path)
    with caplog.at_level(logging.WARNING):
        found, table = reader.read(["a", "b", "c"])
    assert found.tolist() == [False, False, True]
    np.testing.assert_array_equal(table[2:], vectors(["c"]))
    assert "damaged" in caplog.text
    assert len(list(tmp_path.rglob("*.damaged"))) == 1
    reader.write(["a", "b"], vectors(["a", "b"]))
    assert open_store(tmp_path).read(["a", "b", "c"])[0].all()


def test_a_shard_of_another_encoder_is_refused(tmp_path: Path) -> None:
    path = open_store(tmp_path).write(["a"], vectors(["a"]))
    other = EmbeddingStore(tmp_path, "f" * 64, DIMENSION)
    other.folder.mkdir()
    path.rename(other.folder / path.name)
    assert not other.read(["a"])[0].any()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    store = open_store(tmp_path)
    monkeypatch.setattr("cloudseed.surrogate.embedding_store.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(["a"], vectors(["a"]))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_old_leftovers_are_swept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.folder.mkdir()
    old, new = (store.folder / f"writing-{name}.tmp" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half a sh")
    os.utime(old, (time.time() - 10**6,) * 2)
    store.write(["a"], vectors(["a"]))
    assert (old.exists(), new.exists()) == (False, True)


WRITER = """
import json, sys
import numpy as np
from pathlib import Path
from cloudseed.surrogate.embedding_store import EmbeddingStore
store = EmbeddingStore(Path(sys.argv[1]), "e" * 64, 2000)
for number in range(10**6):
    strings = [f"{number} {row}" for row in range(200)]
    store.write(strings, np.full((200, 2000), number, dtype=np.float32))
    print(number, flush=True)
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    """Whatever was reported as written is there and right; nothing else is there in part."""
    rng = np.random.default_rng(0)
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        reported = int(process.stdout.readline())
        time.sleep(rng.uniform(0.02, 0.15))
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].splitlines()
        reported = int(rest[-1]) if rest else reported
        store = EmbeddingStore(folder, ENCODER, 2000)
        for number in range(reported + 2):
            found, table = store.read([f"{number} {row}" for row in range(200)])
            assert found.all() or (number > reported and not found.any())
            assert (table[found] == number).all()
        assert not list(folder.rglob("*.damaged"))


def test_header_says_what_is_inside(tmp_path: Path) -> None:
    path = open_store(tmp_path).write(["a", "b"], vectors(["a", "b"]))
    told = json.loads(path.read_bytes().split(b"\n")[0])
    assert told == {
        "format": "cloudseed embeddings 1",
        "encoder": ENCODER,
        "dimension": DIMENSION,
        "count": 2,
    }
