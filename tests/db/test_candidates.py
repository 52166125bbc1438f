"""The pool and the cache of embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cloudseed.db import candidates as module
from cloudseed.errors import LedgerError

from .kit import candidate

if TYPE_CHECKING:
    from cloudseed.db.ledger import SqlLedger
    from cloudseed.db.rows import CampaignRow, Claim

    from .kit import Lab


def test_candidates_keep_their_order_and_position(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim
) -> None:
    assert ledger.add_candidates(claim, [candidate("b"), candidate("a"), candidate("b")]) == 2
    assert ledger.add_candidates(claim, [candidate("a"), candidate("c")]) == 1
    rows = ledger.candidates(campaign.id)
    assert [(r.position, r.key) for r in rows] == [(0, "b"), (1, "a"), (2, "c")]
    assert rows[0].colouring == ("Ba", "Ti", "O")
    assert rows[0].scope == "221 | a b c | b"
    assert ledger.count_candidates(campaign.id) == 3
    assert ledger.add_candidates(claim, []) == 0


def test_what_was_tried_can_be_asked_for_alone(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, lab: Lab
) -> None:
    ledger.add_candidates(claim, [candidate("untried")])
    lab.plan("a", "b")
    assert [c.key for c in ledger.candidates(campaign.id, tried_only=True)] == ["a", "b"]
    assert len(ledger.candidates(campaign.id)) == 3


def test_candidates_are_found_by_key_or_formula(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim
) -> None:
    ledger.add_candidates(claim, [candidate("a"), candidate("b"), candidate("c")])
    formula = ledger.candidates(campaign.id)[0].formula
    assert [c.key for c in ledger.candidates_named(campaign.id, "b")] == ["b"]
    assert [c.key for c in ledger.candidates_named(campaign.id, formula)] == ["a", "b", "c"]
    assert ledger.candidates_named(campaign.id, "d' OR 1=1") == []


def test_a_pool_belongs_to_its_campaign(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim
) -> None:
    ledger.add_candidates(claim, [candidate("a")])
    other = ledger.create_campaign("other", {})
    with ledger.claim(other.id) as second:
        assert ledger.add_candidates(second, [candidate("a"), candidate("b")]) == 2
    assert ledger.count_candidates(campaign.id) == 1
    assert [c.position for c in ledger.candidates(other.id)] == [0, 1]


def test_provenance_and_roots_come_back_and_roots_are_shared(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim
) -> None:
    one = candidate("a", papers={"p": [0.1, "ü", None]}, root={"number": 1}, root_sha="1" * 64)
    ledger.add_candidates(claim, [one, candidate("b", root_sha="1" * 64)])
    row = ledger.candidates(campaign.id)[0]
    assert ledger.papers(row.id) == {"p": [0.1, "ü", None]}
    assert ledger.root(row.root_sha) in ({"number": 1}, {"number": 221})
    with pytest.raises(LedgerError, match="no candidate"):
        ledger.papers(10**6)
    with pytest.raises(LedgerError, match="no structure"):
        ledger.root("2" * 64)


def test_only_new_candidates_are_logged(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim
) -> None:
    ledger.add_candidates(claim, [candidate("a")])
    ledger.add_candidates(claim, [candidate("a")])
    added = [e.data for e in ledger.events(campaign.id) if e.kind == "candidates_added"]
    assert added == [{"added": 1, "first": 0}]


def test_long_lists_are_asked_for_in_chunks(
    ledger: SqlLedger, campaign: CampaignRow, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 3)
    names = [f"k{i}" for i in range(10)]
    assert ledger.add_candidates(claim, [candidate(n) for n in names[:7]]) == 7
    assert ledger.add_candidates(claim, [candidate(n) for n in names]) == 3
    ledger.put_embeddings("cloud", names, np.arange(20, dtype=np.float32).reshape(10, 2))
    assert set(ledger.get_embeddings("cloud", names)) == set(names)


def test_embeddings_come_back_bit_for_bit(ledger: SqlLedger) -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 128)).astype(np.float32)
    ledger.put_embeddings("cloud", ["a", "b", "ü\ud800"], vectors)
    found = ledger.get_embeddings("cloud", ["b", "absent", "ü\ud800"])
    assert set(found) == {"b", "ü\ud800"}
    assert found["b"].dtype == np.float32
    assert found["b"].tobytes() == vectors[1].tobytes()
    assert found["ü\ud800"].tobytes() == vectors[2].tobytes()
    found["b"][0] = 0.0
    assert ledger.get_embeddings("other", ["a"]) == {}
    assert ledger.get_embeddings("cloud", []) == {}


def test_an_embedding_is_never_replaced(ledger: SqlLedger) -> None:
    ledger.put_embeddings("cloud", ["a"], np.ones((1, 2), dtype=np.float32))
    ledger.put_embeddings("cloud", ["a", "b"], np.zeros((2, 2), dtype=np.float32))
    found = ledger.get_embeddings("cloud", ["a", "b"])
    assert found["a"].tolist() == [1.0, 1.0]
    assert found["b"].tolist() == [0.0, 0.0]


def test_embeddings_of_another_shape_or_number_are_refused(ledger: SqlLedger) -> None:
    with pytest.raises(LedgerError, match="2 strings"):
        ledger.put_embeddings("cloud", ["a", "b"], np.ones((1, 2), dtype=np.float32))
    with pytest.raises(LedgerError, match="shape"):
        ledger.put_embeddings("cloud", ["a"], np.ones(1, dtype=np.float32))
