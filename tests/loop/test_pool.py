"""Embeddings of small and large pools, through the ledger and through shards."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cloudseed.db import open_ledger
from cloudseed.errors import StorageError
from cloudseed.loop import pool
from cloudseed.loop.pool import embed_all, load_pool, record_pool
from cloudseed.surrogate import element_descriptors, site_descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cloudseed.db import Ledger
    from cloudseed.loop.proposing import Proposal, Proposed

STRINGS = [f"string {i % 70}" for i in range(100)]


@dataclass
class Counter:
    """An encoder that counts what it is asked for."""

    id: str = "e" * 64
    name: str = "counter"
    dimension: int = 2
    dialect: str = "canonical"
    asked: list[str] = field(default_factory=list)

    def embed(self, strings: Sequence[str]) -> np.ndarray:
        self.asked += strings
        return np.array([[len(s), int(s.split()[1])] for s in strings], dtype=np.float32)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "LARGE_POOL", 50)
    monkeypatch.setattr(pool, "SHARD", 16)


def right(table: np.ndarray, strings: Sequence[str] = STRINGS) -> bool:
    return bool((table == Counter().embed(strings)).all())


def test_a_large_pool_goes_to_shards(tmp_path: Path, ledger: Ledger) -> None:
    folder = tmp_path / "embeddings"
    first, second = Counter(), Counter()
    assert right(embed_all(first, STRINGS, ledger, folder))
    assert sorted(first.asked) == sorted(set(STRINGS))
    assert len(list(folder.rglob("*.shard"))) == 5
    assert not ledger.get_embeddings(first.id, STRINGS)
    assert right(embed_all(second, STRINGS[::-1], ledger, folder), STRINGS[::-1])
    assert second.asked == []


def test_a_small_pool_stays_in_the_ledger(tmp_path: Path, ledger: Ledger) -> None:
    folder = tmp_path / "embeddings"
    assert right(embed_all(Counter(), STRINGS[:40], ledger, folder), STRINGS[:40])
    assert not folder.exists()
    grown = Counter()
    assert right(embed_all(grown, STRINGS, ledger, folder))
    assert set(grown.asked) == set(STRINGS) - set(STRINGS[:40])


def test_a_kill_loses_one_shard(tmp_path: Path) -> None:
    class Dying(Counter):
        def embed(self, strings: Sequence[str]) -> np.ndarray:
            if len(self.asked) >= 32:
                raise KeyboardInterrupt
            return super().embed(strings)

    with pytest.raises(KeyboardInterrupt):
        embed_all(Dying(), STRINGS, None, tmp_path)
    after = Counter()
    assert right(embed_all(after, STRINGS, None, tmp_path))
    assert len(after.asked) == 70 - 32


def test_a_pool_is_recorded_some_at_a_time_and_a_kill_loses_only_the_last(
    ledger: Ledger, generation: Proposed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "RECORDED_TOGETHER", 40)
    whole = [p.kept.key for p in generation.proposals]
    row = ledger.create_campaign("a", {})

    def killed(done: int, count: int) -> None:
        told.append((done, count))
        if done > 80:
            raise KeyboardInterrupt

    told: list[tuple[int, int]] = []
    with ledger.claim(row.id) as claim:
        with pytest.raises(KeyboardInterrupt):
            record_pool(ledger, claim, generation, progress=killed)
        assert told == [(40, len(whole)), (80, len(whole)), (120, len(whole))]
        assert [c.key for c in ledger.candidates(row.id)] == whole[:120]
        record_pool(ledger, claim, generation)
        rows = ledger.candidates(row.id)
    assert [c.key for c in rows] == whole
    assert dict(ledger.papers(rows[-1].id)) == json.loads(
        json.dumps(generation.proposals[-1].papers())
    )


def test_a_generation_is_recorded_whole_or_not_at_all(
    ledger: Ledger, generation: Proposed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "RECORDED_TOGETHER", 40)

    def notes(proposal: Proposal) -> dict[str, int]:
        seen.append(proposal)
        if len(seen) == 100:
            raise KeyboardInterrupt
        return {"regrown": 1}

    seen: list[Proposal] = []
    row = ledger.create_campaign("a", {})
    with ledger.claim(row.id) as claim:
        with pytest.raises(KeyboardInterrupt):
            record_pool(ledger, claim, generation, notes)
        assert ledger.count_candidates(row.id) == 0


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError) as caught:
        embed_all(Counter(), STRINGS, None, tmp_path / "file")
    assert caught.value.hint


def test_features_are_blocks_in_the_order_asked_for() -> None:
    rows = [SimpleNamespace(scope=f"0 0 0 | 1a | {e} 1.0") for e in ("Fe", "O", "Na")]
    made = pool.Pool(rows, np.zeros((3, 2), dtype=np.float32), "e")
    assert list(made.blocks().blocks) == ["embedding", "elements"]
    found = made.blocks(("elements", "embedding")).blocks
    assert list(found) == ["elements", "embedding"]
    np.testing.assert_array_equal(found["elements"], element_descriptors([r.scope for r in rows]))
    assert list(made.blocks(("embedding",)).blocks) == ["embedding"]


def test_a_recorded_pool_shows_what_is_on_its_sites(ledger: Ledger, generation: Proposed) -> None:
    row = ledger.create_campaign("a", {})
    with ledger.claim(row.id) as claim:
        record_pool(ledger, claim, generation)
    found = load_pool(ledger, row.id, Counter()).blocks()
    sites = site_descriptors([proposal.crystal for proposal in generation.proposals])
    names = [f"sites {role + 1}" for role in range(sites.shape[1])]
    assert list(found.blocks) == ["embedding", "elements", *names]
    assert len(names) > 1
    for role, name in enumerate(names):
        np.testing.assert_array_equal(found.blocks[name], sites[:, role])
